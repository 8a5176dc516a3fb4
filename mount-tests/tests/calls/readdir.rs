//! Listings.

use mount_tests::posix::{fifo, seen};
use mount_tests::programs::run;
use mount_tests::{Daemon, Scratch, Tmpfs, fails};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, SeekFrom, open, seek};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// One entry as getdents64 gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    ino: u64,
    kind: FileType,
    /// The position after it.
    cookie: u64,
}

fn open_dir(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap()
}

/// The next entries of `dir`, as many as fit in a buffer of `size` bytes; none at the end.
fn some(dir: &OwnedFd, size: usize) -> Vec<Entry> {
    let mut buffer = vec![MaybeUninit::uninit(); size];
    let mut raw = RawDir::new(dir, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        entries.push(Entry {
            name: entry.file_name().to_str().unwrap().to_owned(),
            ino: entry.ino(),
            kind: entry.file_type(),
            cookie: entry.next_entry_cookie(),
        });
        if raw.is_buffer_empty() {
            break;
        }
    }
    entries
}

fn all(dir: &OwnedFd) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let more = some(dir, 500);
        if more.is_empty() {
            return entries;
        }
        entries.extend(more);
    }
}

fn names(path: &Path) -> BTreeSet<String> {
    let names: Vec<String> = all(&open_dir(path))
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "a name is listed twice");
    set
}

fn files(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(|n| format!("file{n:05}")).collect()
}

fn make(root: &Path, names: &BTreeSet<String>) {
    for name in names {
        File::create(root.join(name)).unwrap();
    }
}

fn with_dots(mut names: BTreeSet<String>) -> BTreeSet<String> {
    names.extend([".".to_owned(), "..".to_owned()]);
    names
}

#[test]
fn kinds_and_inode_numbers_are_those_of_stat() {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("dir/sub")).unwrap();
    std::fs::write(mount.path("dir/file"), "").unwrap();
    rustix::fs::symlink("target", mount.path("dir/symlink")).unwrap();
    fifo(&mount.path("dir/fifo"), 0o600).unwrap();
    let entries = all(&open_dir(&mount.path("dir")));
    let listed: BTreeMap<_, _> = entries
        .iter()
        .map(|e| (&*e.name, (e.ino, e.kind)))
        .collect();
    let expected = [
        (".", FileType::Directory),
        ("..", FileType::Directory),
        ("fifo", FileType::Fifo),
        ("file", FileType::RegularFile),
        ("sub", FileType::Directory),
        ("symlink", FileType::Symlink),
    ]
    .map(|(name, kind)| (name, (seen(mount.path("dir").join(name)).ino, kind)));
    assert_eq!(listed, BTreeMap::from(expected));
    assert_eq!(entries[0].name, ".");
    assert_eq!(entries[1].name, "..");
}

#[test]
fn ten_thousand_entries() {
    let mount = Daemon::start();
    make(mount.root(), &files(0..10_000));
    assert_eq!(names(mount.root()), with_dots(files(0..10_000)));
    assert_eq!(names(mount.root()), with_dots(files(0..10_000)));
    std::fs::remove_dir_all(mount.root()).unwrap_err();
    assert_eq!(names(mount.root()), with_dots(BTreeSet::new()));
}

#[test]
fn a_position_stays_valid_while_entries_come_and_go() {
    let mount = Daemon::start();
    make(mount.root(), &files(0..600));
    let dir = open_dir(mount.root());
    let first = some(&dir, 2_000);
    let position = first.last().unwrap().cookie;
    let rest = all(&dir);

    let gone: Vec<&Entry> = first
        .iter()
        .chain(&rest)
        .filter(|e| e.ino % 3 == 0)
        .collect();
    for entry in gone
        .iter()
        .filter(|entry| entry.kind == FileType::RegularFile)
    {
        std::fs::remove_file(mount.path(&entry.name)).unwrap();
    }
    make(mount.root(), &files(1_000..1_400));

    seek(&dir, SeekFrom::Start(position)).unwrap();
    let again = all(&dir);
    let mut kept = rest.iter().filter(|entry| entry.ino % 3 != 0);
    assert!(
        kept.all(|entry| again.iter().any(|e| e.name == entry.name)),
        "an entry is lost"
    );
    let unique: BTreeSet<&str> = again.iter().map(|entry| &*entry.name).collect();
    assert_eq!(unique.len(), again.len(), "an entry is listed twice");
    let repeated = first.iter().find(|entry| unique.contains(&*entry.name));
    assert_eq!(
        repeated, None,
        "an entry before the position is listed after it"
    );
}

