//! Is a concurrent history one that a sequential object could have produced?
//!
//! The monitor reads invocations and responses in the order in which they happened. It keeps every
//! *configuration* that explains what was seen so far: a state of the sequential object and, for
//! each call under way, the result it has already taken effect with, or that it has not. A response
//! that no configuration can give is a proof that the history is not linearizable.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

/// A sequential object.
pub trait Spec: Clone + Ord + Hash + Debug {
    /// A call.
    type Op: Copy + Ord + Hash + Debug;
    /// Its result.
    type Ret: Copy + Ord + Hash + Debug;

    /// Carries out `op`.
    fn apply(&mut self, op: Self::Op) -> Self::Ret;
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Configuration<S: Spec, const N: usize> {
    object: S,
    effects: [Option<S::Ret>; N],
}

/// Follows a history of `N` threads; each has at most one call under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Monitor<S: Spec, const N: usize> {
    pending: [Option<S::Op>; N],
    configurations: BTreeSet<Configuration<S, N>>,
}

impl<S: Spec, const N: usize> Monitor<S, N> {
    /// A history of `N` threads that starts with `object`.
    pub fn new(object: S) -> Self {
        Monitor {
            pending: [None; N],
            configurations: BTreeSet::from([Configuration {
                object,
                effects: [None; N],
            }]),
        }
    }

    /// `thread` calls `op`.
    pub fn invoke(&mut self, thread: usize, op: S::Op) {
        assert!(self.pending[thread].is_none(), "one call at a time");
        self.pending[thread] = Some(op);
        self.close();
    }

    /// `thread`'s call returns `ret`. Afterwards `is_linearizable` tells whether it could.
    pub fn respond(&mut self, thread: usize, ret: S::Ret) {
        self.pending[thread].take().expect("a call is under way");
        self.configurations = std::mem::take(&mut self.configurations)
            .into_iter()
            .filter_map(|mut configuration| {
                (configuration.effects[thread].take() == Some(ret)).then_some(configuration)
            })
            .collect();
    }

    /// Whether some order of the calls explains everything seen so far.
    pub fn is_linearizable(&self) -> bool {
        !self.configurations.is_empty()
    }

    /// Adds what follows when calls under way take effect now, in every order.
    fn close(&mut self) {
        let mut todo: Vec<_> = self.configurations.iter().cloned().collect();
        while let Some(configuration) = todo.pop() {
            for (thread, op) in self.pending.iter().enumerate() {
                let (Some(op), None) = (op, configuration.effects[thread]) else {
                    continue;
                };
                let mut next = configuration.clone();
                next.effects[thread] = Some(next.object.apply(*op));
                if self.configurations.insert(next.clone()) {
                    todo.push(next);
                }
            }
        }
    }
}

/// A monitor, by its number.
pub type MonitorId = u32;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Event<O, R> {
    Invoke(O),
    Respond(R),
}

type EventOf<S> = Event<<S as Spec>::Op, <S as Spec>::Ret>;

/// Which monitor, what happened next, and in which thread.
type Key<S> = (MonitorId, usize, EventOf<S>);

/// Every monitor a search has met, each once: a model's state then holds a small number only.
pub struct Monitors<S: Spec, const N: usize> {
    met: RefCell<Vec<Monitor<S, N>>>,
    ids: RefCell<HashMap<Monitor<S, N>, MonitorId>>,
    memo: RefCell<HashMap<Key<S>, MonitorId>>,
}

impl<S: Spec, const N: usize> Monitors<S, N> {
    /// Starts with a history in which nothing has happened to `object`: monitor 0.
    pub fn new(object: S) -> Self {
        let first = Monitor::new(object);
        Monitors {
            met: RefCell::new(vec![first.clone()]),
            ids: RefCell::new(HashMap::from([(first, 0)])),
            memo: RefCell::default(),
        }
    }

    /// The monitor `id` after `thread` called `op`.
    pub fn invoke(&self, id: MonitorId, thread: usize, op: S::Op) -> MonitorId {
        self.after(id, thread, Event::Invoke(op))
    }

    /// The monitor `id` after `thread`'s call returned `ret`.
    pub fn respond(&self, id: MonitorId, thread: usize, ret: S::Ret) -> MonitorId {
        self.after(id, thread, Event::Respond(ret))
    }

    /// See [`Monitor::is_linearizable`].
    pub fn is_linearizable(&self, id: MonitorId) -> bool {
        self.met.borrow()[id as usize].is_linearizable()
    }

    fn after(&self, id: MonitorId, thread: usize, event: EventOf<S>) -> MonitorId {
        let known = self.memo.borrow().get(&(id, thread, event)).copied();
        known.unwrap_or_else(|| {
            let mut monitor = self.met.borrow()[id as usize].clone();
            match event {
                Event::Invoke(op) => monitor.invoke(thread, op),
                Event::Respond(ret) => monitor.respond(thread, ret),
            }
            let next = self.number(monitor);
            self.memo.borrow_mut().insert((id, thread, event), next);
            next
        })
    }

    fn number(&self, monitor: Monitor<S, N>) -> MonitorId {
        let mut met = self.met.borrow_mut();
        *self
            .ids
            .borrow_mut()
            .entry(monitor)
            .or_insert_with_key(|monitor| {
                met.push(monitor.clone());
                (met.len() - 1) as MonitorId
            })
    }
}
