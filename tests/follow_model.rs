//! Every interleaving of a source that changes with who follows it, and of who tells the kernel with lookups and a rename.
//!
//! The first model is *watch first, then list, then look again*: a change moves what lies under a name, and is queued as an event if
//! the directory is watched by then. An event says no more than that something happened; the queue keeps one, and after that no more than that
//! some were lost. A barrier is asked for at any time, and answered: then all is in the tree that the source had before.
//!
//! The second is the kernel's side. A lookup holds the directory, shared, from before it asks until its answer is kept; to make the kernel
//! forget a name takes the directory alone; a rename here has it alone, and waits for the daemon, which changes the tree. What the
//! kernel keeps when all are done must be what the tree has, and all must get done.

use norefs_check::explore::{Model, explore};

/// How the follower goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Right,
    /// Lists before it watches.
    ListsFirst,
    /// Looks, and takes what was queued meanwhile for seen.
    DropsAfterLooking,
    /// Goes on when events were lost.
    IgnoresLoss,
    /// Answers when the queue is empty, though what it took was not looked at.
    AnswersEarly,
}

const CHANGES: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Follower {
    First,
    Second,
    Idle,
    /// Has taken an event, and looks.
    Look,
    /// Has looked, and takes what it saw over.
    Take {
        seen: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Barrier {
    Not,
    /// Asked when the source was there.
    Asked {
        floor: u8,
    },
    Answered {
        floor: u8,
    },
}

/// Of one name; what lies there is numbered by the change that put it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Watching {
    source: u8,
    tree: u8,
    watched: bool,
    queued: bool,
    lost: bool,
    follower: Follower,
    barrier: Barrier,
}

struct Follows(Way);

impl Follows {
    fn start() -> Watching {
        Watching {
            source: 0,
            tree: u8::MAX,
            watched: false,
            queued: false,
            lost: false,
            follower: Follower::First,
            barrier: Barrier::Not,
        }
    }

    fn watch(state: &mut Watching) {
        state.watched = true;
    }

    fn list(state: &mut Watching) {
        state.tree = state.source;
    }

    fn follower(&self, state: &Watching) -> Option<Watching> {
        let mut next = state.clone();
        let steps = match self.0 {
            Way::ListsFirst => [Follows::list, Follows::watch],
            _ => [Follows::watch, Follows::list],
        };
        match state.follower {
            Follower::First => {
                steps[0](&mut next);
                next.follower = Follower::Second;
            }
            Follower::Second => {
                steps[1](&mut next);
                next.follower = Follower::Idle;
            }
            Follower::Idle => {
                let some = state.queued || state.lost && self.0 != Way::IgnoresLoss;
                if !some {
                    return Follows::answer(next);
                }
                if self.0 != Way::DropsAfterLooking {
                    (next.queued, next.lost) = (false, false);
                }
                next.follower = Follower::Look;
            }
            Follower::Look => {
                if self.0 == Way::AnswersEarly && matches!(state.barrier, Barrier::Asked { .. }) {
                    return Follows::answer(next);
                }
                next.follower = Follower::Take { seen: state.source };
            }
            Follower::Take { seen } => {
                next.tree = seen;
                if self.0 == Way::DropsAfterLooking {
                    (next.queued, next.lost) = (false, false);
                }
                next.follower = Follower::Idle;
            }
        }
        Some(next)
    }

    fn answer(mut next: Watching) -> Option<Watching> {
        let Barrier::Asked { floor } = next.barrier else {
            return None;
        };
        next.barrier = Barrier::Answered { floor };
        Some(next)
    }
}

impl Model for Follows {
    type State = Watching;

    fn successors(&self, state: &Watching) -> Vec<Watching> {
        let mut next = Vec::new();
        if state.source < CHANGES {
            let mut changed = state.clone();
            changed.source += 1;
            if state.watched {
                changed.lost |= state.queued;
                changed.queued = !changed.lost;
            }
            next.push(changed);
        }
        if state.barrier == Barrier::Not && state.follower != Follower::First {
            let floor = state.source;
            next.push(Watching {
                barrier: Barrier::Asked { floor },
                ..state.clone()
            });
        }
        next.extend(self.follower(state));
        next
    }

    fn violation(&self, state: &Watching) -> Option<&'static str> {
        let at_rest = state.source == CHANGES && self.follower(state).is_none();
        match state.barrier {
            Barrier::Answered { floor } if state.tree < floor && state.tree != u8::MAX => {
                Some("the barrier was answered too early")
            }
            _ if at_rest && state.tree != state.source => Some("a change was missed"),
            _ => None,
        }
    }

    fn finished(&self, state: &Watching) -> bool {
        matches!(state.barrier, Barrier::Answered { .. }) && state.source == CHANGES
    }
}

#[test]
fn watch_then_list_then_look_misses_nothing_and_a_barrier_holds() {
    explore(&Follows(Way::Right), Follows::start()).assert_correct("watch, list, look");
}

#[test]
fn other_ways_to_look_are_wrong() {
    for (way, expected) in [
        (Way::ListsFirst, "a change was missed"),
        (Way::DropsAfterLooking, "a change was missed"),
        (Way::IgnoresLoss, "a change was missed"),
        (Way::AnswersEarly, "the barrier was answered too early"),
    ] {
        let found = explore(&Follows(way), Follows::start());
        let Some((what, _)) = &found.violation else {
            panic!("{way:?}: nothing wrong found");
        };
        // Which of the two shows first does not matter where both do.
        let either = ["a change was missed", "the barrier was answered too early"];
        assert!(either.contains(what), "{way:?}: {what}");
        println!(
            "{way:?}: {what}, expected {expected}, {} states",
            found.states
        );
    }
}

