//! The time of birth, which only statx shows.

use mount_tests::{Daemon, InProcess, same_as_tmpfs};
use norefs::transport::{Cache, Options, RequestKind};
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, Timespec, Timestamps, statx, utimensat};
use std::path::Path;

fn with_birth(path: &Path) -> Statx {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let statx = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, mask).unwrap();
    assert!(statx.stx_mask & mask.bits() == mask.bits(), "{statx:?}");
    statx
}

fn birth(path: &Path) -> (i64, u32) {
    let time = with_birth(path).stx_btime;
    (time.tv_sec, time.tv_nsec)
}

#[test]
fn the_time_of_birth_is_asked_for_once() {
    let mount = InProcess::start(Cache::Forever);
    let file = mount.path("file");
    std::fs::write(&file, "content").unwrap();
    let ask = || _ = with_birth(&file);
    assert_eq!(mount.count(RequestKind::Statx, ask), 1);
    let before = mount.requests().total();
    (0..50).for_each(|_| ask());
    assert_eq!(mount.requests().total(), before);
}

#[test]
fn a_mount_may_do_without() {
    let mount = InProcess::with(&Options {
        btime: false,
        ..Options::default()
    });
    let ask = |name: &str| {
        std::fs::write(mount.path(name), "").unwrap();
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let statx = statx(CWD, mount.path(name), AtFlags::empty(), mask).unwrap();
        assert_eq!(statx.stx_mask & StatxFlags::BTIME.bits(), 0);
    };
    assert_eq!(mount.count(RequestKind::Statx, || ask("a")), 1);
    assert_eq!(mount.count(RequestKind::Statx, || ask("b")), 0);
}

#[test]
fn statx_tells_what_stat_tells() {
    let mount = Daemon::start();
    let file = mount.path("file");
    std::fs::write(&file, "content").unwrap();
    let (birth, plain) = (with_birth(&file), mount_tests::posix::forced(&file));
    assert_eq!((birth.stx_ino, birth.stx_mode), (plain.ino, plain.mode));
    assert_eq!(
        (birth.stx_size, birth.stx_blocks),
        (plain.size, plain.blocks)
    );
    assert_eq!((birth.stx_nlink, birth.stx_uid), (plain.nlink, plain.uid));
    assert_eq!(
        (birth.stx_mtime.tv_sec, birth.stx_mtime.tv_nsec),
        plain.mtime
    );
    assert_eq!(
        (birth.stx_ctime.tv_sec, birth.stx_ctime.tv_nsec),
        plain.ctime
    );
}

#[test]
fn devices_keep_their_numbers_in_statx() {
    same_as_tmpfs(|root| {
        let path = root.join("device");
        let number = rustix::fs::makedev(259, 70_000);
        let kind = rustix::fs::FileType::BlockDevice;
        rustix::fs::mknodat(CWD, &path, kind, 0o600.into(), number).unwrap();
        let statx = with_birth(&path);
        (statx.stx_rdev_major, statx.stx_rdev_minor)
    });
}

#[test]
fn a_file_is_born_when_it_is_made_and_never_again() {
    same_as_tmpfs(|root| {
        let (file, other) = (root.join("file"), root.join("other"));
        std::fs::write(&file, "").unwrap();
        let made = birth(&file);
        let made_at = with_birth(&file).stx_ctime;
        let first = made == (made_at.tv_sec, made_at.tv_nsec);
        mount_tests::posix::age(&file);
        std::fs::write(&file, "changed").unwrap();
        rustix::fs::chmod(&file, 0o600.into()).unwrap();
        std::fs::hard_link(&file, &other).unwrap();
        std::fs::rename(&file, root.join("moved")).unwrap();
        (
            first,
            birth(&other) == made,
            birth(&root.join("moved")) == made,
        )
    });
}

#[test]
fn times_before_1970_show() {
    same_as_tmpfs(|root| {
        let file = root.join("file");
        std::fs::write(&file, "").unwrap();
        let times = [(-1, 999_999_999), (-2_000_000_000, 1), (0, 0)];
        times.map(|(tv_sec, tv_nsec)| {
            let time = Timespec { tv_sec, tv_nsec };
            let both = Timestamps {
                last_access: time,
                last_modification: time,
            };
            utimensat(CWD, &file, &both, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let statx = with_birth(&file);
            (
                statx.stx_mtime.tv_sec,
                statx.stx_mtime.tv_nsec,
                statx.stx_atime.tv_sec,
            )
        })
    });
}
