//! Several callers take random steps in one directory at once: afterwards the kernel's cache holds nothing that is not so.

use crate::chance;
use crate::world::{NAME, World};
use mount_tests::posix::{forced, seen};
use mount_tests::{Daemon, report};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::Path;

const CALLERS: usize = 4;
const ROUNDS: usize = 10;
const STEPS: usize = 100;

/// Every caller's steps in a directory that is new to all.
fn storm(worlds: &mut [World], runner: &mut TestRunner) {
    worlds[0].begin();
    // A step of one that has begun, so that the others join what is there.
    worlds[0].start(crate::BEGINNING[0]);
    worlds[0].finish();
    worlds[1..].iter().for_each(World::join);
    std::thread::scope(|scope| {
        for world in worlds.iter_mut() {
            let steps = chance::steps(STEPS).new_tree(runner).unwrap().current();
            scope.spawn(move || {
                for step in steps {
                    let look = false;
                    world.start(crate::Step { look, ..step });
                    let _any = world.finish();
                }
            });
        }
    });
}

/// How many paths there are, of which all attributes and directories were looked at.
fn check(dir: &Path) -> usize {
    assert_eq!(seen(dir), forced(dir), "{} is stale", dir.display());
    let mut paths = 1;
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        assert_eq!(seen(&path), forced(&path), "{} is stale", path.display());
        match entry.file_type().unwrap().is_dir() {
            true => paths += check(&path),
            false => paths += 1,
        }
    }
    paths
}

#[test]
fn nothing_stays_stale_after_a_storm() {
    let daemon = Daemon::start();
    let mut worlds: Vec<World> = (0..CALLERS).map(|_| World::new(daemon.root())).collect();
    let mut runner = TestRunner::deterministic();
    let mut paths = 0;
    for _ in 0..ROUNDS {
        storm(&mut worlds, &mut runner);
        paths += check(&daemon.path(NAME));
    }
    drop(worlds);
    report::operations(&report::target(), (CALLERS * ROUNDS * STEPS) as u64);
    assert!(paths > ROUNDS, "the storms leave nothing");
}
