//! Directories of very many entries: made, listed, read at positions while they change, looked at, emptied.
//!
//! `cargo test --release -p mount-tests --test calls large:: -- --ignored` does it with a million.

use mount_tests::posix::seen;
use mount_tests::{Daemon, Dice, Tmpfs, wait_until};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, mknodat, open, seek, statat, statfs,
    unlinkat,
};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// One entry, as getdents64 gives it. Names that stay are numbers; those that come and go begin with `x`.
struct Listed {
    number: usize,
    ino: u64,
    /// The position after it.
    next: u64,
}

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn make(dir: &OwnedFd, name: &str) {
    mknodat(dir, name, FileType::RegularFile, Mode::RUSR, 0).unwrap();
}

fn remove(dir: &OwnedFd, name: &str) {
    unlinkat(dir, name, AtFlags::empty()).unwrap();
}

/// Calls `visit` for each entry with a number, from where `dir` stands to the end.
fn each(dir: &OwnedFd, mut visit: impl FnMut(Listed)) {
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.unwrap();
        if let Ok(number) = entry.file_name().to_str().unwrap().parse() {
            let (ino, next) = (entry.ino(), entry.next_entry_cookie());
            visit(Listed { number, ino, next });
        }
    }
}

fn rest(dir: &OwnedFd) -> Vec<Listed> {
    let mut listed = Vec::new();
    each(dir, |entry| listed.push(entry));
    listed
}

/// Expects each number below `entries` for which `wanted` is true once, and no other.
#[track_caller]
fn each_once(listed: &[Listed], entries: usize, wanted: impl Fn(usize) -> bool) {
    let mut times = vec![0u8; entries];
    for entry in listed {
        times[entry.number] += 1;
    }
    let wrong = (0..entries).find(|&number| times[number] != u8::from(wanted(number)));
    if let Some(number) = wrong {
        panic!("{number} is listed {} times", times[number]);
    }
}

/// Positions in the middle of a listing lead to what came after them, although entries have come and gone.
///
/// Where the kernel has listed the directory before it goes on in that listing (`fuse_readdir_cached` looks for changes at
/// the start alone), so what has gone may be there. That is what POSIX leaves open.
fn positions_stay(dir: &OwnedFd, entries: usize, cached: bool) {
    let before = rest(&reopened(dir));
    let gone = |number: usize| number % 64 == 5;
    for number in (0..entries).filter(|&number| gone(number)) {
        remove(dir, &number.to_string());
        make(dir, &format!("x{number}"));
    }
    for place in [0, 1, entries / 3, entries / 2, entries - 2] {
        let there = reopened(dir);
        seek(&there, SeekFrom::Start(before[place].next)).unwrap();
        let mut expected = vec![false; entries];
        for entry in &before[place + 1..] {
            expected[entry.number] = !gone(entry.number);
        }
        let mut listed = rest(&there);
        if cached {
            listed.retain(|entry| !gone(entry.number));
        }
        each_once(&listed, entries, |number| expected[number]);
    }
    each_once(&rest(&reopened(dir)), entries, |number| !gone(number));
    for number in (0..entries).filter(|&number| gone(number)) {
        remove(dir, &format!("x{number}"));
        make(dir, &number.to_string());
    }
}

/// The same directory, open once more.
fn reopened(dir: &OwnedFd) -> OwnedFd {
    rustix::fs::openat(dir, ".", OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// Several readers each see every entry that stays once, while others come and go. Half of them look at what they
/// list, so that the kernel asks for attributes with the names.
fn readers_beside_writers(dir: &OwnedFd, entries: usize) {
    let done = &AtomicBool::new(false);
    let read = |looking: bool| {
        let open = reopened(dir);
        let mut listed = Vec::new();
        each(&open, |entry| {
            if looking && entry.number % 100 == 0 {
                let stat = statat(dir, entry.number.to_string(), AtFlags::SYMLINK_NOFOLLOW);
                assert_eq!(stat.unwrap().st_ino, entry.ino);
            }
            listed.push(entry);
        });
        each_once(&listed, entries, |_| true);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) && n >= 200 {
                    break;
                }
                let name = format!("x{}", n % 100);
                match n / 100 % 2 {
                    0 => make(dir, &name),
                    _ => remove(dir, &name),
                }
            }
            (0..100).for_each(|n| _ = unlinkat(dir, format!("x{n}"), AtFlags::empty()));
        });
        let readers = [true, false, true].map(|looking| scope.spawn(move || read(looking)));
        let ended = readers.map(|reader| reader.join());
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|reader| reader.unwrap());
    });
}

