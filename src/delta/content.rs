//! The content of what differs, read by whoever asked: what was from the source, what is through the mount.

use super::{Base, Delta, Now, PathBytes, Seen, Tree};
use crate::tree::Kind;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, fstat, makedev, openat2, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Nothing but regular files is opened, so that nothing waits.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::DIRECTORY);

/// Why some content cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The source has another file there than when it was loaded, or none.
    #[error("the source has changed there since it was loaded")]
    Changed,
    /// It cannot be read.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Unread {
        Unread::Failed(errno.into())
    }
}

/// Both sides of a difference.
pub struct Contents<'a> {
    source: OwnedFd,
    tree: &'a dyn Tree,
}

impl<'a> Contents<'a> {
    /// Opens the source of `delta`, as it is known here, beside `tree`, which has what differs.
    ///
    /// # Errors
    /// [`Unread::Changed`] if another directory is there than the source.
    pub fn open(delta: &Delta, tree: &'a dyn Tree) -> Result<Contents<'a>, Unread> {
        let source = delta.source.path.as_path();
        let source = rustix::fs::open(source, DIRECTORY, Mode::empty()).map_err(gone)?;
        let stat = fstat(&source)?;
        if (stat.st_dev, stat.st_ino) != (delta.source.dev, delta.source.ino) {
            return Err(Unread::Changed);
        }
        Ok(Contents { source, tree })
    }

    /// The source's root.
    pub fn source(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// The bytes of a regular file, or the target of a link, as `base` was when it was loaded.
    ///
    /// # Errors
    /// [`Unread::Changed`] if it is another one now.
    pub fn was(&self, base: &Base) -> Result<Vec<u8>, Unread> {
        let found = beneath(self.source(), &base.path, FOUND).map_err(gone)?;
        check(base, &found)?;
        if base.seen.kind() == Some(Kind::Symlink) {
            return target(&found);
        }
        let file = beneath(self.source(), &base.path, READ).map_err(gone)?;
        let bytes = read(&file)?;
        // A writer moves the times before it touches the content.
        check(base, &file)?;
        Ok(bytes)
    }

    /// The same of what differs.
    ///
    /// # Errors
    /// As the system has them.
    pub fn is(&self, now: &Now) -> Result<Vec<u8>, Unread> {
        if now.seen.kind() == Some(Kind::Symlink) {
            return Ok(self.tree.link_target(&now.path)?.into_bytes());
        }
        let mut bytes = Vec::new();
        self.tree.content(&now.path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// That nothing is there any more is a change.
fn gone(errno: Errno) -> Unread {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Unread::Changed,
        errno => errno.into(),
    }
}

/// Opens `path`, through no link and no way out.
fn beneath(root: BorrowedFd<'_>, path: &PathBytes, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = match path.as_bytes() {
        b"" => b".",
        path => path,
    };
    rustix::io::retry_on_intr(|| openat2(root, path, flags, Mode::empty(), how))
}

fn target(link: &OwnedFd) -> Result<Vec<u8>, Unread> {
    Ok(readlinkat(link, c"", Vec::new())?.into_bytes())
}

/// All of a regular file.
fn read(file: &OwnedFd) -> Result<Vec<u8>, Unread> {
    if kind(&fstat(file)?) != Some(Kind::Regular) {
        return Err(Errno::STALE.into());
    }
    let mut bytes = Vec::new();
    File::from(file.try_clone()?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kind(stat: &Stat) -> Option<Kind> {
    Kind::from_mode(stat.st_mode)
}

/// Whether `file` is what was loaded, by what content is told by: modes, owners and names may be others.
fn check(base: &Base, file: &OwnedFd) -> Result<(), Unread> {
    let stat = rustix::fs::statx(
        file,
        c"",
        AtFlags::EMPTY_PATH,
        rustix::fs::StatxFlags::BASIC_STATS,
    )?;
    let Seen {
        mode, size, mtime, ..
    } = base.seen;
    let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let same = base.dev.is_none_or(|dev| dev == device)
        && base.ino.is_none_or(|ino| ino == stat.stx_ino)
        && u32::from(stat.stx_mode) & libc::S_IFMT == mode & libc::S_IFMT
        && stat.stx_size == size
        && (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec) == (mtime.sec, mtime.nsec);
    same.then_some(()).ok_or(Unread::Changed)
}
