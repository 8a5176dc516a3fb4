//! Several threads or processes take random steps in one mount at once: in a directory that they share, where nothing may
//! be stale, lost or counted wrongly afterwards, and in directories of their own, where all must be as on tmpfs.

use crate::call::{BEGINNING, Call, Step, script};
use crate::chance;
use crate::compare::Rivals;
use crate::counts::Counts;
use crate::world::{Job, NAME, World};
use mount_tests::posix::{Seen, forced, seen};
use mount_tests::{Daemon, Tmpfs, report, wait_until};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::fs::statfs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command};

/// Threads that share a directory, how often they do, and the steps of each.
const CALLERS: usize = 4;
const ROUNDS: usize = 10;
const STEPS: usize = 100;

/// Processes that share a mount.
const PROCESSES: usize = 3;

/// Times that they do, if the environment does not say.
const STORMS: usize = 3;

/// Sequences of each process, in both of its directories.
const SEQUENCES: usize = 12;

/// Most steps of one.
const LENGTH: usize = 60;

const SHARED: &str = "shared";

/// Tells a process which it is, and where tmpfs and norefs are mounted.
const VARIABLES: [&str; 4] = [
    "CALLER_NUMBER",
    "CALLER_SEED",
    "CALLER_TMPFS",
    "CALLER_NOREFS",
];

fn own(mount: &Path, number: usize) -> std::path::PathBuf {
    mount.join(format!("own {number}"))
}

fn start(number: usize, seed: usize, tmpfs: &Path, norefs: &Path) -> Child {
    let [numbers, seeds, on_tmpfs, on_norefs] = VARIABLES;
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "concurrent::one_of_several",
            "--ignored",
            "--nocapture",
        ])
        .env(numbers, number.to_string())
        .env(seeds, seed.to_string())
        .env(on_tmpfs, tmpfs)
        .env(on_norefs, norefs)
        .spawn()
        .unwrap()
}

fn runner(seed: usize) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

fn sequence(runner: &mut TestRunner) -> Vec<Step> {
    chance::steps(LENGTH).new_tree(runner).unwrap().current()
}

/// One of the processes: two threads of it, of which one works where others do.
#[test]
#[ignore = "a part of the next test"]
fn one_of_several() {
    let [number, seed, tmpfs, norefs] =
        VARIABLES.map(|name| std::env::var(name).expect("another test starts this"));
    let (number, seed): (usize, usize) = (number.parse().unwrap(), seed.parse().unwrap());
    let seed = seed * 100 + number;
    let (tmpfs, norefs) = (own(tmpfs.as_ref(), number), (norefs.as_ref() as &Path));
    let (shared, own) = (norefs.join(SHARED), own(norefs, number));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (world, mut runner) = (World::new(&shared), runner(seed));
            for _ in 0..SEQUENCES {
                let steps = beside_others(sequence(&mut runner)).collect();
                let apart = false;
                world.start(Job {
                    steps,
                    apart,
                    anew: false,
                });
                assert_eq!(world.finish().fault, None);
            }
        });
        let (rivals, mut runner) = (Rivals::at(&tmpfs, &own), runner(seed + 50));
        for _ in 0..SEQUENCES {
            let steps = sequence(&mut runner);
            if let Err(difference) = rivals.compare(&steps, &mut Counts::default()) {
                panic!("process {number}: {}\n{}", difference.why, script(&steps));
            }
        }
    });
}

/// Somebody begins, so that all find something.
fn begin(shared: &Path) {
    let world = World::new(shared);
    let (steps, apart) = (BEGINNING.into(), false);
    world.start(Job {
        steps,
        apart,
        anew: true,
    });
    assert_eq!(world.finish().fault, None);
}

/// Everything below a directory.
#[derive(Default)]
struct Found {
    inodes: BTreeMap<u64, (Seen, u32)>,
}

impl Found {
    fn look(&mut self, path: &Path) {
        let seen = seen(path);
        assert_eq!(seen, forced(path), "{} is stale", path.display());
        let is_dir = seen.mode & 0o170_000 == 0o040_000;
        if seen.mode & 0o170_000 == 0o100_000 {
            read(path, seen.size);
        }
        self.inodes.entry(seen.ino).or_insert((seen.clone(), 0)).1 += 1;
        if is_dir {
            self.list(path, &seen);
        }
    }

