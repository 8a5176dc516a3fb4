//! Named pipes, sockets and devices.

use mount_tests::Daemon;
use mount_tests::posix::{fifo, seen};
use rustix::fs::{CWD, FileType, lstat, makedev, mknodat};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

#[test]
fn a_fifo_carries_bytes() {
    let mount = Daemon::start();
    let path = mount.path("fifo");
    fifo(&path, 0o600).unwrap();
    assert_eq!(seen(&path).mode, 0o010600);
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&path, "through the pipe").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"through the pipe");
    });
    assert_eq!(seen(&path).size, 0);
}

#[test]
fn a_socket_can_be_bound_and_connected() {
    let mount = Daemon::start();
    let path = mount.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(seen(&path).mode & 0o170000, 0o140000);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    drop(client);
    let mut text = String::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn devices_keep_their_numbers() {
    let mount = Daemon::start();
    let numbers = [(1, 3), (8, 17), (259, 70_000), (4095, 0xfffff)];
    for kind in [FileType::CharacterDevice, FileType::BlockDevice] {
        for (major, minor) in numbers {
            let path = mount.path(format!("{kind:?} {major} {minor}"));
            mknodat(CWD, &path, kind, 0o600.into(), makedev(major, minor)).unwrap();
            let stat = lstat(&path).unwrap();
            assert_eq!(stat.st_rdev, makedev(major, minor));
            assert_eq!(FileType::from_raw_mode(stat.st_mode), kind);
            assert_eq!((stat.st_size, stat.st_mode & 0o7777), (0, 0o600));
        }
    }
}

#[test]
fn a_device_works_where_the_mount_allows_it() {
    let mount = Daemon::with(&["-o", "allow_other,dev"]);
    let path = mount.path("null");
    mknodat(
        CWD,
        &path,
        FileType::CharacterDevice,
        0o666.into(),
        makedev(1, 3),
    )
    .unwrap();
    std::fs::write(&path, "nothing of this is kept").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}

#[test]
fn mknod_makes_regular_files_too() {
    let mount = Daemon::start();
    let path = mount.path("file");
    mknodat(CWD, &path, FileType::RegularFile, 0o640.into(), 0).unwrap();
    std::fs::write(&path, "content").unwrap();
    assert_eq!((seen(&path).mode, seen(&path).size), (0o100640, 7));
}
