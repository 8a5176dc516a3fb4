//! Finding names.

use mount_tests::posix::seen;
use mount_tests::{Daemon, fails, same_as_tmpfs};
use rustix::fs::{CWD, Mode, OFlags, lstat, mkdir, openat, stat, statat, unlink};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[test]
fn a_missing_name_is_found_once_it_is_made_and_missing_again_once_it_is_gone() {
    let mount = Daemon::start();
    let file = mount.path("file");
    for _ in 0..3 {
        fails(Errno::NOENT, lstat(&file));
        fails(Errno::NOENT, lstat(&file));
        std::fs::write(&file, "x").unwrap();
        assert_eq!(seen(&file).size, 1);
        unlink(&file).unwrap();
    }
    fails(Errno::NOENT, lstat(&file));
}

#[test]
fn a_file_is_no_directory() {
    let mount = Daemon::start();
    std::fs::write(mount.path("file"), "").unwrap();
    fails(Errno::NOTDIR, lstat(mount.path("file/name")));
    fails(Errno::NOTDIR, lstat(mount.path("file/.")));
    fails(Errno::NOTDIR, lstat(mount.path("file/")));
    fails(Errno::NOTDIR, lstat(mount.path("file/..")));
}

#[test]
fn dots_lead_to_the_directory_and_its_parent() {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("a/b")).unwrap();
    assert_eq!(seen(mount.path("a/b/.")), seen(mount.path("a/b")));
    assert_eq!(seen(mount.path("a/b/..")), seen(mount.path("a")));
    assert_eq!(seen(mount.path("a/b/../..")), seen(mount.root()));
    assert_ne!(seen(mount.path("..")).ino, seen(mount.root()).ino);
}

#[test]
fn names_are_any_255_bytes() {
    let names: Vec<Vec<u8>> = vec![
        b"\xff\xfe not UTF-8 \x80".to_vec(),
        b"new\nline".to_vec(),
        b"back\\slash and space".to_vec(),
        b"...".to_vec(),
        vec![1],
        vec![b'n'; 255],
    ];
    let mount = Daemon::start();
    for name in &names {
        std::fs::write(mount.path(OsStr::from_bytes(name)), name).unwrap();
    }
    for name in &names {
        assert_eq!(
            &std::fs::read(mount.path(OsStr::from_bytes(name))).unwrap(),
            name
        );
    }
    let listed: HashSet<Vec<u8>> = std::fs::read_dir(mount.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    assert_eq!(listed, names.into_iter().collect());
}

#[test]
fn a_name_of_256_bytes_is_too_long() {
    let mount = Daemon::start();
    let long = mount.path("n".repeat(256));
    fails(Errno::NAMETOOLONG, lstat(&long));
    fails(Errno::NAMETOOLONG, mkdir(&long, Mode::RWXU));
    fails(Errno::NAMETOOLONG, std::fs::write(&long, ""));
}

#[test]
fn names_that_differ_in_one_byte_are_different() {
    let mount = Daemon::start();
    for byte in [b'a', b'A', b'b', b' '] {
        let name = [b'x', byte];
        std::fs::write(mount.path(OsStr::from_bytes(&name)), [byte]).unwrap();
    }
    assert_eq!(std::fs::read(mount.path("xa")).unwrap(), b"a");
    assert_eq!(std::fs::read(mount.path("xA")).unwrap(), b"A");
    fails(Errno::NOENT, lstat(mount.path("xB")));
    fails(Errno::NOENT, lstat(mount.path("x")));
    fails(Errno::NOENT, lstat(mount.path("xaa")));
}

#[test]
fn inode_numbers_are_never_used_twice() {
    let mount = Daemon::start();
    let mut numbers = HashSet::from([seen(mount.root()).ino]);
    for round in 0..300 {
        let file = mount.path(format!("file{}", round % 2));
        std::fs::write(&file, "").unwrap();
        assert!(
            numbers.insert(seen(&file).ino),
            "used again in round {round}"
        );
        unlink(&file).unwrap();
    }
}

#[test]
fn a_removed_directory_finds_and_makes_nothing() {
    same_as_tmpfs(|root| {
        let path = root.join("dir");
        mkdir(&path, Mode::RWXU).unwrap();
        let dir = openat(
            CWD,
            &path,
            OFlags::DIRECTORY | OFlags::RDONLY,
            Mode::empty(),
        )
        .unwrap();
        rustix::fs::rmdir(&path).unwrap();
        let create = OFlags::CREATE | OFlags::WRONLY;
        vec![
            statat(&dir, "name", rustix::fs::AtFlags::empty()).map(drop),
            openat(&dir, "name", create, Mode::RWXU).map(drop),
            rustix::fs::mkdirat(&dir, "name", Mode::RWXU),
            rustix::fs::symlinkat("target", &dir, "name"),
            rustix::fs::linkat(
                CWD,
                root.join("none"),
                &dir,
                "name",
                rustix::fs::AtFlags::empty(),
            ),
            rustix::fs::fstat(&dir).map(|stat| assert_eq!(stat.st_nlink, 0)),
            lstat(&path).map(drop),
        ]
    });
}

#[test]
fn paths_may_be_deep() {
    let mount = Daemon::start();
    let deep: PathBuf = std::iter::repeat_n("d", 1000).collect();
    std::fs::create_dir_all(mount.path(&deep)).unwrap();
    std::fs::write(mount.path(&deep).join("file"), "down here").unwrap();
    assert_eq!(
        std::fs::read(mount.path(&deep).join("file")).unwrap(),
        b"down here"
    );
    let too_deep: PathBuf = std::iter::repeat_n("d", 2100).collect();
    fails(Errno::NAMETOOLONG, stat(mount.path(too_deep)));
    std::fs::remove_dir_all(mount.path("d")).unwrap();
}