    fn list(&mut self, dir: &Path, seen: &Seen) {
        let (mut names, mut dirs) = (BTreeSet::new(), 0);
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            assert!(names.insert(entry.file_name()), "{} twice", path.display());
            dirs += u32::from(entry.file_type().unwrap().is_dir());
            let ino = std::os::unix::fs::DirEntryExt::ino(&entry);
            assert_eq!(
                ino,
                mount_tests::posix::seen(&path).ino,
                "{}",
                path.display()
            );
            self.look(&path);
        }
        assert_eq!(seen.nlink, 2 + dirs, "directories in {}", dir.display());
    }

    /// As many names of each file as it says, and as many inodes as the daemon counts.
    fn check(&self, daemon: &Daemon) {
        for (seen, names) in self.inodes.values() {
            if seen.mode & 0o170_000 != 0o040_000 {
                assert_eq!(seen.nlink, *names, "{seen:?}");
            }
        }
        let counted = || daemon.stats().0["inodes"].as_u64().unwrap() as usize;
        let here = self.inodes.len();
        assert!(
            wait_until(|| counted() == here),
            "{here} of {} inodes found",
            counted()
        );
    }
}

/// Content is there up to the size, of which the last part is looked at in large files.
fn read(path: &Path, size: u64) {
    let file = std::fs::File::open(path).unwrap();
    let mut room = [0; 8_192];
    let from = size.saturating_sub(room.len() as u64);
    let mut length = 0;
    while length < room.len() {
        let offset = from + length as u64;
        match std::os::unix::fs::FileExt::read_at(&file, &mut room[length..], offset).unwrap() {
            0 => break,
            more => length += more,
        }
    }
    assert_eq!(from + length as u64, size, "the end of {}", path.display());
}

fn storm(seed: usize) {
    let (tmpfs, daemon) = (Tmpfs::new(), Daemon::with(&["-o", "allow_other"]));
    crate::compare::without_access_times(&tmpfs);
    let norefs = daemon.root();
    for number in 0..PROCESSES {
        std::fs::create_dir(own(&tmpfs, number)).unwrap();
        std::fs::create_dir(own(norefs, number)).unwrap();
    }
    let shared = norefs.join(SHARED);
    std::fs::create_dir(&shared).unwrap();
    begin(&shared);
    let children: Vec<Child> = (0..PROCESSES)
        .map(|number| start(number, seed, &tmpfs, norefs))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "CONCURRENT_SEED={seed}");
    }
    let mut found = Found::default();
    found.look(norefs);
    found.check(&daemon);
    assert!(found.inodes.len() > 10, "the storm leaves nothing");
    for entry in std::fs::read_dir(norefs).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let mut found = Found::default();
    found.look(norefs);
    assert_eq!(found.inodes.len(), 1);
    found.check(&daemon);
    let space = statfs(norefs).unwrap();
    assert_eq!(space.f_blocks, space.f_bfree, "room is still taken");
}

/// What of `steps` is taken where others work too. Who looks would see what they do, and a map of a file that another cuts ends
/// whoever touches it (`SIGBUS`).
fn beside_others(steps: Vec<Step>) -> impl Iterator<Item = Step> {
    let is_map = |step: &Step| matches!(step.call, Call::Map { .. } | Call::ReadMap { .. });
    let blind = |step| Step {
        look: false,
        ..step
    };
    steps
        .into_iter()
        .filter(move |step| !is_map(step))
        .map(blind)
}

/// Steps of one of several callers.
fn many(runner: &mut TestRunner) -> Job {
    let sequences = std::iter::repeat_with(|| sequence(runner));
    let steps = sequences.flat_map(beside_others).take(STEPS);
    Job {
        steps: steps.collect(),
        apart: false,
        anew: false,
    }
}

#[test]
fn nothing_stays_stale_after_a_storm() {
    let daemon = Daemon::start();
    let worlds: Vec<World> = (0..CALLERS).map(|_| World::new(daemon.root())).collect();
    let mut runner = runner(0);
    for _ in 0..ROUNDS {
        begin(daemon.root());
        worlds
            .iter()
            .for_each(|world| world.start(many(&mut runner)));
        for world in &worlds {
            assert_eq!(world.finish().fault, None);
        }
        let mut found = Found::default();
        found.look(&daemon.path(NAME));
        assert!(found.inodes.len() > 1, "the storm leaves nothing");
    }
    drop(worlds);
    report::operations(&report::target(), (CALLERS * ROUNDS * STEPS) as u64);
}

/// `CONCURRENT_STORMS=100` makes more of them, `CONCURRENT_SEED=7` others.
#[test]
fn processes_in_one_mount() {
    let storms = crate::variable("CONCURRENT_STORMS").unwrap_or(STORMS);
    let seed = crate::variable("CONCURRENT_SEED").unwrap_or(0);
    for seed in seed..seed + storms {
        storm(seed);
        eprintln!("storm {seed} leaves what it should");
    }
}
