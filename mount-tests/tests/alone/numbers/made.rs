//! The numbers of what is made in the mount of a source.

use super::{listed, load, load_with};
use mount_tests::posix::{forced, seen};
use mount_tests::{Scratch, Tmpfs};
use std::collections::BTreeSet;
use std::path::Path;

/// Makes `count` of each kind in `dir`, and removes and makes some again. Gives all numbers that were seen.
fn make(dir: &Path, count: usize) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    let mut met = 0;
    let mut note = |name: &Path| {
        let ino = seen(name).ino;
        assert_eq!(forced(name).ino, ino);
        numbers.insert(ino);
        met += 1;
    };
    for n in 0..count {
        let name = |kind: &str| dir.join(format!("{kind}{n}"));
        std::fs::create_dir(name("dir")).unwrap();
        std::fs::write(name("file"), "made").unwrap();
        std::os::unix::fs::symlink("file", name("link")).unwrap();
        for kind in ["dir", "file", "link"] {
            note(&name(kind));
        }
        if n % 2 == 0 {
            std::fs::remove_file(name("file")).unwrap();
            std::fs::write(name("file"), "made again").unwrap();
            note(&name("file"));
        }
    }
    assert_eq!(numbers.len(), met, "a number came twice");
    numbers
}

/// All numbers below `dir`.
fn all(dir: &Path) -> BTreeSet<u64> {
    super::numbers(dir).into_values().flatten().collect()
}

fn same_later(source: &Path, expect: impl Fn(u64) -> bool) {
    make_in_source(source, 100);
    let mount = load(source);
    let loaded = all(source);
    assert_eq!(all(mount.root()), loaded);
    let made = make(mount.root(), 300);
    let later = make_in_source(source, 300);
    assert!(made.is_disjoint(&loaded) && made.is_disjoint(&later));
    assert!(made.iter().all(|ino| expect(*ino)), "{:?}", made.first());
    let ino = seen(mount.path("file7")).ino;
    assert_eq!(listed(mount.root(), "file7"), ino);
    assert_eq!(listed(&mount.path("dir7"), ".."), seen(mount.root()).ino);
}

fn make_in_source(source: &Path, count: usize) -> BTreeSet<u64> {
    let dir = tempfile::tempdir_in(source).unwrap().keep();
    for n in 0..count {
        std::fs::write(dir.join(n.to_string()), "").unwrap();
    }
    all(&dir)
}

/// Whether a program that keeps numbers in 32 bits can read it.
fn is_narrow(ino: u64) -> bool {
    ino < u64::from(u32::MAX)
}

#[test]
fn no_new_file_has_a_number_of_the_source_or_of_what_appears_there_later() {
    let on_disk = Scratch::new();
    same_later(&on_disk, is_narrow);
    same_later(&Tmpfs::new(), is_narrow);
}

/// Numbers of another norefs are any: those that are not too high are kept.
#[test]
fn a_source_with_numbers_of_any_size_is_no_exception() {
    let first = Scratch::new();
    let lower = load(&first);
    std::fs::write(lower.path("made"), "").unwrap();
    let empty = mount_tests::Daemon::start();
    for source in [lower.root(), empty.root()] {
        same_later(source, |ino| ino >> 62 == 0b10);
    }
    let upper = load(lower.root());
    assert_eq!(seen(upper.path("made")), seen(lower.path("made")));
}

/// A program that remembers a number should not find another file under it in the next mount.
#[test]
fn two_mounts_of_a_source_give_different_numbers() {
    let source = Scratch::new();
    let made = [(); 2].map(|()| make(load(&source).root(), 40));
    assert!(made[0].is_disjoint(&made[1]));
}

#[test]
fn a_mount_that_cannot_know_of_other_devices_keeps_apart_what_it_makes() {
    let source = Scratch::new();
    let below = Tmpfs::at(source.dir("below"));
    let mount = load_with(&source, &["--cross-mounts"]);
    let loaded = all(mount.root());
    let made = make(&mount.path("below"), 50);
    assert!(made.is_disjoint(&loaded) && made.is_disjoint(&make_in_source(&below, 50)));
    assert!(made.into_iter().all(is_narrow));
}
