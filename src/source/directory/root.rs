//! The source's root: everything below it is named by directory number and place of the name, and opened
//! beneath it.

use super::filesystem::Filesystem;
use super::identity::{Device, Directory, Identities, Identity, Number, device};
use super::names::{NameList, Parts, Place};
use super::numbers::Numbers;
use super::open_files::{Changed, Look, OpenFile, Seen};
use super::opening::{CONTENT, DIRECTORY, FOUND, open, open_as, open_quietly, stat_content};
use super::renewed::Renewed;
use crate::tree::PATH_MAX;
use ahash::RandomState;
use parking_lot::RwLock;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx};
use rustix::io::{Errno, Result};
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

type Map<K, V> = HashMap<K, V, RandomState>;

/// An open source, and what was recorded of it.
pub(super) struct SourceRoot {
    path: PathBuf,
    fd: OwnedFd,
    parts: RwLock<Parts>,
    identities: Identities,
    pub(super) numbers: Numbers,
    filesystems: RwLock<HashMap<Device, Filesystem>>,
    crosses_mounts: bool,
    /// The place of a file's first name, and of a further one.
    further_names: RwLock<Vec<(Place, Place)>>,
    /// Files that are not what, or where, they were when they were loaded, and are the source's still.
    pub(super) renewed: Renewed,
    following: AtomicBool,
    /// Whether the root's filesystem answers at once.
    pub(super) answers_at_once: bool,
}

/// What was recorded of the source's directories.
#[derive(Default)]
pub(super) struct Recorded {
    /// Where their names stand.
    pub(super) places: Map<Directory, Place>,
    /// The names in each, by that place.
    pub(super) names: Map<Place, Vec<NameList>>,
}

fn stat_of(fd: &OwnedFd) -> Result<Statx> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, super::attributes::WANTED)
}

