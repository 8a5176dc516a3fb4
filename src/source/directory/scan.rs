//! What each thread of a load does.

use super::acl;
use super::attributes::{self, Mount, XattrList, XattrReader};
use super::backing;
use super::identity::device;
use super::links::{Key, Links};
use super::live::{Watch, watched};
use super::names::{NameList, Place};
use super::pace::Meter;
use super::probe;
use super::queue::{Chunk, Job, ListedDir, Seat, Waiting};
use super::root::SourceRoot;
use crate::fs::{Fs, Loaded, Loading};
use crate::source::{LoadError, LoadOptions, LoadReport, Progress, Unreadable};
use crate::tree::{Attr, Kind, Seed};
use rustix::fs::{AtFlags, RawDir, Statx};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What all threads of a load share.
pub(super) struct Load<'a> {
    fs: &'a Fs,
    root: Arc<SourceRoot>,
    /// The mount that is not to be left, if any.
    mount: Option<Mount>,
    strict: bool,
    progress: &'a dyn Progress,
    total: AtomicU64,
    links: Links,
    watch: &'a dyn Watch,
}

impl<'a> Load<'a> {
    /// `stat` is the root's.
    pub(super) fn new(
        fs: &'a Fs,
        root: Arc<SourceRoot>,
        stat: &Statx,
        (options, progress, watch): (&LoadOptions, &'a dyn Progress, &'a dyn Watch),
    ) -> Load<'a> {
        Load {
            fs,
            root,
            mount: (!options.cross_mounts).then(|| Mount::of(stat)),
            strict: options.strict,
            progress,
            total: AtomicU64::new(0),
            links: Links::new(),
            watch,
        }
    }

    /// Takes `count` names of a directory, of which `before` were taken before.
    fn chunk(
        &self,
        listing: &Arc<ListedDir>,
        names: &mut Vec<u8>,
        (before, count): (u32, u32),
    ) -> Result<Chunk> {
        let part = NameList::new(names);
        names.clear();
        Ok(Chunk {
            listing: listing.clone(),
            first: self
                .root
                .add(listing.place, listing.directory, part.clone(), count)?,
            before,
            names: part,
            range: 0..count,
        })
    }

    fn is_elsewhere(&self, stat: &Statx) -> bool {
        self.mount
            .as_ref()
            .is_some_and(|mount| mount.is_left_by(stat))
    }

    /// Counts and logs an entry that could not be read in full, or makes it the end of a strict load.
    pub(super) fn unreadable(
        &self,
        found: &mut LoadReport,
        place: Place,
        errno: Errno,
    ) -> Fallible<()> {
        let path = self.root.path(place);
        if self.strict {
            return Err(LoadError::Unreadable { path, errno });
        }
        tracing::warn!("cannot read {}: {errno}", path.display());
        found.unreadable += 1;
        if found.first_unreadable.len() < LoadReport::FIRST {
            found.first_unreadable.push(Unreadable { path, errno });
        }
        Ok(())
    }
}

/// One thread's part.
pub(super) struct Loader<'l, 'a> {
    load: &'l Load<'a>,
    seat: Seat<'l>,
    /// Makes threads that are worth it.
    staff: &'l dyn Fn(),
    found: LoadReport,
    meter: Meter,
    xattrs: XattrReader,
    /// The directory in which subdirectories were found last.
    parent: Option<Arc<ListedDir>>,
    /// Directories found by the current job.
    waiting: Vec<Waiting>,
    dirents: Box<[MaybeUninit<u8>]>,
    target: Box<[u8]>,
    /// Targets of the symbolic links that the current job has read.
    targets: Vec<u8>,
}

impl<'l, 'a> Loader<'l, 'a> {
    /// Names that one job loads at most.
    const CHUNK: u32 = 512;
    const DIRENT_BYTES: usize = 32 * 1024;
    /// Bytes of content that one thread has read and not handed over, beside those of one file.
    const HELD: usize = 16 << 20;
    /// Calls for each name.
    const CALLS: u32 = 2;
    /// Those for a directory: it is opened, looked at, and listed until nothing more comes.
    const DIRECTORY_CALLS: u32 = 4;
    /// After how many names is looked at least whether to share the rest.
    const LOOK: u32 = 16;
    /// What is less work than this is not worth sharing.
    const SHARED: Duration = Duration::from_micros(100);

    /// For the calling thread.
    pub(super) fn new(
        load: &'l Load<'a>,
        seat: Seat<'l>,
        xattrs: XattrReader,
        staff: &'l dyn Fn(),
    ) -> Loader<'l, 'a> {
        Loader {
            load,
            seat,
            staff,
            found: LoadReport::default(),
            meter: Meter::new(),
            xattrs,
            parent: None,
            waiting: Vec::new(),
            dirents: vec![MaybeUninit::uninit(); Self::DIRENT_BYTES].into(),
            target: vec![0; crate::tree::PATH_MAX].into(),
            targets: Vec::new(),
        }
    }

