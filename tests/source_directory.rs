//! A directory as a source: what `load` leaves in the filesystem equals what the system shows of
//! the source.

mod source_support;

use norefs::fs::Fs;
use norefs::source::{LoadError, LoadOptions, Progress, load};
use norefs::tree::{Attr, Errno, Kind, NodeId};
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use source_support::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Snapshot = BTreeMap<PathBuf, (Attr, u64)>;

/// Attributes and source inode number of everything below and including `dir`, by relative path.
fn snapshot(dir: &Path) -> Snapshot {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while at < paths.len() {
        let path = paths[at].clone();
        at += 1;
        let whole = dir.join(&path);
        if whole.symlink_metadata().unwrap().is_dir() {
            let names = fs::read_dir(&whole).unwrap();
            paths.extend(names.map(|entry| path.join(entry.unwrap().file_name())));
        }
    }
    // Listing moved access times; from now on they stay.
    let stat = |path: PathBuf| {
        let (attr, ino) = attr_of(CWD, &dir.join(&path));
        (path, (attr, ino))
    };
    paths.into_iter().map(stat).collect()
}

/// Everything in `fs`, by relative path.
fn loaded(fs: &Fs) -> BTreeMap<PathBuf, NodeId> {
    let mut all = BTreeMap::from([(PathBuf::new(), NodeId::ROOT)]);
    let mut waiting = vec![(PathBuf::new(), NodeId::ROOT)];
    while let Some((path, id)) = waiting.pop() {
        if fs.getattr(id).unwrap().kind != Kind::Directory {
            continue;
        }
        for name in names(fs, id) {
            let path = path.join(OsStr::from_bytes(&name));
            let id = child(fs, id, &name).unwrap().id;
            assert!(all.insert(path.clone(), id).is_none(), "{path:?} twice");
            waiting.push((path, id));
        }
    }
    all
}

fn source_xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0);
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.filter(|name| !name.is_empty()).map(value).collect()
}

fn loaded_xattrs(fs: &Fs, id: NodeId) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let list = fs.listxattr(&ROOT, id).unwrap();
    let names = list.split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .map(|name| (name.to_vec(), fs.getxattr(&ROOT, id, name).unwrap()))
        .collect()
}

