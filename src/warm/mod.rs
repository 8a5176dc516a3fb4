//! Filling the kernel's caches with what is in a mount, while it is used already.
//!
//! A process of its own lists every directory of the mount, so that the kernel asks for names with their attributes
//! (READDIRPLUS), a directory at a time, and answers later looks at them by itself. Nothing else happens: no file is opened.
//!
//! It is a process because a thread of the daemon that waits for an answer of its own daemon keeps the daemon's descriptors
//! open: were the daemon killed, neither would end. This process has none of them, and ends with the mount.
//!
//! It must not keep the mount busy either. What it has open is therefore in a clone of the mount that nobody sees
//! (`open_tree`), so that unmounting succeeds at any time. The clone keeps the filesystem alive, so [`Warmer`] watches the
//! mount table and ends the process when the mount is gone.

mod walk;

pub use walk::run;

use crate::transport::session::table;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum State {
    /// Directories are being listed.
    #[default]
    Running,
    /// Everything was listed that may be.
    Done,
    /// It was ended before: the mount went away, memory ran short, or it could not be done.
    Stopped,
}

/// What was said of the process so far.
#[derive(Default)]
struct Told {
    entries: AtomicU64,
    state: AtomicU8,
}

/// Tells how far a [`Warmer`] has come.
#[derive(Clone)]
pub struct Progress(Arc<Told>);

impl Progress {
    /// Names listed so far.
    pub fn entries(&self) -> u64 {
        self.0.entries.load(Ordering::Relaxed)
    }

    /// Whether it goes on.
    pub fn state(&self) -> State {
        match self.0.state.load(Ordering::Relaxed) {
            0 => State::Running,
            1 => State::Done,
            _ => State::Stopped,
        }
    }
}

/// A process that warms a mount. Dropping it ends the process.
pub struct Warmer {
    child: Arc<Mutex<Child>>,
    told: Progress,
}

impl Warmer {
    /// Starts `command`, which calls [`run`], for the mount with this device number. It is watched by a thread, which ends
    /// when the process has.
    pub fn start(mut command: Command, device: (u32, u32)) -> io::Result<Warmer> {
        // Opened first: what changes from now on is noticed.
        let mounts = File::open("/proc/self/mountinfo")?;
        let mut child = command
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let said = child.stdout.take().map(BufReader::new);
        let warmer = Warmer {
            child: Arc::new(Mutex::new(child)),
            told: Progress(Arc::default()),
        };
        let watch = Watch {
            child: warmer.child.clone(),
            told: warmer.told.0.clone(),
            mounts,
            device,
        };
        let said = said.ok_or(io::ErrorKind::BrokenPipe)?;
        std::thread::Builder::new()
            .name("norefs-warm".into())
            .spawn(move || watch.follow(said))?;
        Ok(warmer)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.told.clone()
    }

    /// Ends it, if it has not ended: nothing of the mount is open there any more then.
    pub fn stop(&self) {
        end(&self.child);
    }
}

impl Drop for Warmer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Kills the process if it lives, and waits for it. It waits for nobody but the daemon, which answers.
fn end(child: &Mutex<Child>) {
    let mut child = child.lock();
    let ended = child.kill().and_then(|()| child.wait());
    if let Err(error) = ended {
        tracing::debug!(%error, "the process that warms the mount could not be ended");
    }
}

struct Watch {
    child: Arc<Mutex<Child>>,
    told: Arc<Told>,
    mounts: File,
    device: (u32, u32),
}

impl Watch {
    /// Takes in what the process says until it has ended, and ends it when the mount is gone.
    fn follow(self, mut said: BufReader<ChildStdout>) {
        let mut state = State::Stopped;
        let mut line = String::new();
        while self.hears(&said) {
            line.clear();
            if !matches!(said.read_line(&mut line), Ok(length) if length > 0) {
                break;
            }
            match line.trim_end().parse() {
                Ok(entries) => self.told.entries.store(entries, Ordering::Relaxed),
                Err(_) if line == walk::DONE => state = State::Done,
                Err(_) => tracing::warn!(
                    "warming the mount came to an early end: {}",
                    line.trim_end()
                ),
            }
        }
        end(&self.child);
        self.told.state.store(state as u8, Ordering::Relaxed);
    }

    /// Waits until the process says something; false if the mount is gone.
    fn hears(&self, said: &BufReader<ChildStdout>) -> bool {
        if !said.buffer().is_empty() {
            return true;
        }
        loop {
            let mut fds = [
                PollFd::new(said.get_ref(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.mounts.as_fd(), PollFlags::PRI),
            ];
            match poll(&mut fds, None::<&Timespec>) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return false,
            }
            if !fds[1].revents().is_empty() && !self.is_mounted() {
                return false;
            }
            if !fds[0].revents().is_empty() {
                return true;
            }
        }
    }

    fn is_mounted(&self) -> bool {
        let mounts = table::read().unwrap_or_default();
        let ours = |entry: &table::MountEntry| entry.is_norefs() && entry.device == self.device;
        mounts.iter().any(ours)
    }
}
