//! The protocol as a model: one writer that follows a program of steps, two readers.

use norefs_check::explore::Model;
use norefs_check::linearize::{MonitorId, Monitors, Spec};

pub type Inode = u8;

const LOOKUPS: u8 = 2;
const WRITER: usize = 2;

/// The two names: `Name::A` is what is renamed, `Name::B` is where to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Name {
    A,
    B,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Op {
    Lookup(Name),
    Move,
    Exchange,
    /// A move that leaves this inode under the old name.
    Leave(Inode),
    Create(Name, Inode),
    Unlink(Name),
}

/// The sequential directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Names {
    a: Option<Inode>,
    b: Option<Inode>,
}

impl Names {
    fn get(&mut self, name: Name) -> &mut Option<Inode> {
        match name {
            Name::A => &mut self.a,
            Name::B => &mut self.b,
        }
    }
}

impl Spec for Names {
    type Op = Op;
    type Ret = Option<Inode>;

    fn apply(&mut self, op: Op) -> Option<Inode> {
        match op {
            Op::Lookup(name) => return *self.get(name),
            Op::Move => self.b = self.a.take(),
            Op::Leave(left) => self.b = self.a.replace(left),
            Op::Exchange => std::mem::swap(&mut self.a, &mut self.b),
            Op::Create(name, inode) => *self.get(name) = Some(inode),
            Op::Unlink(name) => *self.get(name) = None,
        }
        None
    }
}

/// One atomic step of the writer. Dentries, cells and directories are named by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    Invoke(Op),
    Odd(usize),
    Kill(usize),
    Publish { dentry: usize, cell: usize },
    Clear(usize),
    Even(usize),
    Return,
}

/// A reader's checks, of which the wrong variants leave one out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Checks {
    pub live: bool,
    pub even: bool,
    pub unchanged: bool,
}

