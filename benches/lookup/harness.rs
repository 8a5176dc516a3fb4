//! Runs one contender for one slice of time: pinned threads, a warm-up, then a timed part.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use norefs::tree::{Errno, LinkTarget, Time};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::contender::{Contender, Ids, Move};
use crate::course::{Course, Op};
use crate::shape::{Rng, Shape};

/// Who runs at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One reader.
    One,
    /// Two readers.
    Two,
    /// One reader and one writer that renames.
    BesideWriter,
}

impl Load {
    pub const ALL: [Load; 3] = [Load::One, Load::Two, Load::BesideWriter];

    pub fn label(self) -> &'static str {
        match self {
            Load::One => "1 thread",
            Load::Two => "2 threads",
            Load::BesideWriter => "1 thread + writer",
        }
    }

    fn readers(self) -> usize {
        if self == Load::Two { 2 } else { 1 }
    }

    pub fn threads(self) -> usize {
        if self == Load::One { 1 } else { 2 }
    }
}

/// What one slice showed.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Nanoseconds of one operation, as each reading thread saw it.
    pub read_ns: f64,
    /// Renames per second of the writer beside; 0 without one.
    pub renames: f64,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
pub struct Turn {
    /// The round.
    pub round: u64,
    /// The contender's number and how many there are. Each starts at another place of the sequence: two
    /// that share a tree do not find what the one before has just read.
    pub lane: (usize, usize),
}

impl Turn {
    fn start(self, cpu: usize, len: usize) -> usize {
        let (lane, lanes) = self.lane;
        let start = Rng(self.round * 2 + cpu as u64).below(len);
        (start + lane * len / lanes) % len
    }
}

/// A contender in the race, whatever its node ids are.
pub trait Entrant {
    fn name(&self) -> &'static str;
    /// Looks up the node ids of the course; to be called before `run`.
    fn line_up(&mut self, course: &Course);
    /// One slice. `turn` selects where in the sequence of targets each thread starts.
    fn run(&self, course: &Course, load: Load, turn: Turn, slice: Duration) -> Sample;
}

/// A contender, its node ids, and those it needs on the present course.
pub struct Runner<'a, C: Contender> {
    contender: &'a C,
    ids: &'a Ids<C::Id>,
    targets: Vec<C::Id>,
    plan: Vec<Move<C::Id>>,
}

impl<'a, C: Contender> Runner<'a, C> {
    pub fn new(contender: &'a C, ids: &'a Ids<C::Id>) -> Runner<'a, C> {
        Runner {
            contender,
            ids,
            targets: Vec::new(),
            plan: Vec::new(),
        }
    }

    fn read(&self, course: &Course, start: usize, phase: &AtomicU8) -> f64 {
        let (order, paths) = (&course.targets.order[..], &course.paths);
        let path = |at: usize| black_box(paths.get(order[at] as usize));
        let contender = self.contender;
        let sequence = (start, order.len());
        match course.op {
            Op::Walk => repeat(phase, sequence, |at| {
                black_box(contender.stat(path(at))).is_ok()
            }),
            Op::Absent => repeat(phase, sequence, |at| {
                black_box(contender.stat(path(at))) == Err(Errno::NOENT)
            }),
            Op::Getattr => repeat(phase, sequence, |at| {
                black_box(contender.getattr(black_box(&self.targets[at]))).is_ok()
            }),
            Op::Readlink => {
                let mut out = LinkTarget::new();
                repeat(phase, sequence, |at| {
                    let answer = contender.readlink(black_box(&self.targets[at]), &mut out);
                    black_box(&out);
                    answer.is_ok()
                })
            }
        }
    }

    /// Goes through the plan until time is up, then to its end. Returns renames per second.
    fn write(&self, phase: &AtomicU8) -> f64 {
        let now = Time::now();
        let next = Cell::new(0);
        let step = || {
            let answer = self.contender.rename(&self.plan[next.get()], now);
            assert_eq!(answer, Ok(()), "{}: rename {}", C::NAME, next.get());
            next.set((next.get() + 1) % self.plan.len());
        };
        let (done, elapsed) = timed(phase, step);
        while next.get() != 0 {
            step();
        }
        done as f64 / elapsed.as_secs_f64()
    }

    /// Asks for a sample of the targets in every way and compares the answers with the shape.
    pub fn verify(&self, course: &Course) {
        let mut out = LinkTarget::new();
        for (at, &index) in course.targets.order.iter().enumerate().take(20_000) {
            let file = course.targets.files[index as usize];
            let size = Ok(Shape::size(file));
            match course.op {
                Op::Walk => {
                    let attr = self.contender.stat(course.paths.get(index as usize));
                    assert_eq!(attr.map(|attr| attr.size), size, "{}", C::NAME);
                }
                Op::Absent => {
                    let answer = self.contender.stat(course.paths.get(index as usize));
                    assert_eq!(answer, Err(Errno::NOENT), "{}", C::NAME);
                }
                Op::Getattr => {
                    let attr = self.contender.getattr(&self.targets[at]);
                    assert_eq!(attr.map(|attr| attr.size), size, "{}", C::NAME);
                }
                Op::Readlink => {
                    let answer = self.contender.readlink(&self.targets[at], &mut out);
                    assert_eq!(answer, Ok(()), "{}", C::NAME);
                    assert_eq!(out[..], Shape::target(file), "{}", C::NAME);
                }
            }
        }
    }
}

