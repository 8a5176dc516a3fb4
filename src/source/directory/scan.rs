//! What each thread of a load does.

use super::acl;
use super::attributes::{self, Mount, XattrList, Xattrs};
use super::backing::SourceFile;
use super::links::{Key, Links};
use super::queue::{Chunk, Job, Listing, Queue, Seat, Waiting};
use super::root::{Names, Place, SourceRoot};
use crate::fs::{Backing, Fs, Loaded};
use crate::source::{LoadError, LoadOptions, LoadReport, Progress, Unreadable};
use crate::tree::{Attr, Kind, NodeId};
use rustix::fs::{AtFlags, RawDir, Statx};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl<'a> Load<'a> {
    /// `stat` is the root's.
    pub(super) fn new(
        fs: &'a Fs,
        root: Arc<SourceRoot>,
        stat: &Statx,
        options: &LoadOptions,
        progress: &'a dyn Progress,
    ) -> Load<'a> {
        Load {
            fs,
            root,
            mount: (!options.cross_mounts).then(|| Mount::of(stat)),
            strict: options.strict,
            progress,
            total: AtomicU64::new(0),
            links: Links::new(),
        }
    }

    fn is_elsewhere(&self, stat: &Statx) -> bool {
        self.mount
            .as_ref()
            .is_some_and(|mount| mount.is_left_by(stat))
    }
}

/// One thread's part.
pub(super) struct Worker<'l, 'a> {
    load: &'l Load<'a>,
    seat: Seat<'l>,
    found: LoadReport,
    xattrs: Xattrs,
    /// The directory in which subdirectories were found last.
    parent: Option<Arc<Listing>>,
    /// Directories found by the current job.
    waiting: Vec<Waiting>,
    names: Vec<u8>,
    dirents: Box<[MaybeUninit<u8>]>,
    target: Box<[u8]>,
}

impl<'l, 'a> Worker<'l, 'a> {
    /// Names that one job loads at most.
    const CHUNK: usize = 512;
    const DIRENT_BYTES: usize = 32 * 1024;

    /// For the calling thread, which must end with the load: it gets its own working directory.
    pub(super) fn new(load: &'l Load<'a>, queue: &'l Queue) -> Worker<'l, 'a> {
        Worker {
            load,
            seat: queue.join(),
            found: LoadReport::default(),
            xattrs: Xattrs::for_this_thread(),
            parent: None,
            waiting: Vec::new(),
            names: Vec::new(),
            dirents: vec![MaybeUninit::uninit(); Self::DIRENT_BYTES].into(),
            target: vec![0; crate::tree::PATH_MAX].into(),
        }
    }

    /// Works until nothing is left, here and with the other threads, or one of them fails.
    pub(super) fn run(mut self) -> std::result::Result<LoadReport, LoadError> {
        while let Some(job) = self.seat.next(&mut self.waiting) {
            let done = match job {
                Job::Chunk(chunk) => self.load_names(&chunk.listing, chunk.names),
                Job::Directory(waiting) => self.load_children(&waiting),
            };
            if done.is_err() {
                self.seat.stop();
            }
            done?;
        }
        Ok(self.found)
    }

    fn load_children(&mut self, waiting: &Waiting) -> std::result::Result<(), LoadError> {
        let fd = match self.open(waiting) {
            Ok(Some(fd)) => fd,
            Ok(None) => {
                self.found.mounts_skipped += 1;
                return Ok(());
            }
            Err(errno) => return self.unreadable(waiting.place, errno),
        };
        self.names.clear();
        let mut starts = Vec::new();
        if let Err(errno) = self.list(fd.as_fd(), &mut starts) {
            self.unreadable(waiting.place, errno)?;
        }
        let names = Names::new(&self.names);
        let index = names.and_then(|names| {
            let index = self.load.root.add_directory(waiting.place, names.clone())?;
            Ok((index, names))
        });
        let (index, names) = match index {
            Ok(entered) => entered,
            Err(errno) => return self.unreadable(waiting.place, errno),
        };
        let end = names.end();
        let listing = Arc::new(Listing {
            id: waiting.id,
            index,
            fd,
            names,
        });
        let first_end = starts.get(1).copied().unwrap_or(end);
        self.share(&listing, &starts);
        self.load_names(&listing, 0..first_end)
    }

    /// Leaves all but the first part of a large directory to whoever is free.
    fn share(&self, listing: &Arc<Listing>, starts: &[u32]) {
        if starts.len() > 1 {
            let ends = starts[2..].iter().copied().chain([listing.names.end()]);
            let parts = starts[1..].iter().zip(ends);
            self.seat.push_chunks(parts.map(|(start, end)| Chunk {
                listing: listing.clone(),
                names: *start..end,
            }));
        }
    }

    /// `None` if it is on a mount that is not to be entered.
    fn open(&self, waiting: &Waiting) -> Result<Option<OwnedFd>> {
        let place = waiting.place;
        let parent = self.parent.as_ref();
        let fd = match parent.filter(|parent| parent.index == place.directory) {
            Some(parent) => SourceRoot::open_child(parent.fd.as_fd(), parent.names.at(place.name))?,
            None => self.load.root.open_directory(place)?,
        };
        let stat = stat(fd.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        Ok((!self.load.is_elsewhere(&stat)).then_some(fd))
    }

    /// Collects the names in `directory` and, in `starts`, the offset of each part's first one.
    fn list(&mut self, directory: BorrowedFd<'_>, starts: &mut Vec<u32>) -> Result<()> {
        let mut count = 0;
        let mut entries = RawDir::new(directory, &mut self.dirents);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if count % Self::CHUNK == 0 {
                starts.push(u32::try_from(self.names.len()).map_err(|_| Errno::OVERFLOW)?);
            }
            count += 1;
            self.names.extend_from_slice(name.to_bytes_with_nul());
        }
        Ok(())
    }

