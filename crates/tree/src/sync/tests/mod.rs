//! The loom stories: each is the smallest two or three threads in which an algorithm can go wrong,
//! run in every order and with every value the memory model allows.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib` runs them all. A story that is too long to be
//! run in every order says beside it how many preemptions it is run with.

mod loom_gate;
mod loom_lifetime;
mod loom_refword;
mod loom_rename;
mod loom_seqblock;
mod loom_slab;
mod loom_table;
mod loom_up;

use loom::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `story` in every order with at most `preemptions` of them, or with any number.
fn explore(name: &str, preemptions: Option<usize>, story: impl Fn() + Send + Sync + 'static) {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let _one_at_a_time = RUNNING.lock();
    RUNS.store(0, Ordering::Relaxed);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        RUNS.fetch_add(1, Ordering::Relaxed);
        story();
    });
    println!("{name}: {} runs", RUNS.load(Ordering::Relaxed));
}

static RUNNING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// What an object holds besides its words: loom reports whoever touches it unordered.
#[derive(Debug)]
struct Body(UnsafeCell<u32>);

// SAFETY: loom fails the story if two threads touch it unordered and one of them writes.
unsafe impl Sync for Body {}

impl Body {
    fn new(value: u32) -> Body {
        Body(UnsafeCell::new(value))
    }

    fn read(&self) -> u32 {
        // SAFETY: loom fails the story if a write is not ordered before or after this.
        self.0.with(|value| unsafe { *value })
    }

    fn write(&self, value: u32) {
        // SAFETY: loom fails the story if another access is not ordered before or after this.
        self.0.with_mut(|place| unsafe { *place = value });
    }
}