impl<C: Contender> Entrant for Runner<'_, C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn line_up(&mut self, course: &Course) {
        let targets = &course.targets;
        let id = |&index: &u32| self.ids.files[targets.files[index as usize] as usize].clone();
        self.targets = targets.order.iter().map(id).collect();
        let dir = |index: u32| self.ids.dirs[index as usize].clone();
        let step = |step: &crate::course::Step| Move {
            from: (dir(step.from.0), step.from.1),
            to: (dir(step.to.0), step.to.1),
        };
        self.plan = course.plan.iter().map(step).collect();
        self.verify(course);
    }

    fn run(&self, course: &Course, load: Load, turn: Turn, slice: Duration) -> Sample {
        let phase = CachePadded::new(AtomicU8::new(WARM_UP));
        let ready = Barrier::new(load.threads() + 1);
        let len = course.targets.order.len();
        thread::scope(|scope| {
            let readers: Vec<_> = (0..load.readers())
                .map(|cpu| {
                    let start = turn.start(cpu, len);
                    let (phase, ready) = (&phase, &ready);
                    scope.spawn(move || {
                        pin(cpu);
                        ready.wait();
                        self.read(course, start, phase)
                    })
                })
                .collect();
            let writer = (load == Load::BesideWriter).then(|| {
                scope.spawn(|| {
                    pin(1);
                    ready.wait();
                    self.write(&phase)
                })
            });
            ready.wait();
            thread::sleep(slice / 10);
            phase.store(TIMED, Relaxed);
            thread::sleep(slice);
            phase.store(OVER, Relaxed);
            let count = readers.len() as f64;
            let total: f64 = readers.into_iter().map(joined).sum();
            Sample {
                read_ns: total / count,
                renames: writer.map_or(0.0, joined),
            }
        })
    }
}

fn joined(thread: thread::ScopedJoinHandle<'_, f64>) -> f64 {
    thread.join().expect("a bench thread panicked")
}

const WARM_UP: u8 = 0;
const TIMED: u8 = 1;
const OVER: u8 = 2;

/// Calls `work` through the warm-up and the timed part; returns what the timed part held.
fn timed(phase: &AtomicU8, mut work: impl FnMut()) -> (u64, Duration) {
    while phase.load(Relaxed) == WARM_UP {
        work();
    }
    let mut done = 0;
    let start = Instant::now();
    loop {
        work();
        done += 1;
        if phase.load(Relaxed) != TIMED {
            return (done, start.elapsed());
        }
    }
}

/// Asks for the targets in order, over and over, and returns the nanoseconds of one operation.
#[inline(always)]
fn repeat(
    phase: &AtomicU8,
    (mut at, len): (usize, usize),
    mut operation: impl FnMut(usize) -> bool,
) -> f64 {
    const BATCH: u64 = 64;
    let mut failed = 0u64;
    let (batches, elapsed) = timed(phase, || {
        for _ in 0..BATCH {
            failed += u64::from(!operation(at));
            at += 1;
            if at == len {
                at = 0;
            }
        }
    });
    assert_eq!(failed, 0, "wrong answers");
    elapsed.as_nanos() as f64 / (batches * BATCH) as f64
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // A machine that does not allow it only makes the figures noisier.
    let _ = sched_setaffinity(None, &set);
}
