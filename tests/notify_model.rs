//! Every interleaving of two stats with two mutations of one inode, as the kernel's attribute cache
//! sees them with lifetimes without end.
//!
//! The model is the protocol between the kernel and the daemon. The kernel samples a version when it
//! sends a GETATTR, and applies the reply unless the inode's own version has moved past the sample.
//! The end of a mutation only marks the cached attributes invalid: it moves no version. So a reply
//! that was made before the mutation and is applied after it stays for good, unless the daemon sends
//! an invalidation, which does move the version, after it committed and before it replied.
//!
//! Attributes are numbered by the mutation that made them: 0 at first, then 1, then 2.

use norefs_check::explore::{Model, explore};

const STATS: u8 = 2;

/// When the daemon sends the invalidation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notify {
    Never,
    BeforeCommit,
    BeforeReply,
    AfterReply,
}

/// What a stat is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stat {
    Start,
    /// Looks into the cache; attributes older than `floor` would be stale.
    Look {
        floor: u8,
    },
    /// Takes the connection's version and sends the GETATTR.
    Send {
        floor: u8,
    },
    /// The daemon reads the inode.
    Read {
        floor: u8,
        sample: u8,
    },
    /// The reply reached the caller's context.
    Apply {
        floor: u8,
        sample: u8,
        attr: u8,
    },
}

/// What a mutation is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mutation {
    NotifyEarly,
    Commit,
    Notify {
        made: u8,
    },
    /// The reply reached the kernel, which marks the cache invalid and returns to the caller.
    Return {
        made: u8,
    },
    NotifyLate,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    /// The daemon's attributes.
    truth: u8,
    /// The kernel's, and whether they count.
    cached: u8,
    valid: bool,
    connection_version: u8,
    inode_version: u8,
    stats: [Stat; 2],
    stats_left: [u8; 2],
    mutations: [Mutation; 2],
    /// The newest attributes whose mutation has returned: none older may be seen from then on.
    floor: u8,
    stale_answer: bool,
}

struct Protocol {
    notify: Notify,
    /// Whether a stale cache counts while a thread still has something to do, or only at the end.
    at_all_times: bool,
}

impl Protocol {
    fn new(notify: Notify) -> Protocol {
        Protocol {
            notify,
            at_all_times: true,
        }
    }

    fn start(&self) -> State {
        let first = match self.notify {
            Notify::BeforeCommit => Mutation::NotifyEarly,
            _ => Mutation::Commit,
        };
        State {
            truth: 0,
            cached: 0,
            valid: false,
            connection_version: 1,
            inode_version: 0,
            stats: [Stat::Start; 2],
            stats_left: [STATS; 2],
            mutations: [first; 2],
            floor: 0,
            stale_answer: false,
        }
    }

    fn mutate(&self, state: &State, thread: usize) -> State {
        let mut next = state.clone();
        next.mutations[thread] = match state.mutations[thread] {
            Mutation::NotifyEarly => {
                next.invalidate();
                Mutation::Commit
            }
            Mutation::Commit => {
                next.truth += 1;
                let made = next.truth;
                match self.notify {
                    Notify::BeforeReply => Mutation::Notify { made },
                    _ => Mutation::Return { made },
                }
            }
            Mutation::Notify { made } => {
                next.invalidate();
                Mutation::Return { made }
            }
            Mutation::Return { made } => {
                next.valid = false;
                next.floor = next.floor.max(made);
                match self.notify {
                    Notify::AfterReply => Mutation::NotifyLate,
                    _ => Mutation::Done,
                }
            }
            Mutation::NotifyLate => {
                next.invalidate();
                Mutation::Done
            }
            Mutation::Done => unreachable!("a finished mutation takes no step"),
        };
        next
    }

    fn stat(&self, state: &State, thread: usize) -> State {
        let mut next = state.clone();
        next.stats[thread] = match state.stats[thread] {
            Stat::Start => Stat::Look { floor: state.floor },
            Stat::Look { floor } if state.valid => next.answer(thread, floor, state.cached),
            Stat::Look { floor } => Stat::Send { floor },
            Stat::Send { floor } => Stat::Read {
                floor,
                sample: state.connection_version,
            },
            Stat::Read { floor, sample } => Stat::Apply {
                floor,
                sample,
                attr: state.truth,
            },
            Stat::Apply {
                floor,
                sample,
                attr,
            } => {
                next.apply(sample, attr);
                next.answer(thread, floor, attr)
            }
        };
        next
    }
}

impl State {
    /// INVAL_INODE of the attributes.
    fn invalidate(&mut self) {
        self.connection_version += 1;
        self.inode_version = self.connection_version;
        self.valid = false;
    }

    fn apply(&mut self, sample: u8, attr: u8) {
        if self.inode_version <= sample {
            self.connection_version += 1;
            self.inode_version = self.connection_version;
            self.cached = attr;
            self.valid = true;
        }
    }

    fn answer(&mut self, thread: usize, floor: u8, attr: u8) -> Stat {
        self.stats_left[thread] -= 1;
        self.stale_answer |= attr < floor;
        Stat::Start
    }
}

impl Model for Protocol {
    type State = State;

    fn successors(&self, state: &State) -> Vec<State> {
        let stats = (0..2).filter(|thread| state.stats_left[*thread] > 0);
        let mutations = (0..2).filter(|thread| state.mutations[*thread] != Mutation::Done);
        stats
            .map(|thread| self.stat(state, thread))
            .chain(mutations.map(|thread| self.mutate(state, thread)))
            .collect()
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        let stale = state.valid && state.cached < state.floor;
        if stale && self.finished(state) {
            return Some("stale for good");
        }
        if stale && self.at_all_times {
            return Some("stale after the mutator's reply");
        }
        (state.stale_answer && self.at_all_times).then_some("stale answer")
    }

    fn finished(&self, state: &State) -> bool {
        state.stats_left == [0; 2] && state.mutations == [Mutation::Done; 2]
    }
}

#[test]
fn notify_before_reply_leaves_nothing_stale() {
    let protocol = Protocol::new(Notify::BeforeReply);
    explore(&protocol, protocol.start()).assert_correct("notify before reply");
}

#[test]
fn without_notify_attributes_stay_stale_for_good() {
    for notify in [Notify::Never, Notify::BeforeCommit] {
        let protocol = Protocol {
            at_all_times: false,
            ..Protocol::new(notify)
        };
        explore(&protocol, protocol.start()).assert_wrong(&format!("{notify:?}"), "stale for good");
    }
}

/// It heals in the end, but the caller of the mutation can see the old attributes first.
#[test]
fn notify_after_reply_comes_too_late() {
    let protocol = Protocol::new(Notify::AfterReply);
    explore(&protocol, protocol.start())
        .assert_wrong("notify after reply", "stale after the mutator's reply");
    let protocol = Protocol {
        at_all_times: false,
        ..protocol
    };
    explore(&protocol, protocol.start()).assert_correct("notify after reply, at the end");
}
