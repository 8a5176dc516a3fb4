//! Which mount is meant: nobody asks a filesystem about itself, and what is at a path may change at any time.

use mount_tests::transport::each;
use mount_tests::{
    Background, InProcess, Scratch, Tmpfs, is_mounted, norefs, norefs_as_nobody, refused, stop,
    text, wait_until,
};
use norefs::fs::{Config, Fs};
use norefs::transport::{Options, mount_at, session};
use norefs::tree::{Attr, Kind, Time};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Far above what any of these needs, and below what counts as hanging.
const SOON: Duration = Duration::from_secs(30);

/// What `norefs` says, which must end although a daemon is stopped.
#[track_caller]
fn ends(arguments: &[&str], mountpoint: &Path) -> Output {
    let mut command = norefs();
    command.args(arguments).arg(mountpoint);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < SOON, "norefs {arguments:?} hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// A stopped daemon. It goes on when this is dropped, so that whoever waits for it does not do so for ever.
struct Stopped(Pid);

impl Stopped {
    fn of(mount: &Background) -> Stopped {
        let pid = mount.pid();
        stop(pid);
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn background(transport: mount_tests::transport::Transport) -> (Scratch, Background) {
    let scratch = Scratch::new();
    let mountpoint = scratch.dir("mount");
    (scratch, Background::on(transport, mountpoint))
}

#[test]
fn a_stopped_daemon_is_not_asked() {
    for transport in each() {
        let (_scratch, mount) = background(transport);
        let at = mount.mountpoint.clone();
        let _stopped = Stopped::of(&mount);
        let again = ends(&["mount"], &at);
        refused(&again);
        assert!(text(&again.stderr).contains("in use"), "{again:?}");
        // Sweeps what others left behind.
        assert!(
            norefs()
                .args(["run", "--no-report", "--", "true"])
                .status()
                .unwrap()
                .success()
        );
        assert!(is_mounted(&at), "{transport}");
        let lazily = ends(&["umount", "--lazy"], &at);
        assert!(lazily.status.success(), "{}", text(&lazily.stderr));
        assert!(!is_mounted(&at), "{transport}");
    }
}

#[test]
fn who_asks_a_stopped_daemon_for_counters_or_limits_is_told() {
    let (_scratch, mount) = background(mount_tests::transport::asked());
    let _stopped = Stopped::of(&mount);
    for question in [
        &["stats"] as &[&str],
        &["set", "--size=1m"],
        &["mount", "-o", "remount,ro"],
    ] {
        let output = ends(question, &mount.mountpoint);
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains("does not answer"), "{said}");
    }
}

#[test]
fn a_mount_is_taken_away_from_a_stopped_daemon() {
    for transport in each() {
        let (_scratch, mount) = background(transport);
        let _stopped = Stopped::of(&mount);
        let output = ends(&["umount"], &mount.mountpoint);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!is_mounted(&mount.mountpoint), "{transport}");
    }
}

#[test]
fn a_daemon_that_ends_does_not_look_at_what_came_after_it() {
    let (_scratch, mount) = background(mount_tests::transport::asked());
    let old = mount.pid();
    stop(old);
    unmount(&mount.mountpoint, UnmountFlags::DETACH).unwrap();
    let next = Background::at(mount.mountpoint.clone());
    let _stopped = Stopped::of(&next);
    kill_process(old, Signal::CONT).unwrap();
    let gone = || rustix::process::test_kill_process(old).is_err();
    assert!(
        wait_until(gone),
        "it waits for the mount that took its place"
    );
    assert!(is_mounted(&next.mountpoint));
}

#[test]
fn quick_cycles_never_find_the_place_in_use() {
    let scratch = Scratch::new();
    let at = scratch.dir("mount");
    for round in 0..25 {
        for verb in ["mount", "umount"] {
            let output = norefs().arg(verb).arg(&at).output().unwrap();
            let said = text(&output.stderr);
            assert!(output.status.success(), "{verb} {round}: {said}");
        }
    }
}

#[test]
fn a_mount_of_which_nobody_knows_whether_it_is_served_is_left_alone() {
    let (_scratch, mount) = background(mount_tests::transport::asked());
    let device = rustix::fs::stat(&mount.mountpoint).unwrap().st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let pid = mount.pid();
    std::fs::remove_file(format!("/run/norefs/{major}-{minor}.lock")).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let gone = || rustix::process::test_kill_process(pid).is_err();
    assert!(wait_until(gone));
    refused(&mount.norefs("mount", &[]));
    assert!(is_mounted(&mount.mountpoint));
    assert!(mount.norefs("umount", &[]).status.success());
    assert!(!is_mounted(&mount.mountpoint));
}

/// Puts a link to `decoy` in place of `way`, and takes it away again, as fast as it can until it is dropped.
struct Swapper {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(way: &Path, decoy: &Path) -> Swapper {
        let link = way.with_extension("link");
        symlink(decoy, &link).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (way, seen) = (way.to_owned(), over.clone());
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    renameat_with(CWD, &way, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            }
            std::fs::remove_file(&link).unwrap();
        });
        Swapper {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A directory that its owner may put a link to a decoy in place of, both with a place to mount on. On that of the decoy there is
/// another filesystem.
struct Way {
    way: PathBuf,
    decoy: PathBuf,
    other: Tmpfs,
    _scratch: Scratch,
}

impl Way {
    fn new() -> Way {
        let scratch = Scratch::new();
        let (way, decoy) = (scratch.dir("way"), scratch.dir("decoy"));
        for dir in [&way, &decoy] {
            std::fs::create_dir(dir.join("mount")).unwrap();
        }
        Way {
            other: Tmpfs::at(decoy.join("mount")),
            way,
            decoy,
            _scratch: scratch,
        }
    }

    fn mountpoint(&self) -> PathBuf {
        self.way.join("mount")
    }
}

#[test]
fn a_link_put_in_the_way_takes_no_other_filesystem_away() {
    let way = Way::new();
    for round in 0..20 {
        let mount = Background::at(way.mountpoint());
        let swapper = Swapper::start(&way.way, &way.decoy);
        let gone = wait_until(|| {
            mount.norefs("umount", &[]);
            assert!(is_mounted(&way.other), "round {round}");
            !norefs_is_mounted_below(&way)
        });
        drop(swapper);
        assert!(gone, "round {round}: it cannot be unmounted");
    }
}

#[test]
fn a_daemon_that_ends_takes_no_other_filesystem_away() {
    let way = Way::new();
    for round in 0..10 {
        let mount = Background::at(way.mountpoint());
        let pid = mount.pid();
        let swapper = Swapper::start(&way.way, &way.decoy);
        kill_process(pid, Signal::TERM).unwrap();
        let gone = wait_until(|| rustix::process::test_kill_process(pid).is_err());
        drop(swapper);
        assert!(is_mounted(&way.other), "round {round}");
        assert!(gone && !norefs_is_mounted_below(&way), "round {round}");
    }
}

/// Whether a norefs is mounted at either place.
fn norefs_is_mounted_below(way: &Way) -> bool {
    let above = way.way.parent().unwrap().to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .any(|line| line.contains(above) && line.contains("fuse.norefs"))
}

#[test]
fn a_mount_is_made_where_the_path_led_when_it_was_looked_at() {
    let way = Way::new();
    let place = session::prepare(&way.mountpoint()).unwrap();
    let moved = way.way.with_extension("moved");
    std::fs::rename(&way.way, &moved).unwrap();
    symlink(&way.decoy, &way.way).unwrap();
    let attr = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
    let config = Config {
        max_bytes: 1 << 20,
        max_inodes: 1 << 10,
        read_only: false,
    };
    let fs = Arc::new(Fs::new(config, attr).unwrap());
    let handle = mount_at(fs, place, &Options::default()).unwrap();
    assert!(is_mounted(&moved.join("mount")));
    assert_eq!(std::fs::read_dir(&*way.other).unwrap().count(), 0);
    std::fs::write(moved.join("mount/file"), "here").unwrap();
    assert!(!way.other.join("file").exists());
    drop(handle);
    assert!(!is_mounted(&moved.join("mount")));
    assert!(is_mounted(&way.other));
}

#[test]
fn of_two_mounts_at_one_place_at_once_one_wins() {
    let scratch = Scratch::new();
    let at = scratch.dir("mount");
    rustix::fs::chmod(&at, 0o777.into()).unwrap();
    let plain = || norefs();
    let nobody = || norefs_as_nobody(&scratch);
    let ways: [(&dyn Fn() -> Command, &[&str]); 3] = [
        (&plain, &["mount"]),
        (&plain, &["none"]),
        (&nobody, &["mount"]),
    ];
    for (program, before) in ways {
        for round in 0..6 {
            let start = |_| {
                let mut command = program();
                command.args(before).arg(&at).args(["-o", "size=1m"]);
                let piped = command.stderr(Stdio::piped()).stdout(Stdio::null());
                piped.spawn().unwrap()
            };
            let started: Vec<Child> = (0..4).map(start).collect();
            let ended = started
                .into_iter()
                .map(|child| child.wait_with_output().unwrap());
            let (won, lost): (Vec<_>, Vec<_>) = ended.partition(|output| output.status.success());
            assert_eq!(won.len(), 1, "{before:?} {round}: {lost:?}");
            for output in lost {
                let said = text(&output.stderr);
                assert!(said.contains("in use"), "{before:?} {round}: {said}");
            }
            unmount(&at, UnmountFlags::empty()).unwrap();
            assert!(!is_mounted(&at), "{before:?} {round}: one is below");
        }
    }
}

#[test]
fn who_holds_a_lock_on_the_place_keeps_nobody_from_mounting() {
    let scratch = Scratch::new();
    let at = scratch.dir("mount");
    let held = std::fs::File::open(&at).unwrap();
    held.lock().unwrap();
    let mount = Background::at(at);
    assert!(mount.norefs("umount", &[]).status.success());
}

#[test]
fn an_aborted_mount_takes_its_copies_away() {
    for transport in each() {
        let mount = InProcess::on(transport);
        let scratch = Scratch::new();
        let (copy, other) = (scratch.dir("copy"), scratch.dir("other"));
        for copy in [&copy, &other] {
            rustix::mount::mount_bind(mount.root(), copy).unwrap();
        }
        // Ends the connection, and takes this copy away.
        unmount(&copy, UnmountFlags::FORCE).unwrap();
        let _how = mount.wait();
        assert!(!is_mounted(mount.root()), "{transport}");
        assert!(!is_mounted(&other), "{transport}");
    }
}