impl SourceRoot {
    /// Opens the directory at `path`, which may itself be reached through symbolic links. `crosses_mounts`: what is mounted
    /// below belongs to the source.
    pub(super) fn open(path: &Path, crosses_mounts: bool) -> Result<SourceRoot> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        let filesystem = Filesystem::of_magic(rustix::fs::fstatfs(&fd)?.f_type);
        let stat = stat_of(&fd)?;
        Ok(SourceRoot {
            numbers: Numbers::new(&stat),
            path: path.to_owned(),
            fd,
            answers_at_once: filesystem.answers_at_once && filesystem.tells_length,
            parts: RwLock::default(),
            identities: Identities::new(),
            filesystems: RwLock::default(),
            crosses_mounts,
            following: AtomicBool::new(false),
            further_names: RwLock::default(),
            renewed: Renewed::default(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn stat(&self) -> Result<Statx> {
        stat_of(&self.fd)
    }

    /// Enters `count` names of the directory `inode`, whose own name stands at `directory`. Returns the first one's
    /// place.
    pub(super) fn add(
        &self,
        directory: Place,
        inode: Directory,
        names: NameList,
        count: u32,
    ) -> Result<Place> {
        self.parts.write().add(directory, inode, names, count)
    }

    /// Enters one more name of the file that was loaded by the name at `first`.
    pub(super) fn add_further_name(&self, first: Place, further: Place) {
        self.further_names.write().push((first, further));
    }

    /// Ends the load: further names can be found now, and memory that growing left over is given back.
    pub(super) fn complete(&self) {
        self.parts.write().all.shrink_to_fit();
        let mut further = self.further_names.write();
        further.sort_unstable();
        further.shrink_to_fit();
    }

    /// The places of all other names of the file that was loaded by the name at `first`.
    pub(super) fn further_names(&self, first: Place) -> Vec<Place> {
        let all = self.further_names.read();
        let from = all.partition_point(|(of, _)| *of < first);
        let names = all[from..].iter().take_while(|(of, _)| *of == first);
        names.map(|(_, further)| *further).collect()
    }

    /// What was recorded of directories.
    pub(super) fn recorded(&self) -> Recorded {
        let mut recorded = Recorded::default();
        for part in self.parts.read().all.iter() {
            recorded.places.insert(part.inode, part.directory);
            let names = recorded.names.entry(part.directory).or_default();
            names.push(part.names.clone());
        }
        recorded
    }

    /// The directories on the way to the name at `place`, from the root on: each one's inode, and the name that leads on.
    pub(super) fn way(&self, mut place: Place) -> Vec<(Directory, CString)> {
        let parts = self.parts.read();
        let mut way = Vec::new();
        while place != Place::ROOT {
            let (part, name) = parts.find(place);
            way.push((part.inode, name.to_owned()));
            place = part.directory;
        }
        way.reverse();
        way
    }

    /// Whether the name at `place` is the last one of `path`, in the directory whose own name stands at `above`.
    pub(super) fn stands(&self, place: Place, above: Option<Place>, path: &[u8]) -> bool {
        if place == Place::ROOT {
            return path.is_empty();
        }
        let parts = self.parts.read();
        let (part, name) = parts.find(place);
        let last = path.rsplit(|byte| *byte == b'/').next();
        above == Some(part.directory) && last == Some(name.to_bytes())
    }

    /// The path of a name, beginning with the source as it was given.
    pub(super) fn path(&self, place: Place) -> PathBuf {
        if place == Place::ROOT {
            return self.path.clone();
        }
        let below = self.path_below(place);
        self.path.join(OsStr::from_bytes(&below))
    }

    /// Where a name stands below the root; of a file that was renewed where it is since.
    pub(super) fn path_below(&self, mut place: Place) -> Vec<u8> {
        if let Some(path) = self.renewed.get(place).and_then(|renewed| renewed.path) {
            return path.into();
        }
        let parts = self.parts.read();
        let mut names = Vec::new();
        while place != Place::ROOT {
            let (directory, name) = parts.above(place);
            names.push(name.to_bytes());
            place = directory;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The place of the directory a name stands in, and the name.
    pub(super) fn find(&self, place: Place) -> (Place, CString) {
        let parts = self.parts.read();
        let (directory, name) = parts.above(place);
        (directory, name.to_owned())
    }

    /// The directory whose name stands at `place` stands in the one at `directory` now, as `name`.
    pub(super) fn moved(&self, place: Place, directory: Place, name: &CStr) {
        self.parts.write().moved(place, directory, name);
    }

    /// From now on a file that is changed where it lies is the same still.
    pub(super) fn follow(&self) {
        self.following.store(true, Ordering::Relaxed);
    }

    /// Whether the source is followed: what is read is what it has.
    pub(super) fn is_followed(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }

    /// Whether `stat` tells of the file that was recorded.
    fn is(&self, recorded: Identity, stat: &Statx) -> bool {
        self.identities.is(recorded, stat)
            || self.is_followed() && self.identities.is_where_it_was(recorded, stat)
    }

    /// The numbers of names that stand in the same directory as the one at `place`, in the order in which it lists them.
    pub(super) fn names_beside(&self, place: Place) -> Range<u32> {
        self.parts.read().beside(place)
    }

    /// Opens the directory whose name stands at `place`. Its access time is left alone where that
    /// is permitted.
    pub(super) fn open_directory(&self, place: Place) -> Result<OwnedFd> {
        if place == Place::ROOT {
            return SourceRoot::open_child(self.fd(), c".");
        }
        self.open_beneath(place, |from, path| open_quietly(from, path, DIRECTORY))
    }

    /// Opens the file `name` in the open directory `parent` for reading, in the same way.
    pub(super) fn open_content(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        open_quietly(parent, name.to_bytes(), CONTENT)
    }

    /// Opens the directory `name` in the open directory `parent`, in the same way.
    pub(super) fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        open_quietly(parent, name.to_bytes(), DIRECTORY)
    }

    /// What a directory is found by if it is moved.
    pub(super) fn directory(&self, stat: &Statx) -> Directory {
        self.identities.directory(stat)
    }

    /// The part of an identity that the inode number `inode` gives, on the device that `stat` tells of.
    pub(super) fn number(&self, stat: &Statx, inode: u64) -> Number {
        self.identities.number(device(stat), inode)
    }

    /// Opens the directory at `path` below the root, if it is one that belongs to the source.
    pub(super) fn open_inside(&self, path: &[u8]) -> Result<Option<(OwnedFd, Statx)>> {
        let path = if path.is_empty() { b"." } else { path };
        let here = self.inside();
        let open = |from: BorrowedFd<'_>, path: &[u8]| match open_as(
            from,
            path,
            DIRECTORY | OFlags::NOATIME,
            here,
        ) {
            Err(Errno::PERM) => open_as(from, path, DIRECTORY, here),
            fd => fd,
        };
        let fd = match self.open_path(path, open) {
            Err(Errno::XDEV | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            fd => fd?,
        };
        let stat = stat_content(&fd)?;
        let filesystem = self.filesystem(device(&stat), || Ok(&fd))?;
        Ok(filesystem.made_up.is_none().then_some((fd, stat)))
    }

    /// Finds what `path` leads to from the root, or from `directory`, without opening it and without leaving the source.
    pub(super) fn find_inside(
        &self,
        directory: Option<BorrowedFd<'_>>,
        path: &[u8],
    ) -> Result<OwnedFd> {
        // A symbolic link is found itself.
        let flags = FOUND | OFlags::NOFOLLOW;
        let find = |from: BorrowedFd<'_>, path: &[u8]| open_as(from, path, flags, self.inside());
        match directory {
            Some(directory) => find(directory, path),
            None => self.open_path(path, find),
        }
    }

    fn inside(&self) -> ResolveFlags {
        match self.crosses_mounts {
            true => ResolveFlags::empty(),
            false => ResolveFlags::NO_XDEV,
        }
    }

    /// Finds what `name` leads to in the open directory `parent`, without opening it.
    pub(super) fn find_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        open(parent, name.to_bytes(), FOUND)
    }

    /// Goes down to where `place` stands and calls `open` with a directory and the rest of the way.
    pub(super) fn open_beneath(
        &self,
        place: Place,
        open_rest: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        self.open_path(&self.path_below(place), open_rest)
    }

    /// The same with a path.
    fn open_path<T>(
        &self,
        path: &[u8],
        open_rest: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T>,
    ) -> Result<T> {
        let mut rest = path;
        let mut reached: Option<OwnedFd> = None;
        while rest.len() >= PATH_MAX {
            let piece = &rest[..PATH_MAX];
            let slash = piece.iter().rposition(|byte| *byte == b'/');
            let slash = slash.ok_or(Errno::NAMETOOLONG)?;
            let from = reached.as_ref().map_or(self.fd(), AsFd::as_fd);
            reached = Some(open(from, &rest[..slash], DIRECTORY | OFlags::PATH)?);
            rest = &rest[slash + 1..];
        }
        let from = reached.as_ref().map_or(self.fd(), AsFd::as_fd);
        open_rest(from, rest)
    }

    /// What is known of the filesystem on `device`. `fd` leads there if it was not met before.
    ///
    /// # Errors
    /// Those of `fd`, and of fstatfs(2).
    pub(super) fn filesystem<F: AsFd>(
        &self,
        device: Device,
        fd: impl FnOnce() -> Result<F>,
    ) -> Result<Filesystem> {
        if let Some(known) = self.filesystems.read().get(&device) {
            return Ok(*known);
        }
        let found = Filesystem::of_magic(rustix::fs::fstatfs(fd()?)?.f_type);
        self.filesystems.write().insert(device, found);
        Ok(found)
    }

    /// Whether the filesystem on `device` is known to answer at once.
    pub(super) fn answers_at_once_on(&self, device: Device) -> bool {
        let known = self.filesystems.read().get(&device).copied();
        known.is_some_and(|filesystem| filesystem.answers_at_once)
    }

    /// What tells later whether a file is still the same.
    pub(super) fn identity(&self, stat: &Statx, filesystem: Filesystem) -> Identity {
        self.identities.record(stat, filesystem)
    }

    /// What an open file is now, that was the recorded one.
    pub(super) fn look(&self, file: &OpenFile, recorded: Identity) -> Result<Look> {
        let stat = stat_content(&file.fd)?;
        Ok(match self.is(recorded, &stat) {
            true if Changed::of(&stat) == file.changed => Look::Same,
            true => Look::Touched,
            false => Look::Other,
        })
    }

    /// Whether `stat` tells of the regular file that was recorded.
    pub(super) fn is_recorded(&self, stat: &Statx, recorded: Identity) -> bool {
        let regular = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        regular && self.is(recorded, stat)
    }

    /// Whether an open file on `device` has more than `size` bytes, where that may be without showing.
    pub(super) fn is_longer(&self, file: &OwnedFd, device: Device, size: u64) -> Result<bool> {
        Ok(!self.filesystem(device, || Ok(file))?.tells_length
            && rustix::io::pread(file, &mut [0u8], size)? > 0)
    }

    /// `file`, and what it says of itself, if it is the recorded file.
    pub(super) fn recognise(
        &self,
        file: OwnedFd,
        recorded: Identity,
    ) -> Result<Option<(OwnedFd, Seen)>> {
        let stat = stat_content(&file)?;
        let same = self.is_recorded(&stat, recorded);
        let seen = Seen {
            device: device(&stat),
            size: stat.stx_size,
            changed: Changed::of(&stat),
        };
        Ok(same.then_some((file, seen)))
    }
}
