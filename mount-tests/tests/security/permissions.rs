//! Who may do what: every answer is that of tmpfs, whether the kernel decides or norefs.

use mount_tests::posix::{Outcome, as_user, fifo, tree};
use mount_tests::{Daemon, fails, same_whoever_decides};
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, accessat, chmod, chown, lstat,
    mkdir, open, readlink, rename, symlink, unlink, utimensat,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// uid, gid, supplementary groups.
const CALLERS: [(u32, u32, &[u32]); 6] = [
    (0, 0, &[]),
    (1000, 1000, &[]),
    (1001, 1000, &[]),
    (1001, 1001, &[]),
    (1001, 1001, &[1000]),
    (1001, 1001, &[5, 6, 7, 1000]),
];

const MODES: [u32; 12] = [
    0o000, 0o700, 0o070, 0o007, 0o711, 0o755, 0o744, 0o640, 0o604, 0o044, 0o411, 0o377,
];

type Change<'a> = &'a (dyn Fn() -> Result<(), Errno> + Sync);

type Report = Vec<(&'static str, Result<(), Errno>)>;

fn owned(path: &Path, mode: u32) {
    chown(path, Some(Uid::from_raw(1000)), Some(Gid::from_raw(1000))).unwrap();
    chmod(path, mode.into()).unwrap();
}

fn try_file(path: &Path) -> Report {
    let open = |flags| open(path, flags, Mode::empty()).map(drop);
    let access = |how| accessat(CWD, path, how, AtFlags::EACCESS);
    let now = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW as _,
        },
    };
    vec![
        ("stat", lstat(path).map(drop)),
        ("open to read", open(OFlags::RDONLY)),
        ("open to write", open(OFlags::WRONLY)),
        ("open for both", open(OFlags::RDWR)),
        ("truncate", open(OFlags::WRONLY | OFlags::TRUNC)),
        ("access r", access(Access::READ_OK)),
        ("access w", access(Access::WRITE_OK)),
        ("access x", access(Access::EXEC_OK)),
        (
            "access rwx",
            access(Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK),
        ),
        ("touch", utimensat(CWD, path, &now, AtFlags::empty())),
        ("execute", execute(path)),
        (
            "enter",
            std::process::Command::new("/bin/true")
                .current_dir(path)
                .output()
                .outcome(),
        ),
    ]
}

/// Executes a file. A process that another thread of this test is just starting may still hold it
/// open for writing.
fn execute(path: &Path) -> Result<(), Errno> {
    loop {
        match std::process::Command::new(path).output().outcome() {
            Err(Errno::TXTBSY) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
}

fn try_dir(dir: &Path) -> Report {
    let open_new =
        |name: &str| open(dir.join(name), OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).map(drop);
    vec![
        ("list", std::fs::read_dir(dir).outcome()),
        (
            "enter",
            std::process::Command::new("/bin/true")
                .current_dir(dir)
                .output()
                .outcome(),
        ),
        ("stat in it", lstat(dir.join("file")).map(drop)),
        (
            "stat of a missing name",
            lstat(dir.join("missing")).map(drop),
        ),
        (
            "readlink in it",
            readlink(dir.join("symlink"), []).map(drop),
        ),
        ("stat below it", lstat(dir.join("sub/file")).map(drop)),
        (
            "access in it",
            rustix::fs::access(dir.join("file"), Access::EXISTS),
        ),
        (
            "chdir-like open",
            open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(drop),
        ),
        ("create", open_new("new")),
        ("mkdir", mkdir(dir.join("newdir"), Mode::RWXU)),
        ("symlink", symlink("target", dir.join("newlink"))),
        ("mkfifo", fifo(&dir.join("newfifo"), 0o600)),
        ("rename", rename(dir.join("file"), dir.join("renamed"))),
        (
            "unlink",
            unlink(dir.join("renamed")).or_else(|_| unlink(dir.join("file"))),
        ),
        ("rmdir", rustix::fs::rmdir(dir.join("empty"))),
    ]
}

#[test]
fn files_of_each_mode_for_each_caller() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in MODES {
                let path = root.join(format!("{number} {mode:o}"));
                std::fs::write(&path, "#!/bin/true\n").unwrap();
                owned(&path, mode);
                report.push((number, mode, as_user(uid, gid, groups, || try_file(&path))));
            }
        }
        report
    });
}

#[test]
fn directories_of_each_mode_for_each_caller() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in MODES {
                let dir = root.join(format!("{number} {mode:o}"));
                std::fs::create_dir_all(dir.join("sub")).unwrap();
                std::fs::create_dir(dir.join("empty")).unwrap();
                std::fs::write(dir.join("file"), "").unwrap();
                std::fs::write(dir.join("sub/file"), "").unwrap();
                symlink("file", dir.join("symlink")).unwrap();
                owned(&dir, mode);
                report.push((number, mode, as_user(uid, gid, groups, || try_dir(&dir))));
                chmod(&dir, Mode::RWXU).unwrap();
            }
        }
        (report, tree(root))
    });
}

