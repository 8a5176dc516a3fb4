//! Directories that clean up after themselves, and the watchdog that turns a hang into a failure.

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::CString;
use std::fs::Permissions;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a test may keep its mount: far above what any needs, but for those that take long, which
/// `MOUNT_TESTS_PATIENCE` gives as many seconds as they need.
fn patience() -> Duration {
    let seconds = std::env::var("MOUNT_TESTS_PATIENCE");
    Duration::from_secs(seconds.map_or(200, |n| n.parse().expect("a number of seconds")))
}

/// A temporary directory that every user may enter.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Makes one.
    pub fn new() -> Scratch {
        let dir = tempfile::Builder::new()
            .prefix("norefs-test-")
            .tempdir()
            .expect("a temporary directory");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Scratch(dir)
    }

    /// Makes the directory `name` in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        self.0.path()
    }
}

pub(crate) const ROOT_ALONE: &str = "the tests on real mounts must run as root; as an ordinary user, mount-tests/all runs those that need no root";

/// A tmpfs of its own: what norefs is compared with.
pub struct Tmpfs {
    root: PathBuf,
    scratch: Option<Scratch>,
}

impl Tmpfs {
    /// Mounts one whose root has mode 0755, as the root of an empty norefs has.
    pub fn new() -> Tmpfs {
        Tmpfs::with("mode=755").expect(ROOT_ALONE)
    }

    /// Mounts one with these options, if tmpfs takes them.
    pub fn with(options: &str) -> Result<Tmpfs, Errno> {
        let scratch = Scratch::new();
        let root = scratch.dir("tmpfs");
        mount(
            "tmpfs",
            &root,
            "tmpfs",
            MountFlags::empty(),
            &*CString::new(options).unwrap(),
        )?;
        Ok(Tmpfs {
            root,
            scratch: Some(scratch),
        })
    }

    /// Mounts one at `root`.
    pub fn at(root: PathBuf) -> Tmpfs {
        mount("tmpfs", &root, "tmpfs", MountFlags::empty(), c"mode=755").expect(ROOT_ALONE);
        Tmpfs {
            root,
            scratch: None,
        }
    }
}

impl Default for Tmpfs {
    fn default() -> Tmpfs {
        Tmpfs::new()
    }
}

impl Deref for Tmpfs {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.root
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        force_unmount(&self.root);
        drop(self.scratch.take());
    }
}

/// Takes every mount at `mountpoint` away, answering the requests that still wait there with an error.
pub(crate) fn force_unmount(mountpoint: &Path) {
    while unmount(mountpoint, UnmountFlags::FORCE | UnmountFlags::DETACH).is_ok() {}
}

/// Whether a filesystem is mounted at `mountpoint`. Asks the kernel's table, not the filesystem.
pub fn is_mounted(mountpoint: &Path) -> bool {
    let mountpoint = mountpoint.to_str().unwrap();
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(mountpoint))
}

/// Makes the kernel forget every name and inode of the filesystem mounted at `mountpoint` that nobody uses: a remount
/// does (`reconfigure_super`).
pub fn forget(mountpoint: &Path) {
    mount_remount(mountpoint, MountFlags::empty(), c"").expect("remounting");
}

/// Waits until `condition` holds; whether it came to hold within a minute.
pub fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > Duration::from_secs(60) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Stops every thread of a process, and waits until they stand still.
pub fn stop(process: Pid) {
    kill_process(process, Signal::STOP).unwrap();
    let stopped = |task: PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next();
        state.is_some_and(|state| state.starts_with('T'))
    };
    let tasks = format!("/proc/{process}/task");
    let all = || {
        let mut tasks = std::fs::read_dir(&tasks).unwrap();
        tasks.all(|task| stopped(task.unwrap().path()))
    };
    assert!(wait_until(all), "process {process} cannot be stopped");
}

/// Breaks the mount when its test takes too long, so that what hangs in it fails instead.
pub(crate) struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    pub(crate) fn new(mountpoint: &Path) -> Watchdog {
        let (alive, gone) = channel();
        let mountpoint = mountpoint.to_owned();
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        std::thread::spawn(move || watch(&gone, &mountpoint, &test));
        Watchdog { _alive: alive }
    }
}

fn watch(gone: &Receiver<()>, mountpoint: &Path, test: &str) {
    if gone.recv_timeout(patience()) == Err(RecvTimeoutError::Timeout) {
        eprintln!("{test} hangs: its mount is taken away");
        force_unmount(mountpoint);
        if gone.recv_timeout(patience()) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} still hangs");
            std::process::abort();
        }
    }
}
