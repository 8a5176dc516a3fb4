//! The same calls on norefs and on tmpfs: each must answer the same and leave the same behind.
//!
//! Random sequences begin in a directory with little in it. norefs is mounted twice, with and without the kernel's cache.
//! After each step the answers are compared, and after some of them all that can be seen. A sequence that differs is
//! shrunk and shown as a test to be pasted into `regressions.rs`. What may differ is listed in `known.rs`.
//!
//! `DIFFERENTIAL_STEPS=1000000` makes that many steps instead of those that fit into some seconds, and
//! `DIFFERENTIAL_SEED=7` other ones; a long run without a seed chooses and prints one.

mod call;
mod chance;
mod concurrent;
mod content;
mod known;
mod look;
mod perform;
mod regressions;
mod world;

use crate::call::{BEGINNING, Step, script};
use crate::look::Seen;
use crate::world::{Report, World};
use mount_tests::{Daemon, Tmpfs, report};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use rustix::mount::MountFlags;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps if the environment says nothing.
const STEPS: usize = 5_000;

/// Steps with the same mounts.
const ROUND: usize = 5_000;

/// Most steps of a sequence.
const LENGTH: usize = 120;

/// Longer than the kernel's coarse clock stands still.
const TICK: Duration = Duration::from_millis(11);

/// What differs.
struct Difference {
    why: String,
    /// Nothing but whether times moved.
    of_times: bool,
}

/// Two mounts of norefs beside a tmpfs.
struct Rivals {
    tmpfs: World,
    norefs: [(&'static str, World); 2],
    counts: Counts,
    _mounts: ([Daemon; 2], Tmpfs),
}

#[derive(Default)]
struct Counts {
    steps: usize,
    successes: usize,
    /// Sequences that ended at a known difference.
    cut: usize,
    /// How often each kind of call had each outcome.
    kinds: BTreeMap<String, usize>,
}

impl Rivals {
    fn new() -> Rivals {
        let tmpfs = Tmpfs::new();
        let flags = MountFlags::NOATIME | MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount_remount(&*tmpfs, flags, "").unwrap();
        let daemons = [Daemon::start(), Daemon::without_cache()];
        let [cached, uncached] = &daemons;
        Rivals {
            tmpfs: World::new(&tmpfs),
            norefs: [
                ("norefs", World::new(cached.root())),
                ("norefs without cache", World::new(uncached.root())),
            ],
            counts: Counts::default(),
            _mounts: (daemons, tmpfs),
        }
    }

    /// Takes `steps` everywhere; what differs first, if anything does.
    ///
    /// tmpfs gives a directory the time of the inode whose name changed in it (`shmem_unlink`), which may be the one that
    /// the directory had, if both fall into one tick of the clock. So a difference of times counts if it is there again when
    /// each step has a tick of its own.
    fn compare(&mut self, steps: &[Step]) -> Result<(), String> {
        let compared = match self.take(steps, Duration::ZERO) {
            Err(difference) if difference.of_times => self.take(steps, TICK),
            compared => compared,
        };
        compared.map_err(|difference| difference.why)
    }

    fn take(&mut self, steps: &[Step], pause: Duration) -> Result<(), Difference> {
        self.tmpfs.begin();
        self.norefs.iter().for_each(|(_, world)| world.begin());
        for (number, step) in BEGINNING.iter().chain(steps).enumerate() {
            std::thread::sleep(pause);
            self.tmpfs.start(*step);
            self.norefs.iter().for_each(|(_, world)| world.start(*step));
            let expected = self.tmpfs.finish();
            let reports = self.norefs.each_ref().map(|(_, world)| world.finish());
            self.counts.count(step, &expected);
            for ((name, _), report) in self.norefs.iter().zip(&reports) {
                let place = |difference: Difference| Difference {
                    why: format!("{name}, step {number}, {:?}: {}", step.call, difference.why),
                    ..difference
                };
                if !answers(step, &expected, report).map_err(place)? {
                    self.counts.cut += 1;
                    return Ok(());
                }
                trees(&expected, report).map_err(place)?;
            }
        }
        Ok(())
    }
}

impl Counts {
    fn count(&mut self, step: &Step, report: &Report) {
        let call = format!("{:?}", step.call);
        let call = call.split(' ').next().unwrap_or_default();
        let outcome = report.answer.as_ref().err();
        self.steps += 1;
        self.successes += usize::from(outcome.is_none());
        let kind = format!(
            "{call} {}",
            outcome.map_or("succeeds".into(), |errno| errno.to_string())
        );
        *self.kinds.entry(kind).or_default() += 1;
    }
}

/// Whether both answers let the sequence go on; an error if they may not differ.
fn answers(step: &Step, tmpfs: &Report, norefs: &Report) -> Result<bool, Difference> {
    let (tmpfs, norefs) = (&tmpfs.answer, &norefs.answer);
    if tmpfs == norefs {
        return Ok(true);
    }
    let call = &step.call;
    match known::why(&known::Pair {
        call,
        tmpfs,
        norefs,
    }) {
        Some(_) => Ok(tmpfs.is_ok() == norefs.is_ok()),
        None => Err(Difference {
            why: format!("tmpfs answers {tmpfs:?}, norefs {norefs:?}"),
            of_times: false,
        }),
    }
}

fn trees(tmpfs: &Report, norefs: &Report) -> Result<(), Difference> {
    let (Some(tmpfs), Some(norefs)) = (&tmpfs.tree, &norefs.tree) else {
        return Ok(());
    };
    let wrong = |why: &String| Difference {
        why: why.clone(),
        of_times: false,
    };
    let (tmpfs, norefs) = (
        tmpfs.as_ref().map_err(wrong)?,
        norefs.as_ref().map_err(wrong)?,
    );
    let same = |path: &&String, same: fn(&Seen, &Seen) -> bool| {
        let both = tmpfs.get(*path).zip(norefs.get(*path));
        both.is_some_and(|(tmpfs, norefs)| same(tmpfs, norefs))
    };
    let mut paths = tmpfs.keys().chain(norefs.keys());
    match paths.clone().find(|path| !same(path, known::same)) {
        None => Ok(()),
        Some(path) => Err(Difference {
            why: format!(
                "{path} differs\ntmpfs: {:#?}\nnorefs: {:#?}",
                tmpfs.get(path),
                norefs.get(path)
            ),
            of_times: paths.all(|path| same(&path, known::same_but_for_times)),
        }),
    }
}

/// Expects `steps` to be the same everywhere.
#[track_caller]
fn same(steps: &[Step]) {
    if let Err(why) = Rivals::new().compare(steps) {
        panic!("{why}");
    }
}

fn variable(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}")),
    )
}

