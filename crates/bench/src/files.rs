//! The system calls that the trees are built, listed and removed with.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, openat};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;

/// Bytes in the files that are read and written.
pub const CONTENT: usize = 4096;

/// Opens a file to read it.
pub fn open(at: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Opens a directory to list it.
pub fn open_directory(at: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Makes a file of `bytes` zeroes, at most [`CONTENT`].
pub fn create(at: impl AsFd, name: &CStr, bytes: usize) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(at, name, flags, Mode::RUSR | Mode::WUSR)?;
    let content = &[0u8; CONTENT][..bytes];
    if bytes > 0 && rustix::io::write(&file, content)? != bytes {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// Calls `visit` with every name but `.` and `..`.
pub fn list(
    directory: &OwnedFd,
    mut visit: impl FnMut(&CStr, FileType) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; 8192];
    let mut names = RawDir::new(directory, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            visit(entry.file_name(), entry.file_type())?;
        }
    }
    Ok(())
}
