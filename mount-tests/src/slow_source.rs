//! A filesystem that takes its time: what a source behind a network is like, or one that hangs.
//!
//! Every call waits until the latency that holds by then has passed since it came, however many others wait. So a
//! latency of zero lets everybody go on who waits, and dropping the source does.

mod calls;
mod serve;

use crate::guard::{Scratch, Watchdog, force_unmount};
pub use calls::Call;
use calls::Calls;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use serve::Serve;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What there is in a [`SlowSource`].
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many directories the root has.
    pub directories: u32,
    /// How many files each of them has, below a million.
    pub files: u32,
    /// How many bytes each file has.
    pub bytes: u64,
    /// Whether `stat` tells how many. If not, files are open with `direct_io`, as those of many filesystems that make
    /// content up are.
    pub tells_sizes: bool,
    /// How long the kernel keeps names and attributes.
    pub ttl: Duration,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            directories: 1,
            files: 16,
            bytes: 4000,
            tells_sizes: true,
            ttl: Duration::from_secs(1),
        }
    }
}

/// A mounted filesystem whose calls take as long as the test says; no time at first.
pub struct SlowSource {
    root: PathBuf,
    shape: Shape,
    calls: Arc<Calls>,
    versions: Arc<Vec<AtomicU64>>,
    session: Option<BackgroundSession>,
    _watchdog: Watchdog,
    _scratch: Scratch,
}

impl SlowSource {
    /// Mounts one, open to all users.
    pub fn new(shape: Shape) -> SlowSource {
        let scratch = Scratch::new();
        let root = scratch.dir("slow");
        let calls = Arc::new(Calls::default());
        let versions = (0..shape.directories * shape.files).map(|_| AtomicU64::new(0));
        let versions = Arc::new(versions.collect::<Vec<_>>());
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.mount_options = vec![
            MountOption::RO,
            MountOption::DefaultPermissions,
            MountOption::FSName("slow".into()),
        ];
        let serve = Serve {
            shape: shape.clone(),
            calls: calls.clone(),
            versions: versions.clone(),
        };
        let session = Session::new(serve, &root, &config).expect("mounting: run as root");
        calls.start();
        SlowSource {
            _watchdog: Watchdog::new(&root),
            root,
            shape,
            calls,
            versions,
            session: Some(session.spawn().unwrap()),
            _scratch: scratch,
        }
    }

    /// The name of a directory in the root.
    pub fn directory(directory: u32) -> String {
        format!("d{directory:05}")
    }

    /// The path of a file from the root on. Names come in the order of their numbers.
    pub fn file(directory: u32, file: u32) -> String {
        format!("{}/f{file:06}", SlowSource::directory(directory))
    }

    /// What a file holds now.
    pub fn content(&self, directory: u32, file: u32) -> Vec<u8> {
        let number = directory * self.shape.files + file;
        let version = self.versions[number as usize].load(Ordering::SeqCst);
        serve::bytes(number, version, 0, self.shape.bytes as usize)
    }

    /// Gives a file other content of the same length, which its mtime shows.
    pub fn change(&self, directory: u32, file: u32) {
        let number = directory * self.shape.files + file;
        self.versions[number as usize].fetch_add(1, Ordering::SeqCst);
    }

    /// How long each call takes from now on, also those that wait already.
    pub fn set_latency(&self, latency: Duration) {
        Call::ALL.iter().for_each(|&call| self.slow(call, latency));
    }

    /// How long each call of one kind takes from now on, also those that wait already.
    pub fn slow(&self, call: Call, latency: Duration) {
        self.calls.set_latency(call, latency);
    }

    /// How many calls of one kind came so far.
    pub fn count(&self, call: Call) -> u64 {
        self.calls.count(call)
    }

    /// How many calls came so far.
    pub fn calls(&self) -> u64 {
        Call::ALL.iter().map(|&call| self.count(call)).sum()
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.calls.waiting()
    }

    /// The most calls that waited at one time since this was asked last.
    pub fn take_most_waiting(&self) -> usize {
        self.calls.take_most_waiting()
    }
}

impl Deref for SlowSource {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.root
    }
}

impl Drop for SlowSource {
    fn drop(&mut self) {
        self.calls.stop();
        force_unmount(&self.root);
        let ended = self.session.take().map(BackgroundSession::join);
        if let Some(Err(error)) = ended {
            eprintln!("the slow source ended with {error}");
        }
    }
}
