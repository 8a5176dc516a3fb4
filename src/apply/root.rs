//! A directory tree that is reached from its root alone.

use crate::delta::{PathBytes, Seen, SourceEntry};
use crate::tree::Time;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest path that is resolved by one call, bytes: less than `PATH_MAX`.
const LONGEST: usize = 4000;

/// A directory, and what is below it. No symbolic link is ever followed there, so nothing outside is reached.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

fn entry(stat: &Stat) -> SourceEntry {
    let time = |sec: i64, nsec: u64| Time {
        sec,
        nsec: u32::try_from(nsec).unwrap_or_default(),
    };
    SourceEntry {
        dev: stat.st_dev,
        ino: stat.st_ino,
        seen: Seen {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            rdev: stat.st_rdev,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        },
    }
}

/// A name in an open directory.
#[derive(Debug)]
pub(super) struct Slot {
    /// The directory.
    pub dir: OwnedFd,
    /// The name; `.` of a root.
    pub name: CString,
}

impl Slot {
    /// A path by which calls that take no descriptor of a directory reach the name.
    pub fn path(&self) -> PathBuf {
        let dir = format!("/proc/self/fd/{}", self.dir.as_raw_fd());
        Path::new(&dir).join(OsStr::from_bytes(self.name.to_bytes()))
    }

    /// What has the name, opened by `O_PATH`.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.dir,
            &self.name,
            flags,
            Mode::empty(),
        )?)
    }
}

impl Root {
    /// The directory `path`.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Root { fd })
    }

    /// The directory that is open as `fd`, by whatever mode.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn at(fd: impl AsFd) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(fd, c".", flags, Mode::empty())?;
        Ok(Root { fd })
    }

    /// What the directory itself is.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn itself(&self) -> io::Result<SourceEntry> {
        found(self)
    }

    /// What is at `path`, if anything is. What lies behind something that is no directory is not there.
    pub(super) fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>> {
        match self.open_at(path, OFlags::PATH) {
            Ok(fd) => Ok(Some(entry(&rustix::fs::fstat(fd)?))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The name `path` ends with, in its directory.
    pub(super) fn slot(&self, path: &PathBytes) -> io::Result<Slot> {
        let (parent, name) = path.split();
        let dir = self.open_at(&parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let name = if name.is_empty() { b"." } else { name };
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        Ok(Slot { dir, name })
    }

    /// Opens what is at `path`.
    pub(super) fn open_at(&self, path: &PathBytes, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let open = |from: BorrowedFd<'_>, path: &[u8], flags| {
            let path = if path.is_empty() { b"." } else { path };
            rustix::fs::openat2(from, path, flags, Mode::empty(), resolve)
        };
        let mut rest = path.as_bytes();
        let mut from: Option<OwnedFd> = None;
        while rest.len() > LONGEST {
            let cut = rest[..LONGEST].iter().rposition(|byte| *byte == b'/');
            let cut = cut.ok_or(Errno::NAMETOOLONG)?;
            let on = from.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            from = Some(open(on, &rest[..cut], way)?);
            rest = &rest[cut + 1..];
        }
        open(
            from.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd),
            rest,
            flags,
        )
    }

    /// The names in the directory `path`, but `.` and `..`.
    pub(super) fn names(&self, path: &PathBytes) -> io::Result<Vec<Vec<u8>>> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The target of the symbolic link at `path`.
    pub(super) fn link_target(&self, path: &PathBytes) -> io::Result<CString> {
        let fd = self.open_at(path, OFlags::PATH)?;
        Ok(rustix::fs::readlinkat(fd, c"", Vec::new())?)
    }

    /// Waits until everything on the filesystem of the root is on disk.
    ///
    /// # Errors
    /// Those of syncfs(2).
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.fd)?)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What `fd` leads to.
pub(super) fn found(fd: impl AsFd) -> io::Result<SourceEntry> {
    Ok(entry(&rustix::fs::fstat(fd)?))
}

/// Removes the name, of a directory or of something else.
pub(super) fn remove(slot: &Slot, directory: bool) -> io::Result<()> {
    let flags = match directory {
        true => AtFlags::REMOVEDIR,
        false => AtFlags::empty(),
    };
    Ok(rustix::fs::unlinkat(&slot.dir, &slot.name, flags)?)
}
