//! A connection to the kernel: reading requests, writing replies and notifications.
//!
//! When the last channel of a mount is dropped the kernel ends the connection, so a mount whose
//! serving threads are gone ends too.

use crate::transport::wire::OutHeader;
use crate::tree::{Errno, NodeId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::retry_on_intr;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{Immutable, IntoBytes};

/// The device of which each open file is a channel, once it is connected.
pub(crate) const DEVICE: &str = "/dev/fuse";

/// `FUSE_DEV_IOC_CLONE`.
const CLONE: Opcode = opcode::read::<u32>(229, 0);
/// `FUSE_DEV_IOC_BACKING_OPEN`.
const BACKING_OPEN: Opcode = opcode::write::<BackingMap>(229, 1);
/// `FUSE_DEV_IOC_BACKING_CLOSE`.
const BACKING_CLOSE: Opcode = opcode::write::<u32>(229, 2);

/// `FUSE_NOTIFY_INVAL_INODE`.
const INVAL_INODE: i32 = 2;
/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_ENTRY: i32 = 3;
/// `FUSE_NOTIFY_RETRIEVE`.
const RETRIEVE: i32 = 5;
/// The kernel numbers its own requests from 0 on, in steps of two (`fuse_get_unique`).
const NUDGES: u64 = 1 << 63;

/// Offset that says: attributes only, no page is dropped and no inode lock is taken.
const ATTRIBUTES_ONLY: i64 = -1;

/// `struct fuse_notify_inval_inode_out`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct InvalInode {
    ino: u64,
    off: i64,
    len: i64,
}

/// `struct fuse_notify_inval_entry_out`, behind which the name comes with a NUL.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct InvalEntry {
    parent: u64,
    namelen: u32,
    flags: u32,
}

/// `struct fuse_notify_retrieve_out`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Retrieve {
    unique: u64,
    ino: u64,
    offset: u64,
    size: u32,
    padding: u32,
}

/// `struct fuse_backing_map`.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

// SAFETY: the request reads a `BackingMap`, which this is, and answers with a number.
unsafe impl Ioctl for BackingMap {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        BACKING_OPEN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| Errno::OVERFLOW)
    }
}

/// One descriptor of a connection. Which requests come through which is the kernel's choice, but a
/// reply belongs to the one its request came through.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens the device; not connected to anything.
pub(crate) fn open_device() -> io::Result<File> {
    File::options().read(true).write(true).open(DEVICE)
}

/// As [`Channel::is_connected`], of a descriptor that a mount was made with.
pub(crate) fn is_connected(device: impl AsFd) -> io::Result<bool> {
    let mut device = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::empty())];
    retry_on_intr(|| poll(&mut device, Some(&Timespec::default())))?;
    Ok(!device[0].revents().contains(PollFlags::ERR))
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A request of this many bytes.
    Request(usize),
    /// Nothing this time.
    Nothing,
    /// The connection has ended.
    End,
}

