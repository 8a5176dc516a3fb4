//! Which directory of a mount a descriptor is of.

use crate::tree::NodeId;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `FILEID_INO64_GEN`: a node id, its upper half first, and a generation.
const KIND: i32 = 0x81;
const WORDS: usize = 3;

/// `struct file_handle` with room for one of FUSE.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    words: [u32; WORDS],
}

/// What the server of a mount calls the file that is open as `file`, by its file handle: wherever it is, and whatever leads there.
///
/// # Errors
/// EOPNOTSUPP if it is in no FUSE filesystem, or the kernel has no file handles; those of name_to_handle_at(2).
pub fn node_of(file: impl AsFd) -> io::Result<NodeId> {
    let mut handle = Handle {
        bytes: size_of::<[u32; WORDS]>() as u32,
        kind: 0,
        words: [0; WORDS],
    };
    let mut mount = 0;
    let raw = (&raw mut handle).cast::<libc::file_handle>();
    let (file, flags) = (file.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: `handle` begins as a `file_handle` does, and has room for as many bytes behind it as it says; the path is empty.
    let named = unsafe { libc::name_to_handle_at(file, c"".as_ptr(), raw, &mut mount, flags) };
    if named != 0 {
        return Err(io::Error::last_os_error());
    }
    let [high, low, _] = handle.words;
    match handle.kind {
        KIND => Ok(NodeId::from_raw(u64::from(high) << 32 | u64::from(low))),
        _ => Err(rustix::io::Errno::OPNOTSUPP.into()),
    }
}
