//! File handles: a file is found again by what the filesystem called it, after the kernel has forgotten it, until it ends.

use mount_tests::posix::{Outcome, as_user, fifo, seen};
use mount_tests::{Daemon, Dice, Handle, InProcess, Tmpfs, fails, forget, same_as_tmpfs};
use norefs::transport::{Cache, RequestKind};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What any kind of file can be opened with.
const ANY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW);

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn handle(path: impl AsRef<Path>) -> Handle {
    Handle::of(path.as_ref()).unwrap()
}

/// Opens a handle in the filesystem at `root`.
fn find(root: &Path, handle: &Handle, flags: OFlags) -> Result<OwnedFd, Errno> {
    handle.open(directory(root), flags)
}

fn number(file: &OwnedFd) -> u64 {
    fstat(file).unwrap().st_ino
}

/// One of each kind, at different depths.
fn one_of_each(root: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(root.join("a/b/c/d")).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    fs::write(root.join("a/b/c/file"), "content").unwrap();
    fs::hard_link(root.join("file"), root.join("a/link")).unwrap();
    rustix::fs::symlink("file", root.join("a/symlink")).unwrap();
    fifo(&root.join("a/b/fifo"), 0o600).unwrap();
    let all = [
        "",
        "a",
        "a/b/c/d",
        "file",
        "a/b/c/file",
        "a/link",
        "a/symlink",
        "a/b/fifo",
    ];
    all.map(|name| root.join(name)).to_vec()
}

#[test]
fn each_kind_is_found_after_the_kernel_forgot_it() {
    same_as_tmpfs(|root| {
        let paths = one_of_each(root);
        let numbers: Vec<u64> = paths.iter().map(|path| seen(path).ino).collect();
        let handles: Vec<Handle> = paths.iter().map(handle).collect();
        for round in 0..3 {
            match round {
                0 => {}
                1 => forget(root),
                _ => fs::write("/proc/sys/vm/drop_caches", "2").unwrap(),
            }
            for (handle, number_then) in handles.iter().zip(&numbers) {
                assert_eq!(number(&find(root, handle, ANY).unwrap()), *number_then);
            }
        }
        forget(root);
        let content = find(root, &handles[4], OFlags::RDONLY).unwrap();
        let mut bytes = [0; 99];
        let length = rustix::io::read(&content, &mut bytes).unwrap();
        let link = find(root, &handles[6], ANY).unwrap();
        let target = rustix::fs::readlinkat(&link, "", []).unwrap();
        let both_names = handles[3] == handles[5];
        (bytes[..length].to_vec(), target, both_names)
    });
}

#[test]
fn the_daemon_is_asked_by_number() {
    for cache in [Cache::Forever, Cache::None] {
        let mount = InProcess::start(cache);
        let paths = one_of_each(mount.root());
        let file = handle(&paths[4]);
        forget(mount.root());
        let root = directory(mount.root());
        let lookups = mount.count(RequestKind::Lookup, || drop(file.open(&root, ANY).unwrap()));
        assert_eq!(lookups, 1, "{cache}");
    }
}

#[test]
fn a_directory_is_found_with_the_way_up() {
    same_as_tmpfs(|root| {
        let deep = root.join("a/b/c/d");
        fs::create_dir_all(&deep).unwrap();
        let handle = handle(&deep);
        fs::rename(root.join("a/b"), root.join("moved")).unwrap();
        forget(root);
        let found = find(root, &handle, OFlags::DIRECTORY).unwrap();
        let place = fs::read_link(format!("/proc/self/fd/{}", fd(&found))).unwrap();
        let up = openat(&found, "../../..", OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(number(&up), seen(root).ino);
        place.strip_prefix(root).map(Path::to_owned)
    });
}

fn fd(file: &OwnedFd) -> i32 {
    rustix::fd::AsRawFd::as_raw_fd(file)
}

#[test]
fn a_renamed_file_keeps_its_handle_and_a_replaced_one_has_none() {
    same_as_tmpfs(|root| {
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("moved"), "moved").unwrap();
        fs::write(root.join("replaced"), "replaced").unwrap();
        let (moved, replaced) = (handle(root.join("moved")), handle(root.join("replaced")));
        let before = seen(root.join("moved")).ino;
        fs::rename(root.join("moved"), root.join("dir/moved")).unwrap();
        fs::rename(root.join("dir/moved"), root.join("replaced")).unwrap();
        for round in 0..2 {
            if round == 1 {
                forget(root);
            }
            assert_eq!(number(&find(root, &moved, ANY).unwrap()), before);
            assert_eq!(handle(root.join("replaced")), moved);
            fails(Errno::STALE, find(root, &replaced, ANY));
        }
    });
}

