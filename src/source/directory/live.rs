//! A source that is looked at again while its tree is in use.

use super::acl;
use super::attributes::{self, Mount, XattrReader};
use super::backing;
use super::contents::Contents;
use super::filesystem::Filesystem;
use super::identity::device;
use super::names::{NameList, Place};
use super::root::SourceRoot;
use crate::fs::Found;
use crate::tree::{Kind, NodeId, PATH_MAX, Seed};
use rustix::fs::{AtFlags, FlockOperation, RawDir, Statx, flock};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Where the source has the name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spot(Place);

impl Spot {
    /// The source itself.
    pub const ROOT: Spot = Spot(Place::ROOT);
}

/// Is told of directories while they are loaded.
pub trait Watch: Sync {
    /// `directory`, which is `node` in the tree and is about to be listed. Called from several threads.
    fn directory(&self, directory: BorrowedFd<'_>, node: NodeId, spot: Spot);
}

/// Nobody wants to know.
impl Watch for () {
    fn directory(&self, _: BorrowedFd<'_>, _: NodeId, _: Spot) {}
}

/// Tells a [`Watch`] where directories stand.
pub(super) fn watched(watch: &dyn Watch, fd: BorrowedFd<'_>, node: NodeId, place: Place) {
    watch.directory(fd, node, Spot(place));
}

/// A source that was loaded and may be looked at again.
#[derive(Clone)]
pub struct Live {
    contents: Arc<Contents>,
    /// The mount that is not to be left, if any.
    mount: Option<Mount>,
    keeps_acls: bool,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Live").finish()
    }
}

/// See [`Live::keep_quiet`].
#[derive(Debug)]
pub struct Quiet<'l>(BorrowedFd<'l>);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        flock(self.0, FlockOperation::Unlock).unwrap_or_default();
    }
}

/// A directory of the source that is open.
#[derive(Debug)]
pub struct LiveDirectory {
    fd: OwnedFd,
    spot: Spot,
    stat: Statx,
    filesystem: Filesystem,
    /// What it is itself.
    pub found: Found,
}

impl AsFd for LiveDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl LiveDirectory {
    /// Where its name stands.
    pub fn spot(&self) -> Spot {
        self.spot
    }
}

/// What lies under a name.
#[derive(Debug)]
pub struct Seen {
    stat: Statx,
    /// As it is told.
    pub found: Found,
    /// It leads into another mount, which does not belong to the source.
    pub elsewhere: bool,
}

/// Looks, in one thread.
pub struct Looker {
    live: Live,
    xattrs: XattrReader,
    dirents: Box<[MaybeUninit<u8>]>,
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Looker").field(&self.live).finish()
    }
}

impl Live {
    pub(super) fn new(contents: Arc<Contents>, mount: Option<Mount>, keeps_acls: bool) -> Live {
        Live {
            contents,
            mount,
            keeps_acls,
        }
    }

    /// From now on a file that is changed where it lies is the same still: whoever reads it gets what it has.
    pub fn follow(&self) {
        self.contents.root.follow();
    }

    /// For the calling thread.
    pub fn looker(&self) -> Looker {
        Looker {
            live: self.clone(),
            xattrs: XattrReader::for_this_thread(),
            dirents: vec![MaybeUninit::uninit(); Looker::DIRENT_BYTES].into(),
        }
    }

    /// The directory whose name stands at `spot` stands in `directory` now, as `name`.
    pub fn moved(&self, spot: Spot, directory: Spot, name: &CStr) {
        let root = &self.contents.root;
        let from = root.path_below(spot.0);
        root.moved(spot.0, directory.0, name);
        let to = root.path_below(spot.0);
        root.renewed.moved(&[(&from, &to)]);
    }

    /// The content that is made from `seed` lies under `name` in `directory` now.
    pub fn moved_file(&self, seed: Seed, directory: Spot, name: &CStr) {
        let place = Place(seed.number);
        self.contents.root.moved(place, directory.0, name);
        self.contents.root.renewed.stands(place);
        self.contents.renewed(place);
    }

    /// Keeps those away, as long as the result lives, who write to the source what differs in a mount of it (`norefs apply`); `None`
    /// if somebody does.
    pub fn keep_quiet(&self) -> Option<Quiet<'_>> {
        let root = self.root().fd();
        match flock(root, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => None,
            // Some filesystems have no locks.
            _ => Some(Quiet(root)),
        }
    }

    fn root(&self) -> &SourceRoot {
        &self.contents.root
    }

    fn found(&self, stat: &Statx, filesystem: Filesystem) -> Result<Found> {
        Ok(Found {
            origin: (
                rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                stat.stx_ino,
            ),
            shown: self.root().numbers.of(stat),
            keeps_numbers: filesystem.keeps_numbers,
            attr: attributes::attr(stat).ok_or(Errno::INVAL)?,
            xattrs: Vec::new(),
        })
    }
}

