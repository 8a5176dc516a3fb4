//! What a command sees of the machine: copies in the place of directories, and the rest as it is, or read-only.

use super::namespace::{Namespaces, duplicate, enter, protect, show};
use rustix::fs::{CWD, Mode, OFlags, fstat, open};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a command sees, and where it begins.
pub struct View<'a> {
    /// Where each copy is to be seen.
    pub shown: Vec<Shown<'a>>,
    /// What may be changed beside the copies, if not everything.
    pub writable: Option<Vec<PathBuf>>,
    /// Where the command finds its first copy.
    pub mount: PathBuf,
    /// The working directory.
    pub start: PathBuf,
    /// Whether that is where the caller stands: then the environment tells the name by which it is called.
    pub stays: bool,
}

/// A copy in the place of a directory.
pub struct Shown<'a> {
    /// Where it is mounted.
    pub copy: PathBuf,
    /// Where that is to be seen, if not here.
    pub inside: Option<&'a Namespaces>,
    /// Where it is to be seen: an absolute path without links.
    pub at: PathBuf,
    /// The directory that is there, if it is another one than that of `copy`.
    pub over: Option<Identity>,
}

/// Which directory this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    pub fn of(directory: BorrowedFd<'_>) -> io::Result<Identity> {
        let found = fstat(directory)?;
        Ok(Identity {
            device: found.st_dev,
            number: found.st_ino,
        })
    }
}

/// Why a view is not to be had.
pub enum Obstacle {
    /// The machine refuses such things to this user.
    Refused(io::Error),
    Other(String),
}

fn other(path: &Path) -> impl FnOnce(io::Error) -> Obstacle {
    |error: io::Error| Obstacle::Other(said(path, &error))
}

fn said(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}

impl View<'_> {
    /// The machine as it is, beginning in a copy that is mounted at `mount_point`.
    pub fn private(mount_point: &Path) -> View<'static> {
        View {
            shown: Vec::new(),
            writable: None,
            mount: mount_point.to_owned(),
            start: mount_point.to_owned(),
            stays: false,
        }
    }

    /// Makes this process, which has one thread, see it. Until then it sees what its parent sees.
    pub fn enter(&self) -> Result<(), Obstacle> {
        if !self.shown.is_empty() || self.writable.is_some() {
            self.make()?;
        }
        std::env::set_current_dir(&self.start).map_err(other(&self.start))
    }

    fn make(&self) -> Result<(), Obstacle> {
        // From where this process cannot come back.
        let away = self.shown.iter().map(|shown| shown.fetch());
        let away: Vec<_> = away.collect::<Result<_, _>>()?;
        enter().map_err(Obstacle::Refused)?;
        let copies = self.shown.iter().zip(away).map(|(shown, copy)| match copy {
            Some(copy) => Ok(copy),
            None => mount_of(&shown.copy, false),
        });
        let copies: Vec<_> = copies.collect::<Result<_, _>>()?;
        let writable = self.writable.as_deref().unwrap_or_default();
        let kept = writable.iter().map(|path| mount_of(path, true));
        let kept: Vec<_> = kept.collect::<Result<_, _>>()?;
        if self.writable.is_some() {
            let read_only = protect();
            read_only.map_err(|error| Obstacle::Other(format!("--protect: {error}")))?;
        }
        for (path, mount) in writable.iter().zip(&kept) {
            let place = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let shown = place
                .map_err(io::Error::from)
                .and_then(|place| show(mount.as_fd(), place));
            shown.map_err(other(path))?;
        }
        for (shown, copy) in self.shown.iter().zip(&copies) {
            shown.put(copy.as_fd())?;
        }
        Ok(())
    }
}

fn mount_of(path: &Path, whole: bool) -> Result<OwnedFd, Obstacle> {
    duplicate(path, whole).map_err(|error| match error.kind() {
        // Where namespaces are had, and nothing can be done in them.
        io::ErrorKind::PermissionDenied => Obstacle::Refused(error),
        _ => Obstacle::Other(said(path, &error)),
    })
}

impl Shown<'_> {
    /// The copy, if it is not to be seen here.
    fn fetch(&self) -> Result<Option<OwnedFd>, Obstacle> {
        let Some(inside) = self.inside else {
            return Ok(None);
        };
        inside.join().map_err(Obstacle::Refused)?;
        mount_of(&self.copy, false).map(Some)
    }

    /// Lets the copy be seen.
    fn put(&self, copy: BorrowedFd<'_>) -> Result<(), Obstacle> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(CWD, &self.at, flags, Mode::empty());
        let place = place.map_err(|errno| other(&self.at)(errno.into()))?;
        let over = Identity::of(place.as_fd()).map_err(other(&self.at))?;
        if self.over.is_some_and(|expected| expected != over) {
            let moved = "another directory has taken its place meanwhile";
            return Err(Obstacle::Other(said(&self.at, &moved)));
        }
        show(copy, place).map_err(other(&self.at))
    }
}
