//! A name in a directory that is held open.
//!
//! Whoever owns a directory above a mount point may rename it and put a link in its place at any time. So a path is resolved
//! once: what is looked at, mounted and unmounted after that is the last name in the directory found then. Nothing here asks
//! the filesystem that is mounted there, which may be dead or stopped: mounts are told apart by their numbers.

use crate::transport::session::fusermount::fusermount;
use crate::transport::session::table::{self, MountEntry};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, openat, openat2,
    readlinkat, statx,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How often a path is resolved that changes meanwhile.
const TRIES: usize = 64;
/// `STATX_MNT_ID_UNIQUE`, from Linux 6.8 on.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
/// The numbers of mounts are told all the same.
const NOTHING: StatxFlags = StatxFlags::empty();
/// What a directory of its own is called in itself: the root of the tree has no other name.
const ITSELF: &str = ".";

/// A name in a directory that is held open.
pub struct MountPoint {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// Which mount this is, of all there are and were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Number in the mount table, which another mount may get once this one has ended.
    pub(crate) id: u64,
    /// Number that no other mount gets, if the kernel has such (Linux 6.8) and tells.
    pub(crate) unique: Option<u64>,
}

impl Identity {
    /// Whether both are the same mount, as far as the kernel tells.
    pub(crate) fn is(self, other: Identity) -> bool {
        match (self.unique, other.unique) {
            (Some(one), Some(other)) => one == other,
            _ => self.id == other.id,
        }
    }
}

impl MountPoint {
    /// Resolves `path` as anybody would, following links. `ENOENT` if nothing is there.
    pub fn find(path: &Path) -> io::Result<MountPoint> {
        for _ in 0..TRIES {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let found = openat(CWD, path, flags, Mode::empty())?;
            let there =
                look(found.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH, NOTHING)?.stx_mnt_id;
            let link = format!("/proc/self/fd/{}", found.as_raw_fd());
            let real = readlinkat(CWD, link, Vec::new())?.into_bytes();
            drop(found);
            match MountPoint::exact(&PathBuf::from(OsString::from_vec(real))) {
                Ok(place) if place.look()?.stx_mnt_id == there => return Ok(place),
                Err(error) if !is_passing(&error) => return Err(error),
                _ => {}
            }
        }
        Err(io::Error::other("the path keeps changing"))
    }

    /// Resolves an absolute path that has no links in it, such as those of the mount table. `ELOOP` if it has.
    pub fn exact(path: &Path) -> io::Result<MountPoint> {
        let (above, name) = match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => (above, name),
            _ => (path, OsStr::new(ITSELF)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS;
        Ok(MountPoint {
            parent: openat2(CWD, above, flags, Mode::empty(), resolve)?,
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The path that was resolved: absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mount that is to be seen at exactly this place, if one is.
    pub fn mounted(&self) -> io::Result<Option<MountEntry>> {
        let seen = self.look()?;
        if !knows_mounts(&seen) {
            return table::top_at(&self.path);
        }
        if !seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(None);
        }
        let mut mounts = table::read()?.into_iter();
        Ok(mounts.find(|entry| entry.id == seen.stx_mnt_id))
    }

    /// The directory that is to be seen here, only to be named. `ENOTDIR` if it is something else, a link too.
    pub(crate) fn directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.parent, &self.name, flags, Mode::empty())?)
    }

    /// Whether nothing was mounted on `directory`, which was found here.
    pub(crate) fn shows(&self, directory: &OwnedFd) -> io::Result<bool> {
        Ok(self.mount_of(directory)? == told_mount(&self.look()?))
    }

    /// Number of the mount that `directory` is in, if the kernel tells.
    pub(crate) fn mount_of(&self, directory: &OwnedFd) -> io::Result<Option<u64>> {
        let seen = look(
            directory.as_fd(),
            OsStr::new(""),
            AtFlags::EMPTY_PATH,
            NOTHING,
        )?;
        Ok(told_mount(&seen))
    }

    /// Which mount `entry` is, which is to be seen here.
    pub(crate) fn identity(&self, entry: &MountEntry) -> Identity {
        // Refused by a mount that this user may not enter.
        let seen = self.look_for(MNT_ID_UNIQUE).ok();
        let told =
            |seen: &Statx| StatxFlags::from_bits_retain(seen.stx_mask).contains(MNT_ID_UNIQUE);
        Identity {
            id: entry.id,
            unique: seen.filter(told).map(|seen| seen.stx_mnt_id),
        }
    }