    /// Works until nothing is left, here and with the other threads, or one of them fails, or this one is one too many.
    pub(super) fn run(mut self) -> Fallible<LoadReport> {
        while let Some(job) = self.seat.next(&mut self.waiting) {
            if self.seat.calls_wait() {
                (self.staff)();
            }
            self.meter.begin();
            let done = match job {
                Job::Chunk(chunk) => self.load_names(chunk),
                Job::Directory(waiting) => match self.open(&waiting) {
                    Err(errno @ (Errno::MFILE | Errno::NFILE)) => match self.seat.resign(waiting) {
                        Ok(()) => break,
                        Err(waiting) => self.unreadable(waiting.place, errno),
                    },
                    opened => self.load_children(&waiting, opened),
                },
            };
            if done.is_err() {
                self.seat.stop();
            }
            done?;
            self.adapt();
        }
        Ok(self.found)
    }

    fn load_children(
        &mut self,
        waiting: &Waiting,
        opened: Result<Option<ListedDir>>,
    ) -> Fallible<()> {
        let listing = match opened {
            Ok(Some(listing)) => Arc::new(listing),
            Ok(None) => {
                self.found.mounts_skipped += 1;
                return Ok(());
            }
            Err(errno) => return self.unreadable(waiting.place, errno),
        };
        if let Some(filesystem) = listing.filesystem.made_up {
            return self.made_up(waiting.place, filesystem);
        }
        let (last, listed) = self.list(&listing);
        if let Err(errno) = listed {
            self.unreadable(waiting.place, errno)?;
        }
        self.meter.count(Self::DIRECTORY_CALLS);
        last.map_or(Ok(()), |chunk| self.load_names(chunk))
    }

    /// Leaves out what is mounted there, or makes it the end of a strict load.
    fn made_up(&mut self, place: Place, filesystem: &'static str) -> Fallible<()> {
        let path = self.load.root.path(place);
        let error = LoadError::MadeUp { path, filesystem };
        if self.load.strict {
            return Err(error);
        }
        tracing::warn!("{error}");
        self.found.mounts_skipped += 1;
        Ok(())
    }