    fn load_names(
        &mut self,
        listing: &Arc<Listing>,
        part: Range<u32>,
    ) -> std::result::Result<(), LoadError> {
        self.xattrs.enter(&listing.fd);
        let before = self.found.entries;
        let mut at = part.start;
        while at < part.end {
            let name = listing.names.at(at);
            let place = Place {
                directory: listing.index,
                name: at,
            };
            self.load_name(listing, name, place)?;
            at += name.to_bytes_with_nul().len() as u32;
        }
        if !self.waiting.is_empty() {
            self.parent = Some(listing.clone());
        }
        let loaded = self.found.entries - before;
        let total = self.load.total.fetch_add(loaded, Ordering::Relaxed) + loaded;
        self.load.progress.entries(total);
        Ok(())
    }

    fn load_name(
        &mut self,
        listing: &Listing,
        name: &CStr,
        place: Place,
    ) -> std::result::Result<(), LoadError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = stat(listing.fd.as_fd(), name, flags);
        let entry = stat.and_then(|stat| Ok((attributes::attr(&stat).ok_or(Errno::INVAL)?, stat)));
        let (attr, stat) = match entry {
            Ok(entry) => entry,
            Err(errno) => return self.unreadable(place, errno),
        };
        let mut entry = Entry {
            listing,
            name,
            place,
            stat,
            attr,
            xattrs: Vec::new(),
        };
        match self.xattrs.of(name) {
            Ok(xattrs) => {
                entry.attr.perm = acl::narrow(attr.perm, &xattrs);
                entry.xattrs = xattrs;
            }
            Err(errno) => self.unreadable(place, errno)?,
        }
        let loaded = match attr.kind {
            Kind::Directory => self.directory(entry),
            _ if attr.nlink > 1 => self.hard_link(entry),
            _ => self.inode(entry).map(drop),
        };
        match loaded {
            Ok(()) => {
                self.found.entries += 1;
                Ok(())
            }
            // A directory that changes while it is listed may show a name twice.
            Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOSPC) => Err(LoadError::Full {
                path: self.load.root.path(place),
            }),
            Err(errno) => self.unreadable(place, errno),
        }
    }

    fn directory(&mut self, entry: Entry<'_>) -> Result<()> {
        let place = entry.place;
        let elsewhere = self.load.is_elsewhere(&entry.stat);
        let id = self.inode(entry)?;
        if elsewhere {
            self.found.mounts_skipped += 1;
        } else {
            self.waiting.push(Waiting { id, place });
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: Entry<'_>) -> Result<()> {
        let key = Key::of(&entry.stat);
        let mut shard = self.load.links.shard(&key);
        if let Some(id) = shard.get(&key) {
            let name = entry.name.to_bytes();
            self.load.fs.load_link(*id, entry.listing.id, name)?;
            self.found.links += 1;
        } else {
            shard.insert(key, self.inode(entry)?);
        }
        Ok(())
    }

    fn inode(&mut self, entry: Entry<'_>) -> Result<NodeId> {
        let target = match entry.attr.kind {
            Kind::Symlink => Some(self.read_target(&entry)?),
            _ => None,
        };
        let target = target.map(|length| &self.target[..length]);
        let loaded = Loaded {
            attr: entry.attr,
            target,
            backing: self.backing(&entry),
            xattrs: entry.xattrs,
        };
        let name = entry.name.to_bytes();
        let id = self.load.fs.load(entry.listing.id, name, loaded)?;
        *match entry.attr.kind {
            Kind::Directory => &mut self.found.directories,
            Kind::Regular => &mut self.found.files,
            Kind::Symlink => &mut self.found.symlinks,
            _ => &mut self.found.special,
        } += 1;
        Ok(id)
    }

    fn read_target(&mut self, entry: &Entry<'_>) -> Result<usize> {
        rustix::fs::readlinkat_raw(&entry.listing.fd, entry.name, &mut self.target[..])
    }

    fn backing(&self, entry: &Entry<'_>) -> Option<Box<dyn Backing>> {
        let root = &self.load.root;
        let content = entry.attr.kind == Kind::Regular && entry.attr.size > 0;
        content.then(|| {
            let identity = root.identity(&entry.stat);
            let file = SourceFile::new(root.clone(), entry.place, identity);
            Box::new(file) as Box<dyn Backing>
        })
    }

    /// Counts and logs an entry that could not be read in full, or makes it the end of a strict load.
    fn unreadable(&mut self, place: Place, errno: Errno) -> std::result::Result<(), LoadError> {
        let path = self.load.root.path(place);
        if self.load.strict {
            return Err(LoadError::Unreadable { path, errno });
        }
        tracing::warn!("cannot read {}: {errno}", path.display());
        self.found.unreadable += 1;
        if self.found.first_unreadable.len() < LoadReport::FIRST {
            self.found.first_unreadable.push(Unreadable { path, errno });
        }
        Ok(())
    }
}

/// What was read of one name.
struct Entry<'e> {
    listing: &'e Listing,
    name: &'e CStr,
    place: Place,
    stat: Statx,
    attr: Attr,
    xattrs: XattrList,
}

fn stat(at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Statx> {
    rustix::fs::statx(at, name, flags, attributes::WANTED)
}
