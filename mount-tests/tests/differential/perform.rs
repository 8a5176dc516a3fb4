//! Making the calls, and what of an answer must not differ.

use crate::call::{At, By, Call, SLOTS, Stamp};
use crate::content::digest;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    self, Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, StatxFlags, Timespec,
    Timestamps, UTIME_NOW, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::{Errno, Result};
use std::fs::File;

/// What a call answered: the part of its result that must not differ, or the errno.
pub type Answer = Result<String>;

/// The descriptors of a sequence.
pub struct Files {
    slots: [Option<File>; SLOTS],
    /// The root of the sequence.
    root: OwnedFd,
    /// `/proc/self/fd`.
    proc: OwnedFd,
}

/// What the descriptor of an empty slot is taken for.
const EMPTY: Errno = Errno::BADF;

/// An answer that only succeeds or fails.
pub fn nothing(result: Result<()>) -> Answer {
    result.map(|()| String::new())
}

/// An answer that is a number.
pub fn number<N: ToString>(result: Result<N>) -> Answer {
    result.map(|number| number.to_string())
}

fn mode(mode: u32) -> Mode {
    Mode::from_bits_retain(mode)
}

impl Files {
    /// None open yet, below `root`.
    pub fn new(root: OwnedFd, proc: OwnedFd) -> Files {
        Files {
            slots: Default::default(),
            root,
            proc,
        }
    }

    /// What is open in each slot.
    pub fn open(&self) -> impl Iterator<Item = (usize, &File)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, file)| Some((slot, file.as_ref()?)))
    }

    /// Goes where the paths of `call` start, which no permission is needed for. Calls with two paths take
    /// descriptors instead.
    pub fn enter(&self, call: &Call) -> Result<()> {
        rustix::process::fchdir(match call.place() {
            Some(At(base, _)) if base > 0 => self.slot(base - 1)?.as_fd(),
            _ => self.root.as_fd(),
        })
    }

    /// Goes to the root of the sequence.
    pub fn leave(&self) {
        rustix::process::fchdir(&self.root).unwrap();
    }

    /// What is open in `slot`.
    pub fn slot(&self, slot: usize) -> Result<&File> {
        self.slots[slot].as_ref().ok_or(EMPTY)
    }

    fn base(&self, at: At) -> Result<BorrowedFd<'_>> {
        match at.0 {
            0 => Ok(CWD),
            slot => Ok(self.slot(slot - 1)?.as_fd()),
        }
    }

    /// Makes the call.
    pub fn perform(&mut self, call: &Call) -> Answer {
        match *call {
            Call::Open {
                at,
                flags,
                mode,
                slot,
            } => self.open_at(at, flags.0, mode.0, slot),
            Call::Close { slot } => self.slots[slot].take().map(|_| String::new()).ok_or(EMPTY),
            Call::Umask { mask } => {
                let before = rustix::process::umask(mode(mask.0));
                Ok(format!("{:o}", before.bits()))
            }
            Call::Read { .. }
            | Call::ReadAt { .. }
            | Call::Write { .. }
            | Call::WriteAt { .. }
            | Call::Map { .. }
            | Call::Truncate { .. }
            | Call::Allocate { .. }
            | Call::Seek { .. }
            | Call::Copy { .. }
            | Call::Sync { .. }
            | Call::List { .. } => self.content(call),
            Call::Set { .. } | Call::Get { .. } | Call::Names { .. } | Call::Remove { .. } => {
                self.xattr(call)
            }
            Call::Chmod { .. } | Call::Chown { .. } | Call::Times { .. } => self.attributes(call),
            Call::Stat { .. }
            | Call::Access { .. }
            | Call::Readlink { .. }
            | Call::Space { .. } => question(call),
            _ => self.names(call),
        }
    }

    fn open_at(&mut self, at: At, flags: u32, bits: u32, slot: usize) -> Answer {
        // Nobody is at the other end of a fifo.
        let flags = OFlags::from_bits_retain(flags) | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::open(at.1, flags, mode(bits))?;
        self.slots[slot] = Some(file.into());
        Ok(String::new())
    }

    fn names(&self, call: &Call) -> Answer {
        nothing(match *call {
            Call::Link { from, to, flags } => {
                let flags = AtFlags::from_bits_retain(flags);
                fs::linkat(self.base(from)?, from.1, self.base(to)?, to.1, flags)
            }
            Call::LinkSlot {
                slot,
                to,
                by_proc: true,
            } => {
                let name = std::os::fd::AsRawFd::as_raw_fd(self.slot(slot)?).to_string();
                fs::linkat(&self.proc, name, CWD, to.1, AtFlags::SYMLINK_FOLLOW)
            }
            Call::LinkSlot { slot, to, .. } => {
                fs::linkat(self.slot(slot)?, "", CWD, to.1, AtFlags::EMPTY_PATH)
            }
            Call::Symlink { target, at } => fs::symlink(target, at.1),
            Call::Mkdir { at, mode: bits } => fs::mkdir(at.1, mode(bits.0)),
            Call::Mknod {
                at,
                kind,
                mode: bits,
            } => fs::mknodat(CWD, at.1, FileType::from_raw_mode(kind.0), mode(bits.0), 0),
            Call::Unlink {
                at,
                directory: true,
            } => fs::rmdir(at.1),
            Call::Unlink { at, .. } => fs::unlink(at.1),
            Call::Rename { from, to, flags } => {
                let flags = RenameFlags::from_bits_retain(flags);
                fs::renameat_with(self.base(from)?, from.1, self.base(to)?, to.1, flags)
            }
            _ => unreachable!("{call:?} changes no name"),
        })
    }

    fn attributes(&self, call: &Call) -> Answer {
        let slot = |at: At| self.slot(at.0.saturating_sub(1));
        nothing(match *call {
            Call::Chmod {
                at,
                mode: bits,
                by: By::Slot,
            } => fs::fchmod(slot(at)?, mode(bits.0)),
            Call::Chmod { at, mode: bits, .. } => fs::chmod(at.1, mode(bits.0)),
            Call::Chown { at, uid, gid, by } => {
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                match by {
                    By::Slot => fs::fchown(slot(at)?, uid, gid),
                    by => fs::chownat(CWD, at.1, uid, gid, nofollow(by)),
                }
            }
            Call::Times {
                at,
                atime,
                mtime,
                by,
            } => {
                let times = Timestamps {
                    last_access: timespec(atime),
                    last_modification: timespec(mtime),
                };
                match by {
                    By::Slot => fs::futimens(slot(at)?, &times),
                    by => fs::utimensat(CWD, at.1, &times, nofollow(by)),
                }
            }
            _ => unreachable!("{call:?} changes no attribute"),
        })
    }

    fn xattr(&self, call: &Call) -> Answer {
        let slot = |at: At| self.slot(at.0.saturating_sub(1));
        match *call {
            Call::Set {
                at,
                name,
                len,
                flags,
                by,
            } => {
                let (value, flags) = (vec![b'v'; len], XattrFlags::from_bits_retain(flags));
                nothing(match by {
                    By::Path => fs::setxattr(at.1, name, &value, flags),
                    By::Link => fs::lsetxattr(at.1, name, &value, flags),
                    By::Slot => fs::fsetxattr(slot(at)?, name, &value, flags),
                })
            }
            Call::Get { at, name, room, by } => {
                let mut value = vec![0; room];
                let length = match by {
                    By::Path => fs::getxattr(at.1, name, &mut value[..]),
                    By::Link => fs::lgetxattr(at.1, name, &mut value[..]),
                    By::Slot => fs::fgetxattr(slot(at)?, name, &mut value[..]),
                }?;
                value.truncate(length);
                Ok(format!("{length}: {}", digest(&value)))
            }
            Call::Names { at, by } => {
                let mut names = vec![0; 1 << 16];
                let length = match by {
                    By::Path => fs::listxattr(at.1, &mut names[..]),
                    By::Link => fs::llistxattr(at.1, &mut names[..]),
                    By::Slot => fs::flistxattr(slot(at)?, &mut names[..]),
                }?;
                let mut names: Vec<_> = names[..length].split(|byte| *byte == 0).collect();
                names.sort_unstable();
                Ok(String::from_utf8_lossy(&names.join(&b' ')).into_owned())
            }
            Call::Remove { at, name, by } => nothing(match by {
                By::Path => fs::removexattr(at.1, name),
                By::Link => fs::lremovexattr(at.1, name),
                By::Slot => fs::fremovexattr(slot(at)?, name),
            }),
            _ => unreachable!("{call:?} is not about extended attributes"),
        }
    }
}

