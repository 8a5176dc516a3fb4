//! The same calls on norefs and on tmpfs: each must answer the same and leave the same behind.
//!
//! Random sequences begin in a directory with little in it. norefs is mounted several times, with different options.
//! The answers are compared step by step, and after some of them all that can be seen. A sequence that differs is
//! shrunk and shown as a test to be pasted into `regressions.rs`. What may differ is listed in `known.rs`.
//!
//! `DIFFERENTIAL_STEPS=1000000` makes that many steps instead of those that fit into some seconds, and
//! `DIFFERENTIAL_SEED=7` other ones; a long run without a seed chooses and prints one.

mod call;
mod chance;
mod compare;
mod concurrent;
mod content;
mod counts;
mod known;
mod listing;
mod locks;
mod look;
mod perform;
mod regressions;
mod reports;
mod unasked;
mod world;
mod xattr;

use crate::call::{Step, script};
use crate::compare::{Rivals, part};
use crate::counts::Counts;
use mount_tests::report;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::{Cell, RefCell};

/// Steps if the environment says nothing.
const STEPS: usize = 5_000;

/// Steps with the same mounts.
const ROUND: usize = 5_000;

/// Most steps of a sequence.
const LENGTH: usize = 120;

/// Milliseconds for making a sequence that differs shorter.
const PATIENCE: u32 = 60_000;

fn variable(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}")),
    )
}

/// A sequence that differs, as short as it could be made.
struct Found {
    why: String,
    steps: Vec<Step>,
    /// Steps of other sequences before it.
    after: usize,
}

/// Random sequences of `steps` steps altogether, in what `mount` mounts.
fn round(seed: usize, steps: usize, mount: impl Fn() -> Rivals) -> Result<Counts, Found> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: (2 * steps).div_ceil(LENGTH) as u32,
        failure_persistence: None,
        max_shrink_iters: 1_000_000,
        max_shrink_time: PATIENCE,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let (rivals, counts) = (RefCell::new(None), RefCell::new(Counts::default()));
    // What follows makes it shorter.
    let differs = Cell::new(false);
    let outcome = TestRunner::new_with_rng(config, rng).run(&chance::steps(LENGTH), |steps| {
        let mut place = rivals.borrow_mut();
        let rivals = place.get_or_insert_with(&mount);
        let mut met = Counts::default();
        let compared = rivals.compare(&steps, &mut met);
        if compared.is_ok() && !differs.get() {
            counts.borrow_mut().add(met);
        }
        compared.map_err(|difference| {
            differs.set(true);
            let parted = match difference.broken {
                true => place.take().map_or(Ok(()), part),
                false => Ok(()),
            };
            let end = parted.err().map_or(String::new(), |end| format!("\n{end}"));
            TestCaseError::fail(difference.why + &end)
        })
    });
    let parted = rivals.into_inner().map_or(Ok(()), part);
    let counts = counts.into_inner();
    let after = counts.steps;
    let (why, steps) = match (outcome, parted) {
        (Ok(()), Ok(())) => return Ok(counts),
        (Err(TestError::Fail(why, steps)), _) => (why.message().to_owned(), steps),
        (Err(TestError::Abort(why)), _) => (why.message().to_owned(), Vec::new()),
        (Ok(()), Err(why)) => (why, Vec::new()),
    };
    Err(Found { why, steps, after })
}

#[test]
fn random_sequences() {
    let wanted = variable("DIFFERENTIAL_STEPS");
    let chosen = || wanted.map_or(0, |_| std::process::id() as usize * 100_000);
    let seed = variable("DIFFERENTIAL_SEED").unwrap_or_else(chosen);
    let wanted = wanted.unwrap_or(STEPS);
    let mut total = Counts::default();
    for seed in seed.. {
        match round(seed, ROUND.min(wanted - total.steps), Rivals::new) {
            Ok(counts) => total.add(counts),
            Err(Found { why, steps, after }) => panic!(
                "DIFFERENTIAL_SEED={seed}, after {} steps: {why}\n\n{}",
                total.steps + after,
                script(&steps)
            ),
        }
        eprintln!("seed {seed}: {} steps without a difference", total.steps);
        if total.steps >= wanted {
            break;
        }
    }
    eprintln!("{total}");
    report::operations(&report::target(), total.steps as u64);
    assert!(
        total.successes * 10 > total.steps * 3,
        "too few calls succeed"
    );
    assert!(total.kinds() > 190, "too few kinds of outcomes are met");
}
