//! File handles, as `name_to_handle_at` and `open_by_handle_at` deal in them. Neither rustix nor nix has these calls.

use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most bytes of a handle (`MAX_HANDLE_SZ`).
const MOST: usize = 128;

/// What a filesystem calls a file by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// How the bytes are to be read.
    pub kind: i32,
    /// What the filesystem chose.
    pub bytes: Vec<u8>,
}

/// `struct file_handle` with room behind it.
#[repr(C)]
struct Raw {
    length: u32,
    kind: i32,
    bytes: [u8; MOST],
}

impl Handle {
    /// The handle of what `path` names; a symbolic link is not followed.
    pub fn of(path: &Path) -> Result<Handle, Errno> {
        Handle::at(libc::AT_FDCWD, path, 0)
    }

    /// The handle of an open file.
    pub fn of_open(file: impl AsFd) -> Result<Handle, Errno> {
        Handle::at(file.as_fd().as_raw_fd(), Path::new(""), libc::AT_EMPTY_PATH)
    }

    fn at(dir: i32, path: &Path, flags: i32) -> Result<Handle, Errno> {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
        let mut raw = Raw {
            length: MOST as u32,
            kind: 0,
            bytes: [0; MOST],
        };
        let mut mount = 0;
        // SAFETY: path ends with NUL; raw begins as the structure does and says how much room is behind it.
        let called = unsafe {
            let raw = (&raw mut raw).cast();
            libc::name_to_handle_at(dir, path.as_ptr(), raw, &mut mount, flags)
        };
        if called < 0 {
            return Err(Errno::from_io_error(&Error::last_os_error()).expect("an error number"));
        }
        Ok(Handle {
            kind: raw.kind,
            bytes: raw.bytes[..raw.length as usize].to_vec(),
        })
    }

    /// Opens what the handle names in the filesystem that `mount` is of.
    pub fn open(&self, mount: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut raw = Raw {
            length: self.bytes.len() as u32,
            kind: self.kind,
            bytes: [0; MOST],
        };
        raw.bytes[..self.bytes.len()].copy_from_slice(&self.bytes);
        let flags = (flags | OFlags::CLOEXEC).bits() as i32;
        // SAFETY: raw begins as the structure does, and as many bytes follow as it says.
        let opened = unsafe {
            let raw = (&raw mut raw).cast();
            libc::open_by_handle_at(mount.as_fd().as_raw_fd(), raw, flags)
        };
        if opened < 0 {
            return Err(Errno::from_io_error(&Error::last_os_error()).expect("an error number"));
        }
        // SAFETY: the kernel has just opened it for this caller.
        Ok(unsafe { OwnedFd::from_raw_fd(opened) })
    }
}
