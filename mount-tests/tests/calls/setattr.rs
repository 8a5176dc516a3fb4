//! Modes, owners, times and sizes.

use mount_tests::posix::{Make, age, as_user, forced, seen, tree};
use mount_tests::{Daemon, fails, same_as_tmpfs};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, chmod,
    chown, fchmod, fstat, ftruncate, futimens, open, statfs, symlink, utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

fn time(tv_sec: i64, tv_nsec: i64) -> Timespec {
    Timespec {
        tv_sec,
        tv_nsec: tv_nsec as _,
    }
}

fn set_times(path: &Path, last_access: Timespec, last_modification: Timespec) -> Result<(), Errno> {
    let times = Timestamps {
        last_access,
        last_modification,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn times(path: &Path) -> [(i64, i64); 2] {
    let stat = rustix::fs::lstat(path).unwrap();
    [
        (stat.st_atime, stat.st_atime_nsec as i64),
        (stat.st_mtime, stat.st_mtime_nsec as i64),
    ]
}

#[test]
fn every_permission_bit_can_be_set_and_cleared() {
    let mount = Daemon::start();
    for kind in [Make::File, Make::EmptyDir, Make::Fifo] {
        let path = mount.path(format!("{kind:?}"));
        kind.at(&path);
        for mode in [0o777, 0, 0o7777, 0o4000, 0o2000, 0o1000, 0o644] {
            chmod(&path, mode.into()).unwrap();
            assert_eq!(u32::from(seen(&path).mode) & 0o7777, mode, "{kind:?}");
            assert_eq!(seen(&path), forced(&path), "{kind:?} {mode:o}");
        }
    }
}

#[test]
fn each_change_moves_ctime_only() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "content").unwrap();
    let changes: [(&str, &dyn Fn()); 3] = [
        ("chmod", &|| chmod(&path, 0o600.into()).unwrap()),
        ("chown", &|| {
            chown(&path, Some(Uid::from_raw(5)), None).unwrap()
        }),
        ("xattr", &|| {
            rustix::fs::setxattr(&path, "user.x", b"", rustix::fs::XattrFlags::empty()).unwrap()
        }),
    ];
    for (name, change) in changes {
        age(&path);
        let before = seen(&path);
        change();
        let after = seen(&path);
        assert!(after.ctime > before.ctime, "{name}");
        assert_eq!(after.mtime, before.mtime, "{name}");
    }
}

#[test]
fn owner_and_group_change_apart() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "").unwrap();
    let owners = || (seen(&path).uid, seen(&path).gid);
    chown(&path, Some(Uid::from_raw(7)), Some(Gid::from_raw(8))).unwrap();
    assert_eq!(owners(), (7, 8));
    chown(&path, None, Some(Gid::from_raw(9))).unwrap();
    assert_eq!(owners(), (7, 9));
    chown(&path, Some(Uid::from_raw(u32::MAX - 1)), None).unwrap();
    assert_eq!(owners(), (u32::MAX - 1, 9));
}

#[test]
fn set_id_bits_are_lost_where_they_must_be() {
    same_as_tmpfs(|root| {
        chmod(root, 0o777.into()).unwrap();
        let mut modes = Vec::new();
        for mode in [0o6755, 0o6745, 0o2755, 0o2745, 0o4711, 0o1755] {
            for (uid, gid) in [(0, 0), (0, 1000), (1000, 1000), (1000, 77)] {
                let path = root.join(format!("{mode:o} {uid} {gid}"));
                std::fs::write(&path, "content").unwrap();
                let owner = Some(Uid::from_raw(1000));
                let mut note = |what, change: &(dyn Fn() + Sync)| {
                    chown(&path, owner, Some(Gid::from_raw(1000))).unwrap();
                    chmod(&path, mode.into()).unwrap();
                    as_user(uid, gid, &[], change);
                    modes.push((what, uid, gid, mode, seen(&path).mode));
                };
                note("nothing", &|| ());
                note("chown", &|| chown(&path, owner, None).unwrap());
                note("write", &|| std::fs::write(&path, "more content").unwrap());
                note("truncate", &|| {
                    open(&path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty())
                        .map(drop)
                        .unwrap()
                });
                note("ftruncate", &|| {
                    File::options()
                        .write(true)
                        .open(&path)
                        .unwrap()
                        .set_len(1)
                        .unwrap()
                });
            }
        }
        modes
    });
}

#[test]
fn a_chown_that_changes_nothing_strips_set_id_bits_for_owner_and_root_only() {
    same_as_tmpfs(|root| {
        [0o4755, 0o2755, 0o6711, 0o755].map(|mode| {
            [0, 1000, 1001].map(|uid| {
                let path = root.join(format!("{mode:o} {uid}"));
                std::fs::write(&path, "").unwrap();
                chown(&path, Some(Uid::from_raw(1000)), Some(Gid::from_raw(1000))).unwrap();
                chmod(&path, mode.into()).unwrap();
                // The answer to a stranger is not compared: such a request looks like that of an
                // allocation.
                let _ = as_user(uid, uid, &[], || chown(&path, None, None));
                (mode, uid, seen(&path).mode)
            })
        })
    });
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    let mount = Daemon::start();
    for kind in [Make::File, Make::EmptyDir, Make::Symlink, Make::Fifo] {
        let path = mount.path(format!("{kind:?}"));
        kind.at(&path);
        for (atime, mtime) in [
            ((1, 999_999_999), (2, 1)),
            ((0, 0), (-1, 999_999_999)),
            ((-5_000_000_000, 7), (1 << 33, 123_456_789)),
            ((1 << 40, 0), (4_294_967_296, 5)),
            ((i64::MIN, 0), (i64::MAX - 1, 999_999_999)),
        ] {
            set_times(&path, time(atime.0, atime.1), time(mtime.0, mtime.1)).unwrap();
            assert_eq!(times(&path), [atime, mtime], "{kind:?}");
        }
    }
}

