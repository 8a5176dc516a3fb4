//! Set-user-id and set-group-id go when somebody writes who lacks `CAP_FSETID`, whatever the user.

use mount_tests::posix::{as_user, seen};
use mount_tests::same_as_tmpfs;
use rustix::fs::{AtFlags, CWD, FallocateFlags, OFlags, StatxFlags, chmod, open, statx};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_keep_capabilities};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// What each way to write leaves of 06777 and of 06767, done by whoever `by` makes of the thread.
fn left(root: &Path, by: impl Fn(&(dyn Fn() + Sync))) -> Vec<u16> {
    let file = root.join("file");
    let write = || File::options().write(true).open(&file).unwrap();
    let ways: [&(dyn Fn() + Sync); 4] = [
        &|| rustix::fs::ftruncate(write(), 2).unwrap(),
        &|| rustix::fs::ftruncate(write(), 5).unwrap(),
        &|| drop(open(&file, OFlags::WRONLY | OFlags::TRUNC, 0.into()).unwrap()),
        &|| write().write_all(b"x").unwrap(),
    ];
    let mut modes = Vec::new();
    for mode in [0o6777, 0o6767] {
        for way in ways {
            std::fs::write(&file, "12345").unwrap();
            chmod(&file, mode.into()).unwrap();
            seen(&file);
            by(way);
            modes.push(seen(&file).mode & 0o7777);
        }
    }
    modes
}

/// Does `work` in a thread of its own after `begin`.
fn apart(begin: impl FnOnce() + Send, work: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            begin();
            work();
        });
        thread.join().unwrap();
    });
}

fn with(keep: impl FnOnce(CapabilitySet) -> CapabilitySet) {
    let mut sets = capabilities(None).unwrap();
    sets.effective = keep(sets.permitted);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn the_superuser_keeps_them() {
    same_as_tmpfs(|root| left(root, |way| way()));
}

#[test]
fn another_user_takes_them() {
    same_as_tmpfs(|root| left(root, |way| as_user(1000, 1000, &[], way)));
}

#[test]
fn a_member_of_the_group_takes_them() {
    same_as_tmpfs(|root| left(root, |way| as_user(1000, 1000, &[0], way)));
}

#[test]
fn the_superuser_without_the_capability_takes_them() {
    let lose = || with(|all| all - CapabilitySet::FSETID);
    same_as_tmpfs(|root| left(root, |way| apart(lose, way)));
}

#[test]
fn another_user_with_the_capability_keeps_them() {
    let keep = || {
        set_keep_capabilities(true).unwrap();
        rustix::thread::set_thread_groups(&[]).unwrap();
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(1000),
            rustix::fs::Gid::from_raw(1000),
        );
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        with(|_| CapabilitySet::FSETID);
    };
    same_as_tmpfs(|root| left(root, |way| apart(keep, way)));
}

#[test]
fn a_mode_that_is_not_asked_for_again_has_lost_them_too() {
    same_as_tmpfs(|root| {
        let (file, other) = (root.join("file"), root.join("other"));
        let write = || File::options().write(true).open(&file).unwrap();
        let ways: [&(dyn Fn() + Sync); 3] = [
            &|| write().write_all(b"x").unwrap(),
            &|| {
                let from = File::open(&other).unwrap();
                let copied = rustix::fs::copy_file_range(from, None, write(), None, 3);
                assert_eq!(copied, Ok(3));
            },
            &|| rustix::fs::fallocate(write(), FallocateFlags::empty(), 0, 9).unwrap(),
        ];
        std::fs::write(&other, "abc").unwrap();
        ways.map(|way| {
            std::fs::write(&file, "12345").unwrap();
            chmod(&file, 0o6777.into()).unwrap();
            seen(&file);
            as_user(1000, 1000, &[], way);
            let kept = statx(CWD, &file, AtFlags::empty(), StatxFlags::MODE);
            kept.unwrap().stx_mode & 0o7777
        })
    });
}
