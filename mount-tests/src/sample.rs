//! A directory with something of everything that a filesystem can hold.

use crate::posix::{fifo, same_trees};
use crate::programs::{same_lines, sh};
use rustix::fs::{CWD, FileType, XattrFlags, makedev, mknodat, setxattr};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Fills the empty directory `root`.
pub fn fill(root: &Path) {
    files(root);
    links(root);
    special(root);
    owners_and_times(root);
}

/// Expects two trees to be the same, with their times, link groups and extended attributes.
#[track_caller]
pub fn same_in_all(left: &Path, right: &Path) {
    same_trees(left, right);
    let times = "find . ! -type s ! -type d -printf '%p %T@ %s\\n' -o -type d -printf '%p %T@\\n'";
    same_lines(&sh(left, times), &sh(right, times));
    let attributes = "getfattr -Rhd -m - -e hex .";
    same_lines(&sh(left, attributes), &sh(right, attributes));
    let linked = "find . -type f -links +1 -samefile big | sort";
    assert_eq!(sh(left, linked), sh(right, linked));
}

fn files(root: &Path) {
    for n in 0..40 {
        let dir = root.join(format!("dir{}/sub{}", n % 4, n % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(
            dir.join(format!("file{n}")),
            format!("content {n}\n").repeat(n * n),
        )
        .unwrap();
    }
    fs::create_dir(root.join("empty directory")).unwrap();
    fs::write(root.join("empty file"), "").unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|at| (at / 251) as u8).collect();
    fs::write(root.join("big"), big).unwrap();
    for name in [
        &b"not UTF-8 \xff\xfe"[..],
        b"new\nline",
        b"-n",
        b" ",
        &[b'n'; 255],
    ] {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 26).unwrap();
    sparse.write_at(b"in the middle", 1 << 25).unwrap();
}

fn links(root: &Path) {
    fs::hard_link(root.join("big"), root.join("dir1/hard link to big")).unwrap();
    fs::hard_link(root.join("big"), root.join("dir2/hard link to big")).unwrap();
    symlink("big", root.join("symlink")).unwrap();
    symlink("nowhere at all", root.join("dangling")).unwrap();
    symlink("../dir1", root.join("dir0/to a directory")).unwrap();
    symlink(
        OsStr::from_bytes(b"\xff\xfe"),
        root.join("symlink not UTF-8"),
    )
    .unwrap();
}

fn special(root: &Path) {
    fifo(&root.join("fifo"), 0o640).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
    for (name, kind) in [
        ("char", FileType::CharacterDevice),
        ("block", FileType::BlockDevice),
    ] {
        mknodat(
            CWD,
            root.join(name),
            kind,
            0o600.into(),
            makedev(240, 70_000),
        )
        .unwrap();
    }
    let set = |name: &str, attribute: &str, value: &[u8]| {
        setxattr(root.join(name), attribute, value, XattrFlags::empty()).unwrap()
    };
    set("big", "user.comment", b"a value");
    set("big", "user.binary", b"\0\x01\xff");
    set("dir1", "user.empty", b"");
    set("dir1", "trusted.root", b"only root sees this");
}

fn owners_and_times(root: &Path) {
    use rustix::fs::{AtFlags, Timespec, Timestamps, chmod, utimensat};
    lchown(root.join("dir1"), Some(1000), Some(1001)).unwrap();
    lchown(root.join("symlink"), Some(1002), Some(1003)).unwrap();
    lchown(root.join("dir0/sub0"), Some(70_000), Some(80_000)).unwrap();
    for (name, mode) in [
        ("dir1", 0o2750),
        ("dir2", 0o1777),
        ("empty file", 0o4755),
        ("big", 0o604),
        ("dir3", 0o700),
    ] {
        chmod(root.join(name), mode.into()).unwrap();
    }
    for (name, sec, nsec) in [
        ("big", 1_234_567_890, 123_456_789),
        ("dir2", 1, 1),
        ("symlink", 1_000_000_000, 999_999_999),
        ("fifo", -1_000_000, 5),
        (".", 1_500_000_000, 7),
    ] {
        let time = Timespec {
            tv_sec: sec,
            tv_nsec: nsec,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, root.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
