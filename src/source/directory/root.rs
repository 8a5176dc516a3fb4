//! The source's root: everything below it is named by directory number and place of the name, and opened
//! beneath it.

use super::filesystem::Filesystem;
use super::identity::{Identities, Identity};
use crate::tree::PATH_MAX;
use ahash::RandomState;
use parking_lot::{Mutex, RwLock};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx};
use rustix::io::{Errno, Result};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A name below the root: all names of the source are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(pub(super) u32);

impl Place {
    /// The root's, which has no name.
    pub(super) const ROOT: Place = Place(u32::MAX);

    /// Of the name that many after this.
    pub(super) fn plus(self, names: u32) -> Place {
        Place(self.0 + names)
    }
}

/// Some names of one directory, each ended by NUL. They are looked through from the first to the last, so there
/// are not many.
#[derive(Clone)]
pub(super) struct Names(Arc<[u8]>);

impl Names {
    pub(super) fn new(bytes: &[u8]) -> Names {
        Names(bytes.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        let names = self.0.split_inclusive(|byte| *byte == 0);
        names.map(|name| CStr::from_bytes_with_nul(name).unwrap_or_default())
    }

    /// The name that many after the first; empty if there are fewer.
    fn nth(&self, number: u32) -> &CStr {
        self.iter().nth(number as usize).unwrap_or_default()
    }
}

/// Some names of one directory.
struct Part {
    /// The first one's.
    first: Place,
    /// The directory's own.
    directory: Place,
    names: Names,
}

/// All names that were read, in the order of their places.
#[derive(Default)]
struct Parts {
    all: Vec<Part>,
    next: u32,
}

impl Parts {
    fn add(&mut self, directory: Place, names: Names, count: u32) -> Result<Place> {
        let first = Place(self.next);
        let next = self.next.checked_add(count).filter(|next| *next < u32::MAX);
        self.next = next.ok_or(Errno::OVERFLOW)?;
        self.all.push(Part {
            first,
            directory,
            names,
        });
        Ok(first)
    }

