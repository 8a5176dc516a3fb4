//! A contender's lane: the subdirectory in which its trees are built, removed when the run ends.

use super::files::{list, open_directory};
use super::{Contender, Error};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, fstatvfs, mkdirat, statat, syncfs, unlinkat};
use std::ffi::{CStr, CString};
use std::io;
use std::path::PathBuf;

/// What trees take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// Files, symbolic links and directories.
    pub inodes: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl Room {
    pub fn and(self, other: Room) -> Room {
        Room {
            inodes: self.inodes + other.inodes,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The subdirectory. Dropping it removes it.
pub struct Lane {
    pub label: String,
    parent: OwnedFd,
    name: CString,
    root: OwnedFd,
}

impl Lane {
    /// Makes a new subdirectory, if `room` is free.
    pub fn new(contender: Contender, number: usize, room: Room) -> Result<Lane, Error> {
        let label = contender.label.clone();
        let made = check_room(&contender.directory, room).and_then(|()| make(contender, number));
        made.map_err(|error| failed(&label, "making a directory", error))
    }

    /// The subdirectory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Has what was written so far stored, so that it can be forgotten.
    pub fn store(&self) -> Result<(), Error> {
        syncfs(&self.root).map_err(|error| self.failed("storing the tree", error.into()))
    }

    pub fn failed(&self, doing: &str, error: io::Error) -> Error {
        failed(&self.label, doing, error)
    }
}

/// A path of an open directory, for this process and those it starts.
pub fn path(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

pub fn failed(label: &str, doing: &str, error: io::Error) -> Error {
    Error::Failed {
        label: label.to_owned(),
        doing: doing.to_owned(),
        error,
    }
}

/// Filesystems that do not count inodes say that there are none at all.
pub fn check_room(directory: &OwnedFd, room: Room) -> io::Result<()> {
    let has = fstatvfs(directory)?;
    let short = |needed: u64, free: u64, of: &str| {
        let reason = format!("No space left: {needed} {of} are needed, {free} are free");
        Err(io::Error::new(io::ErrorKind::StorageFull, reason))
    };
    if has.f_files > 0 && has.f_favail < room.inodes {
        return short(room.inodes, has.f_favail, "inodes");
    }
    let free = has.f_bavail.saturating_mul(has.f_frsize);
    if has.f_blocks > 0 && free < room.bytes {
        return short(room.bytes, free, "bytes");
    }
    Ok(())
}

fn make(contender: Contender, number: usize) -> io::Result<Lane> {
    let pid = std::process::id();
    let name = CString::new(format!("norefs-bench-{pid}-{number}"))?;
    let Contender {
        label, directory, ..
    } = contender;
    mkdirat(&directory, &name, Mode::RWXU)?;
    let root = open_directory(&directory, &name).inspect_err(|_| {
        unlinkat(&directory, &name, AtFlags::REMOVEDIR).unwrap_or_default();
    })?;
    Ok(Lane {
        label,
        root,
        parent: directory,
        name,
    })
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.parent, &self.name) {
            let (label, name) = (&self.label, self.name.to_string_lossy());
            tracing::error!(%error, "{name} in {label} stays");
        }
    }
}

/// Removes the directory `name` with all that is in it.
fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    let directory = open_directory(parent, name)?;
    let mut found = Vec::new();
    list(&directory, |name, _| {
        found.push(name.to_owned());
        Ok(())
    })?;
    for name in found {
        let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => remove(&directory, &name)?,
            _ => unlinkat(&directory, &name, AtFlags::empty())?,
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
