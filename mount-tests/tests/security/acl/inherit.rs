//! What new inodes get of their directory's default list, or of the umask.

use mount_tests::acl::{ACCESS, DEFAULT, Rights, rights, set};
use mount_tests::posix::{as_user_with_umask, fifo};
use mount_tests::same_as_tmpfs_with;
use rustix::fd::AsRawFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid, chmod, chown, linkat, mkdir,
    mknodat, open, renameat_with, symlink,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Default lists, the first of which is none.
const DEFAULTS: [&str; 7] = [
    "",
    "u::rwx,g::rwx,o::rwx",
    "u::rw-,g::---,o::r-x",
    "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---",
    "u::r--,u:1000:rwx,g::rwx,g:500:rwx,m::r-x,o::r--",
    "u::rwx,g::rwx,m::--x,o::rwx",
    "u::---,u:5:---,g::---,m::---,o::---",
];

/// Makes one of each kind in `dir`.
fn make(dir: &Path) -> Vec<(&'static str, Result<(), Errno>)> {
    let node = |name, kind, mode: u32| mknodat(CWD, dir.join(name), kind, mode.into(), 0);
    let create = |name, mode: u32| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        open(dir.join(name), flags, mode.into()).map(drop)
    };
    let nameless = || {
        let file = open(dir, OFlags::TMPFILE | OFlags::RDWR, 0o664.into())?;
        let at = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, at, CWD, dir.join("nameless"), AtFlags::SYMLINK_FOLLOW)
    };
    vec![
        ("file", create("file", 0o666)),
        ("private", create("private", 0o600)),
        ("all", create("all", 0o7777)),
        ("none", create("none", 0)),
        ("node", node("node", FileType::RegularFile, 0o646)),
        ("socket", node("socket", FileType::Socket, 0o777)),
        ("fifo", fifo(&dir.join("fifo"), 0o666)),
        ("device", node("device", FileType::CharacterDevice, 0o660)),
        ("dir", mkdir(dir.join("dir"), 0o777.into())),
        ("closed", mkdir(dir.join("closed"), 0o1700.into())),
        ("below", mkdir(dir.join("dir/below"), 0o2775.into())),
        ("in it", create("dir/file", 0o666)),
        ("symlink", symlink("target", dir.join("symlink"))),
        ("nameless", nameless()),
    ]
}

/// What everything below `dir` shows.
fn all(dir: &Path) -> Vec<(PathBuf, Rights)> {
    let paths = mount_tests::posix::tree(dir).into_keys();
    paths
        .map(|path| (path.clone(), rights(&dir.join(path))))
        .collect()
}

/// The default list and the umask, what each call gave, and what is there then.
type Made = (
    &'static str,
    u32,
    Vec<(&'static str, Result<(), Errno>)>,
    Vec<(PathBuf, Rights)>,
);

/// Makes one of each kind in directories of each default list, under each umask.
fn made(root: &Path, mode: u32, caller: (u32, u32, &[u32])) -> Vec<Made> {
    let mut report = Vec::new();
    for (number, text) in DEFAULTS.into_iter().enumerate() {
        for umask in [0, 0o022, 0o077, 0o777] {
            let dir = root.join(format!("{number} {umask:o}"));
            mkdir(&dir, Mode::RWXU).unwrap();
            chown(&dir, Some(Uid::from_raw(1000)), Some(Gid::from_raw(4242))).unwrap();
            chmod(&dir, mode.into()).unwrap();
            if !text.is_empty() {
                set(&dir, DEFAULT, text).unwrap();
            }
            let (uid, gid, groups) = caller;
            let made = as_user_with_umask(umask, uid, gid, groups, || make(&dir));
            report.push((text, umask, made, all(&dir)));
        }
    }
    report
}

#[test]
fn every_kind_under_every_umask() {
    same_as_tmpfs_with("acl", |root| made(root, 0o755, (0, 0, &[])));
}

#[test]
fn for_an_ordinary_user() {
    same_as_tmpfs_with("acl", |root| made(root, 0o777, (1000, 1000, &[])));
}

#[test]
fn in_directories_that_hand_their_group_down() {
    same_as_tmpfs_with("acl", |root| {
        let callers: [(u32, u32, &[u32]); 3] = [(0, 0, &[]), (1000, 1000, &[]), (1000, 1, &[4242])];
        callers.map(|caller| {
            let dir = root.join(format!("{caller:?}"));
            mkdir(&dir, 0o755.into()).unwrap();
            made(&dir, 0o2777, caller)
        })
    });
}

#[test]
fn without_lists_the_umask_alone_counts() {
    let kinds = |root: &Path| {
        let dirs = [0, 0o027, 0o777].map(|umask| {
            let dir = root.join(format!("{umask:o}"));
            mkdir(&dir, 0o755.into()).unwrap();
            (umask, as_user_with_umask(umask, 0, 0, &[], || make(&dir)))
        });
        (dirs, mount_tests::posix::tree(root))
    };
    mount_tests::same_as_tmpfs(kinds);
}

#[test]
fn what_a_rename_leaves_behind() {
    same_as_tmpfs_with("acl", |root| {
        let dir = root.join("dir");
        mkdir(&dir, 0o755.into()).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        set(&dir, DEFAULT, DEFAULTS[3]).unwrap();
        let (from, to) = (dir.join("file"), root.join("moved"));
        let moved = renameat_with(CWD, &from, CWD, &to, RenameFlags::WHITEOUT);
        (moved, rights(&from), rights(&to))
    });
}

#[test]
fn a_list_set_later_changes_nothing_that_is_there() {
    same_as_tmpfs_with("acl", |root| {
        let dir = root.join("dir");
        mkdir(&dir, 0o755.into()).unwrap();
        let before = make(&dir);
        set(&dir, DEFAULT, DEFAULTS[4]).unwrap();
        set(&dir, ACCESS, DEFAULTS[3]).unwrap();
        mkdir(dir.join("new"), 0o777.into()).unwrap();
        (before, all(root))
    });
}
