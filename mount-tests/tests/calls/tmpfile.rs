//! Files without a name: `O_TMPFILE`.

use mount_tests::posix::seen;
use mount_tests::{InProcess, fails, same_as_tmpfs};
use norefs::transport::Cache;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, OFlags, fstat, linkat, open};
use rustix::io::Errno;
use std::path::Path;

fn nameless(dir: &Path, more: OFlags) -> OwnedFd {
    open(dir, OFlags::TMPFILE | OFlags::RDWR | more, 0o640.into()).unwrap()
}

fn name(file: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

#[test]
fn it_is_written_read_and_named_at_last() {
    same_as_tmpfs(|root| {
        let file = nameless(root, OFlags::empty());
        rustix::io::write(&file, b"content").unwrap();
        let before = fstat(&file).unwrap();
        let listed = std::fs::read_dir(root).unwrap().count();
        let mut content = [0; 7];
        rustix::io::pread(&file, &mut content, 0).unwrap();
        name(&file, &root.join("named")).unwrap();
        let after = fstat(&file).unwrap();
        assert_eq!(std::fs::read(root.join("named")).unwrap(), content);
        assert_eq!(seen(root.join("named")).ino, after.st_ino);
        (
            (before.st_mode, before.st_nlink, before.st_size, listed),
            (after.st_nlink, after.st_size),
            name(&file, &root.join("named")),
        )
    });
}

#[test]
fn one_that_is_exclusive_stays_without_a_name() {
    same_as_tmpfs(|root| {
        let file = nameless(root, OFlags::EXCL);
        name(&file, &root.join("named"))
    });
}

#[test]
fn one_that_is_closed_is_gone() {
    for cache in [Cache::Forever, Cache::None] {
        let mount = InProcess::start(cache);
        let before = mount.fs().tree().inodes();
        let file = nameless(mount.root(), OFlags::empty());
        rustix::io::write(&file, &[7; 100_000]).unwrap();
        assert_eq!(mount.fs().tree().inodes(), before + 1);
        drop(file);
        let gone = || mount.fs().tree().inodes() == before;
        assert!(mount_tests::wait_until(gone), "{cache}");
        assert_eq!(mount.fs().statfs().blocks_free, mount.fs().statfs().blocks);
    }
}

#[test]
fn only_a_directory_has_room_for_one() {
    let mount = InProcess::start(Cache::Forever);
    std::fs::write(mount.path("file"), "").unwrap();
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    fails(Errno::NOTDIR, open(mount.path("file"), flags, 0o600.into()));
}