fn setxattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// One of everything.
fn build(dir: &Path) {
    let inner = dir.join("inner");
    let odd = dir.join(OsStr::from_bytes(b"\xff\xfe not\nUTF-8 \x01"));
    fs::create_dir(&inner).unwrap();
    fs::create_dir(&odd).unwrap();
    fs::create_dir(dir.join("empty directory")).unwrap();
    write(&dir.join("empty"), b"");
    write(&dir.join("file"), b"content");
    write(&odd.join(OsStr::from_bytes(b"\x80")), b"odd");
    write(&dir.join("n".repeat(255)), b"longest name");
    let large: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    write(&inner.join("large"), &large);
    let sparse = fs::File::create(inner.join("sparse")).unwrap();
    sparse.write_all_at(b"end", (1 << 20) - 3).unwrap();
    fs::hard_link(dir.join("file"), inner.join("link")).unwrap();
    fs::hard_link(dir.join("file"), odd.join("link")).unwrap();
    symlink("inner/large", dir.join("symlink")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("..", inner.join("up")).unwrap();
    symlink("t".repeat(4095), inner.join("longest target")).unwrap();
    symlink(OsStr::from_bytes(b"\xfe/nowhere"), dir.join("dangling")).unwrap();
    mknod(&dir.join("fifo"), FileType::Fifo, 0o640, 0);
    mknod(&dir.join("socket"), FileType::Socket, 0o600, 0);
    decorate(dir, &inner);
}

/// Owners, modes, times and what only root may make.
fn decorate(dir: &Path, inner: &Path) {
    fs::hard_link(dir.join("fifo"), inner.join("fifo link")).unwrap();
    setxattr(&dir.join("file"), "user.colour", b"blue\0green");
    setxattr(&dir.join("file"), "user.empty", b"");
    setxattr(inner, "user.large", &[7; 2000]);
    setxattr(dir, "user.root", b"yes");
    for number in 0..30 {
        let name = format!("user.with a long name, number {number}");
        setxattr(&dir.join("empty"), &name, b"v");
    }
    if is_root() {
        let device = rustix::fs::makedev(0x123, 0x4_5678);
        mknod(
            &dir.join("character"),
            FileType::CharacterDevice,
            0o600,
            device,
        );
        mknod(&dir.join("block"), FileType::BlockDevice, 0o660, device);
        setxattr(&dir.join("symlink"), "trusted.on-symlink", b"1");
        setxattr(&dir.join("fifo"), "trusted.on-fifo", b"2");
        std::os::unix::fs::lchown(dir.join("empty"), Some(1234), Some(4_000_000_000)).unwrap();
        std::os::unix::fs::lchown(dir.join("symlink"), Some(7), Some(8)).unwrap();
    }
    for (name, mode) in [("empty", 0o7777), ("file", 0o4711), ("inner", 0o3755)] {
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    set_times(&inner.join("large"), (1, 1), (1_000_000_000, 999_999_999));
    set_times(&dir.join("empty"), (-1, 5), (-100_000, 123_456_789));
    set_times(&dir.join("symlink"), (5_000_000_000, 1), (4_000_000_000, 3));
    set_times(inner, (5_000_000_000, 7), (77, 77));
}

#[test]
fn everything_is_as_the_source_shows_it() {
    let source = tempfile::tempdir().unwrap();
    build(source.path());
    for threads in [1, 4] {
        let before = snapshot(source.path());
        let fs = empty();
        let options = LoadOptions {
            strict: true,
            threads,
            ..LoadOptions::default()
        };
        let report = load(&fs, source.path(), &options, &()).unwrap();
        let after = loaded(&fs);
        let paths: Vec<_> = after.keys().collect();
        assert_eq!(paths, before.keys().collect::<Vec<_>>());
        for (path, id) in &after {
            let whole = source.path().join(path);
            let (attr, _) = before[path];
            assert_eq!(fs.getattr(*id).unwrap(), attr, "{path:?}");
            assert_eq!(loaded_xattrs(&fs, *id), source_xattrs(&whole), "{path:?}");
            if attr.kind == Kind::Symlink {
                let target = fs::read_link(&whole).unwrap();
                assert_eq!(target_of(&fs, *id), target.as_os_str().as_bytes());
            }
            if attr.kind == Kind::Regular {
                assert_eq!(content(&fs, *id).unwrap(), fs::read(&whole).unwrap());
            }
        }
        assert_same_links(&before, &after);
        let kinds = |kind| {
            before
                .values()
                .filter(|(attr, _)| attr.kind == kind)
                .count() as u64
        };
        assert_eq!(report.entries, before.len() as u64 - 1);
        assert_eq!(report.directories, kinds(Kind::Directory) - 1);
        assert_eq!(report.symlinks, kinds(Kind::Symlink));
        assert_eq!(report.links, 3);
        assert_eq!(report.files, kinds(Kind::Regular) - 2);
        assert_eq!((report.unreadable, report.mounts_skipped), (0, 0));
        let sum = report.directories + report.files + report.links + report.symlinks;
        assert_eq!(report.entries, sum + report.special);
    }
}

/// Two names share a node exactly if they share an inode in the source.
fn assert_same_links(before: &Snapshot, after: &BTreeMap<PathBuf, NodeId>) {
    for (first, (_, ino)) in before {
        for (second, (_, other)) in before {
            assert_eq!(
                ino == other,
                after[first] == after[second],
                "{first:?} {second:?}"
            );
        }
    }
}

#[test]
fn loading_and_reading_leave_the_source_as_it_was() {
    let source = tempfile::tempdir().unwrap();
    build(source.path());
    let old = (1, 0);
    set_times(&source.path().join("file"), old, (2, 0));
    set_times(&source.path().join("inner"), old, (2, 0));
    let seen = |path: &str| attr_of(CWD, &source.path().join(path));
    let before = (seen("file"), seen("inner"));
    let fs = load_all(source.path());
    let id = loaded(&fs)[Path::new("file")];
    assert_eq!(content(&fs, id).unwrap(), b"content");
    assert_eq!((seen("file"), seen("inner")), before);
}

/// Makes a chain of `depth` directories called `name`, with one file at its end.
fn build_chain(dir: &Path, name: &str, depth: usize) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(dir, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, name, flags, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&at, "bottom", flags, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(file, b"deep").unwrap();
}

fn assert_chain(name: &str, depth: usize) {
    let source = tempfile::tempdir().unwrap();
    build_chain(source.path(), name, depth);
    let fs = load_all(source.path());
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(source.path(), flags, Mode::empty()).unwrap();
    let mut id = NodeId::ROOT;
    for _ in 0..depth {
        let entry = child(&fs, id, name.as_bytes()).unwrap();
        assert_eq!(entry.attr, attr_of(&at, Path::new(name)).0);
        assert_eq!(names(&fs, id).len(), 1);
        at = rustix::fs::openat(&at, name, flags, Mode::empty()).unwrap();
        id = entry.id;
    }
    let bottom = child(&fs, id, b"bottom").unwrap().id;
    assert_eq!(content(&fs, bottom).unwrap(), b"deep");
    let removed = std::process::Command::new("rm")
        .arg("-rf")
        .arg(source.path())
        .status();
    assert!(removed.unwrap().success());
}

#[test]
fn paths_may_be_longer_than_the_system_allows() {
    assert_chain(&"long".repeat(50), 300);
    assert_chain(&"x".repeat(255), 40);
}

#[test]
fn trees_may_be_ten_thousand_levels_deep() {
    assert_chain("d", 10_000);
}

#[test]
fn a_large_directory_is_shared_among_threads() {
    let source = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for number in 0..5000 {
        let name = format!("{number}{}", "-".repeat(number % 40));
        write(&source.path().join(&name), name.as_bytes());
        expected.push(name.into_bytes());
    }
    let total = Highest::default();
    let fs = empty();
    let options = LoadOptions {
        threads: 4,
        strict: true,
        ..LoadOptions::default()
    };
    let report = load(&fs, source.path(), &options, &total).unwrap();
    assert_eq!(report.files, 5000);
    assert_eq!(total.0.load(Ordering::Relaxed), 5000);
    let mut found = names(&fs, NodeId::ROOT);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for name in &expected {
        let id = child(&fs, NodeId::ROOT, name).unwrap().id;
        assert_eq!(content(&fs, id).unwrap(), *name);
    }
}

#[test]
fn threads_that_cannot_be_made_are_done_without() {
    let source = tempfile::tempdir().unwrap();
    fs::set_permissions(source.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for directory in 0..20 {
        let directory = source.path().join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        (0..20).for_each(|file| write(&directory.join(file.to_string()), b"content"));
        setxattr(&directory.join("7"), "user.name", b"value");
    }
    let before = getrlimit(Resource::Nproc);
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    as_ordinary_user(|| {
        let fs = empty();
        setrlimit(Resource::Nproc, none).unwrap();
        let refused = std::thread::Builder::new().spawn(|| ()).is_err();
        let report = load(&fs, source.path(), &LoadOptions::default(), &());
        setrlimit(Resource::Nproc, before).unwrap();
        assert!(refused, "the limit must be felt");
        let report = report.unwrap();
        assert_eq!((report.entries, report.unreadable), (420, 0));
        let all = loaded(&fs);
        let named = loaded_xattrs(&fs, all[Path::new("3/7")]);
        assert_eq!(named, source_xattrs(&source.path().join("3/7")));
        assert_eq!(named.len(), 1);
    });
}

#[derive(Default)]
struct Highest(AtomicU64);

impl Progress for Highest {
    fn entries(&self, total_so_far: u64) {
        self.0.fetch_max(total_so_far, Ordering::Relaxed);
    }
}

#[test]
fn what_cannot_be_read_is_counted() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path();
    for name in ["open", "closed", "listable"] {
        fs::create_dir(path.join(name)).unwrap();
        write(&path.join(name).join("file"), b"content");
    }
    write(&path.join("secret"), b"content");
    setxattr(&path.join("secret"), "user.secret", b"value");
    let modes = [("closed", 0o000), ("listable", 0o444), ("secret", 0o000)];
    for (name, mode) in modes {
        fs::set_permissions(path.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    // Only an owner may list without moving the access time: seen before.
    let seen = |name: &str| attr_of(CWD, &path.join(name)).0;
    let before = ["closed", "listable", "secret"].map(|name| (name, seen(name)));
    as_ordinary_user(|| {
        let fs = empty();
        let report = load(&fs, path, &LoadOptions::default(), &()).unwrap();
        let all = loaded(&fs);
        let id = |name: &str| all[Path::new(name)];
        assert_eq!(report.unreadable, 3);
        let mut first: Vec<_> = report.first_unreadable.iter().collect();
        first.sort_by_key(|entry| &entry.path);
        let expected = ["closed", "listable/file", "secret"].map(|name| path.join(name));
        assert!(first.iter().map(|entry| &entry.path).eq(&expected));
        assert!(first.iter().all(|entry| entry.errno == Errno::ACCESS));
        for (name, attr) in before {
            assert_eq!(fs.getattr(id(name)).unwrap(), attr);
        }
        for name in ["closed", "listable"] {
            assert!(names(&fs, id(name)).is_empty());
        }
        assert_eq!(content(&fs, id("open/file")).unwrap(), b"content");
        assert_eq!(content(&fs, id("secret")), Err(Errno::ACCESS));
        let strict = LoadOptions {
            strict: true,
            ..LoadOptions::default()
        };
        let error = load(&empty(), path, &strict, &()).unwrap_err();
        assert!(
            matches!(
                error,
                LoadError::Unreadable {
                    errno: Errno::ACCESS,
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_source_must_be_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("file"), b"");
    for (name, expected) in [("missing", Errno::NOENT), ("file", Errno::NOTDIR)] {
        let path = dir.path().join(name);
        match load(&empty(), &path, &LoadOptions::default(), &()) {
            Err(LoadError::Source { path: said, errno }) => {
                assert_eq!((said, errno), (path, expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_source_larger_than_the_limits_is_refused() {
    let source = tempfile::tempdir().unwrap();
    for number in 0..100 {
        write(&source.path().join(number.to_string()), b"");
    }
    let fs = with_limit(50);
    let error = load(&fs, source.path(), &LoadOptions::default(), &()).unwrap_err();
    assert!(matches!(error, LoadError::Full { .. }), "{error}");
}

#[test]
fn other_mounts_are_crossed_only_if_asked() {
    if !is_root() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("outside"), b"content");
    let source = tempfile::tempdir().unwrap();
    let point = |name: &str| {
        let path = source.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let _other = Mounted::tmpfs(&point("other filesystem"));
    write(&source.path().join("other filesystem/inside"), b"content");
    let _bind = Mounted::bind(outside.path(), &point("same filesystem"));
    // A loop: the source within itself.
    let _loop = Mounted::bind(source.path(), &point("loop"));

    let fs = empty();
    let report = load(&fs, source.path(), &LoadOptions::default(), &()).unwrap();
    assert_eq!(
        (report.mounts_skipped, report.directories, report.files),
        (3, 3, 0)
    );
    for name in ["other filesystem", "same filesystem", "loop"] {
        let entry = child(&fs, NodeId::ROOT, name.as_bytes()).unwrap();
        assert_eq!(entry.attr, attr_of(CWD, &source.path().join(name)).0);
        assert!(names(&fs, entry.id).is_empty());
    }

    let fs = empty();
    let options = LoadOptions {
        cross_mounts: true,
        ..LoadOptions::default()
    };
    let report = load(&fs, source.path(), &options, &()).unwrap();
    assert_eq!(report.mounts_skipped, 0);
    let all = loaded(&fs);
    for name in ["other filesystem/inside", "same filesystem/outside"] {
        assert_eq!(content(&fs, all[Path::new(name)]).unwrap(), b"content");
    }
}

#[test]
fn a_directory_that_changes_meanwhile_is_loaded_as_it_is_met() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path();
    fs::create_dir(path.join("stays")).unwrap();
    write(&path.join("stays/file"), b"content");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let dir = path.join(format!("dir{}", number % 7));
                let _ = fs::create_dir(&dir);
                for file in 0..20 {
                    write(&dir.join(file.to_string()), b"x");
                }
                let _ = fs::remove_dir_all(&dir);
            }
        });
        for _ in 0..50 {
            let fs = load_all(path);
            let id = loaded(&fs)[Path::new("stays/file")];
            assert_eq!(content(&fs, id).unwrap(), b"content");
        }
        done.store(true, Ordering::Relaxed);
    });
}