#[test]
fn attributes_are_changed_by_their_owner_only() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in [0o666, 0o6777, 0o2070] {
                let path = root.join(format!("{number} {mode:o}"));
                std::fs::write(&path, "").unwrap();
                let changes: [(&str, Change); 5] = [
                    ("chmod", &|| chmod(&path, 0o6711.into())),
                    ("own group", &|| {
                        chown(&path, None, Some(Gid::from_raw(gid)))
                    }),
                    ("its group", &|| {
                        chown(&path, None, Some(Gid::from_raw(1000)))
                    }),
                    ("other group", &|| {
                        chown(&path, None, Some(Gid::from_raw(4242)))
                    }),
                    ("owner", &|| chown(&path, Some(Uid::from_raw(1001)), None)),
                ];
                for (what, change) in changes {
                    owned(&path, mode);
                    let result = as_user(uid, gid, groups, change);
                    report.push((number, mode, what, result, lstat(&path).unwrap().st_mode));
                }
            }
        }
        report
    });
}

#[test]
fn a_sticky_directory_protects_what_others_own() {
    same_whoever_decides(|root| {
        let dir = root.join("tmp");
        mkdir(&dir, Mode::RWXU).unwrap();
        chmod(&dir, 0o1777.into()).unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(dir.join(name), "").unwrap();
            owned(&dir.join(name), 0o666);
        }
        let as_other = as_user(1001, 1001, &[], || {
            (
                unlink(dir.join("a")),
                rename(dir.join("a"), dir.join("d")),
                std::fs::write(dir.join("mine"), "").outcome(),
                rename(dir.join("mine"), dir.join("a")),
            )
        });
        let as_owner = as_user(1000, 1000, &[], || {
            (
                unlink(dir.join("a")),
                rename(dir.join("b"), dir.join("c")),
                unlink(dir.join("mine")),
            )
        });
        (as_other, as_owner, tree(root))
    });
}

/// A directory of mode `perm` and two files in it, all of the first ordinary caller.
fn shared(root: &Path, name: &str, perm: u32) -> PathBuf {
    let dir = root.join(name);
    mkdir(&dir, Mode::RWXU).unwrap();
    for name in ["a", "b"] {
        std::fs::write(dir.join(name), "").unwrap();
        owned(&dir.join(name), 0o644);
    }
    owned(&dir, perm);
    dir
}

#[test]
fn a_directory_changes_its_parent_by_who_may_write_it() {
    same_whoever_decides(|root| {
        let (from, to) = (root.join("from"), root.join("to"));
        for dir in [&from, &to] {
            mkdir(dir, Mode::RWXU).unwrap();
            chmod(dir, 0o777.into()).unwrap();
        }
        let mut report = Vec::new();
        for mode in [0o755, 0o777, 0o775, 0o1777] {
            for (uid, gid, groups) in CALLERS {
                let (old, new) = (from.join("dir"), to.join("dir"));
                mkdir(&old, Mode::RWXU).unwrap();
                owned(&old, mode);
                mkdir(to.join("other"), Mode::RWXU).unwrap();
                owned(&to.join("other"), mode);
                report.push((
                    (mode, uid, gid),
                    as_user(uid, gid, groups, || {
                        [
                            rename(&old, from.join("still")),
                            rename(from.join("still"), &new),
                            exchange(&from.join("still"), &to.join("other")),
                        ]
                    }),
                ));
                for left in ["from/dir", "from/still", "to/dir", "to/other"] {
                    let _ = rustix::fs::rmdir(root.join(left));
                }
            }
        }
        report
    });
}

fn exchange(one: &Path, other: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

#[test]
fn a_sticky_directory_protects_in_every_way_to_lose_a_name() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in [0o777, 0o1777, 0o1775, 0o1755] {
                let dir = shared(root, &format!("{number} {mode:o}"), mode);
                chown(dir.join("b"), Some(Uid::from_raw(1001)), None).unwrap();
                let mine = root.join(format!("mine {number} {mode:o}"));
                report.push(as_user(uid, gid, groups, || {
                    vec![
                        exchange(&dir.join("a"), &dir.join("b")),
                        rename(dir.join("b"), dir.join("a")),
                        rename(dir.join("a"), &mine),
                        unlink(dir.join("b")),
                        mkdir(dir.join("sub"), Mode::RWXU),
                        rustix::fs::rmdir(dir.join("sub")),
                    ]
                }));
            }
        }
        (report, tree(root))
    });
}

#[test]
fn hard_links_of_what_others_own() {
    same_whoever_decides(|root| {
        chmod(root, 0o777.into()).unwrap();
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in [0o600, 0o644, 0o646, 0o664, 0o666, 0o4666, 0o2676, 0o2666] {
                let path = root.join(format!("{number} {mode:o}"));
                std::fs::write(&path, "").unwrap();
                owned(&path, mode);
                let new = root.join(format!("{number} {mode:o} again"));
                let link = as_user(uid, gid, groups, || rustix::fs::link(&path, &new));
                report.push((number, mode, link));
            }
            let path = root.join(format!("{number} fifo"));
            fifo(&path, 0o666).unwrap();
            owned(&path, 0o666);
            let new = root.join(format!("{number} fifo again"));
            let link = as_user(uid, gid, groups, || rustix::fs::link(&path, &new));
            report.push((number, 0, link));
        }
        report
    });
}

