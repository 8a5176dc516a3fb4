//! The process that serves a mount.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The process that serves a mount, whatever becomes of its number.
#[derive(Debug)]
pub struct ServerProcess {
    pid: Pid,
    handle: OwnedFd,
}

impl ServerProcess {
    /// The process with this number, which may not have been waited for.
    pub fn open(pid: Pid) -> io::Result<ServerProcess> {
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(ServerProcess { pid, handle })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end, and with that for the end of all it had open. Returns whether it has ended.
    pub fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let mut process = [PollFd::new(&self.handle, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let ended = retry_on_intr(|| poll(&mut process, Some(&patience)))?;
        Ok(ended > 0)
    }

    /// Whether it was stopped and so cannot end. Means nothing once it has ended.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.unwrap_or_default();
        let state = stat.rsplit(") ").next();
        state.is_some_and(|state| state.starts_with('T'))
    }
}
