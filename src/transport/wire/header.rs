//! What every request and every reply begins with (`struct fuse_in_header`, `struct fuse_out_header`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Begins a request.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct InHeader {
    /// Bytes of the whole request.
    pub(crate) len: u32,
    /// What is asked for.
    pub(crate) opcode: u32,
    /// Names the request in its reply.
    pub(crate) unique: u64,
    /// The inode it is about.
    pub(crate) nodeid: u64,
    /// Filesystem user id of the caller.
    pub(crate) uid: u32,
    /// Filesystem group id of the caller.
    pub(crate) gid: u32,
    /// The caller's thread id.
    pub(crate) pid: u32,
    /// Units of eight bytes that extensions take at the end.
    pub(crate) total_extlen: u16,
    pub(crate) padding: u16,
}

/// Begins a reply or a notification.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct OutHeader {
    /// Bytes of the whole reply.
    pub(crate) len: u32,
    /// A negated errno, or 0; of a notification its code.
    pub(crate) error: i32,
    /// The request this answers; 0 for a notification.
    pub(crate) unique: u64,
}

const _: () = assert!(size_of::<InHeader>() == 40 && size_of::<OutHeader>() == 16);
