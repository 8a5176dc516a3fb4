//! The tree as files of a real filesystem.

use super::shape::{self, File};
use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags};
use rustix::io::{Errno, Result};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The tree's place below `dir`.
pub fn place(dir: &Path, files: u64) -> PathBuf {
    dir.join(format!("norefs-load-bench-{files}"))
}

/// Makes the tree at `place`, unless an earlier run left it there complete. Says which.
pub fn make(place: &Path, files: u64) -> io::Result<bool> {
    let complete = place.join("complete");
    if complete.exists() {
        return Ok(false);
    }
    remove(place)?;
    let tree = tree(place);
    std::fs::create_dir_all(&tree)?;
    let root = rustix::fs::open(&tree, DIRECTORY, Mode::empty())?;
    for (upper, below) in shape::directories(files) {
        let upper = directory(root.as_fd(), upper)?;
        for first in below {
            let directory = directory(upper.as_fd(), first)?;
            for number in shape::files_in(first, files) {
                file(directory.as_fd(), number)?;
            }
        }
    }
    std::fs::write(complete, "")?;
    Ok(true)
}

/// The directory to load.
pub fn tree(place: &Path) -> PathBuf {
    place.join("tree")
}

/// Takes away all that was made.
pub fn remove(place: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn directory(parent: BorrowedFd<'_>, number: u64) -> Result<OwnedFd> {
    let name = shape::name(number);
    rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755))?;
    rustix::fs::openat(parent, &name, DIRECTORY, Mode::empty())
}

fn file(directory: BorrowedFd<'_>, number: u64) -> Result<()> {
    let name = shape::name(number);
    let before = |by: u64| shape::name(number - by);
    match shape::file(number) {
        File::Symlink => rustix::fs::symlinkat(before(2), directory, &name),
        File::HardLink => {
            rustix::fs::linkat(directory, before(1), directory, &name, AtFlags::empty())
        }
        File::Attributed => {
            let file = regular(directory, &name, 1)?;
            match rustix::fs::fsetxattr(file, "user.norefs", b"value", XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => Ok(()),
                done => done,
            }
        }
        File::Regular(size) => regular(directory, &name, size).map(drop),
    }
}

/// A file of `size` bytes, all of them a hole.
fn regular(directory: BorrowedFd<'_>, name: &str, size: u64) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
    if size > 0 {
        rustix::fs::ftruncate(&file, size)?;
    }
    Ok(file)
}
