//! Whole-path `stat` takes effect at one instant, whatever happens to the directories on the way.
//!
//! Threads work on the real tree and write down when each call began and ended, by a clock outside of
//! the tree. Then a checker looks for an order of all calls that keeps to these times and in which
//! every answer is the one a sequential filesystem gives ([`world`]). In each story some state of the
//! file exists only while it must not be seen: its path leads elsewhere, or is closed.
//!
//! With the feature `failpoints` the threads stop at random between the steps of a walk and before an
//! answer is validated, which is where it could go wrong; without it only the scheduler stops them.

mod world;

use norefs_check::linearize::Monitor;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use world::Op::{
    self, Exchange, Leave, Lookup, Move, MoveInner, Open, OpenInner, Remove, Stat, Write,
};
use world::{A, Real, Ret, World, X, Y};

/// Calls of the first thread. The others go on until it is done.
const CALLS: usize = if cfg!(miri) { 60 } else { 6_000 };
const THREADS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Call(Op),
    Return(Ret),
}

type Moment = (u64, usize, Event);
type Script = dyn Fn(usize) -> Op + Sync;

/// The time: how many calls began or ended so far.
static CLOCK: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    CLOCK.fetch_add(1, Ordering::SeqCst)
}

/// One thread's calls, with the times at which they began and ended.
fn perform(real: &Real, done: &AtomicBool, thread: usize, script: &Script) -> Vec<Moment> {
    let mut moments = Vec::new();
    let goes_on = |number| match thread {
        0 => number < CALLS,
        _ => !done.load(Ordering::Relaxed),
    };
    for number in (0..).take_while(|number| goes_on(*number)) {
        let op = script(number);
        moments.push((now(), thread, Event::Call(op)));
        let ret = real.apply(op);
        moments.push((now(), thread, Event::Return(ret)));
        stop_at_random();
    }
    done.store(true, Ordering::Relaxed);
    moments
}

