//! How a mount begins and how it ends, well or not.

use mount_tests::posix::Outcome;
use mount_tests::{
    Background, Daemon, InProcess, Scratch, Tmpfs, is_mounted, norefs, refused, text, wait_until,
};
use norefs::transport::Cache;
use rustix::fs::lstat;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::File;

fn gone(pid: Pid) -> bool {
    wait_until(|| test_kill_process(pid).is_err())
}

#[test]
fn mount_returns_when_the_mount_is_ready() {
    let mount = Background::new(&[]);
    assert!(is_mounted(&mount.mountpoint));
    std::fs::write(mount.mountpoint.join("file"), "content").unwrap();
    assert_eq!(
        std::fs::read(mount.mountpoint.join("file")).unwrap(),
        b"content"
    );
    let pid = mount.pid();
    let output = mount.norefs("umount", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!is_mounted(&mount.mountpoint));
    assert!(gone(pid), "the daemon lives on");
}

#[test]
fn a_busy_mount_is_not_unmounted_unless_lazily() {
    let mount = Background::new(&[]);
    let file = File::create(mount.mountpoint.join("file")).unwrap();
    refused(&mount.norefs("umount", &[]));
    assert!(is_mounted(&mount.mountpoint));
    assert!(mount.norefs("umount", &["-l"]).status.success());
    assert!(!is_mounted(&mount.mountpoint));
    std::os::unix::fs::FileExt::write_at(&file, b"still works", 0).unwrap();
}

#[test]
fn a_signal_unmounts_and_ends_the_daemon() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut mount = Daemon::start();
        kill_process(mount.pid(), signal).unwrap();
        assert!(wait_until(|| mount.ended().is_some()), "{signal:?}");
        assert!(mount.ended().unwrap().success(), "{signal:?}");
        assert!(!is_mounted(mount.root()), "{signal:?}");
    }
}

#[test]
fn a_signal_detaches_a_busy_mount_and_the_second_ends_it() {
    for again in [false, true] {
        let mut mount = Daemon::start();
        let file = File::create(mount.path("file")).unwrap();
        kill_process(mount.pid(), Signal::TERM).unwrap();
        assert!(wait_until(|| !is_mounted(mount.root())));
        std::os::unix::fs::FileExt::write_at(&file, b"still served", 0).unwrap();
        if again {
            kill_process(mount.pid(), Signal::TERM).unwrap();
        } else {
            drop(file);
        }
        assert!(
            wait_until(|| mount.ended().is_some()),
            "second signal: {again}"
        );
        assert_eq!(
            mount.ended().unwrap().success(),
            !again,
            "second signal: {again}"
        );
    }
}

#[test]
fn a_signal_unmounts_where_the_mount_was_moved_to() {
    let scratch = Scratch::new();
    let (before, after) = (scratch.dir("before"), scratch.join("after"));
    let mountpoint = before.join("mount");
    std::fs::create_dir(&mountpoint).unwrap();
    let bound = scratch.dir("bound");
    let mount = Background::at(mountpoint);
    let pid = mount.pid();
    std::fs::rename(&before, &after).unwrap();
    let moved = after.join("mount");
    assert!(is_mounted(&moved));
    rustix::mount::mount_bind(&moved, &bound).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = gone(pid);
    for place in [&moved, &bound] {
        assert!(!is_mounted(place), "{} is left", place.display());
    }
    assert!(ended, "the daemon lives on");
}

#[test]
fn a_covered_mount_is_not_taken_for_what_covers_it() {
    let mut mount = Daemon::start();
    let above = Tmpfs::at(mount.root().to_owned());
    kill_process(mount.pid(), Signal::TERM).unwrap();
    assert!(wait_until(|| mount.log().contains("cannot be detached")));
    assert!(mount.ended().is_none() && is_mounted(&above));
    assert!(std::fs::write(above.join("file"), "").is_ok());
    rustix::mount::unmount(&*above, UnmountFlags::empty()).unwrap();
    assert!(is_mounted(mount.root()));
}

#[test]
fn a_stale_mount_is_cleaned_up_by_the_next() {
    let mount = Background::new(&[]);
    let pid = mount.pid();
    kill_process(pid, Signal::KILL).unwrap();
    assert!(wait_until(
        || lstat(&mount.mountpoint).outcome() == Err(Errno::NOTCONN)
    ));
    assert!(is_mounted(&mount.mountpoint));
    let again = mount.norefs("mount", &[]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    std::fs::write(mount.mountpoint.join("file"), "content").unwrap();
    assert!(mount.norefs("umount", &[]).status.success());
    assert!(
        !is_mounted(&mount.mountpoint),
        "the stale mount was under the new one"
    );
    assert!(lstat(&mount.mountpoint).is_ok());
}

#[test]
fn a_stale_mount_can_be_unmounted() {
    let mount = Background::new(&[]);
    kill_process(mount.pid(), Signal::KILL).unwrap();
    assert!(wait_until(
        || lstat(&mount.mountpoint).outcome() == Err(Errno::NOTCONN)
    ));
    let output = mount.norefs("umount", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!is_mounted(&mount.mountpoint));
}

#[test]
fn what_is_mounted_where_a_mount_was_stays() {
    let mount = InProcess::start(Cache::Forever);
    let root = mount.root().to_owned();
    rustix::mount::unmount(&root, UnmountFlags::empty()).unwrap();
    let later = Tmpfs::at(root.clone());
    drop(mount);
    assert!(is_mounted(&root), "the ended mount took another one away");
    drop(later);
    std::fs::remove_dir_all(root.parent().unwrap()).unwrap();
}

#[test]
fn one_mount_on_top_of_another_kind_leaves_that_alone() {
    let below = Tmpfs::new();
    std::fs::write(below.join("file"), "of the tmpfs").unwrap();
    let at = below.to_str().unwrap();
    assert!(norefs().args(["mount", at]).status().unwrap().success());
    assert_eq!(std::fs::read_dir(&*below).unwrap().count(), 0);
    assert!(norefs().args(["umount", at]).status().unwrap().success());
    assert_eq!(std::fs::read(below.join("file")).unwrap(), b"of the tmpfs");
    refused(&norefs().args(["umount", at]).output().unwrap());
    assert!(is_mounted(&below));
}
