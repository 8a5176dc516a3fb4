//! Calls that wait, and what counts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A kind of call to a [`SlowSource`](super::SlowSource).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Call {
    /// A name is looked up.
    Lookup,
    /// Attributes are asked for.
    Getattr,
    /// A file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// A file is closed. Nobody waits for that.
    Release,
    /// A part of a directory is listed.
    Readdir,
    /// Another one, such as statfs.
    Other,
}

impl Call {
    /// All kinds.
    pub const ALL: [Call; 7] = [
        Call::Lookup,
        Call::Getattr,
        Call::Open,
        Call::Read,
        Call::Release,
        Call::Readdir,
        Call::Other,
    ];
}

struct Waiting {
    call: Call,
    since: Instant,
    answer: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    most_waiting: usize,
    latencies: [Duration; Call::ALL.len()],
    stopped: bool,
}

impl State {
    fn left(&self, waiting: &Waiting) -> Duration {
        match self.stopped {
            true => Duration::ZERO,
            false => self.latencies[waiting.call as usize].saturating_sub(waiting.since.elapsed()),
        }
    }

    /// Whoever has waited for long enough, and how long the next one still has to.
    fn take_due(&mut self) -> (Vec<Waiting>, Option<Duration>) {
        let all = std::mem::take(&mut self.waiting);
        let (due, waiting) = all.into_iter().partition(|one| self.left(one).is_zero());
        self.waiting = waiting;
        let next = self.waiting.iter().map(|one| self.left(one)).min();
        (due, next)
    }
}

/// The calls of one source.
#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<State>,
    changed: Condvar,
    counts: [AtomicU64; Call::ALL.len()],
}

impl Calls {
    /// Has one thread answer whoever has waited for long enough, until [`Calls::stop`].
    pub(super) fn start(self: &Arc<Calls>) {
        let calls = self.clone();
        std::thread::spawn(move || calls.run());
    }

    fn run(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            let (due, next) = state.take_due();
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(|one| (one.answer)());
                state = self.state.lock().unwrap();
                continue;
            }
            state = match next {
                None if state.stopped => return,
                None => self.changed.wait(state).unwrap(),
                Some(left) => self.changed.wait_timeout(state, left).unwrap().0,
            };
        }
    }

    /// Calls `answer` when the time has come.
    pub(super) fn answer(&self, call: Call, answer: impl FnOnce() + Send + 'static) {
        self.counts[call as usize].fetch_add(1, Ordering::SeqCst);
        let mut state = self.state.lock().unwrap();
        if state.stopped || state.latencies[call as usize].is_zero() {
            drop(state);
            return answer();
        }
        state.waiting.push(Waiting {
            call,
            since: Instant::now(),
            answer: Box::new(answer),
        });
        state.most_waiting = state.most_waiting.max(state.waiting.len());
        self.changed.notify_one();
    }

    pub(super) fn set_latency(&self, call: Call, latency: Duration) {
        self.state.lock().unwrap().latencies[call as usize] = latency;
        self.changed.notify_one();
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts[call as usize].load(Ordering::SeqCst)
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting.len()
    }

    pub(super) fn take_most_waiting(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        let now = state.waiting.len();
        std::mem::replace(&mut state.most_waiting, now)
    }

    /// Lets all go on, now and from now on.
    pub(super) fn stop(&self) {
        self.state.lock().unwrap().stopped = true;
        self.changed.notify_one();
    }
}