impl Channel {
    /// Takes the connection out of a session that has mounted and negotiated.
    ///
    /// The rest of the session is never dropped: fuser 0.18 takes the end of the connection for a
    /// mount still there, and would unmount whatever is at the mount point by then.
    pub(crate) fn take_over<F: fuser::Filesystem>(session: fuser::Session<F>) -> Channel {
        let descriptor = session.as_fd().as_raw_fd();
        std::mem::forget(session);
        // SAFETY: the session owned the descriptor, and being forgotten never closes or uses it.
        Channel(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    /// One more channel of the same connection.
    pub(crate) fn another(&self) -> io::Result<Channel> {
        let other = OwnedFd::from(open_device()?);
        let mine = self.0.as_raw_fd().cast_unsigned();
        // SAFETY: this request reads the descriptor's number from where it is told to, no more.
        unsafe { ioctl(&other, Setter::<CLONE, u32>::new(mine))? };
        Ok(Channel(other))
    }

    /// Registers `file` with the connection and gives its number there, by which the reply to an OPEN may name it. The
    /// kernel keeps it open until [`Channel::unregister`], or the end of the connection.
    ///
    /// # Errors
    /// EPERM if the connection may not have any or this process is not privileged, ELOOP if the file is on a stacked
    /// filesystem; see `fuse_backing_open` in the kernel.
    pub(crate) fn register(&self, file: BorrowedFd<'_>) -> Result<u32, Errno> {
        self.map(file.as_raw_fd())
    }

    /// Whether this process may register files.
    pub(crate) fn check_register(&self) -> Result<(), Errno> {
        match self.map(-1) {
            Err(Errno::BADF) => Ok(()),
            refused => refused.map(drop),
        }
    }

    fn map(&self, fd: i32) -> Result<u32, Errno> {
        let map = BackingMap {
            fd,
            flags: 0,
            padding: 0,
        };
        // SAFETY: this request takes a reference of its own to the file of a descriptor, or refuses.
        unsafe { ioctl(&self.0, map) }
    }

    /// Ends what [`Channel::register`] began. Who has the file open keeps it.
    pub(crate) fn unregister(&self, id: u32) -> Result<(), Errno> {
        // SAFETY: this request reads a number from where it is told to, no more.
        unsafe { ioctl(&self.0, Setter::<BACKING_CLOSE, u32>::new(id)) }
    }

    /// Whether the connection has not ended. Until then the mount's device number is its own: unmounting ends the connection
    /// (`fuse_conn_destroy`) before it gives the number back (`kill_anon_super`).
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        is_connected(self)
    }

    /// Waits for a request and reads it into `buffer`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        match rustix::io::read(&self.0, buffer) {
            Ok(length) => Ok(Received::Request(length)),
            // It was taken back before it was read, or it is nobody's turn.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => Ok(Received::Nothing),
            Err(Errno::NODEV | Errno::CONNABORTED) => Ok(Received::End),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether [`receive`](Channel::receive) waits, as it does at first.
    pub(crate) fn set_waiting(&self, waits: bool) -> io::Result<()> {
        let flags = match waits {
            true => OFlags::empty(),
            false => OFlags::NONBLOCK,
        };
        Ok(fcntl_setfl(&self.0, flags)?)
    }

    /// Answers the request `unique` that came through this channel.
    pub(crate) fn reply(&self, unique: u64, answer: Result<&[u8], Errno>) {
        let error = answer.err().map_or(0, |errno| -errno.raw_os_error());
        let written = self.write(unique, error, answer.unwrap_or_default());
        if let Err(error) = written {
            // Nobody waits for it any more, or the mount has ended.
            tracing::debug!(unique, %error, "a reply was not taken");
        }
    }

    /// Makes the kernel drop the attributes of `id` and refuse older replies still on their way.
    pub(crate) fn invalidate(&self, id: NodeId) -> io::Result<()> {
        let out = InvalInode {
            ino: id.raw(),
            off: ATTRIBUTES_ONLY,
            len: 0,
        };
        self.write(0, INVAL_INODE, out.as_bytes())
    }

    /// Makes the kernel forget where `name` in `directory` leads, or that it leads nowhere. Returns when that is done: calls that
    /// look up, or change, names in the directory are waited for.
    pub(crate) fn forget_name(&self, directory: NodeId, name: &[u8]) -> io::Result<()> {
        let out = InvalEntry {
            parent: directory.raw(),
            namelen: u32::try_from(name.len()).map_err(io::Error::other)?,
            flags: 0,
        };
        self.write(0, INVAL_ENTRY, &[out.as_bytes(), name, &[0]].concat())
    }

    /// Makes the kernel write back and drop the pages of `id` that hold any of `range`, and its attributes. Returns when
    /// that is done: pages that are being read or written are waited for.
    pub(crate) fn write_back(&self, id: NodeId, range: &Range<u64>) -> io::Result<()> {
        // To the end, if it is less than one.
        let length = range.end.saturating_sub(range.start).max(1);
        let out = InvalInode {
            ino: id.raw(),
            off: range.start.min(i64::MAX as u64).cast_signed(),
            len: length.min(i64::MAX as u64 - range.start).cast_signed(),
        };
        self.write(0, INVAL_INODE, out.as_bytes())
    }

    /// Makes the kernel send a request (`NOTIFY_REPLY`) as if a caller on this CPU had called, although none waits for it: it is
    /// to retrieve nothing of `file`.
    pub(crate) fn nudge(&self, file: NodeId) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(NUDGES);
        let out = Retrieve {
            unique: NEXT.fetch_add(2, Ordering::Relaxed),
            ino: file.raw(),
            offset: 0,
            size: 0,
            padding: 0,
        };
        self.write(0, RETRIEVE, out.as_bytes())
    }

    fn write(&self, unique: u64, error: i32, bytes: &[u8]) -> io::Result<()> {
        let length = size_of::<OutHeader>() + bytes.len();
        let header = OutHeader {
            len: u32::try_from(length).map_err(io::Error::other)?,
            error,
            unique,
        };
        let parts = [IoSlice::new(header.as_bytes()), IoSlice::new(bytes)];
        // The kernel takes all of it or nothing.
        rustix::io::writev(&self.0, &parts)?;
        Ok(())
    }
}
