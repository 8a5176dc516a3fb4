//! Places at which a test takes hold of a running mount. Never part of a release build.

use crate::transport::RequestKind;
use crate::tree::NodeId;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
struct Matches {
    kind: RequestKind,
    node: Option<NodeId>,
}

impl Matches {
    fn matches(&self, kind: RequestKind, node: NodeId) -> bool {
        self.kind == kind && self.node.is_none_or(|wanted| wanted == node)
    }
}

/// Takes out the first of `wanted` that such a request matches; false if there is none.
fn take(wanted: &mut Vec<Matches>, kind: RequestKind, node: NodeId) -> bool {
    let first = wanted.iter().position(|m| m.matches(kind, node));
    first.map(|index| wanted.remove(index)).is_some()
}

#[derive(Default)]
struct State {
    holds: Vec<(u64, Matches)>,
    /// Replies held back now, by hold.
    held: Vec<u64>,
    panics: Vec<Matches>,
    /// What a serving thread does not survive.
    losses: Vec<Matches>,
    next: u64,
}

/// The failpoints of one mount.
#[derive(Default)]
pub struct Failpoints {
    state: Mutex<State>,
    changed: Condvar,
    silent: AtomicBool,
}

impl Failpoints {
    /// Holds back every reply to a request of `kind` for `node` (any if `None`) until the returned
    /// hold is released. The filesystem's call was made by then.
    pub fn hold(self: &Arc<Failpoints>, kind: RequestKind, node: Option<NodeId>) -> Hold {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.holds.push((id, Matches { kind, node }));
        Hold {
            failpoints: self.clone(),
            id,
        }
    }

    /// Whether changes tell the kernel which attributes are stale. On at first.
    pub fn set_notifications(&self, on: bool) {
        self.silent.store(!on, Ordering::SeqCst);
    }

    /// Makes the handler of the next request of `kind` for `node` (any if `None`) panic, once.
    pub fn panic_on(&self, kind: RequestKind, node: Option<NodeId>) {
        self.state.lock().panics.push(Matches { kind, node });
    }

    /// Makes the thread that answers the next request of `kind` for `node` (any if `None`) panic outside of the handler.
    pub fn lose_thread_on(&self, kind: RequestKind, node: Option<NodeId>) {
        self.state.lock().losses.push(Matches { kind, node });
    }

    /// Called with no handler around.
    pub(crate) fn after_call(&self, kind: RequestKind, node: NodeId) {
        if take(&mut self.state.lock().losses, kind, node) {
            panic!("a test asked for the end of this thread");
        }
    }

    pub(crate) fn notifications(&self) -> bool {
        !self.silent.load(Ordering::SeqCst)
    }

    /// Whether a test has something in mind with such a request, which then takes time.
    pub(crate) fn wants(&self, kind: RequestKind, node: NodeId) -> bool {
        let state = self.state.lock();
        let mut holds = state.holds.iter().map(|(_, wanted)| wanted);
        holds.any(|m| m.matches(kind, node)) || state.panics.iter().any(|m| m.matches(kind, node))
    }

    pub(crate) fn before_call(&self, kind: RequestKind, node: NodeId) {
        if take(&mut self.state.lock().panics, kind, node) {
            panic!("a test asked for this panic");
        }
    }

    pub(crate) fn before_reply(&self, kind: RequestKind, node: NodeId) {
        let mut state = self.state.lock();
        let Some(id) = state
            .holds
            .iter()
            .find(|(_, m)| m.matches(kind, node))
            .map(|(id, _)| *id)
        else {
            return;
        };
        state.held.push(id);
        self.changed.notify_all();
        while state.holds.iter().any(|(held, _)| *held == id) {
            self.changed.wait(&mut state);
        }
        if let Some(index) = state.held.iter().position(|held| *held == id) {
            state.held.swap_remove(index);
        }
    }
}

/// Replies are held back while this lives.
pub struct Hold {
    failpoints: Arc<Failpoints>,
    id: u64,
}

impl Hold {
    /// Waits until a reply is being held back; false if none came within `limit`.
    pub fn wait_held(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.failpoints.state.lock();
        while !state.held.contains(&self.id) {
            if self
                .failpoints
                .changed
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                return state.held.contains(&self.id);
            }
        }
        true
    }

    /// Lets the held replies go.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.failpoints
            .state
            .lock()
            .holds
            .retain(|(id, _)| *id != self.id);
        self.failpoints.changed.notify_all();
    }
}