/// Runs one script in each thread, and gives what happened in order.
fn history(real: &Real, scripts: [&Script; THREADS]) -> Vec<Moment> {
    let (done, start) = (AtomicBool::new(false), Barrier::new(THREADS));
    let mut history: Vec<Moment> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (done, start, script) = (&done, &start, scripts[thread]);
                scope.spawn(move || {
                    start.wait();
                    perform(real, done, thread, script)
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    history.sort_unstable_by_key(|(time, ..)| *time);
    history
}

/// Runs the scripts and checks what came of them.
fn check(world: World, scripts: [&Script; THREADS]) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _installed = install();
    let real = Real::new(&world);
    let history = history(&real, scripts);
    let mut monitor = Monitor::<World, THREADS>::new(world);
    for (at, (_, thread, event)) in history.iter().enumerate() {
        match event {
            Event::Call(op) => monitor.invoke(*thread, *op),
            Event::Return(ret) => monitor.respond(*thread, *ret),
        }
        let before = &history[at.saturating_sub(40)..=at];
        assert!(
            monitor.is_linearizable(),
            "thread {thread}: no order explains {event:?} after\n{before:?}"
        );
    }
    println!("{} events, {:?}", history.len(), real.tree.outcomes());
}

/// Goes through `ops` again and again.
fn cycle(ops: &[Op]) -> impl Fn(usize) -> Op {
    |number| ops[number % ops.len()]
}

/// stat by each of `names` in turn, with the inner name `inner`, as `user`.
fn stats(names: &'static [usize], inner: usize, user: usize) -> impl Fn(usize) -> Op {
    move |number| Stat(names[number % names.len()], inner, user)
}

/// Version 1 exists only while the path leads nowhere.
#[test]
fn an_ancestor_is_moved_away_and_back() {
    let writer = cycle(&[
        Move(A, X),
        Write(0, 1),
        Write(0, 2),
        Move(X, A),
        Write(0, 3),
    ]);
    let lookups = cycle(&[Lookup(A), Lookup(X)]);
    let (stats, others) = (stats(&[A, X], 0, 0), stats(&[X, A], 0, 1));
    check(World::new(None), [&writer, &stats, &others, &lookups]);
}

/// Version 1 exists only while user 1 may not come here; nobody else's permission changes.
#[test]
fn an_ancestor_is_closed_and_opened() {
    let writer = cycle(&[
        Open(0, false),
        Write(0, 1),
        Write(0, 2),
        Open(0, true),
        Write(0, 3),
    ]);
    let (stats, lookups) = (stats(&[A], 0, 1), cycle(&[Lookup(A)]));
    check(World::new(None), [&writer, &stats, &stats, &lookups]);
}

/// Tree 0 is closed to user 1 only while the path leads to tree 1: it never answers EACCES, and the
/// names that change hands are never missing.
#[test]
fn an_ancestor_is_exchanged_and_a_closed_one_is_never_met() {
    let writer = cycle(&[
        Exchange(A, Y),
        OpenInner(0, false),
        Write(0, 1),
        OpenInner(0, true),
        Exchange(Y, A),
    ]);
    let lookups = cycle(&[Lookup(A), Lookup(Y)]);
    let (stats, others) = (stats(&[A, Y], 0, 1), stats(&[A], 0, 1));
    check(World::new(Some(Y)), [&writer, &stats, &others, &lookups]);
}

/// What is left behind takes the name in the same step: the name is never missing.
#[test]
fn what_a_rename_leaves_is_there_at_once() {
    let writer = cycle(&[Leave(A, X), Write(0, 1), Exchange(X, A), Remove(X)]);
    let (lookups, others) = (cycle(&[Lookup(A), Lookup(X)]), cycle(&[Lookup(A)]));
    let stats = stats(&[A, X], 0, 0);
    check(World::new(None), [&writer, &stats, &lookups, &others]);
}

/// The inner directory is called `c` only while its parent is away.
#[test]
fn a_name_exists_only_while_its_ancestor_is_away() {
    let writer = cycle(&[Move(A, X), MoveInner(0, 1), MoveInner(0, 0), Move(X, A)]);
    let lookups = cycle(&[Lookup(A), Lookup(X)]);
    let (stats, others) = (stats(&[A], 1, 0), stats(&[A], 1, 1));
    check(World::new(None), [&writer, &stats, &others, &lookups]);
}

/// The directory is closed only while it is away: a LOOKUP never tells of a closed one.
#[test]
fn what_lookup_tells_belongs_to_the_name() {
    let writer = cycle(&[Move(A, X), Open(0, false), Open(0, true), Move(X, A)]);
    let (lookups, others) = (cycle(&[Lookup(A)]), cycle(&[Lookup(A), Lookup(X)]));
    check(World::new(None), [&writer, &lookups, &lookups, &others]);
}

/// One thread renames, another one changes permissions, in no particular order to each other.
#[test]
fn one_ancestor_is_renamed_while_another_changes_permissions() {
    let renamer = cycle(&[Move(A, X), Exchange(X, Y), Move(X, A), Exchange(Y, A)]);
    let changer = cycle(&[
        OpenInner(0, false),
        Write(0, 1),
        Open(1, false),
        OpenInner(0, true),
        Open(1, true),
        Write(1, 2),
    ]);
    let (stats, others) = (stats(&[A, Y, X], 0, 1), stats(&[Y, A], 0, 1));
    check(World::new(Some(Y)), [&renamer, &changer, &stats, &others]);
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn random(below: u64) -> u64 {
    let seed = SEED.get() ^ CLOCK.load(Ordering::Relaxed) << 32 | 1;
    let seed = seed ^ seed << 13;
    let seed = seed ^ seed >> 7;
    let seed = seed ^ seed << 17;
    SEED.set(seed);
    (seed >> 16) % below
}

/// Every now and then lets the other threads begin or end a few calls.
fn stop_at_random() {
    if random(3) > 0 {
        return;
    }
    let until = CLOCK.load(Ordering::Relaxed) + random(8);
    for _ in 0..64 {
        if CLOCK.load(Ordering::Relaxed) >= until {
            return;
        }
        std::thread::yield_now();
    }
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[cfg(feature = "failpoints")]
fn install() -> norefs_tree::failpoint::Installed {
    norefs_tree::failpoint::install(|_| stop_at_random())
}

#[cfg(not(feature = "failpoints"))]
struct NothingInstalled;

#[cfg(not(feature = "failpoints"))]
fn install() -> NothingInstalled {
    NothingInstalled
}