#[test]
fn times_are_set_by_the_owner_and_touched_by_who_may_write() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for mode in [0o444, 0o644, 0o664, 0o666] {
                let path = root.join(format!("{number} {mode:o}"));
                std::fs::write(&path, "").unwrap();
                owned(&path, mode);
                let (now, omit, given) = (rustix::fs::UTIME_NOW, rustix::fs::UTIME_OMIT, 5);
                for (atime, mtime) in [
                    (now, now),
                    (now, omit),
                    (omit, now),
                    (now, given),
                    (given, now),
                    (given, given),
                    (omit, given),
                    (omit, omit),
                ] {
                    let time = |tv_nsec| rustix::fs::Timespec { tv_sec: 5, tv_nsec };
                    let times = rustix::fs::Timestamps {
                        last_access: time(atime),
                        last_modification: time(mtime),
                    };
                    let set = as_user(uid, gid, groups, || {
                        utimensat(CWD, &path, &times, AtFlags::empty())
                    });
                    report.push((number, mode, atime, mtime, set));
                }
            }
        }
        report
    });
}

#[test]
fn set_group_id_is_given_by_members_alone() {
    same_whoever_decides(|root| {
        let mut report = Vec::new();
        for (number, (uid, gid, groups)) in CALLERS.into_iter().enumerate() {
            for group in [0, 1000, 1001, 4242] {
                let (file, dir) = (
                    root.join(format!("{number} {group} file")),
                    root.join(format!("{number} {group} dir")),
                );
                std::fs::write(&file, "").unwrap();
                mkdir(&dir, Mode::RWXU).unwrap();
                for path in [&file, &dir] {
                    let owner = Some(Uid::from_raw(uid));
                    chown(path, owner, Some(Gid::from_raw(group))).unwrap();
                    let set = as_user(uid, gid, groups, || chmod(path, 0o2755.into()));
                    report.push((number, group, set, lstat(path).unwrap().st_mode));
                }
                chmod(&dir, 0o2777.into()).unwrap();
                as_user(uid, gid, groups, || {
                    let flags = OFlags::CREATE | OFlags::WRONLY;
                    open(dir.join("file"), flags, 0o2755.into()).unwrap();
                    mkdir(dir.join("dir"), 0o755.into()).unwrap();
                });
            }
        }
        (report, tree(root))
    });
}

#[test]
fn what_was_opened_stays_open() {
    same_whoever_decides(|root| {
        let (dir, path) = (shared(root, "dir", 0o755), root.join("dir/a"));
        chmod(&path, 0o666.into()).unwrap();
        let opened = as_user(1001, 1001, &[], || {
            (
                open(&path, OFlags::RDWR, Mode::empty()).unwrap(),
                open(&dir, OFlags::RDONLY, Mode::empty()).unwrap(),
            )
        });
        let (file, listed) = opened;
        chmod(&path, Mode::empty()).unwrap();
        chmod(&dir, Mode::empty()).unwrap();
        as_user(1001, 1001, &[], || {
            vec![
                rustix::io::write(&file, b"content").outcome(),
                rustix::fs::ftruncate(&file, 3),
                rustix::io::pread(&file, &mut [0; 9], 0).outcome(),
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 9),
                rustix::fs::fstat(&file).outcome(),
                rustix::fs::fchmod(&file, Mode::RWXU),
                rustix::fs::Dir::read_from(&listed).outcome(),
                rustix::fs::openat(&listed, "a", OFlags::RDONLY, Mode::empty()).outcome(),
                open(&path, OFlags::RDONLY, Mode::empty()).outcome(),
            ]
        })
    });
}

#[test]
fn a_directory_closed_to_a_user_is_closed_in_the_cache_too() {
    for mount in [Daemon::start(), Daemon::deciding()] {
        closes_in_the_cache_too(&mount);
    }
}

fn closes_in_the_cache_too(mount: &Daemon) {
    let file = mount.path("dir/sub/file");
    std::fs::create_dir_all(mount.path("dir/sub")).unwrap();
    std::fs::write(&file, "").unwrap();
    let as_other = |path: &Path| as_user(1000, 1000, &[], || lstat(path).map(drop));
    as_other(&file).unwrap();
    chmod(mount.path("dir"), 0o700.into()).unwrap();
    fails(Errno::ACCESS, as_other(&file));
    fails(Errno::ACCESS, as_other(&mount.path("dir/missing")));
    chmod(mount.path("dir"), 0o711.into()).unwrap();
    as_other(&file).unwrap();
    chown(mount.path("dir/sub"), Some(Uid::from_raw(1001)), None).unwrap();
    chmod(mount.path("dir/sub"), 0o700.into()).unwrap();
    fails(Errno::ACCESS, as_other(&file));
    as_user(1001, 1, &[], || lstat(&file)).unwrap();
}