    /// Unmounts what is mounted here: directly where allowed, through fusermount3 otherwise. `lazily`: takes it out of the tree
    /// now, it ends when its last user has left. `EBUSY` if it is in use and not `lazily`.
    pub fn unmount(&self, lazily: bool) -> io::Result<()> {
        let flags = match lazily {
            true => UnmountFlags::DETACH,
            false => UnmountFlags::empty(),
        };
        match self.unmount_with(flags) {
            Err(Errno::PERM) => fusermount(&self.path, lazily),
            result => Ok(result?),
        }
    }

    /// Changes the flags of the mount `entry`, if that is what is to be seen here.
    pub fn remount(&self, entry: &MountEntry, flags: MountFlags) -> io::Result<()> {
        let root = self.directory()?;
        if self.mount_of(&root)?.is_some_and(|id| id != entry.id) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let held = format!("/proc/self/fd/{}", root.as_raw_fd());
        Ok(mount_remount(held, flags, "")?)
    }

    pub(crate) fn unmount_with(&self, flags: UnmountFlags) -> rustix::io::Result<()> {
        rustix::mount::unmount(self.pinned(), flags | UnmountFlags::NOFOLLOW)
    }

    /// A path to this place by way of the directory that is held.
    fn pinned(&self) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.parent.as_raw_fd().to_string())
            .join(&self.name)
    }

    fn look(&self) -> io::Result<Statx> {
        self.look_for(NOTHING)
    }

    fn look_for(&self, what: StatxFlags) -> io::Result<Statx> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        look(self.parent.as_fd(), &self.name, flags, what)
    }
}

/// Asks the kernel alone: it tells numbers of mounts whatever else it is asked for, and a filesystem of which nothing is
/// wanted is not asked.
fn look(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    flags: AtFlags,
    what: StatxFlags,
) -> io::Result<Statx> {
    Ok(statx(
        directory,
        name,
        flags | AtFlags::STATX_DONT_SYNC,
        what,
    )?)
}

/// Whether the kernel tells numbers of mounts, as it does from Linux 5.8 on.
fn knows_mounts(seen: &Statx) -> bool {
    StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::MNT_ID)
        && seen
            .stx_attributes_mask
            .contains(StatxAttributes::MOUNT_ROOT)
}

fn told_mount(seen: &Statx) -> Option<u64> {
    knows_mounts(seen).then_some(seen.stx_mnt_id)
}

/// Whether a path may just have changed that was right before.
fn is_passing(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::LOOP | Errno::NOENT | Errno::NOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_made_absolute() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        for name in ["link", "real", "real/.", "link/../link"] {
            let place = MountPoint::find(&dir.path().join(name)).unwrap();
            assert_eq!(place.path(), real, "{name}");
            assert_eq!(place.mounted().unwrap(), None, "{name}");
        }
        let missing = MountPoint::find(&dir.path().join("missing")).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_put_in_the_way_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("decoy/mount")).unwrap();
        symlink("decoy", dir.join("way")).unwrap();
        let refused = MountPoint::exact(&dir.join("way/mount")).err().unwrap();
        assert_eq!(Errno::from_io_error(&refused), Some(Errno::LOOP));
    }

    #[test]
    fn a_directory_is_held_whatever_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("way/mount")).unwrap();
        std::fs::create_dir(dir.join("decoy")).unwrap();
        let place = MountPoint::find(&dir.join("way/mount")).unwrap();
        std::fs::rename(dir.join("way"), dir.join("moved")).unwrap();
        symlink("decoy", dir.join("way")).unwrap();
        assert!(place.mounted().unwrap().is_none());
    }

    #[test]
    fn the_root_of_the_namespace_is_a_mount() {
        for path in ["/", "/..", "/."] {
            let place = MountPoint::find(Path::new(path)).unwrap();
            let entry = place.mounted().unwrap().unwrap();
            assert_eq!(entry.mount_point, Path::new("/"));
            assert_eq!(place.identity(&entry).id, entry.id);
        }
    }
}