    /// `None` if it is on a mount that is not to be entered.
    fn open(&self, waiting: &Waiting) -> Result<Option<ListedDir>> {
        let fd = match &self.parent {
            Some(parent) => self.open_from(parent, waiting.place)?,
            None => self.load.root.open_directory(waiting.place)?,
        };
        let stat = stat(fd.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        if self.load.is_elsewhere(&stat) {
            return Ok(None);
        }
        watched(self.load.watch, fd.as_fd(), waiting.id, waiting.place);
        Ok(Some(ListedDir {
            id: waiting.id,
            place: waiting.place,
            device: device(&stat),
            directory: self.load.root.directory(&stat),
            filesystem: self.load.root.filesystem(device(&stat), || Ok(&fd))?,
            fd,
        }))
    }

    /// Opens the directory whose name stands at `place`, which mostly is in `parent`.
    fn open_from(&self, parent: &ListedDir, place: Place) -> Result<OwnedFd> {
        let root = &self.load.root;
        let (directory, name) = root.find(place);
        match directory == parent.place {
            true => SourceRoot::open_child(parent.fd.as_fd(), &name),
            false => root.open_directory(place),
        }
    }

    /// Collects the names in a directory. Full chunks are for whoever is free, the last one is for this thread.
    fn list(&mut self, listing: &Arc<ListedDir>) -> (Option<Chunk>, Result<()>) {
        let (mut names, mut count, mut before) = (Vec::new(), 0, 0);
        let mut last: Option<Chunk> = None;
        let mut end_chunk = |names: &mut Vec<u8>, count| {
            let chunk = self.load.chunk(listing, names, (before, count))?;
            before += count;
            if let Some(full) = last.replace(chunk) {
                self.seat.push([full].into_iter());
            }
            Ok(())
        };
        let mut entries = RawDir::new(&listing.fd, &mut self.dirents);
        let mut listed = Ok(());
        while let Some(entry) = entries.next() {
            let name = match &entry {
                Ok(entry) => entry.file_name(),
                Err(errno) => {
                    listed = Err(*errno);
                    break;
                }
            };
            if name == c"." || name == c".." {
                continue;
            }
            names.extend_from_slice(name.to_bytes_with_nul());
            count += 1;
            if count == Self::CHUNK {
                listed = end_chunk(&mut names, std::mem::take(&mut count));
                if listed.is_err() {
                    break;
                }
            }
        }
        if count > 0 {
            listed = end_chunk(&mut names, count).and(listed);
        }
        (last, listed)
    }

    /// Reads what the source says of each name, then hands all of it over at once. Where that takes long, others get part
    /// of the names as soon as they are free.
    fn load_names(&mut self, mut chunk: Chunk) -> Fallible<()> {
        self.xattrs.enter(&chunk.listing.fd);
        self.targets.clear();
        let before = self.found.entries;
        let mut held = 0;
        if self.seat.calls_wait() {
            let start = chunk.range.start;
            self.share(&mut chunk, start, Duration::MAX);
        }
        let (mut done, began) = (0, Instant::now());
        let mut looked = began;
        let names = chunk.names.clone();
        let mut entries = Vec::with_capacity(chunk.range.len());
        for (number, name) in (0..).zip(names.iter()).skip(chunk.range.start as usize) {
            if number >= chunk.range.end {
                break;
            }
            let place = chunk.first.plus(number);
            let missing = match self.read(&chunk.listing, name, place) {
                Ok((entry, missing)) => {
                    held += entry.held.len();
                    entries.push(entry);
                    missing
                }
                Err(errno) => Some(errno),
            };
            if let Some(errno) = missing {
                self.unreadable(place, errno)?;
            }
            if held > Self::HELD {
                held = 0;
                self.hand_over(&chunk, std::mem::take(&mut entries))?;
            }
            done += 1;
            self.meter.count(Self::CALLS);
            let regularly = done % Self::LOOK == 0 || done.is_power_of_two();
            if regularly || (self.seat.calls_wait() && looked.elapsed() > Self::SHARED) {
                if self.seat.is_over() {
                    return Ok(());
                }
                looked = Instant::now();
                self.adapt();
                self.share(&mut chunk, number + 1, began.elapsed() / done);
            }
        }
        self.hand_over(&chunk, entries)?;
        if !self.waiting.is_empty() {
            self.parent = Some(chunk.listing);
        }
        let loaded = self.found.entries - before;
        let total = self.load.total.fetch_add(loaded, Ordering::Relaxed) + loaded;
        self.load.progress.entries(total);
        Ok(())
    }

    /// Lets the number of threads follow what was measured since the last time.
    fn adapt(&mut self) {
        if let Some(pace) = self.meter.read() {
            self.seat.adapt(pace);
        }
    }

    /// Leaves those of the names from `rest` on to others that they can take, if a name takes so long that it is worth it.
    fn share(&self, chunk: &mut Chunk, rest: u32, name_takes: Duration) {
        let range = rest..chunk.range.end;
        if range.is_empty() || name_takes.saturating_mul(range.len() as u32) < Self::SHARED {
            return;
        }
        let takers = self.seat.takers();
        if takers == 0 {
            return;
        }
        let mut parts = chunk.cut(range, takers + 1).into_iter();
        if let Some(own) = parts.next() {
            chunk.range.end = own.range.end;
            self.seat.push(parts.rev());
            (self.staff)();
        }
    }

    /// What the source says of `name`, and why its extended attributes are missing if they are.
    fn read<'e>(
        &mut self,
        listing: &ListedDir,
        name: &'e CStr,
        place: Place,
    ) -> Result<(Scanned<'e>, Option<Errno>)> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = stat(listing.fd.as_fd(), name, flags)?;
        let mut attr = attributes::attr(&stat).ok_or(Errno::INVAL)?;
        let mut found = self.xattrs.of(name);
        acl::settle(self.load.fs.keeps_acls(), &mut attr, &mut found);
        let target = match attr.kind {
            Kind::Symlink => self.read_target(listing, name)?,
            _ => 0..0,
        };
        let mut missing = found.missing;
        let (seed, held) = match self.content(listing, (name, place), &stat, &attr) {
            // It is there, and empty for whoever may not read it.
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                missing.get_or_insert(errno);
                (None, Vec::new())
            }
            content => content?,
        };
        if attr.kind == Kind::Regular && seed.is_none() && attr.size > 0 {
            // What was read is longer or shorter.
            (attr.size, attr.blocks) = (0, 0);
        }
        let several = attr.kind != Kind::Directory && attr.nlink > 1;
        let entry = Scanned {
            name: name.to_bytes(),
            place,
            ino: self.load.root.numbers.of(&stat),
            attr,
            xattrs: found.xattrs,
            target,
            key: several.then(|| Key::of(&stat)),
            seed,
            held,
            elsewhere: self.load.is_elsewhere(&stat),
        };
        Ok((entry, missing))
    }

    /// The target's place in `targets`.
    fn read_target(&mut self, listing: &ListedDir, name: &CStr) -> Result<Range<usize>> {
        let length = rustix::fs::readlinkat_raw(&listing.fd, name, &mut self.target[..])?;
        let from = self.targets.len();
        self.targets.extend_from_slice(&self.target[..length]);
        Ok(from..self.targets.len())
    }

    /// What a file's content is found by later, or the content itself where the file does not tell how long it is.
    fn content(
        &self,
        listing: &ListedDir,
        (name, place): (&CStr, Place),
        stat: &Statx,
        attr: &Attr,
    ) -> Result<(Option<Seed>, Vec<u8>)> {
        if attr.kind != Kind::Regular {
            return Ok((None, Vec::new()));
        }
        let root = &self.load.root;
        let filesystem = match device(stat) == listing.device {
            true => listing.filesystem,
            false => {
                let open = || SourceRoot::find_child(listing.fd.as_fd(), name);
                root.filesystem(device(stat), open)?.of_another_device()
            }
        };
        let known = match attr.size {
            0 => filesystem.tells_length,
            _ => filesystem.made_up.is_none(),
        };
        match (known, attr.size) {
            (false, _) => Ok((None, probe::read(listing.fd.as_fd(), name)?)),
            (true, 0) => Ok((None, Vec::new())),
            (true, _) => {
                let seed = backing::seed(place, root.identity(stat, filesystem));
                Ok((Some(seed), Vec::new()))
            }
        }
    }

    fn hand_over(&mut self, chunk: &Chunk, entries: Vec<Scanned<'_>>) -> Fallible<()> {
        let mut filling = match self.load.fs.fill(chunk.listing.id, entries.len()) {
            Ok(filling) => filling,
            Err(errno) => {
                let mut refused = entries.iter();
                return refused.try_for_each(|entry| self.refused(entry.place, errno));
            }
        };
        for entry in entries {
            let place = entry.place;
            filling.at(chunk.before + (place.0 - chunk.first.0));
            match self.add(&mut filling, entry) {
                Ok(()) => self.found.entries += 1,
                Err(errno) => self.refused(place, errno)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, filling: &mut Loading<'_>, entry: Scanned<'_>) -> Result<()> {
        // Held until the inode is entered: another thread may meet its next name.
        let mut links = entry.key.map(|key| (self.load.links.shard(&key), key));
        let known = links.as_ref().and_then(|(shard, key)| shard.get(key));
        if let Some((id, first)) = known {
            filling.link(*id, entry.name)?;
            self.load.root.add_further_name(*first, entry.place);
            self.found.links += 1;
            return Ok(());
        }
        let kind = entry.attr.kind;
        let new = Loaded {
            attr: entry.attr,
            ino: entry.ino,
            target: (kind == Kind::Symlink).then(|| &self.targets[entry.target]),
            xattrs: entry.xattrs,
            backing: None,
            seed: entry.seed,
        };
        let id = filling.add(entry.name, new)?;
        if !entry.held.is_empty() {
            filling.hold(id, &entry.held)?;
        }
        if let Some((shard, key)) = &mut links {
            shard.insert(*key, (id, entry.place));
        }
        match kind {
            Kind::Directory if entry.elsewhere => self.found.mounts_skipped += 1,
            Kind::Directory => self.waiting.push(Waiting {
                id,
                place: entry.place,
            }),
            _ => {}
        }
        *match kind {
            Kind::Directory => &mut self.found.directories,
            Kind::Regular => &mut self.found.files,
            Kind::Symlink => &mut self.found.symlinks,
            _ => &mut self.found.special,
        } += 1;
        Ok(())
    }

    /// What becomes of an entry that the filesystem did not take.
    fn refused(&mut self, place: Place, errno: Errno) -> Fallible<()> {
        match errno {
            // A directory that changes while it is listed may show a name twice.
            Errno::EXIST => Ok(()),
            Errno::NOSPC => Err(LoadError::Full {
                path: self.load.root.path(place),
            }),
            errno => self.unreadable(place, errno),
        }
    }

    fn unreadable(&mut self, place: Place, errno: Errno) -> Fallible<()> {
        self.load.unreadable(&mut self.found, place, errno)
    }
}

pub(super) type Fallible<T> = std::result::Result<T, LoadError>;

/// What was read of one name.
struct Scanned<'e> {
    name: &'e [u8],
    place: Place,
    ino: Option<NonZeroU64>,
    attr: Attr,
    xattrs: XattrList,
    target: Range<usize>,
    /// Of an inode with several names.
    key: Option<Key>,
    /// Of a file with content that stays in the source.
    seed: Option<Seed>,
    /// Content that does not.
    held: Vec<u8>,
    /// Whether it leads into another mount.
    elsewhere: bool,
}

fn stat(at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Statx> {
    rustix::fs::statx(at, name, flags, attributes::WANTED)
}
