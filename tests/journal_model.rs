//! Every interleaving of two changes, of one file and of one name, with somebody who asks twice which paths changed and looks at
//! what is told.
//!
//! The model is the protocol between those who change a tree and those who ask its journal. A change takes the stillness, shared,
//! becomes visible, is appended to the log, and lets the stillness go. Whoever asks takes it alone, reads the log up to its end, and
//! makes paths of what is there; the end becomes the token.
//!
//! Somebody who keeps what they know of each path, as git does, must never go wrong: what they know and were not told of is as it is, if it
//! was as it is before they asked. Files are numbered by their versions. The file is at path 0, and a rename moves it to path 1.

use norefs_check::explore::{Model, explore};

/// What is done otherwise than it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    /// A change is appended before it can be seen, without the stillness.
    Before,
    /// It is appended after it can be seen, without the stillness.
    After,
    /// Whoever asks takes no stillness, and so reads the log at one time and makes paths at another.
    Asking,
    /// The token is taken after the stillness was given back.
    LateToken,
    /// A file that was told of once is not appended again, whoever has asked since.
    Once,
}

/// What a change is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Change {
    Enter,
    First,
    Second,
    Leave,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Note {
    /// The file changed.
    File,
    /// It was moved.
    Moved,
}

/// What whoever asks is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Asking {
    Enter,
    Read,
    Paths,
    Token,
    Look,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    /// The version of the file, and where it is.
    version: u8,
    place: usize,
    log: Vec<Note>,
    /// Whether the file stands in the log since somebody asked.
    noted: bool,
    shared: u8,
    alone: bool,
    changes: [Change; 3],
    asking: Asking,
    rounds: u8,
    /// From where on the log is not known.
    token: usize,
    /// What was read of it, the paths that come of that, and what each path was when it was asked.
    end: usize,
    told: [bool; 2],
    before: [Option<u8>; 2],
    /// What is believed of each path.
    known: [Option<u8>; 2],
    wrong: bool,
}

/// Two writers of the file, and one who moves it.
const KINDS: [Note; 3] = [Note::File, Note::File, Note::Moved];
const ROUNDS: u8 = 3;

struct Protocol(Wrong);

impl State {
    fn seen(&self) -> [Option<u8>; 2] {
        let mut seen = [None; 2];
        seen[self.place] = Some(self.version);
        seen
    }

    fn make(&mut self, kind: Note) {
        match kind {
            Note::File => self.version += 1,
            Note::Moved => self.place = 1,
        }
    }
}

impl Protocol {
    fn start(&self) -> State {
        let mut state = State {
            version: 0,
            place: 0,
            log: Vec::new(),
            noted: false,
            shared: 0,
            alone: false,
            changes: [Change::Enter; 3],
            asking: Asking::Enter,
            rounds: 0,
            token: 0,
            end: 0,
            told: [false; 2],
            before: [None; 2],
            known: [None; 2],
            wrong: false,
        };
        state.known = state.seen();
        state
    }

    fn note(&self, state: &mut State, kind: Note) {
        if kind == Note::File && std::mem::replace(&mut state.noted, true) {
            return;
        }
        state.log.push(kind);
    }

    fn change(&self, state: &State, thread: usize) -> Option<State> {
        let mut next = state.clone();
        let kind = KINDS[thread];
        let free = matches!(self.0, Wrong::Before | Wrong::After);
        next.changes[thread] = match state.changes[thread] {
            Change::Enter if free => Change::First,
            Change::Enter if state.alone => return None,
            Change::Enter => {
                next.shared += 1;
                Change::First
            }
            Change::First => {
                match self.0 {
                    Wrong::Before => self.note(&mut next, kind),
                    _ => next.make(kind),
                }
                Change::Second
            }
            Change::Second => {
                match self.0 {
                    Wrong::Before => next.make(kind),
                    _ => self.note(&mut next, kind),
                }
                Change::Leave
            }
            Change::Leave => {
                next.shared -= u8::from(!free);
                Change::Done
            }
            Change::Done => return None,
        };
        Some(next)
    }

    fn ask(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        next.asking = match state.asking {
            Asking::Enter => {
                if self.0 != Wrong::Asking {
                    if state.shared > 0 {
                        return None;
                    }
                    next.alone = true;
                }
                // What whoever asks may have seen before.
                next.before = state.seen();
                Asking::Read
            }
            Asking::Read => {
                next.end = state.log.len();
                Asking::Paths
            }
            Asking::Paths => {
                let notes = &state.log[state.token..state.end];
                next.told = [false; 2];
                if notes.contains(&Note::File) {
                    next.told[state.place] = true;
                }
                if notes.contains(&Note::Moved) {
                    next.told = [true; 2];
                }
                next.alone &= self.0 != Wrong::LateToken;
                Asking::Token
            }
            Asking::Token => {
                next.token = match self.0 {
                    Wrong::LateToken => state.log.len(),
                    _ => state.end,
                };
                next.noted &= self.0 == Wrong::Once;
                next.alone = false;
                Asking::Look
            }
            Asking::Look => {
                let seen = state.seen();
                for (path, now) in seen.into_iter().enumerate() {
                    if state.told[path] {
                        next.known[path] = now;
                    } else if state.known[path] != state.before[path] {
                        next.wrong = true;
                    }
                }
                next.rounds += 1;
                match next.rounds {
                    ROUNDS => Asking::Done,
                    _ => Asking::Enter,
                }
            }
            Asking::Done => return None,
        };
        Some(next)
    }
}

impl Model for Protocol {
    type State = State;

    fn successors(&self, state: &State) -> Vec<State> {
        let changes = (0..KINDS.len()).filter_map(|thread| self.change(state, thread));
        changes.chain(self.ask(state)).collect()
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        state
            .wrong
            .then_some("a change that could be seen was not told")
    }

    fn finished(&self, state: &State) -> bool {
        state.changes == [Change::Done; 3] && state.asking == Asking::Done
    }
}

#[test]
fn what_could_be_seen_before_asking_is_told() {
    let protocol = Protocol(Wrong::Nothing);
    explore(&protocol, protocol.start()).assert_correct("under the stillness");
}

#[test]
fn whatever_is_done_otherwise_misses_a_change() {
    for wrong in [
        Wrong::Before,
        Wrong::After,
        Wrong::Asking,
        Wrong::LateToken,
        Wrong::Once,
    ] {
        let protocol = Protocol(wrong);
        let found = explore(&protocol, protocol.start());
        found.assert_wrong(
            &format!("{wrong:?}"),
            "a change that could be seen was not told",
        );
    }
}