#[test]
fn each_position_leads_to_the_entry_after_it() {
    let mount = Daemon::start();
    make(mount.root(), &files(0..100));
    let dir = open_dir(mount.root());
    let entries = all(&dir);
    for pair in entries.windows(2).rev() {
        seek(&dir, SeekFrom::Start(pair[0].cookie)).unwrap();
        assert_eq!(some(&dir, 300)[0], pair[1]);
    }
    seek(&dir, SeekFrom::Start(0)).unwrap();
    assert_eq!(all(&dir), entries);
}

#[test]
fn entries_that_stay_are_listed_once_while_others_are_renamed() {
    let mount = Daemon::start();
    make(mount.root(), &files(0..300));
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            for round in 0..2_000 {
                let (from, to) = if round % 2 == 0 {
                    ("a", "b")
                } else {
                    ("b", "a")
                };
                let _ = File::create(mount.path("a"));
                let _ = std::fs::rename(mount.path(from), mount.path(to));
            }
        });
        while !storm.is_finished() {
            let listed = all(&open_dir(mount.root()))
                .into_iter()
                .map(|entry| entry.name);
            let mut kept: Vec<String> = listed.filter(|name| name != "a" && name != "b").collect();
            kept.sort();
            assert!(kept.iter().eq(&with_dots(files(0..300))), "{kept:?}");
        }
    });
}

#[test]
fn removing_what_was_just_listed_empties_a_directory() {
    let mount = Daemon::start();
    std::fs::create_dir(mount.path("dir")).unwrap();
    make(&mount.path("dir"), &files(0..2_000));
    let dir = open_dir(&mount.path("dir"));
    loop {
        let entries = some(&dir, 1_000);
        for entry in entries.iter().filter(|entry| !entry.name.starts_with('.')) {
            std::fs::remove_file(mount.path("dir").join(&entry.name)).unwrap();
        }
        if entries.is_empty() {
            break;
        }
    }
    std::fs::remove_dir(mount.path("dir")).unwrap();
}

#[test]
fn a_listing_shows_each_change_at_once() {
    let mount = Daemon::start();
    for n in 0..50 {
        make(mount.root(), &files(n..n + 1));
        assert_eq!(names(mount.root()), with_dots(files(0..n + 1)));
    }
    for n in 0..50 {
        std::fs::remove_file(mount.path(format!("file{n:05}"))).unwrap();
        assert_eq!(names(mount.root()), with_dots(files(n + 1..50)));
    }
}

#[test]
fn rm_rf_removes_a_tree() {
    let mount = Daemon::start();
    for dir in 0..20 {
        let path = mount.path(format!("top/{dir}/deep/er"));
        std::fs::create_dir_all(&path).unwrap();
        make(&path, &files(0..50));
    }
    run(mount.root(), "rm", &["-rf", "top"]);
    assert_eq!(names(mount.root()), with_dots(BTreeSet::new()));
}

#[test]
fn a_file_is_not_listed() {
    let mount = Daemon::start();
    let file = mount.path("file");
    File::create(&file).unwrap();
    fails(Errno::NOTDIR, open(&file, OFlags::DIRECTORY, Mode::empty()));
    fails(Errno::NOTDIR, std::fs::read_dir(&file));
}

/// What is done with each entry that a listing meets.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Rename,
    RenameBackAndForth,
    MakeAgain,
    Replace,
    Link,
    Exchange,
    MoveOutAndIn,
    MakeDirectory,
}

const DEEDS: [Deed; 8] = [
    Deed::Rename,
    Deed::RenameBackAndForth,
    Deed::MakeAgain,
    Deed::Replace,
    Deed::Link,
    Deed::Exchange,
    Deed::MoveOutAndIn,
    Deed::MakeDirectory,
];

impl Deed {
    fn done(self, root: &Path, name: &str, number: usize) {
        let (dir, out) = (root.join("d"), root.join("out"));
        let (old, new) = (dir.join(name), dir.join(format!("x{name}")));
        match self {
            Deed::Rename => std::fs::rename(old, new).unwrap(),
            Deed::RenameBackAndForth => {
                std::fs::rename(&old, &new).unwrap();
                std::fs::rename(new, old).unwrap();
            }
            Deed::MakeAgain => {
                std::fs::remove_file(&old).unwrap();
                File::create(old).unwrap();
            }
            Deed::Replace => {
                File::create(&out).unwrap();
                std::fs::rename(out, old).unwrap();
            }
            Deed::Link => std::fs::hard_link(old, new).unwrap(),
            Deed::Exchange => {
                let with = dir.join("0");
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, old, CWD, with, flags).unwrap();
            }
            Deed::MoveOutAndIn => {
                std::fs::rename(&old, &out).unwrap();
                std::fs::rename(out, old).unwrap();
            }
            Deed::MakeDirectory => {
                std::fs::create_dir(dir.join(format!("new{number}"))).unwrap();
            }
        }
    }
}