#[test]
fn what_was_removed_is_stale_unless_somebody_has_it_open() {
    same_as_tmpfs(|root| {
        let removed = ["file", "dir", "open file", "open dir", "one of two"];
        for name in removed {
            match name.contains("dir") {
                true => fs::create_dir(root.join(name)).unwrap(),
                false => fs::write(root.join(name), name).unwrap(),
            }
        }
        fs::hard_link(root.join("one of two"), root.join("other")).unwrap();
        let handles = removed.map(|name| handle(root.join(name)));
        let file = open(root.join("open file"), OFlags::RDONLY, Mode::empty()).unwrap();
        let dir = directory(&root.join("open dir"));
        for name in removed {
            match name.contains("dir") {
                true => fs::remove_dir(root.join(name)).unwrap(),
                false => fs::remove_file(root.join(name)).unwrap(),
            }
        }
        let found = || {
            let each = handles.each_ref();
            each.map(|handle| {
                find(root, handle, OFlags::RDONLY).map(|file| fstat(file).unwrap().st_nlink)
            })
        };
        let at_once = found();
        forget(root);
        let later = found();
        drop((file, dir));
        let closed = found();
        forget(root);
        (at_once, later, closed, found())
    });
}

#[test]
fn a_file_that_was_never_named_is_stale_once_it_is_closed() {
    same_as_tmpfs(|root| {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let file = open(root, flags, Mode::RWXU).unwrap();
        let handle = Handle::of_open(&file).unwrap();
        let found = find(root, &handle, OFlags::RDWR).map(|found| number(&found) == number(&file));
        drop(file);
        (found, find(root, &handle, OFlags::RDWR).outcome())
    });
}

#[test]
fn a_handle_never_leads_to_what_came_in_its_place() {
    let mount = InProcess::start(Cache::Forever);
    let make = |name: &str| -> Vec<Handle> {
        let paths = (0..500).map(|n| mount.path(format!("{name}{n}")));
        let handles = paths.map(|path| {
            fs::write(&path, "").unwrap();
            handle(path)
        });
        handles.collect()
    };
    let slots = || -> BTreeSet<u32> {
        let entries = fs::read_dir(mount.root()).unwrap();
        entries
            .map(|entry| seen(entry.unwrap().path()).ino as u32)
            .collect()
    };
    let old = make("old");
    let places = slots();
    for n in 0..500 {
        fs::remove_file(mount.path(format!("old{n}"))).unwrap();
    }
    let gone = || mount.fs().tree().inodes() == 1;
    assert!(mount_tests::wait_until(gone));
    let new = make("new");
    assert!(
        slots().intersection(&places).count() > 100,
        "places are used again"
    );
    for round in 0..2 {
        if round == 1 {
            forget(mount.root());
        }
        for handle in &old {
            fails(Errno::STALE, find(mount.root(), handle, ANY));
        }
        for handle in &new {
            let found = find(mount.root(), handle, ANY).unwrap();
            assert_eq!(Handle::of_open(&found).as_ref(), Ok(handle));
        }
    }
}

#[test]
fn a_handle_of_another_mount_is_stale() {
    let pairs = [
        [Daemon::start(), Daemon::start()],
        [Daemon::without_cache(), Daemon::without_cache()],
    ];
    for [one, other] in pairs {
        for mount in [&one, &other] {
            fs::create_dir(mount.path("dir")).unwrap();
            fs::write(mount.path("file"), "").unwrap();
        }
        for name in ["dir", "file"] {
            let (here, there) = (one.path(name), other.path(name));
            assert_eq!(seen(&here).ino, seen(&there).ino, "the same number");
            fails(Errno::STALE, find(one.root(), &handle(&there), ANY));
            find(other.root(), &handle(&there), ANY).unwrap();
        }
    }
}