fn nofollow(by: By) -> AtFlags {
    match by {
        By::Link => AtFlags::SYMLINK_NOFOLLOW,
        _ => AtFlags::empty(),
    }
}

fn timespec(stamp: Stamp) -> Timespec {
    let (tv_sec, tv_nsec) = match stamp {
        Stamp::Now => (0, UTIME_NOW),
        Stamp::Omit => (0, UTIME_OMIT),
        Stamp::Given(sec, nsec) => (sec, nsec),
    };
    Timespec { tv_sec, tv_nsec }
}

fn question(call: &Call) -> Answer {
    match *call {
        Call::Stat { at, flags } => {
            let flags = AtFlags::from_bits_retain(flags);
            let stat = fs::statx(CWD, at.1, flags, StatxFlags::BASIC_STATS)?;
            let (uid, gid) = (stat.stx_uid, stat.stx_gid);
            Ok(format!(
                "{:o} {} {uid} {gid}",
                stat.stx_mode, stat.stx_nlink
            ))
        }
        Call::Access { at, mode, flags } => {
            let (mode, flags) = (
                Access::from_bits_retain(mode),
                AtFlags::from_bits_retain(flags),
            );
            nothing(fs::accessat(CWD, at.1, mode, flags))
        }
        Call::Readlink { at } => {
            let target = fs::readlink(at.1, [])?;
            Ok(target.to_string_lossy().into_owned())
        }
        Call::Space { at } => number(fs::statfs(at.1).map(|space| space.f_namelen)),
        _ => unreachable!("{call:?} is no question"),
    }
}

impl Call {
    /// The one path of the call; of two, neither.
    fn place(&self) -> Option<At> {
        match *self {
            Call::Chmod { by: By::Slot, .. }
            | Call::Chown { by: By::Slot, .. }
            | Call::Times { by: By::Slot, .. }
            | Call::Set { by: By::Slot, .. }
            | Call::Get { by: By::Slot, .. }
            | Call::Names { by: By::Slot, .. }
            | Call::Remove { by: By::Slot, .. } => None,
            Call::Open { at, .. }
            | Call::Symlink { at, .. }
            | Call::Readlink { at }
            | Call::Mkdir { at, .. }
            | Call::Mknod { at, .. }
            | Call::Unlink { at, .. }
            | Call::Chmod { at, .. }
            | Call::Chown { at, .. }
            | Call::Times { at, .. }
            | Call::Set { at, .. }
            | Call::Get { at, .. }
            | Call::Names { at, .. }
            | Call::Remove { at, .. }
            | Call::Stat { at, .. }
            | Call::Access { at, .. }
            | Call::Space { at } => Some(at),
            Call::LinkSlot { to, .. } => Some(to),
            _ => None,
        }
    }
}
