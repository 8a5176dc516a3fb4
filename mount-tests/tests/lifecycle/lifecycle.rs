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
use std::process::Command;

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

/// What a shell says to a script in which `$NOREFS` is the program and `$M` a place to mount.
fn script(lines: &str) -> String {
    let scratch = Scratch::new();
    let mut shell = Command::new("bash");
    shell.args(["-c", lines]).current_dir(&*scratch);
    shell.env("NOREFS", norefs().get_program());
    let output = shell.env("M", scratch.dir("mount")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn a_daemon_keeps_no_lock_and_no_pipe_of_whoever_started_it() {
    let lock = "exec 9>lock; flock 9; $NOREFS mount $M; exec 9>&-; flock --nonblock lock true; echo $?; \
        $NOREFS umount $M";
    assert_eq!(script(lock), "0\n");
    // `cat` ends when nobody holds the other end any more.
    let pipe = "{ $NOREFS mount $M 8>&1 >/dev/null; } | cat; echo read; $NOREFS umount $M";
    assert_eq!(script(pipe), "read\n");
}

#[test]
fn a_daemon_has_nothing_but_what_it_needs() {
    let told = script(
        "trap '' INT USR1; umask 0; exec 7<.; $NOREFS mount $M; \
         PID=$($NOREFS stats --json $M | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
         readlink /proc/$PID/cwd /proc/$PID/fd/0 /proc/$PID/fd/1 /proc/$PID/fd/2; \
         ls -l /proc/$PID/fd | grep -c -e $PWD -e pipe:; \
         ps -o sid=,tty= -p $PID | tr -s ' ' | sed \"s/$PID/its own/\"; \
         grep -E 'SigIgn|Umask' /proc/$PID/status; $NOREFS umount $M",
    );
    let told: Vec<&str> = told.lines().map(str::trim).collect();
    let expected = ["/", "/dev/null", "/dev/null", "/dev/null", "0", "its own ?"];
    assert_eq!(told[..6], expected, "{told:?}");
    assert_eq!(told[6], "Umask:\t0077");
    let ignored = told[7].trim_start_matches("SigIgn:\t");
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    // SIGINT and SIGUSR1 are not, which the caller ignores.
    assert_eq!(ignored & (1 << 1 | 1 << 9), 0, "{ignored:x}");
}

#[test]
fn an_unmount_returns_when_the_source_is_let_go_of() {
    for _ in 0..5 {
        let source = Tmpfs::new();
        for n in 0..200 {
            std::fs::write(source.join(n.to_string()), "content").unwrap();
        }
        let scratch = Scratch::new();
        let at = scratch.dir("mount");
        let mut command = norefs();
        let mounted = command.arg("mount").arg(&*source).arg(&at).status();
        assert!(mounted.unwrap().success());
        assert_eq!(std::fs::read(at.join("7")).unwrap(), b"content");
        assert!(norefs().arg("umount").arg(&at).status().unwrap().success());
        rustix::mount::unmount(&*source, UnmountFlags::empty()).unwrap();
    }
}

#[test]
fn a_mount_in_use_tells_by_whom() {
    let mount = Background::new(&[]);
    let named = |name: &str, pid: u32| {
        let output = mount.norefs("umount", &[]);
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(&format!("{name} ({pid})")), "{said}");
    };
    let mut inside = Command::new("sleep");
    let mut inside = inside
        .arg("1000")
        .current_dir(&mount.mountpoint)
        .spawn()
        .unwrap();
    named("sleep", inside.id());
    inside.kill().unwrap();
    inside.wait().unwrap();
    let file = File::create(mount.mountpoint.join("file")).unwrap();
    file.set_len(4096).unwrap();
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    named(own.trim(), std::process::id());
    drop(file);
    let place = mount.mountpoint.join("place");
    std::fs::create_dir(&place).unwrap();
    let below = Tmpfs::at(place);
    let output = mount.norefs("umount", &[]);
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("the mount at {}", below.display())),
        "{said}"
    );
    drop(below);
    assert!(mount.norefs("umount", &[]).status.success());
}
