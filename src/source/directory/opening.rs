//! Opening beneath a directory of the source, and looking at what was found.

use super::identity::Identities;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// What a name leads to, not opened: a device or a pipe that took a file's place notices nothing.
pub(super) const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
pub(super) const CONTENT: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

pub(super) fn stat_content(file: impl AsFd) -> Result<Statx> {
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, Identities::WANTED)
}

pub(super) fn open(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    open_as(from, path, flags, ResolveFlags::empty())
}

pub(super) fn open_as(
    from: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(from, path, flags, Mode::empty(), beneath | how)
}

/// Opens for reading what was found, whatever its name leads to by now. `ENOENT` without `/proc`.
pub(super) fn reopen(found: &OwnedFd) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    match rustix::fs::open(&path, CONTENT | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(&path, CONTENT, Mode::empty()),
        file => file,
    }
}

/// Opens without moving the access time where the caller may ask for that: as owner or privileged.
pub(super) fn open_quietly(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    match open(from, path, flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(from, path, flags),
        file => file,
    }
}
