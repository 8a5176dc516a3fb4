//! Never a wrong clean: `git status` says the same whether git asks the mount what changed or looks at everything, after each of many random
//! changes.
//!
//! In a mount lie a repository with a submodule, a nested repository and a linked working tree. After each change git is asked in
//! each of them with `core.fsmonitor` and `core.untrackedCache`, and without both and without what they left in the index. Sometimes
//! files change while git looks.
//!
//! `GIT_STATUS_CHANGES=10000` makes that many changes instead of some, and `GIT_STATUS_SEED=7` other ones.

mod change;
mod world;

use change::change;
use mount_tests::{Dice, report, transport};
use world::World;

/// Changes if the environment says nothing.
const CHANGES: u64 = 120;

/// Changes in the same mount.
const ROUND: u64 = 120;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}")),
    )
}

#[test]
fn git_says_the_same_with_and_without_being_told() {
    let wanted = variable("GIT_STATUS_CHANGES").unwrap_or(CHANGES);
    let first = variable("GIT_STATUS_SEED").unwrap_or(0);
    let transports = transport::each();
    let (mut made, mut compared, mut dirty) = (0, 0, 0);
    for round in 0.. {
        let seed = first + round;
        let world = World::new(transports[round as usize % transports.len()]);
        let mut dice = Dice::new(seed);
        let mut done: Vec<String> = Vec::new();
        for _ in 0..ROUND.min(wanted - made) {
            done.push(change(&world, &mut dice));
            made += 1;
            for tree in world.trees() {
                let (told, looked) = world.ask(&tree, &mut dice);
                assert!(
                    told == looked,
                    "GIT_STATUS_SEED={seed}, in {} after\n{}\ntold:\n{told}\nlooked:\n{looked}",
                    tree.display(),
                    done.join("\n")
                );
                compared += 1;
                dirty += u64::from(!looked.is_empty());
            }
        }
        eprintln!(
            "seed {seed}: {made} changes, {compared} comparisons, {dirty} of trees that were not clean"
        );
        if made >= wanted {
            break;
        }
    }
    report::operations(&report::target(), made);
    assert!(dirty * 10 > compared, "too few trees are dirty");
}