fn some_are_what_was_listed(dir: &OwnedFd, listed: &[Listed]) {
    let mut dice = Dice::new(3);
    for _ in 0..10_000.min(listed.len()) {
        let entry = &listed[dice.roll(listed.len() as u64) as usize];
        let stat = statat(dir, entry.number.to_string(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(stat.st_ino, entry.ino);
    }
}

/// All of it, of a directory that is made, used and emptied here.
fn whole_life(mount: &Daemon, entries: usize) {
    let free = || statfs(mount.root()).unwrap().f_ffree;
    let before = free();
    std::fs::create_dir(mount.path("dir")).unwrap();
    let dir = directory(&mount.path("dir"));
    (0..entries).for_each(|number| make(&dir, &number.to_string()));
    for _ in 0..2 {
        let listed = rest(&reopened(&dir));
        each_once(&listed, entries, |_| true);
        some_are_what_was_listed(&dir, &listed);
    }
    assert_eq!(free(), before - 1 - entries as u64);
    positions_stay(&dir, entries, true);
    readers_beside_writers(&dir, entries);
    (0..entries).for_each(|number| remove(&dir, &number.to_string()));
    assert!(rest(&reopened(&dir)).is_empty());
    drop(dir);
    std::fs::remove_dir(mount.path("dir")).unwrap();
    assert!(wait_until(|| free() == before), "{} of {before}", free());
}

#[test]
fn a_hundred_thousand_entries_from_the_first_to_the_last() {
    whole_life(&Daemon::start(), 100_000);
}

#[test]
fn a_hundred_thousand_entries_of_a_source_without_the_cache() {
    const ENTRIES: usize = 100_000;
    let source = Tmpfs::new();
    let dir = directory(&source);
    (0..ENTRIES).for_each(|number| make(&dir, &number.to_string()));
    let options = "allow_other,cache=none";
    let mount = Daemon::with(&["-o", options, source.to_str().unwrap()]);
    let dir = directory(mount.root());
    let listed = rest(&reopened(&dir));
    each_once(&listed, ENTRIES, |_| true);
    some_are_what_was_listed(&dir, &listed);
    positions_stay(&dir, ENTRIES, false);
    readers_beside_writers(&dir, ENTRIES);
    assert_eq!(seen(mount.root()).nlink, 2);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_entries_from_the_first_to_the_last() {
    whole_life(&Daemon::start(), 1_000_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_entries_without_the_cache() {
    whole_life(&Daemon::without_cache(), 1_000_000);
}

#[test]
fn a_listing_begun_goes_on_behind_what_was_removed() {
    for (mount, cached) in [(Daemon::start(), true), (Daemon::without_cache(), false)] {
        let dir = directory(mount.root());
        (0..5000).for_each(|number| make(&dir, &number.to_string()));
        let listed = rest(&reopened(&dir));
        let there = reopened(&dir);
        seek(&there, SeekFrom::Start(listed[2500].next)).unwrap();
        for entry in &listed {
            remove(&dir, &entry.number.to_string());
        }
        assert!(cached || rest(&there).is_empty());
        seek(&there, SeekFrom::Start(0)).unwrap();
        assert!(rest(&there).is_empty());
        (0..5000).for_each(|number| make(&dir, &number.to_string()));
        rustix::fs::renameat(CWD, mount.path("1"), CWD, mount.path("x")).unwrap();
        each_once(&rest(&reopened(&dir)), 5000, |number| number != 1);
    }
}
