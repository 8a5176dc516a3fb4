//! Who may do what by a list.

use super::outcome;
use mount_tests::acl::{ACCESS, set};
use mount_tests::posix::{Outcome, as_user};
use mount_tests::same_as_tmpfs_with;
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, Uid, accessat, chmod, chown, lstat, mkdir, open,
    readlink, rename, symlink, unlink,
};
use rustix::io::Errno;
use std::path::Path;

/// uid, gid, supplementary groups.
const CALLERS: [(u32, u32, &[u32]); 9] = [
    (0, 0, &[]),
    (1000, 1000, &[]),
    (1001, 1001, &[]),
    (1002, 1002, &[]),
    (1002, 4242, &[]),
    (1002, 1002, &[4242]),
    (1002, 1002, &[500]),
    (1002, 500, &[501, 4242]),
    (1001, 4242, &[500]),
];

/// Of a file that belongs to 1000:4242.
const LISTS: [&str; 12] = [
    "u::rwx,g::r-x,o::---",
    "u::---,u:1000:rwx,g::rwx,m::rwx,o::rwx",
    "u::rw-,u:1001:rwx,g::---,m::rwx,o::---",
    "u::rw-,u:1001:rwx,g::---,m::r-x,o::---",
    "u::rw-,u:1001:---,g::rwx,m::rwx,o::rwx",
    "u::rw-,u:1001:rwx,g::rwx,m::---,o::r-x",
    "u::rw-,g::r--,g:500:-w-,m::rwx,o::--x",
    "u::rw-,g::---,g:500:rwx,g:501:r--,m::rw-,o::rwx",
    "u::rw-,g::rwx,g:500:---,m::rwx,o::rwx",
    "u::rw-,u:1001:r--,u:1001:rwx,g::rwx,m::rwx,o::---",
    "u::---,g::rwx,m::-w-,o::---",
    "u::rw-,u:1002:--x,g::---,g:500:rwx,m::--x,o::rwx",
];

type Report = Vec<(&'static str, Result<(), Errno>)>;

fn prepare(path: &Path, text: &str) {
    chown(path, Some(Uid::from_raw(1000)), Some(Gid::from_raw(4242))).unwrap();
    set(path, ACCESS, text).unwrap();
}

fn try_file(path: &Path) -> Report {
    let open = |flags| outcome(open(path, flags, Mode::empty()));
    let access = |how| accessat(CWD, path, how, AtFlags::EACCESS);
    vec![
        ("stat", outcome(lstat(path))),
        ("open to read", open(OFlags::RDONLY)),
        ("open to write", open(OFlags::WRONLY)),
        ("open for both", open(OFlags::RDWR)),
        ("access r", access(Access::READ_OK)),
        ("access w", access(Access::WRITE_OK)),
        ("access x", access(Access::EXEC_OK)),
        ("access rw", access(Access::READ_OK | Access::WRITE_OK)),
        ("truncate", open(OFlags::WRONLY | OFlags::TRUNC)),
        ("chmod", chmod(path, lstat(path).unwrap().st_mode.into())),
        ("list", outcome(mount_tests::acl::get(path, ACCESS))),
    ]
}

fn try_dir(dir: &Path) -> Report {
    let flags = OFlags::CREATE | OFlags::WRONLY;
    vec![
        ("list", std::fs::read_dir(dir).outcome()),
        ("stat in it", outcome(lstat(dir.join("file")))),
        ("stat of nothing", outcome(lstat(dir.join("missing")))),
        ("readlink in it", outcome(readlink(dir.join("symlink"), []))),
        ("stat below it", outcome(lstat(dir.join("sub/file")))),
        ("create", outcome(open(dir.join("new"), flags, Mode::RWXU))),
        ("mkdir", mkdir(dir.join("newdir"), Mode::RWXU)),
        ("rename", rename(dir.join("file"), dir.join("renamed"))),
        ("unlink", unlink(dir.join("symlink"))),
    ]
}

#[test]
fn files_of_each_list_for_each_caller() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Vec::new();
        for text in LISTS {
            for (uid, gid, groups) in CALLERS {
                let path = root.join(format!("{text} {uid} {gid} {groups:?}"));
                std::fs::write(&path, "content").unwrap();
                prepare(&path, text);
                let tried = as_user(uid, gid, groups, || try_file(&path));
                report.push((text, uid, gid, groups, tried));
            }
        }
        report
    });
}

#[test]
fn directories_of_each_list_for_each_caller() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Vec::new();
        for text in LISTS {
            for (uid, gid, groups) in CALLERS {
                let dir = root.join(format!("{text} {uid} {gid} {groups:?}"));
                std::fs::create_dir_all(dir.join("sub")).unwrap();
                std::fs::write(dir.join("file"), "").unwrap();
                std::fs::write(dir.join("sub/file"), "").unwrap();
                symlink("file", dir.join("symlink")).unwrap();
                prepare(&dir, text);
                let tried = as_user(uid, gid, groups, || try_dir(&dir));
                report.push((text, uid, gid, groups, tried));
            }
        }
        report
    });
}

#[test]
fn a_member_of_the_group_with_a_list_keeps_no_more_than_its_entry() {
    same_as_tmpfs_with("acl", |root| {
        let path = root.join("file");
        std::fs::write(&path, "content").unwrap();
        prepare(&path, "u::rw-,u:1001:rw-,g::r--,m::rw-,o::---");
        CALLERS.map(|(uid, gid, groups)| {
            let tried = as_user(uid, gid, groups, || try_file(&path));
            chmod(&path, 0o640.into()).unwrap();
            let masked = as_user(uid, gid, groups, || try_file(&path));
            chmod(&path, 0o660.into()).unwrap();
            (tried, masked)
        })
    });
}