/// A handle of the same length and kind as `of`, or of any: changed in a few bits, or random.
fn forged(of: &Handle, dice: &mut Dice) -> Handle {
    let mut handle = of.clone();
    match dice.roll(4) {
        0 => {
            let byte = dice.roll(handle.bytes.len() as u64) as usize;
            handle.bytes[byte] ^= 1 << dice.roll(8);
        }
        1 => handle.bytes.fill_with(|| dice.roll(256) as u8),
        2 => {
            // Low numbers, as slots and generations are.
            for word in handle.bytes.chunks_mut(4) {
                word.fill(0);
                word[0] = dice.roll(8) as u8;
            }
        }
        _ => {
            handle.bytes.resize(dice.roll(129) as usize, 0);
            handle.bytes.fill_with(|| dice.roll(256) as u8);
            handle.kind = dice.choose(&[0, 1, 2, 0x81, 0x82, 0xff, 0x7fff_ffff, -1]);
        }
    }
    handle
}

/// Expects that a handle leads nowhere, or to the file that has this handle.
fn leads_nowhere_else(root: &OwnedFd, handle: &Handle) {
    match handle.open(root, ANY) {
        Ok(found) => {
            let bytes = Handle::of_open(&found).unwrap().bytes;
            assert!(
                handle.bytes.starts_with(&bytes),
                "{handle:?} finds {bytes:?}"
            );
        }
        Err(errno) => assert!(
            [Errno::STALE, Errno::INVAL, Errno::OVERFLOW].contains(&errno),
            "{handle:?}: {errno}"
        ),
    }
}

#[test]
fn forged_handles_lead_nowhere() {
    for mount in [Daemon::start(), Daemon::without_cache()] {
        let paths = one_of_each(mount.root());
        let handles: Vec<Handle> = paths.iter().map(handle).collect();
        let root = directory(mount.root());
        let mut dice = Dice::new(7);
        for n in 0..4000 {
            if n % 1000 == 0 {
                forget(mount.root());
            }
            leads_nowhere_else(&root, &forged(&handles[n % handles.len()], &mut dice));
        }
        for (path, handle) in paths.iter().zip(&handles) {
            assert_eq!(number(&handle.open(&root, ANY).unwrap()), seen(path).ino);
        }
    }
}

#[test]
fn handles_are_found_beside_those_who_move_and_remove() {
    for cache in [Cache::Forever, Cache::None] {
        let mount = InProcess::start(cache);
        fs::create_dir(mount.path("dir")).unwrap();
        let before = mount.fs().tree().inodes();
        let (send, receive) = std::sync::mpsc::sync_channel::<Handle>(64);
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                for n in 0..1000 {
                    let (name, other) = (mount.path(n.to_string()), mount.path(format!("dir/{n}")));
                    fs::write(&name, "").unwrap();
                    send.send(handle(&name)).unwrap();
                    fs::rename(&name, &other).unwrap();
                    fs::remove_file(&other).unwrap();
                }
                drop(send);
            });
            let mount = &mount;
            scope.spawn(move || {
                while !maker.is_finished() {
                    forget(mount.root());
                }
            });
            let root = directory(mount.root());
            for handle in receive {
                match handle.open(&root, OFlags::RDONLY) {
                    Ok(found) => assert_eq!(Handle::of_open(&found), Ok(handle)),
                    Err(errno) => assert_eq!(errno, Errno::STALE),
                }
            }
        });
        let gone = || mount.fs().tree().inodes() == before;
        assert!(
            mount_tests::wait_until(gone),
            "{cache}: nothing is kept of what was found"
        );
    }
}

#[test]
fn a_file_of_a_source_is_found_by_its_handle() {
    let source = Tmpfs::new();
    let names = one_of_each(&source);
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let inside = |path: &PathBuf| mount.path(path.strip_prefix(&*source).unwrap());
    let handles: Vec<Handle> = names.iter().map(|path| handle(inside(path))).collect();
    forget(mount.root());
    for (handle, path) in handles.iter().zip(&names) {
        let found = find(mount.root(), handle, ANY).unwrap();
        assert_eq!(number(&found), seen(inside(path)).ino);
    }
}

#[test]
fn an_ordinary_user_may_not_open_a_handle() {
    same_as_tmpfs(|root| {
        fs::write(root.join("file"), "").unwrap();
        let handle = handle(root.join("file"));
        as_user(1000, 1000, &[], || {
            find(root, &handle, OFlags::RDONLY).outcome()
        })
    });
}