    /// The directory of a place that was given out, and the name there.
    fn find(&self, place: Place) -> (Place, &CStr) {
        let after = self.all.partition_point(|part| part.first <= place);
        let part = &self.all[after - 1];
        (part.directory, part.names.nth(place.0 - part.first.0))
    }
}

/// Device number: major and minor.
pub(super) type Device = (u32, u32);

pub(super) fn device(stat: &Statx) -> Device {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

/// An open source. Lives as long as a file's content may be asked of it.
pub(super) struct SourceRoot {
    path: PathBuf,
    fd: OwnedFd,
    parts: RwLock<Parts>,
    identities: Identities,
    filesystems: RwLock<HashMap<Device, Filesystem>>,
    files: OpenFiles,
    reported: Mutex<HashSet<Place>>,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// What a name leads to, not opened: a device or a pipe that took a file's place notices nothing.
const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const CONTENT: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl SourceRoot {
    /// Opens the directory at `path`, which may itself be reached through symbolic links.
    pub(super) fn open(path: &Path) -> Result<SourceRoot> {
        Ok(SourceRoot {
            path: path.to_owned(),
            fd: rustix::fs::open(path, DIRECTORY, Mode::empty())?,
            parts: RwLock::default(),
            identities: Identities::new(),
            filesystems: RwLock::default(),
            files: OpenFiles::new(),
            reported: Mutex::default(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn stat(&self) -> Result<Statx> {
        rustix::fs::statx(
            &self.fd,
            c"",
            AtFlags::EMPTY_PATH,
            super::attributes::WANTED,
        )
    }

    /// Enters `count` names of the directory whose own name stands at `directory`. Returns the first one's place.
    pub(super) fn add(&self, directory: Place, names: Names, count: u32) -> Result<Place> {
        self.parts.write().add(directory, names, count)
    }

    /// Gives back memory that growing left over.
    pub(super) fn shrink(&self) {
        self.parts.write().all.shrink_to_fit();
    }

    /// The path of a name, beginning with the source as it was given.
    pub(super) fn path(&self, place: Place) -> PathBuf {
        if place == Place::ROOT {
            return self.path.clone();
        }
        let below = self.path_below(place);
        self.path.join(OsStr::from_bytes(&below))
    }

    fn path_below(&self, mut place: Place) -> Vec<u8> {
        let parts = self.parts.read();
        let mut names = Vec::new();
        while place != Place::ROOT {
            let (directory, name) = parts.find(place);
            names.push(name.to_bytes());
            place = directory;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The place of the directory a name stands in, and the name.
    pub(super) fn find(&self, place: Place) -> (Place, CString) {
        let parts = self.parts.read();
        let (directory, name) = parts.find(place);
        (directory, name.to_owned())
    }

    /// Opens the directory whose name stands at `place`. Its access time is left alone where that
    /// is permitted.
    pub(super) fn open_directory(&self, place: Place) -> Result<OwnedFd> {
        if place == Place::ROOT {
            return SourceRoot::open_child(self.fd(), c".");
        }
        self.open_beneath(place, |from, path| open_quietly(from, path, DIRECTORY))
    }

    /// Opens the directory `name` in the open directory `parent`, in the same way.
    pub(super) fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        open_quietly(parent, name.to_bytes(), DIRECTORY)
    }

    /// Finds what `name` leads to in the open directory `parent`, without opening it.
    pub(super) fn find_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        open(parent, name.to_bytes(), FOUND)
    }

    /// Goes down to where `place` stands and calls `open` with a directory and the rest of the way.
    fn open_beneath(
        &self,
        place: Place,
        open_rest: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        let path = self.path_below(place);
        let mut rest = path.as_slice();
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

    /// What is known of the filesystem that holds what `stat` tells of. `fd` leads there if it was not met before.
    ///
    /// # Errors
    /// Those of `fd`, and of fstatfs(2).
    pub(super) fn filesystem<F: AsFd>(
        &self,
        stat: &Statx,
        fd: impl FnOnce() -> Result<F>,
    ) -> Result<Filesystem> {
        let device = device(stat);
        if let Some(known) = self.filesystems.read().get(&device) {
            return Ok(*known);
        }
        let found = Filesystem::of_magic(rustix::fs::fstatfs(fd()?)?.f_type);
        self.filesystems.write().insert(device, found);
        Ok(found)
    }

    /// What tells later whether a file is still the same.
    pub(super) fn identity(&self, stat: &Statx, filesystem: Filesystem) -> Identity {
        self.identities.record(stat, filesystem)
    }

    /// What an open file is now, that was the recorded one.
    pub(super) fn look(&self, file: &OpenFile, recorded: Identity) -> Result<Look> {
        let stat = stat_content(&file.fd)?;
        Ok(match self.identities.is(recorded, &stat) {
            true if Changed::of(&stat) == file.changed => Look::Same,
            true => Look::Touched,
            false => Look::Other,
        })
    }

    /// The file whose name stands at `place` if it is open: it was the recorded one then.
    pub(super) fn opened_file(&self, place: Place) -> Option<OpenFile> {
        self.files.get(place)
    }

    /// The regular file whose name stands at `place`, open for reading, if it is the recorded one. It is looked for in
    /// the way that `how` adds.
    ///
    /// # Errors
    /// `ESTALE`, with a log line the first time, if it is not; else what opening it gives.
    pub(super) fn open_file(
        &self,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<OpenFile> {
        if let Some(file) = self.opened_file(place) {
            return Ok(file);
        }
        let (found, changed) = self.follow(place, recorded, how)?;
        let fd = match reopen(&found) {
            // Without /proc only the name leads there, once more.
            Err(Errno::NOENT) => {
                let read = |from: BorrowedFd<'_>, path: &[u8]| open_quietly(from, path, CONTENT);
                let file = self.open_beneath(place, read)?;
                self.check(&file, place, recorded)?;
                file
            }
            file => file?,
        };
        let fd = Arc::new(fd);
        let file = OpenFile { fd, changed };
        self.files.put(place, file.clone());
        Ok(file)
    }

    /// Follows the name of `file` once more, which was the recorded one, because its inode changed since it was opened. It
    /// stays open: who opened it may not be able to do so again.
    ///
    /// # Errors
    /// As [`SourceRoot::open_file`].
    pub(super) fn follow_again(
        &self,
        file: &OpenFile,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<()> {
        let (_, changed) = self.follow(place, recorded, how)?;
        let fd = file.fd.clone();
        self.files.put(place, OpenFile { fd, changed });
        Ok(())
    }

    /// What the name at `place` leads to, not opened, and when its inode changed last; `ESTALE` if it is not the recorded
    /// file.
    fn follow(
        &self,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<(OwnedFd, Changed)> {
        let find = |from: BorrowedFd<'_>, path: &[u8]| open_as(from, path, FOUND, how);
        let found = match self.open_beneath(place, find) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(self.stale(place)),
            found => found?,
        };
        let changed = self.check(&found, place, recorded)?;
        Ok((found, changed))
    }

    /// When the inode of `file` changed last; `ESTALE` if it is not the regular file that was recorded for `place`.
    fn check(&self, file: &OwnedFd, place: Place, recorded: Identity) -> Result<Changed> {
        let stat = stat_content(file)?;
        let regular = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        match regular && self.identities.is(recorded, &stat) {
            true => Ok(Changed::of(&stat)),
            false => Err(self.stale(place)),
        }
    }

    /// Logs, once, that the file at `place` is not the recorded one any more, and gives the error
    /// for its reader.
    pub(super) fn stale(&self, place: Place) -> Errno {
        self.files.drop(place);
        if self.reported.lock().insert(place) {
            let path = self.path(place);
            tracing::warn!("{}: changed since it was loaded", path.display());
        }
        Errno::STALE
    }

    /// How many files were found changed.
    pub(super) fn stale_files(&self) -> u64 {
        self.reported.lock().len() as u64
    }
}

/// A file that was the recorded one when it was opened.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) fd: Arc<OwnedFd>,
    changed: Changed,
}

/// When an inode changed last (ctime).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Changed(i64, u32);

impl Changed {
    fn of(stat: &Statx) -> Changed {
        Changed(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
    }
}

/// What an open file turns out to be.
pub(super) enum Look {
    /// The recorded file.
    Same,
    /// The recorded file, but its inode changed since it was opened: its name may lead elsewhere now.
    Touched,
    /// One with other content.
    Other,
}

fn stat_content(file: impl AsFd) -> Result<Statx> {
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, Identities::WANTED)
}

fn open(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    open_as(from, path, flags, ResolveFlags::empty())
}

fn open_as(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, how: ResolveFlags) -> Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(from, path, flags, Mode::empty(), beneath | how)
}

/// Opens for reading what was found, whatever its name leads to by now. `ENOENT` without `/proc`.
fn reopen(found: &OwnedFd) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    match rustix::fs::open(&path, CONTENT | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(&path, CONTENT, Mode::empty()),
        file => file,
    }
}

/// Opens without moving the access time where the caller may ask for that: as owner or privileged.
fn open_quietly(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    match open(from, path, flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(from, path, flags),
        file => file,
    }
}

type Slot = Mutex<Option<(Place, OpenFile)>>;

/// Files kept open between reads: a fixed number of slots, each for the file read last of those it
/// may hold.
struct OpenFiles {
    slots: Box<[Slot]>,
    key: RandomState,
}

impl OpenFiles {
    const MOST: u64 = 256;

    /// At most a quarter of the descriptors the process may have.
    fn new() -> OpenFiles {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let slots = (limit.current.unwrap_or(u64::MAX) / 4).clamp(1, OpenFiles::MOST);
        OpenFiles {
            slots: (0..slots).map(|_| Mutex::default()).collect(),
            key: RandomState::new(),
        }
    }

    fn slot(&self, place: Place) -> &Slot {
        &self.slots[(self.key.hash_one(place) % self.slots.len() as u64) as usize]
    }

    fn get(&self, place: Place) -> Option<OpenFile> {
        let slot = self.slot(place).lock();
        let (held, file) = slot.as_ref()?;
        (*held == place).then(|| file.clone())
    }

    fn put(&self, place: Place, file: OpenFile) {
        let before = self.slot(place).lock().replace((place, file));
        drop(before);
    }

    fn drop(&self, place: Place) {
        let before = self.slot(place).lock().take_if(|(held, _)| *held == place);
        drop(before);
    }
}