#[test]
fn a_time_may_be_left_alone_or_be_now() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "").unwrap();
    let (omit, now) = (time(0, UTIME_OMIT), time(0, UTIME_NOW));
    set_times(&path, time(1, 2), time(3, 4)).unwrap();
    set_times(&path, omit, time(5, 6)).unwrap();
    assert_eq!(times(&path), [(1, 2), (5, 6)]);
    set_times(&path, time(7, 8), omit).unwrap();
    assert_eq!(times(&path), [(7, 8), (5, 6)]);
    set_times(&path, omit, omit).unwrap();
    assert_eq!(times(&path), [(7, 8), (5, 6)]);
    set_times(&path, now, now).unwrap();
    let [atime, mtime] = times(&path);
    assert!(atime > (1_600_000_000, 0) && mtime > (1_600_000_000, 0));
}

#[test]
fn truncate_cuts_and_grows() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "0123456789").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123");
    file.set_len(8).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123\0\0\0\0");
    file.set_len(8).unwrap();
    assert_eq!(seen(&path).size, 8);
    file.set_len(0).unwrap();
    assert_eq!(seen(&path), forced(&path));
    assert_eq!((seen(&path).size, seen(&path).blocks), (0, 0));
}

#[test]
fn a_truncated_page_holds_nothing_of_the_old_content() {
    let mount = Daemon::start();
    let path = mount.path("file");
    for cut in [1, 4095, 4096, 4097, 70_000, 131_072] {
        std::fs::write(&path, vec![b'x'; 200_000]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(cut).unwrap();
        file.set_len(200_000).unwrap();
        let content = std::fs::read(&path).unwrap();
        let (kept, gone) = content.split_at(cut as usize);
        assert!(kept.iter().all(|&byte| byte == b'x'), "{cut}");
        assert!(gone.iter().all(|&byte| byte == 0), "{cut}");
    }
}

#[test]
fn a_file_of_2_to_the_62_bytes_costs_nothing() {
    let mount = Daemon::start();
    let path = mount.path("file");
    let free = statfs(mount.root()).unwrap().f_bfree;
    let file = File::create(&path).unwrap();
    ftruncate(&file, 1 << 62).unwrap();
    assert_eq!((seen(&path).size, seen(&path).blocks), (1 << 62, 0));
    assert_eq!(statfs(mount.root()).unwrap().f_bfree, free);
    std::os::unix::fs::FileExt::write_at(&file, b"end", (1 << 62) - 3).unwrap();
    assert_eq!(seen(&path).size, 1 << 62);
    let mut end = [1; 6];
    let read = File::open(&path).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&read, &mut end, (1 << 62) - 6).unwrap();
    assert_eq!(&end, b"\0\0\0end");
    ftruncate(&file, 0).unwrap();
    assert_eq!((seen(&path).size, seen(&path).blocks), (0, 0));
}

#[test]
fn truncation_moves_both_times() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "content").unwrap();
    for size in [3, 10] {
        age(&path);
        let before = seen(&path);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(size)
            .unwrap();
        let after = seen(&path);
        assert!(
            after.mtime > before.mtime && after.ctime > before.ctime,
            "{size}"
        );
    }
}

#[test]
fn what_cannot_be_changed() {
    let mount = Daemon::start();
    symlink("nowhere", mount.path("symlink")).unwrap();
    fails(Errno::NOENT, chmod(mount.path("symlink"), Mode::RWXU));
    fails(Errno::NOENT, chmod(mount.path("missing"), Mode::RWXU));
    std::fs::create_dir(mount.path("dir")).unwrap();
    let dir = File::open(mount.path("dir")).unwrap();
    fails(Errno::INVAL, ftruncate(&dir, 0));
    std::fs::write(mount.path("file"), "").unwrap();
    fails(
        Errno::INVAL,
        ftruncate(File::open(mount.path("file")).unwrap(), 0),
    );
    let file = File::options()
        .write(true)
        .open(mount.path("file"))
        .unwrap();
    fails(Errno::INVAL, ftruncate(&file, u64::MAX));
    assert_eq!(tree(mount.root()).len(), 3);
}

#[test]
fn an_open_file_without_a_name_can_be_changed() {
    let mount = Daemon::start();
    let path = mount.path("file");
    let file = File::create(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    fchmod(&file, 0o751.into()).unwrap();
    let times = Timestamps {
        last_access: time(1, 2),
        last_modification: time(3, 4),
    };
    futimens(&file, &times).unwrap();
    ftruncate(&file, 77).unwrap();
    let stat = fstat(&file).unwrap();
    assert_eq!(
        (stat.st_mode & 0o777, stat.st_size, stat.st_atime),
        (0o751, 77, 1)
    );
}
