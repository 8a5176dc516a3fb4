//! Making the calls, and what of an answer must not differ.

use crate::call::{At, By, Call, SLOTS, Stamp};
use crate::listing::{self, Walk};
use nix::unistd::AccessFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, StatxFlags, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::{Errno, Result};
use std::fs::File;
use vmap::MapMut;

/// What a call answered: the part of its result that must not differ, or the errno.
pub type Answer = Result<String>;

/// The descriptors of a sequence.
pub struct Files {
    slots: [Option<File>; SLOTS],
    /// Maps that were kept, of what is in the same slot.
    pub maps: [Option<MapMut>; SLOTS],
    walks: [Walk; SLOTS],
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
            maps: Default::default(),
            walks: Default::default(),
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
            Some(At(base, path)) if base > 0 && !(path.is_empty() && call.takes_descriptors()) => {
                self.slot(base - 1)?.as_fd()
            }
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

    /// Where the paths of a call with two start.
    pub fn base(&self, at: At) -> Result<BorrowedFd<'_>> {
        match at.0 {
            0 => Ok(CWD),
            slot => Ok(self.slot(slot - 1)?.as_fd()),
        }
    }

    /// Makes the call.
    #[rustfmt::skip]
    pub fn perform(&mut self, call: &Call) -> Answer {
        use Call::*;
        match *call {
            Open { at, flags, mode, slot } => self.open_at(at, flags.0, mode.0, slot),
            Close { slot } => self.put(slot, None),
            Duplicate { from, to } => {
                let same = rustix::io::dup(self.slot(from)?)?;
                self.put(to, Some(same.into())).or(Ok(String::new()))
            }
            Flags { slot, flags } => {
                let flags = OFlags::from_bits_retain(flags.0);
                let shown = OFlags::APPEND | OFlags::DIRECT | OFlags::NOATIME | OFlags::RWMODE | OFlags::PATH;
                fs::fcntl_setfl(self.slot(slot)?, flags | OFlags::NONBLOCK)?;
                Ok(format!("{:o}", (fs::fcntl_getfl(self.slot(slot)?)? & shown).bits()))
            }
            Umask { mask } => Ok(format!("{:o}", rustix::process::umask(mode(mask.0)).bits())),
            List { slot, again_from } => listing::list(self.slot(slot)?, again_from),
            Walk { slot, entries } => {
                let dir = self.slots[slot].as_ref().ok_or(EMPTY)?;
                self.walks[slot].go_on(dir, entries)
            }
            LockFile { .. } | LockRange { .. } => self.locks(call),
            Read { .. } | ReadAt { .. } | Write { .. } | WriteAt { .. } | Map { .. } | ReadMap { .. } | Truncate { .. }
            | Allocate { .. } | Seek { .. } | Copy { .. } | Send { .. } | Sync { .. } => self.content(call),
            Set { .. } | Get { .. } | Names { .. } | Remove { .. } => self.xattr(call),
            Chmod { .. } | Chown { .. } | Times { .. } | TruncatePath { .. } => self.attributes(call),
            Stat { .. } | Access { .. } | Readlink { .. } | Space { .. } | Here { .. } => self.question(call),
            Link { .. } | LinkSlot { .. } | Symlink { .. } | Mkdir { .. } | Mknod { .. } | Unlink { .. }
            | Rename { .. } => self.names(call),
        }
    }

    /// Puts something else into a slot.
    fn put(&mut self, slot: usize, file: Option<File>) -> Answer {
        self.maps[slot] = None;
        self.walks[slot] = Walk::default();
        let before = std::mem::replace(&mut self.slots[slot], file);
        before.map(|_| String::new()).ok_or(EMPTY)
    }

    fn open_at(&mut self, at: At, flags: u32, bits: u32, slot: usize) -> Answer {
        // Nobody is at the other end of a fifo.
        let flags = OFlags::from_bits_retain(flags) | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::open(at.1, flags, mode(bits))?;
        let kind = FileType::from_raw_mode(fs::fstat(&file)?.st_mode);
        let _before = self.put(slot, Some(file.into()));
        Ok(format!("{kind:?}"))
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
                device,
            } => {
                let kind = FileType::from_raw_mode(kind.0);
                fs::mknodat(CWD, at.1, kind, mode(bits.0), device)
            }
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
            // To the size there is: see `known.rs`.
            Call::TruncatePath { at, size }
                if fs::stat(at.1).is_ok_and(|stat| {
                    FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == size
                }) =>
            {
                Err(Errno::ALREADY)
            }
            Call::TruncatePath { at, size } => of_nix(nix::unistd::truncate(at.1, size)),
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

    fn question(&self, call: &Call) -> Answer {
        // An empty path with a slot asks for what is open there.
        let base = |at: At| match at {
            At(0, _) => Ok(CWD),
            At(slot, "") => Ok(self.slot(slot - 1)?.as_fd()),
            _ => Ok(CWD),
        };
        match *call {
            Call::Stat { at, flags, birth } => {
                let flags = AtFlags::from_bits_retain(flags);
                let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
                let stat = fs::statx(base(at)?, at.1, flags, asked)?;
                let (uid, gid) = (stat.stx_uid, stat.stx_gid);
                let given = stat.stx_mask & asked.bits();
                let shown = format!("{:o} {} {uid} {gid}", stat.stx_mode, stat.stx_nlink);
                let (birth_time, change) = (stat.stx_btime, stat.stx_ctime);
                let first =
                    (birth_time.tv_sec, birth_time.tv_nsec) <= (change.tv_sec, change.tv_nsec);
                Ok(match birth {
                    true => format!("{shown} {given:x} {} {first}", stat.stx_blksize),
                    false => shown,
                })
            }
            Call::Access { at, mode, flags } => nothing(accessat(base(at)?, at.1, mode, flags)),
            Call::Readlink { at } => {
                let target = fs::readlinkat(base(at)?, at.1, [])?;
                Ok(target.to_string_lossy().into_owned())
            }
            Call::Space { at } => {
                let space = fs::statfs(at.1)?;
                let (block, fragment) = (space.f_bsize, space.f_frsize);
                let fits = space.f_bfree <= space.f_blocks && space.f_ffree <= space.f_files;
                Ok(format!("{} {block} {fragment} {fits}", space.f_namelen))
            }
            Call::Here { .. } => {
                let path = rustix::process::getcwd([])?;
                Ok(path.to_string_lossy().into_owned())
            }
            _ => unreachable!("{call:?} is no question"),
        }
    }
}

/// faccessat2 with any flags, some of which rustix refuses by itself.
pub fn accessat(base: BorrowedFd, path: &str, mode: u32, flags: u32) -> Result<()> {
    let mode = AccessFlags::from_bits_retain(mode as i32);
    let flags = nix::fcntl::AtFlags::from_bits_retain(flags as i32);
    of_nix(nix::unistd::faccessat(base, path, mode, flags))
}

fn of_nix<T>(result: nix::Result<T>) -> Result<T> {
    result.map_err(|errno| Errno::from_raw_os_error(errno as i32))
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