/// How often a listing of `count` names meets one, if with each `deed` is done.
fn met(root: &Path, deed: Deed, count: usize, size: usize) -> Vec<String> {
    let dir = root.join("d");
    std::fs::create_dir(&dir).unwrap();
    make(&dir, &(0..count).map(|number| number.to_string()).collect());
    let listing = open_dir(&dir);
    let mut met = Vec::new();
    loop {
        let entries = some(&listing, size);
        if entries.is_empty() || met.len() > 3 * count {
            break;
        }
        for entry in entries {
            if entry.name.starts_with('.') {
                continue;
            }
            // What was listed together may be gone by now.
            if dir.join(&entry.name).exists() {
                deed.done(root, &entry.name, met.len());
            }
            met.push(entry.name);
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
    met.sort();
    met
}

#[test]
fn whoever_changes_each_name_he_meets_comes_to_an_end() {
    let tmpfs = Tmpfs::new();
    for mount in [Daemon::start(), Daemon::without_cache()] {
        for (deed, count, size) in DEEDS
            .into_iter()
            .flat_map(|deed| [(deed, 5, 100), (deed, 300, 100), (deed, 300, 32_768)])
        {
            let names = met(mount.root(), deed, count, size);
            let each: BTreeSet<&String> = names.iter().collect();
            let context = format!("{deed:?} {count} {size}: {names:?}");
            assert_eq!(names.len(), each.len(), "{context}");
            // Moved out and in again, or made again, it is another name.
            let made_again = matches!(deed, Deed::MakeAgain | Deed::MoveOutAndIn);
            assert!(
                names.len() == count || made_again && names.len() < count,
                "{context}"
            );
            if !made_again {
                assert!(
                    names.iter().all(|name| name.parse::<usize>().is_ok()),
                    "{context}"
                );
            }
            assert!(met(&tmpfs, deed, count, size).len() <= count + 1);
        }
    }
}

#[test]
fn names_that_are_replaced_and_exchanged_are_listed_once() {
    for mount in [Daemon::start(), Daemon::without_cache()] {
        let dir = mount.root();
        make(dir, &files(0..200));
        let new = dir.join("new");
        std::thread::scope(|scope| {
            let storm = scope.spawn(|| {
                for round in 0..1_000 {
                    let name = |number: usize| dir.join(format!("file{:05}", number % 200));
                    File::create(&new).unwrap();
                    std::fs::rename(&new, name(round * 7)).unwrap();
                    let (one, other) = (name(round), name(round * 13 + 1));
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, one, CWD, other, flags).unwrap();
                }
            });
            while !storm.is_finished() {
                let listed = all(&open_dir(dir)).into_iter().map(|entry| entry.name);
                let mut kept: Vec<String> = listed.filter(|name| name != "new").collect();
                kept.sort();
                assert!(kept.iter().eq(&with_dots(files(0..200))), "{kept:?}");
            }
        });
    }
}

#[test]
fn a_file_that_changes_its_name_again_and_again_is_listed_once() {
    for mount in [Daemon::start(), Daemon::without_cache()] {
        let dir = mount.root();
        make(dir, &files(0..200));
        File::create(dir.join("a")).unwrap();
        let moved = seen(dir.join("a")).ino;
        std::thread::scope(|scope| {
            let storm = scope.spawn(|| {
                for _ in 0..1_000 {
                    std::fs::rename(dir.join("a"), dir.join("b")).unwrap();
                    std::fs::rename(dir.join("b"), dir.join("a")).unwrap();
                }
            });
            while !storm.is_finished() {
                let listed = all(&open_dir(dir));
                let found = listed.iter().filter(|entry| entry.ino == moved);
                assert_eq!((found.count(), listed.len()), (1, 203));
            }
        });
    }
}

#[test]
fn what_a_source_has_is_listed_in_its_order() {
    let source = Scratch::new();
    // Of larger directories several threads bring parts.
    make(&source, &files(0..500));
    let mount = Daemon::with(&[source.to_str().unwrap()]);
    let names = |entries: Vec<Entry>| -> Vec<String> {
        entries
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| !name.starts_with('.'))
            .collect()
    };
    let before = names(all(&open_dir(&source)));
    assert_eq!(names(all(&open_dir(mount.root()))), before);
    File::create(mount.path("young")).unwrap();
    let after = names(all(&open_dir(mount.root())));
    assert_eq!(after, [&["young".to_owned()][..], &before].concat());
}