/// Random sequences of `steps` steps altogether.
fn round(seed: usize, steps: usize) -> Counts {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: (2 * steps / LENGTH) as u32,
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let rivals = RefCell::new(Rivals::new());
    let outcome = TestRunner::new_with_rng(config, rng).run(&chance::steps(LENGTH), |steps| {
        let compared = rivals.borrow_mut().compare(&steps);
        compared.map_err(proptest::test_runner::TestCaseError::fail)
    });
    match outcome {
        Ok(()) => rivals.into_inner().counts,
        Err(TestError::Fail(why, steps)) => {
            panic!("DIFFERENTIAL_SEED={seed}: {why}\n\n{}", script(&steps))
        }
        Err(error) => panic!("DIFFERENTIAL_SEED={seed}: {error}"),
    }
}

#[test]
fn random_sequences() {
    let wanted = variable("DIFFERENTIAL_STEPS");
    let chosen = || wanted.map_or(0, |_| std::process::id() as usize * 100_000);
    let seed = variable("DIFFERENTIAL_SEED").unwrap_or_else(chosen);
    let wanted = wanted.unwrap_or(STEPS);
    let mut total = Counts::default();
    for number in 0.. {
        if total.steps >= wanted {
            break;
        }
        let counts = round(seed + number, ROUND);
        total.steps += counts.steps;
        total.successes += counts.successes;
        total.cut += counts.cut;
        for (kind, times) in counts.kinds {
            *total.kinds.entry(kind).or_default() += times;
        }
        eprintln!(
            "seed {}: {} steps without a difference",
            seed + number,
            total.steps
        );
    }
    let (steps, kinds) = (total.steps, total.kinds.len());
    eprintln!(
        "{} of {steps} steps succeed, {} sequences are cut short",
        total.successes, total.cut
    );
    eprintln!("{kinds} kinds of call and outcome: {:#?}", total.kinds);
    report::operations(&report::target(), steps as u64);
    assert!(total.successes > steps / 5, "too few calls succeed");
    assert!(kinds > 150, "too few kinds of outcomes are met");
}