impl Looker {
    const DIRENT_BYTES: usize = 32 * 1024;

    /// Opens the directory whose name stands at `spot`; `None` if it belongs to another mount.
    ///
    /// # Errors
    /// What opening it gives.
    pub fn open(&self, spot: Spot) -> Result<Option<LiveDirectory>> {
        let root = self.live.root();
        let fd = root.open_directory(spot.0)?;
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, attributes::WANTED)?;
        let filesystem = root.filesystem(device(&stat), || Ok(&fd))?;
        if self.is_elsewhere(&stat) || filesystem.made_up.is_some() {
            return Ok(None);
        }
        let mut found = self.live.found(&stat, filesystem)?;
        let mut read = XattrReader::of_fd(fd.as_fd());
        acl::settle(self.live.keeps_acls, &mut found.attr, &mut read);
        found.xattrs = read.xattrs;
        Ok(Some(LiveDirectory {
            fd,
            spot,
            stat,
            filesystem,
            found,
        }))
    }

    /// All names in `directory`.
    ///
    /// # Errors
    /// What listing it gives.
    pub fn names(&mut self, directory: &LiveDirectory) -> Result<Vec<Box<CStr>>> {
        let mut names = Vec::new();
        rustix::fs::seek(&directory.fd, rustix::fs::SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&directory.fd, &mut self.dirents);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    /// Extended attributes are read of what is in `directory` from now on.
    pub fn enter(&mut self, directory: &LiveDirectory) {
        self.xattrs.enter(directory);
    }

    /// What lies under `name` in the directory that was [entered](Looker::enter) last; `None`: nothing.
    ///
    /// # Errors
    /// What looking at it gives.
    pub fn look(&mut self, directory: &LiveDirectory, name: &CStr) -> Result<Option<Seen>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = match rustix::fs::statx(&directory.fd, name, flags, attributes::WANTED) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let filesystem = self.filesystem(directory, name, &stat)?;
        let mut found = self.live.found(&stat, filesystem)?;
        let mut read = self.xattrs.of(name);
        if read.missing == Some(Errno::NOENT) {
            return Ok(None);
        }
        acl::settle(self.live.keeps_acls, &mut found.attr, &mut read);
        found.xattrs = read.xattrs;
        Ok(Some(Seen {
            elsewhere: self.is_elsewhere(&stat),
            stat,
            found,
        }))
    }

    /// The target of the symbolic link `name`.
    ///
    /// # Errors
    /// What reading it gives.
    pub fn target(&self, directory: &LiveDirectory, name: &CStr) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&directory.fd, name, Vec::with_capacity(PATH_MAX))?;
        Ok(target.into_bytes())
    }

    /// Remembers where a new name stands, and from what the content of a file is made that lies there.
    ///
    /// # Errors
    /// EOVERFLOW if there were too many names.
    pub fn enter_name(
        &self,
        directory: &LiveDirectory,
        name: &CStr,
        seen: &Seen,
    ) -> Result<(Spot, Option<Seed>)> {
        let root = self.live.root();
        let names = NameList::new(name.to_bytes_with_nul());
        let inode = root.directory(&directory.stat);
        let place = root.add(directory.spot.0, inode, names, 1)?;
        let has_content = seen.found.attr.kind == Kind::Regular && seen.found.attr.size > 0;
        let seed = match has_content {
            true => {
                let filesystem = self.filesystem(directory, name, &seen.stat)?;
                let identity = root.identity(&seen.stat, filesystem);
                Some(backing::seed(place, identity))
            }
            false => None,
        };
        Ok((Spot(place), seed))
    }

    /// The source, as it is looked at.
    pub fn live(&self) -> &Live {
        &self.live
    }

    fn filesystem(
        &self,
        directory: &LiveDirectory,
        name: &CStr,
        stat: &Statx,
    ) -> Result<Filesystem> {
        if device(stat) == device(&directory.stat) {
            return Ok(directory.filesystem);
        }
        let open = || SourceRoot::find_child(directory.fd.as_fd(), name);
        let filesystem = self.live.root().filesystem(device(stat), open)?;
        Ok(filesystem.of_another_device())
    }

    fn is_elsewhere(&self, stat: &Statx) -> bool {
        let mount = self.live.mount.as_ref();
        mount.is_some_and(|mount| mount.is_left_by(stat))
    }
}
