//! What the kernel keeps of a path lets nobody through whom the directories on it would not.

use mount_tests::posix::{Outcome, as_user};
use mount_tests::{Daemon, InProcess, fails};
use norefs::transport::{Cache, Options, Permissions, RequestKind};
use rustix::fs::{
    Access, Gid, Mode, OFlags, Uid, access, chmod, chown, fstat, lstat, mkdir, open, readlink,
};
use rustix::io::Errno;
use std::path::Path;

const ONE: u32 = 1001;
const OTHER: u32 = 1002;

/// Whether `uid` gets through to `path`, asked in several ways that must agree.
#[track_caller]
fn reaches(uid: u32, path: &Path) -> Result<(), Errno> {
    as_user(uid, uid, &[], || {
        let all = [
            lstat(path).outcome(),
            access(path, Access::EXISTS),
            open(path, OFlags::RDONLY, Mode::empty()).outcome(),
            open(path, OFlags::PATH, Mode::empty()).outcome(),
            readlink(path.with_file_name("link"), []).outcome(),
        ];
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0]
    })
}

/// A file and a link four directories deep, all open to everybody.
fn deep(root: &Path) -> std::path::PathBuf {
    let dir = root.join("a/b/c/d");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), "content").unwrap();
    rustix::fs::symlink("file", dir.join("link")).unwrap();
    dir.join("file")
}

fn forget_names(root: &Path) {
    // Dentries go with the memory of the kernel; a name that is moved away and back has to be looked up again.
    for name in ["a", "away"] {
        let to = if name == "a" { "away" } else { "a" };
        rustix::fs::rename(root.join(name), root.join(to)).unwrap();
    }
}

#[test]
fn who_may_not_search_a_directory_is_not_led_through_by_what_another_looked_up() {
    for mount in [Daemon::deciding(), Daemon::deciding_without_cache()] {
        let file = deep(mount.root());
        let dirs = ["a", "a/b", "a/b/c", "a/b/c/d"].map(|dir| mount.path(dir));
        for closed in &dirs {
            for cold in [false, true] {
                for first in [ONE, OTHER] {
                    chown(closed, Some(Uid::from_raw(ONE)), None).unwrap();
                    chmod(closed, 0o700.into()).unwrap();
                    if cold {
                        forget_names(mount.root());
                    }
                    let expected = |uid| {
                        if uid == ONE {
                            Ok(())
                        } else {
                            Err(Errno::ACCESS)
                        }
                    };
                    for uid in [first, ONE + OTHER - first, ONE, OTHER] {
                        assert_eq!(reaches(uid, &file), expected(uid), "{uid} {closed:?}");
                    }
                    chown(closed, Some(Uid::from_raw(OTHER)), None).unwrap();
                    let expected = |uid| {
                        if uid == OTHER {
                            Ok(())
                        } else {
                            Err(Errno::ACCESS)
                        }
                    };
                    for uid in [ONE, OTHER] {
                        assert_eq!(reaches(uid, &file), expected(uid), "{uid} {closed:?}");
                    }
                    chmod(closed, 0o755.into()).unwrap();
                    for uid in [ONE, OTHER] {
                        assert_eq!(reaches(uid, &file), Ok(()), "{uid} {closed:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_missing_name_is_no_secret_to_those_alone_who_may_search() {
    let mount = Daemon::deciding();
    let dir = mount.path("dir");
    mkdir(&dir, 0o711.into()).unwrap();
    let missing = dir.join("missing");
    fails(Errno::NOENT, reaches(ONE, &missing));
    chmod(&dir, 0o700.into()).unwrap();
    fails(Errno::ACCESS, reaches(ONE, &missing));
    fails(Errno::NOENT, lstat(&missing));
    fails(Errno::ACCESS, reaches(ONE, &missing));
}

#[test]
fn somebody_inside_is_held_where_he_is() {
    let mount = Daemon::deciding();
    let file = deep(mount.root());
    let dir = open(mount.path("a/b"), OFlags::PATH, Mode::empty()).unwrap();
    let from_there = |path: &str| {
        as_user(ONE, ONE, &[], || {
            rustix::fs::openat(&dir, path, OFlags::RDONLY, Mode::empty()).outcome()
        })
    };
    assert_eq!(from_there("c/d/file"), Ok(()));
    chmod(mount.path("a"), 0o700.into()).unwrap();
    assert_eq!(from_there("c/d/file"), Ok(()), "not through a");
    assert_eq!(reaches(ONE, &file), Err(Errno::ACCESS));
    chmod(mount.path("a/b"), 0o700.into()).unwrap();
    assert_eq!(from_there("c/d/file"), Err(Errno::ACCESS));
}

#[test]
fn a_group_opens_the_way_while_one_is_in_it() {
    let mount = Daemon::deciding();
    let file = deep(mount.root());
    chown(mount.path("a/b"), None, Some(Gid::from_raw(3000))).unwrap();
    chmod(mount.path("a/b"), 0o710.into()).unwrap();
    let through = |groups: &[u32]| as_user(ONE, ONE, groups, || lstat(&file).outcome());
    assert_eq!(through(&[1, 2, 3000]), Ok(()));
    assert_eq!(through(&[1, 2]), Err(Errno::ACCESS));
    assert_eq!(through(&[3000]), Ok(()));
    chmod(mount.path("a/b"), 0o701.into()).unwrap();
    assert_eq!(
        through(&[3000]),
        Err(Errno::ACCESS),
        "the group counts first"
    );
    assert_eq!(through(&[]), Ok(()));
}

#[test]
fn each_step_of_a_path_and_each_open_is_asked_for() {
    let mount = InProcess::deciding(&Options::default(), Permissions::Daemon);
    let file = deep(mount.root());
    let work = || {
        lstat(&file).unwrap();
    };
    work();
    assert_eq!(mount.count(RequestKind::Lookup, work), 5);
    assert_eq!(mount.count(RequestKind::Getattr, work), 0);
    let read = || assert_eq!(std::fs::read(&file).unwrap(), b"content");
    read();
    assert_eq!(mount.count(RequestKind::Open, read), 1);
    assert_eq!(mount.count(RequestKind::Read, read), 0, "it is kept");
    let list = || {
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            2
        )
    };
    list();
    assert_eq!(mount.count(RequestKind::Opendir, list), 1);
    assert_eq!(mount.count(RequestKind::Readdir, list), 0, "it is kept");
    assert_eq!(mount.count(RequestKind::Readdirplus, list), 0);
    let opened = std::fs::File::open(&file).unwrap();
    let before = mount.requests().total();
    fstat(&opened).unwrap();
    assert_eq!(
        mount.requests().total(),
        before,
        "a descriptor needs nothing"
    );
}

#[test]
fn the_default_asks_for_none_of_that() {
    let mount = InProcess::start(Cache::Forever);
    let file = deep(mount.root());
    let work = || {
        lstat(&file).unwrap();
        std::fs::read(&file).unwrap();
    };
    // Reading moves the access time, as far as the kernel knows.
    work();
    work();
    let before = mount.requests().total();
    work();
    assert_eq!(mount.requests().total(), before);
}
