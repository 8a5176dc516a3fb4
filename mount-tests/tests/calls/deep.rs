//! Trees deeper than any path is long, and paths and names as long as they may be.

use mount_tests::posix::{Outcome, seen};
use mount_tests::programs::run;
use mount_tests::{Daemon, Tmpfs, forget, same_as_tmpfs};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Mode, OFlags, fstat, mkdirat, open, openat, renameat, statat, statfs, symlinkat,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

const LEVELS: usize = 10_000;

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn step(from: &OwnedFd, name: &str) -> OwnedFd {
    openat(from, name, OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn number(file: &OwnedFd) -> u64 {
    fstat(file).unwrap().st_ino
}

/// Makes directories in one another from `root` down, with a file in the last, and gives that.
fn dig(root: &Path) -> OwnedFd {
    let mut here = directory(root);
    for _ in 0..LEVELS {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = step(&here, "d");
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = openat(&here, "file", flags, Mode::RUSR).unwrap();
    rustix::io::write(&file, b"down here").unwrap();
    here
}

fn go_down(root: &Path, levels: usize) -> OwnedFd {
    (0..levels).fold(directory(root), |here, _| step(&here, "d"))
}

/// How many steps `..` lead from `from` to `root`.
fn climb(mut from: OwnedFd, root: &Path) -> usize {
    let top = seen(root).ino;
    let mut steps = 0;
    while number(&from) != top {
        from = step(&from, "..");
        steps += 1;
    }
    steps
}

fn content(dir: &OwnedFd) -> Vec<u8> {
    let file = openat(dir, "file", OFlags::RDONLY, Mode::empty()).unwrap();
    let mut bytes = [0; 99];
    let length = rustix::io::read(&file, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// What getcwd(2) gives in `dir`.
fn working_directory(dir: &OwnedFd) -> Result<usize, Errno> {
    std::thread::scope(|scope| {
        let ask = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            rustix::process::fchdir(dir).unwrap();
            rustix::process::getcwd(Vec::new()).map(|path| path.as_bytes().len())
        });
        ask.join().unwrap()
    })
}

/// Uses a tree of [`LEVELS`] directories as far as it can be used, and removes it.
fn use_and_remove(root: &Path) -> impl PartialEq + std::fmt::Debug + use<> {
    std::fs::create_dir(root.join("top")).unwrap();
    std::fs::create_dir(root.join("other")).unwrap();
    let bottom = dig(&root.join("top"));
    let place = working_directory(&bottom);
    let below = root.join("top/d/d");
    let into_itself = renameat(directory(root), "top", &bottom, "inner");
    let onto_ancestor = renameat(&bottom, "file", directory(root), "top");
    std::fs::rename(root.join("top/d"), root.join("other/d")).unwrap();
    assert_eq!(climb(bottom, root), LEVELS + 1);
    forget(root);
    let bottom = go_down(&root.join("other"), LEVELS);
    assert_eq!(content(&bottom), b"down here");
    drop(bottom);
    let found = run(root, "find", &[".", "-printf", "."]);
    run(root, "rm", &["-rf", "other"]);
    let left = run(root, "find", &["."]);
    (
        place,
        into_itself,
        onto_ancestor,
        below.exists(),
        found.len(),
        left,
    )
}

#[test]
fn ten_thousand_levels_are_made_used_and_removed() {
    let inodes = |root: &Path| statfs(root).unwrap().f_ffree;
    let expected = use_and_remove(&Tmpfs::new());
    let mount = Daemon::start();
    let before = inodes(mount.root());
    assert_eq!(use_and_remove(mount.root()), expected);
    let all_but_top = || inodes(mount.root()) == before - 1;
    assert!(mount_tests::wait_until(all_but_top));
}

#[test]
fn ten_thousand_levels_without_the_cache_are_unmounted_with_all_that_is_in_them() {
    let mount = Daemon::without_cache();
    let bottom = dig(mount.root());
    assert_eq!(content(&bottom), b"down here");
    assert_eq!(climb(bottom, mount.root()), LEVELS);
}

#[test]
fn a_source_of_ten_thousand_levels_is_loaded() {
    let source = Tmpfs::new();
    dig(&source);
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let bottom = go_down(mount.root(), LEVELS);
    assert_eq!(content(&bottom), b"down here");
    let file = openat(
        &bottom,
        "file",
        OFlags::WRONLY | OFlags::APPEND,
        Mode::empty(),
    )
    .unwrap();
    rustix::io::write(&file, b", too").unwrap();
    assert_eq!(content(&bottom), b"down here, too");
    assert_eq!(content(&go_down(&source, LEVELS)), b"down here");
    assert_eq!(climb(bottom, mount.root()), LEVELS);
}

/// A relative path of `length` bytes that names of 255 bytes make up, the last one of what is left.
fn long_path(length: usize) -> PathBuf {
    let mut path = "n".repeat(255);
    while path.len() < length {
        path.push('/');
        path.push_str(&"n".repeat(255));
    }
    path.truncate(length);
    path.into()
}

#[test]
fn paths_and_targets_of_4095_bytes_are_the_longest() {
    same_as_tmpfs(|root| {
        let root = directory(root);
        let mut here = root.try_clone().unwrap();
        for _ in 0..15 {
            mkdirat(&here, "n".repeat(255), Mode::RWXU).unwrap();
            here = step(&here, &"n".repeat(255));
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let made = [4095, 4094, 4000, 4096].map(|length| {
            let path = long_path(length);
            openat(&root, &path, flags, Mode::RUSR).outcome()
        });
        let targets = [4095, 4094, 4096].map(|length| {
            let name = length.to_string();
            let linked = symlinkat(long_path(length), &root, &name);
            let followed = statat(&root, &name, AtFlags::empty()).map(|stat| stat.st_size);
            (linked, followed)
        });
        let behind = statat(&root, "4095/", AtFlags::empty()).outcome();
        (made, targets, behind)
    });
}

#[test]
fn names_of_255_bytes_of_any_script_are_the_longest() {
    same_as_tmpfs(|root| {
        let names = [
            "é".repeat(127) + "e",
            "é".repeat(128),
            "語".repeat(85),
            "語".repeat(86),
            "🦀".repeat(63) + "語",
        ];
        let made = names
            .each_ref()
            .map(|name| std::fs::create_dir(root.join(name)).outcome());
        let mut listed: Vec<_> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        listed.sort();
        (made, listed)
    });
}