/// How the kernel is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tell {
    Right,
    Never,
    BeforeTheChange,
    /// Without taking the directory.
    WithoutWaiting,
    /// While the tree is kept still.
    HoldingTheTree,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Lookup {
    Start,
    /// Holds the directory, and asks.
    Ask,
    /// Has an answer, which is to be kept.
    Keep {
        answer: u8,
    },
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Rename {
    Start,
    /// Holds the directory, and waits for the daemon.
    Ask,
    /// The tree has changed.
    Return,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Teller {
    Early,
    Still,
    Change,
    Tell,
    Release,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Kernel {
    /// What the tree has under the name.
    tree: u8,
    /// What the kernel keeps of it.
    kept: Option<u8>,
    /// Who follows keeps the tree still.
    still: bool,
    lookups: [Lookup; 2],
    rename: Rename,
    teller: Teller,
}

struct Tells(Tell);

impl Tells {
    fn start(&self) -> Kernel {
        Kernel {
            tree: 0,
            kept: None,
            still: false,
            lookups: [Lookup::Start; 2],
            rename: Rename::Start,
            teller: match self.0 {
                Tell::BeforeTheChange => Teller::Early,
                _ => Teller::Still,
            },
        }
    }

    fn is_shared(state: &Kernel) -> bool {
        let holds = |lookup: &Lookup| matches!(lookup, Lookup::Ask | Lookup::Keep { .. });
        state.lookups.iter().any(holds)
    }

    fn is_alone(state: &Kernel) -> bool {
        matches!(state.rename, Rename::Ask | Rename::Return)
    }

    fn lookup(state: &Kernel, number: usize) -> Option<Kernel> {
        let mut next = state.clone();
        next.lookups[number] = match state.lookups[number] {
            Lookup::Start if state.kept.is_some() => Lookup::Done,
            Lookup::Start if Tells::is_alone(state) => return None,
            Lookup::Start => Lookup::Ask,
            Lookup::Ask => Lookup::Keep { answer: state.tree },
            Lookup::Keep { answer } => {
                next.kept = Some(answer);
                Lookup::Done
            }
            Lookup::Done => return None,
        };
        Some(next)
    }

    /// Of another name of the directory.
    fn rename(state: &Kernel) -> Option<Kernel> {
        let mut next = state.clone();
        next.rename = match state.rename {
            Rename::Start if Tells::is_alone(state) || Tells::is_shared(state) => return None,
            Rename::Start => Rename::Ask,
            Rename::Ask if state.still => return None,
            Rename::Ask => Rename::Return,
            Rename::Return => Rename::Done,
            Rename::Done => return None,
        };
        Some(next)
    }

    fn teller(&self, state: &Kernel) -> Option<Kernel> {
        let mut next = state.clone();
        let mut tell = |from: &Kernel| {
            let waits = Tells::is_shared(from) || Tells::is_alone(from);
            let goes = !waits || self.0 == Tell::WithoutWaiting;
            next.kept = None;
            goes && self.0 != Tell::Never
        };
        let after = match state.teller {
            Teller::Early => tell(state).then_some(Teller::Still),
            Teller::Still => Some(Teller::Change),
            Teller::Change => Some(match self.0 {
                Tell::HoldingTheTree => Teller::Tell,
                _ => Teller::Release,
            }),
            Teller::Tell => tell(state).then_some(match self.0 {
                Tell::HoldingTheTree => Teller::Release,
                _ => Teller::Done,
            }),
            Teller::Release => Some(match self.0 {
                Tell::Never | Tell::BeforeTheChange | Tell::HoldingTheTree => Teller::Done,
                _ => Teller::Tell,
            }),
            Teller::Done => None,
        };
        match state.teller {
            Teller::Still => next.still = true,
            Teller::Change => next.tree = 1,
            Teller::Release => next.still = false,
            _ => {}
        }
        next.teller = after?;
        Some(next)
    }
}

impl Model for Tells {
    type State = Kernel;

    fn successors(&self, state: &Kernel) -> Vec<Kernel> {
        let lookups = (0..2).filter_map(|number| Tells::lookup(state, number));
        let others = [Tells::rename(state), self.teller(state)];
        lookups.chain(others.into_iter().flatten()).collect()
    }

    fn violation(&self, state: &Kernel) -> Option<&'static str> {
        let stale = state.kept.is_some_and(|kept| kept != state.tree);
        (self.finished(state) && stale).then_some("the kernel keeps what was there before")
    }

    fn finished(&self, state: &Kernel) -> bool {
        let lookups = state.lookups.iter().all(|lookup| *lookup == Lookup::Done);
        lookups && state.rename == Rename::Done && state.teller == Teller::Done
    }
}

#[test]
fn told_after_the_change_and_with_nothing_held_the_kernel_keeps_what_is_there() {
    let right = Tells(Tell::Right);
    explore(&right, right.start()).assert_correct("told after the change");
}

#[test]
fn other_ways_to_tell_are_wrong() {
    let stale = "the kernel keeps what was there before";
    for (tell, expected) in [
        (Tell::Never, stale),
        (Tell::BeforeTheChange, stale),
        (Tell::WithoutWaiting, stale),
        (Tell::HoldingTheTree, "deadlock"),
    ] {
        let model = Tells(tell);
        explore(&model, model.start()).assert_wrong(&format!("{tell:?}"), expected);
    }
}