pub const ALL_CHECKS: Checks = Checks {
    live: true,
    even: true,
    unchanged: true,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Dentry {
    name: Name,
    inode: Inode,
    live: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reader {
    Idle,
    Sample {
        name: Name,
    },
    Probe {
        name: Name,
        rseq: u8,
        cell: usize,
    },
    Check {
        name: Name,
        rseq: u8,
        cell: usize,
        dentry: usize,
    },
    Validate {
        name: Name,
        rseq: u8,
    },
}

/// What does not change during a run.
pub struct Case {
    program: Vec<Step>,
    checks: Checks,
    /// The directory of each cell, in the order in which a reader probes.
    cells: [usize; 5],
    /// The directory of name B (that of A is 0).
    b_dir: usize,
    /// What B leads to at the start.
    b: Option<Inode>,
    /// What A leads to by its new dentry.
    back: Inode,
    monitors: Monitors<Names, 3>,
}

impl Case {
    /// A leads to inode 1, B to `b`. Dentries 0 and 1 are these two, 2 and 3 new ones: B to inode 1
    /// and A to `back`. Cells 1 and 3 hold the old ones.
    pub fn new(
        program: Vec<Step>,
        checks: Checks,
        cells: [usize; 5],
        b: Option<Inode>,
        back: Inode,
    ) -> Case {
        Case {
            program,
            checks,
            cells,
            b_dir: cells[3],
            b,
            back,
            monitors: Monitors::new(Names { a: Some(1), b }),
        }
    }

    /// The state a run starts in.
    pub fn start(&self) -> State {
        let dentry = |name, inode| Dentry {
            name,
            inode,
            live: true,
        };
        State {
            dentries: [
                dentry(Name::A, 1),
                dentry(Name::B, 2),
                dentry(Name::B, 1),
                dentry(Name::A, self.back),
            ],
            cells: [None, Some(0), None, self.b.map(|_| 1), None],
            rseq: [0, 0],
            writer: 0,
            readers: [Reader::Idle; 2],
            lookups: [0; 2],
            monitor: 0,
        }
    }

    fn dir(&self, name: Name) -> usize {
        match name {
            Name::A => 0,
            Name::B => self.b_dir,
        }
    }

    /// The first cell of `name`'s directory at or after `from`.
    fn next_cell(&self, name: Name, from: usize) -> Option<usize> {
        (from..self.cells.len()).find(|cell| self.cells[*cell] == self.dir(name))
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    dentries: [Dentry; 4],
    cells: [Option<usize>; 5],
    rseq: [u8; 2],
    writer: usize,
    readers: [Reader; 2],
    lookups: [u8; 2],
    monitor: MonitorId,
}

impl State {
    fn with(&self, reader: usize, at: Reader) -> State {
        let mut next = self.clone();
        next.readers[reader] = at;
        next
    }
}

impl Case {
    fn write(&self, state: &State) -> State {
        let mut next = state.clone();
        next.writer += 1;
        let monitors = &self.monitors;
        match self.program[state.writer] {
            Step::Invoke(op) => next.monitor = monitors.invoke(state.monitor, WRITER, op),
            Step::Odd(dir) | Step::Even(dir) => next.rseq[dir] += 1,
            Step::Kill(dentry) => next.dentries[dentry].live = false,
            Step::Publish { dentry, cell } => next.cells[cell] = Some(dentry),
            Step::Clear(cell) => next.cells[cell] = None,
            Step::Return => next.monitor = monitors.respond(state.monitor, WRITER, None),
        }
        next
    }

    fn call(&self, state: &State, reader: usize, name: Name) -> State {
        let mut next = state.with(reader, Reader::Sample { name });
        next.monitor = self
            .monitors
            .invoke(state.monitor, reader, Op::Lookup(name));
        next
    }

    fn respond(&self, state: &State, reader: usize, found: Option<Inode>) -> State {
        let mut next = state.with(reader, Reader::Idle);
        next.lookups[reader] += 1;
        next.monitor = self.monitors.respond(state.monitor, reader, found);
        next
    }

    fn read(&self, state: &State, reader: usize) -> State {
        match state.readers[reader] {
            Reader::Idle => unreachable!("an idle reader calls"),
            Reader::Sample { name } => {
                let rseq = state.rseq[self.dir(name)];
                state.with(reader, self.probe_from(name, rseq, 0))
            }
            Reader::Probe { name, rseq, cell } => match state.cells[cell] {
                Some(dentry) if state.dentries[dentry].name == name => {
                    let check = Reader::Check {
                        name,
                        rseq,
                        cell,
                        dentry,
                    };
                    state.with(reader, check)
                }
                _ => state.with(reader, self.probe_from(name, rseq, cell + 1)),
            },
            Reader::Check {
                name,
                rseq,
                cell,
                dentry,
            } => {
                if state.dentries[dentry].live || !self.checks.live {
                    self.respond(state, reader, Some(state.dentries[dentry].inode))
                } else {
                    state.with(reader, self.probe_from(name, rseq, cell + 1))
                }
            }
            Reader::Validate { name, rseq } => {
                let even = rseq % 2 == 0 || !self.checks.even;
                let unchanged = state.rseq[self.dir(name)] == rseq || !self.checks.unchanged;
                if even && unchanged {
                    self.respond(state, reader, None)
                } else {
                    state.with(reader, Reader::Sample { name })
                }
            }
        }
    }

    fn probe_from(&self, name: Name, rseq: u8, from: usize) -> Reader {
        match self.next_cell(name, from) {
            Some(cell) => Reader::Probe { name, rseq, cell },
            None => Reader::Validate { name, rseq },
        }
    }
}

impl Model for Case {
    type State = State;

    fn successors(&self, state: &State) -> Vec<State> {
        let mut all = Vec::new();
        if state.writer < self.program.len() {
            all.push(self.write(state));
        }
        for reader in 0..state.readers.len() {
            if state.lookups[reader] == LOOKUPS {
                continue;
            }
            match state.readers[reader] {
                Reader::Idle => {
                    all.push(self.call(state, reader, Name::A));
                    all.push(self.call(state, reader, Name::B));
                }
                _ => all.push(self.read(state, reader)),
            }
        }
        all
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        (!self.monitors.is_linearizable(state.monitor)).then_some("not linearizable")
    }

    fn finished(&self, state: &State) -> bool {
        state.writer == self.program.len() && state.lookups.iter().all(|n| *n == LOOKUPS)
    }
}
