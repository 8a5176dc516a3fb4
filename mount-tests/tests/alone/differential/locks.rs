//! Locks, which belong to the open file whoever asks, so that the slots of one process conflict as processes do.

use crate::call::{Call, Lock};
use crate::perform::{Answer, Files, nothing};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, c_int};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

impl Files {
    /// Takes a lock, or asks who holds one, and never waits.
    pub fn locks(&self, call: &Call) -> Answer {
        match *call {
            Call::LockFile { slot, lock } => nothing(rustix::fs::flock(
                self.slot(slot)?,
                match lock {
                    Lock::Shared => FlockOperation::NonBlockingLockShared,
                    Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
                    Lock::None => FlockOperation::NonBlockingUnlock,
                },
            )),
            Call::LockRange {
                slot,
                lock,
                start,
                len,
                ask,
            } => {
                let mut range = libc::flock {
                    l_type: kind(lock) as i16,
                    l_whence: libc::SEEK_SET as i16,
                    l_start: start,
                    l_len: len,
                    l_pid: 0,
                };
                let file = self.slot(slot)?;
                let done = match ask {
                    true => fcntl(file, FcntlArg::F_OFD_GETLK(&mut range)),
                    false => fcntl(file, FcntlArg::F_OFD_SETLK(&range)),
                };
                done.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
                let (kind, start, len) = (range.l_type, range.l_start, range.l_len);
                Ok(format!("{kind} {start} {len}"))
            }
            _ => unreachable!("{call:?} locks nothing"),
        }
    }
}

fn kind(lock: Lock) -> c_int {
    match lock {
        Lock::Shared => libc::F_RDLCK,
        Lock::Exclusive => libc::F_WRLCK,
        Lock::None => libc::F_UNLCK,
    }
}
