//! What a source fills a filesystem with.
//!
//! These functions describe what is already there instead of changing something: no time moves, no
//! link is counted that was not given. They may be called from several threads, a directory before
//! what is in it, but not beside requests: the limit of inodes would not be exact.

use super::data::{Backing, OriginEntry};
use super::kept::{Xattr, Xattrs};
use super::{Config, Fs, Node};
use crate::fs::Result;
use crate::tree::{self, Attr, Errno, Kind, NewInode, NodeId, Seed};
use arc_swap::Guard;
use parking_lot::MutexGuard;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// An inode as a source describes it.
pub struct Loaded<'a> {
    /// As stat is to show it, nlink included.
    pub attr: Attr,
    /// The number that stat is to show, if inodes have numbers of their own ([`Fs::number`]).
    pub ino: Option<NonZeroU64>,
    /// The target of a symbolic link.
    pub target: Option<&'a [u8]>,
    /// Extended attributes. Names outside `user.`, `trusted.` and `security.` are left out, but for access control lists
    /// if the filesystem keeps them. What such a list says counts, whatever the mode.
    pub xattrs: Vec<Xattr>,
    /// The content of a regular file. Without it, and without a seed, the file is one hole.
    pub backing: Option<Box<dyn Backing>>,
    /// From what the [`Origin`] makes the content of a regular file when somebody asks for it: until then a file
    /// takes no memory for its content. Without an origin it counts for nothing.
    pub seed: Option<Seed>,
}

/// What was read of loaded files where their content lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes.
    pub bytes: u64,
    /// Nanoseconds it took, summed over all who read at the same time.
    pub nanos: u64,
}

/// Knows the content of many loaded files.
pub trait Origin: Send + Sync {
    /// The content of the file that was loaded with `seed`.
    fn backing(self: Arc<Self>, seed: Seed) -> Box<dyn Backing>;

    /// How many files were found to be others than those that were loaded.
    fn stale(&self) -> u64 {
        0
    }

    /// What was read of the files.
    fn reading(&self) -> Reading {
        Reading::default()
    }

    /// Where everything comes from; `None` if that is no directory.
    ///
    /// # Errors
    /// What finding it out fails with.
    fn root(&self) -> Result<Option<OriginRoot>> {
        Ok(None)
    }

    /// The device (`st_dev`) and the inode number of what was loaded with the number `shown`, if they are known.
    fn number_of(&self, shown: u64) -> Option<(u64, u64)> {
        let _ = shown;
        None
    }

    /// What lies at `path` below its directory; `None` if nothing does. May have to wait.
    ///
    /// # Errors
    /// ENOSYS if it is none to be looked at so; what looking at it fails with.
    fn entry(&self, path: &[u8]) -> Result<Option<OriginEntry>> {
        let _ = path;
        Err(Errno::NOSYS)
    }

    /// Directories that were at the first paths are at the second ones now.
    fn moved(&self, directories: &[(&[u8], &[u8])]) {
        let _ = directories;
    }
}

/// The directory that an [`Origin`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRoot {
    /// Where it is now.
    pub path: PathBuf,
    /// Its device (`st_dev`).
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
}

/// A directory that is being filled. Nobody else can change it meanwhile.
pub struct Loading<'f> {
    fs: &'f Fs,
    config: Guard<Arc<Config>>,
    /// The turn to make the last inodes, one by one.
    last: Option<MutexGuard<'f, ()>>,
    /// Memory may run out before the directory is filled.
    tight: bool,
    names: tree::Filling<'f, Node>,
}

impl Loading<'_> {
    /// As [`tree::Filling::at`].
    pub fn at(&mut self, at: u32) {
        self.names.at(at);
    }

    /// A new inode, whose attributes stay.
    ///
    /// # Errors
    /// EEXIST, EINVAL, ENAMETOOLONG, ENOSPC beyond the limits; for an access control list those of [`Fs::setxattr`].
    pub fn add(&mut self, name: &[u8], new: Loaded<'_>) -> Result<NodeId> {
        self.check_room()?;
        let (inode, seed) = self.fs.described(new, self.fs.most_bytes(&self.config))?;
        self.names.create(name, inode, seed)
    }

    /// Gives a regular file that was just added `bytes` as its content, in memory. Its times stay.
    ///
    /// # Errors
    /// ENOSPC, with which the file stays empty; ESTALE.
    pub fn hold(&mut self, id: NodeId, bytes: &[u8]) -> Result<()> {
        let inode = self.fs.get(id)?;
        let node = self.fs.node(&inode);
        let mut content = node.content.write();
        let max = self.config.max_bytes;
        let memory = content.own(max)?;
        if memory.write(0, bytes, max)? < bytes.len() {
            return Err(Errno::NOSPC);
        }
        let blocks = memory.blocks();
        inode.describe(|attr| {
            attr.size = bytes.len() as u64;
            attr.blocks = blocks;
            Ok(())
        })
    }

    /// One more name of an inode already loaded, whose shown nlink stays.
    ///
    /// # Errors
    /// As [`Loading::add`], EPERM for a directory, ESTALE.
    pub fn link(&mut self, id: NodeId, name: &[u8]) -> Result<()> {
        let inode = self.fs.get(id)?;
        if inode.links() > 0 {
            self.check_room()?;
        }
        self.names.link(&inode, name)
    }

    fn check_room(&self) -> Result<()> {
        if self.tight && !self.fs.has_memory(1) {
            return Err(Errno::NOSPC);
        }
        match self.last {
            Some(_) => self.fs.last_room(self.config.max_inodes),
            None => Ok(()),
        }
    }
}

impl Fs {
    /// Says what the seeds of the files that are loaded next mean. From now on it is remembered what becomes of what is loaded
    /// ([`Fs::changes`]).
    ///
    /// # Errors
    /// EBUSY if that was said before.
    pub fn set_origin(&self, origin: Arc<dyn Origin>) -> Result<()> {
        self.tree.set_record(self.changes.clone());
        self.origin.set(origin).map_err(|_| Errno::BUSY)
    }

    /// How many loaded files were found changed where their content lies.
    pub fn stale(&self) -> u64 {
        self.origin.get().map_or(0, |origin| origin.stale())
    }

    /// What was read of loaded files where their content lies.
    pub fn reading(&self) -> Reading {
        let origin = self.origin.get();
        origin.map_or_else(Reading::default, |origin| origin.reading())
    }

    /// What the content of loaded files comes from.
    pub fn origin(&self) -> Option<&Arc<dyn Origin>> {
        self.origin.get()
    }

    /// Has inodes show the numbers they are loaded with instead of their node ids, and the root `root`. To be called before
    /// anything is loaded.
    ///
    /// # Errors
    /// ENOSPC without memory.
    pub fn number(&self, root: Option<NonZeroU64>) -> Result<()> {
        self.tree.number(root)
    }

    /// Says which numbers nothing has in the source, now and later: what is made from now on gets them, or, when they
    /// are used up, such as have bit 63 set and bit 62 not. The first call counts.
    ///
    /// # Panics
    /// If `range` is empty.
    pub fn set_own_numbers(&self, range: Range<u64>) {
        self.tree.set_own_numbers(range);
    }

    /// The node of a file of `size` bytes that was loaded with `seed`.
    pub(super) fn grown(&self, seed: Seed, size: u64) -> Node {
        match self.origin.get() {
            Some(origin) => Node::backed(&self.quota, origin.clone().backing(seed), size),
            None => Node::new(&self.quota),
        }
    }

    /// Begins to fill the directory `parent` with at most `names` names.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOSPC, ESTALE.
    pub fn fill(&self, parent: NodeId, names: usize) -> Result<Loading<'_>> {
        let config = self.config.load();
        Ok(Loading {
            fs: self,
            last: self.room_for(names as u64, config.max_inodes),
            tight: !self.has_memory(names as u64),
            names: self.tree.fill(self.get(parent)?, names)?,
            config,
        })
    }

    /// A new inode under `parent`, as [`Loading::add`] makes it.
    ///
    /// # Errors
    /// As [`Fs::fill`] and [`Loading::add`].
    pub fn load(&self, parent: NodeId, name: &[u8], new: Loaded<'_>) -> Result<NodeId> {
        self.fill(parent, 1)?.add(name, new)
    }

    /// One more name of an inode already loaded, as [`Loading::link`] makes it.
    ///
    /// # Errors
    /// As [`Fs::fill`] and [`Loading::link`].
    pub fn load_link(&self, id: NodeId, parent: NodeId, name: &[u8]) -> Result<()> {
        self.fill(parent, 1)?.link(id, name)
    }

    /// What a loaded inode begins with.
    pub(super) fn described<'a>(
        &self,
        mut new: Loaded<'a>,
        max: u64,
    ) -> Result<(NewInode<'a, Node>, Option<Seed>)> {
        let content = new.attr.kind == Kind::Regular && new.attr.size > 0;
        let mut seed = new.seed.filter(|_| content && self.origin.get().is_some());
        let size = new.attr.size;
        let mut ext = new
            .backing
            .filter(|_| content)
            .map(|source| Node::backed(&self.quota, source, size));
        if !new.xattrs.is_empty() {
            let xattrs = self.load_xattrs(new.xattrs, &mut new.attr, max)?;
            let node = || match seed.take() {
                Some(seed) => self.grown(seed, size),
                None => Node::new(&self.quota),
            };
            if !xattrs.is_empty() {
                *ext.get_or_insert_with(node).xattrs.get_mut() = Some(Box::new(xattrs));
            }
        }
        let inode = NewInode {
            attr: new.attr,
            target: new.target,
            ext,
            ino: new.ino,
        };
        Ok((inode, seed))
    }

    /// Those of `pairs` that are kept, for an inode with `attr`, whose mode becomes what its list says.
    pub(super) fn load_xattrs(
        &self,
        pairs: Vec<Xattr>,
        attr: &mut Attr,
        max: u64,
    ) -> Result<Xattrs> {
        let mut xattrs = Xattrs::new(&self.quota);
        for (name, value) in pairs {
            match self.acl_of_name(&name) {
                Some(which) => self.load_acl(&mut xattrs, which, &value, attr, max)?,
                None => xattrs.load(&name, &value, max)?,
            }
            self.note_label(&name);
        }
        Ok(xattrs)
    }

    /// The root's own attributes, whose kind stays a directory, and extended attributes; those are
    /// left out if they do not fit.
    pub fn load_root(&self, attr: Attr, xattrs: Vec<Xattr>) {
        let root = self.tree.root();
        let max = self.most_bytes(&self.config.load());
        let mut attr = attr;
        let xattrs = self.load_xattrs(xattrs, &mut attr, max);
        let mut done = root.describe(|root| {
            *root = Attr {
                kind: root.kind,
                rdev: root.rdev,
                ..attr
            };
            Ok(())
        });
        match xattrs {
            Ok(xattrs) if xattrs.is_empty() => {}
            Ok(xattrs) => *self.node(&root).xattrs.write() = Some(Box::new(xattrs)),
            Err(errno) => done = Err(errno),
        }
        if let Err(errno) = done {
            tracing::warn!(%errno, "the root was not loaded as described");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::SetAttr;
    use crate::fs::testing::{self, Bed, Broken, Fixed, ROOT, USER, value};
    use crate::tree::Time;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const THEN: Time = Time {
        sec: 1_000,
        nsec: 7,
    };

    fn described(kind: Kind, nlink: u32, size: u64) -> Attr {
        Attr {
            nlink,
            size,
            blocks: size.div_ceil(512),
            ..Attr::new(kind, 0o640, 3, 4, THEN)
        }
    }

    fn loaded(attr: Attr) -> Loaded<'static> {
        Loaded {
            attr,
            ino: None,
            target: None,
            xattrs: Vec::new(),
            backing: None,
            seed: None,
        }
    }

    fn backed(bed: &Bed, name: &[u8], data: &[u8]) -> NodeId {
        let new = Loaded {
            backing: Some(Box::new(Fixed(data.to_vec()))),
            ..loaded(described(Kind::Regular, 1, data.len() as u64))
        };
        bed.fs.load(bed.root(), name, new).unwrap()
    }

    #[test]
    fn everything_stays_as_described() {
        let bed = Bed::new();
        let root = described(Kind::Directory, 9, 4096);
        let pair = |name: &[u8], value: &[u8]| (name.into(), value.into());
        bed.fs.load_root(root, vec![pair(b"user.r", b"1")]);
        let dir_attr = described(Kind::Directory, 5, 4096);
        let dir = bed.fs.load(bed.root(), b"d", loaded(dir_attr)).unwrap();
        let file_attr = described(Kind::Regular, 3, 100);
        let new = Loaded {
            xattrs: vec![
                pair(b"user.b", b"2"),
                pair(b"system.acl", b"no"),
                pair(b"user.a", b"1"),
            ],
            ..loaded(file_attr)
        };
        let file = bed.fs.load(dir, b"f", new).unwrap();
        bed.fs.load_link(file, dir, b"again").unwrap();
        assert_eq!(bed.attr(bed.root()), root);
        assert_eq!(bed.attr(dir), dir_attr);
        assert_eq!(bed.attr(file), file_attr);
        assert_eq!(bed.fs.listxattr(&USER, bed.root()).unwrap(), b"user.r\0");
        assert_eq!(bed.fs.listxattr(&USER, file).unwrap(), b"user.a\0user.b\0");
        assert_eq!(
            bed.fs.lookup(&USER, dir, b"again").unwrap().unwrap().id,
            file
        );
        assert_eq!(bed.read(file, 0, 200), [0; 100]);
        bed.fs.unlink(&USER, dir, b"f").unwrap().deliver(drop);
        assert_eq!(bed.attr(file).nlink, 2);
    }

    #[test]
    fn held_content_counts_and_moves_no_time() {
        let bed = Bed::with(Config {
            max_bytes: 100,
            ..testing::config()
        });
        let mut filling = bed.fs.fill(bed.root(), 2).unwrap();
        let attr = described(Kind::Regular, 1, 0);
        let file = filling.add(b"file", loaded(attr)).unwrap();
        filling.hold(file, b"made up").unwrap();
        let full = filling.add(b"full", loaded(attr)).unwrap();
        assert_eq!(filling.hold(full, &[b'x'; 100]), Err(Errno::NOSPC));
        drop(filling);
        let (size, blocks) = (7, 8);
        assert_eq!(
            bed.attr(file),
            Attr {
                size,
                blocks,
                ..attr
            }
        );
        assert_eq!(bed.read(file, 0, 100), b"made up");
        assert!(bed.fs.quota.used() >= 7);
    }

    #[test]
    fn backed_content_is_read_through_and_copied_by_the_first_write() {
        let bed = Bed::new();
        let file = backed(&bed, b"f", b"from elsewhere");
        assert_eq!(bed.read(file, 5, 100), b"elsewhere");
        assert_eq!(bed.fs.quota.used(), 0);
        bed.write(file, 0, b"FROM");
        assert_eq!(bed.read(file, 0, 100), b"FROM elsewhere");
        assert_eq!(bed.fs.quota.used(), 14);
        assert_eq!(bed.attr(file).blocks, 8);
    }

    #[test]
    fn cutting_backed_content_reads_nothing() {
        let bed = Bed::new();
        let attr = described(Kind::Regular, 1, 5000);
        let new = Loaded {
            backing: Some(Box::new(Broken)),
            ..loaded(attr)
        };
        let file = bed.fs.load(bed.root(), b"f", new).unwrap();
        let size = |size| {
            let change = SetAttr {
                size: Some(size),
                ..SetAttr::default()
            };
            bed.fs
                .setattr(&ROOT, file, &change)
                .unwrap()
                .deliver(drop)
                .attr
        };
        assert_eq!((size(600).size, size(600).blocks), (600, 2));
        assert_eq!(
            value(bed.fs.write(&ROOT, file, 0, b"x", false)),
            Err(Errno::STALE)
        );
        assert_eq!(bed.fs.read(file, 0, &mut [0; 9]), Err(Errno::STALE));
        assert_eq!(size(0).blocks, 0);
        bed.write(file, 0, b"fresh");
        assert_eq!(bed.read(file, 0, 9), b"fresh");
    }

    #[test]
    fn cut_content_does_not_come_back_when_it_grows() {
        let bed = Bed::new();
        let file = backed(&bed, b"f", b"abcdef");
        for size in [3, 6] {
            let change = SetAttr {
                size: Some(size),
                ..SetAttr::default()
            };
            bed.fs.setattr(&ROOT, file, &change).unwrap().deliver(drop);
        }
        assert_eq!(bed.read(file, 0, 9), b"abc\0\0\0");
        bed.write(file, 5, b"F");
        assert_eq!(bed.read(file, 0, 9), b"abc\0\0F");
    }

    #[test]
    fn a_write_that_cannot_copy_changes_nothing() {
        let bed = Bed::new();
        let attr = described(Kind::Regular, 1, 5000);
        let new = Loaded {
            backing: Some(Box::new(Broken)),
            ..loaded(attr)
        };
        let file = bed.fs.load(bed.root(), b"f", new).unwrap();
        assert_eq!(
            value(bed.fs.write(&ROOT, file, 9, b"x", true)),
            Err(Errno::STALE)
        );
        assert_eq!(
            value(bed.fs.fallocate(&ROOT, file, 0, 9, 0)).err(),
            Some(Errno::STALE)
        );
        assert_eq!(bed.attr(file), attr);
        assert_eq!(bed.fs.quota.used(), 0);
    }

    /// Knows one content, and how often it was asked for.
    #[derive(Default)]
    struct One(AtomicU32);

    impl Origin for One {
        fn backing(self: Arc<Self>, seed: Seed) -> Box<dyn Backing> {
            self.0.fetch_add(1, Relaxed);
            Box::new(Fixed(format!("{}-{}", seed.number, seed.bits()).into()))
        }
    }

    fn seeded(bed: &Bed, name: &[u8], xattrs: Vec<Xattr>) -> NodeId {
        let new = Loaded {
            seed: Some(Seed::new(12, 345)),
            xattrs,
            ..loaded(described(Kind::Regular, 1, 6))
        };
        bed.fs.load(bed.root(), name, new).unwrap()
    }

    #[test]
    fn content_comes_from_the_origin_when_it_is_asked_for() {
        let (bed, origin) = (Bed::new(), Arc::new(One::default()));
        bed.fs.set_origin(origin.clone()).unwrap();
        assert_eq!(bed.fs.set_origin(origin.clone()), Err(Errno::BUSY));
        let file = seeded(&bed, b"f", vec![]);
        let chmod = SetAttr {
            perm: Some(0o600),
            ..SetAttr::default()
        };
        bed.fs.setattr(&ROOT, file, &chmod).unwrap().deliver(drop);
        let (from, to) = ((bed.root(), &b"f"[..]), (bed.root(), &b"g"[..]));
        bed.fs.rename(&ROOT, from, to, 0).unwrap().deliver(drop);
        assert_eq!(bed.fs.listxattr(&ROOT, file).unwrap(), b"");
        assert_eq!(bed.fs.getxattr(&ROOT, file, b"user.a"), Err(Errno::NODATA));
        assert!(!bed.fs.would_not_block(file), "a write would copy it");
        assert_eq!(origin.0.load(Relaxed), 0, "nobody wanted the content");
        assert_eq!(bed.read(file, 3, 9), b"345");
        assert_eq!(bed.read(file, 0, 9), b"12-345");
        assert_eq!(origin.0.load(Relaxed), 1);
        bed.write(file, 0, b"ab");
        assert_eq!(bed.read(file, 0, 9), b"ab-345");
    }

    #[test]
    fn whatever_touches_content_first_finds_that_of_the_origin() {
        let bed = Bed::new();
        bed.fs.set_origin(Arc::new(One::default())).unwrap();
        let size = |size| SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let cut = seeded(&bed, b"cut", vec![]);
        for change in [size(4), size(8)] {
            bed.fs.setattr(&ROOT, cut, &change).unwrap().deliver(drop);
        }
        assert_eq!(bed.read(cut, 0, 9), b"12-3\0\0\0\0");
        let written = seeded(&bed, b"written", vec![]);
        bed.write(written, 6, b"!");
        assert_eq!(bed.read(written, 0, 9), b"12-345!");
        let sought = seeded(&bed, b"sought", vec![]);
        assert_eq!(bed.fs.lseek(sought, 0, libc::SEEK_HOLE), Ok(6));
        let named = seeded(&bed, b"named", vec![]);
        bed.fs
            .setxattr(&ROOT, named, b"user.a", b"1", 0, false)
            .unwrap()
            .deliver(drop);
        assert_eq!(bed.read(named, 0, 9), b"12-345");
        let pair = (b"user.b"[..].into(), b"2"[..].into());
        let loaded = seeded(&bed, b"loaded", vec![pair]);
        assert_eq!(bed.read(loaded, 0, 9), b"12-345");
        assert_eq!(bed.fs.getxattr(&ROOT, loaded, b"user.b").unwrap(), b"2");
    }

    #[test]
    fn without_an_origin_a_seed_is_a_hole() {
        let bed = Bed::new();
        let file = seeded(&bed, b"f", vec![]);
        assert_eq!(bed.read(file, 0, 9), [0; 6]);
        bed.write(file, 1, b"x");
        assert_eq!(bed.read(file, 0, 9), b"\0x\0\0\0\0");
    }

    #[test]
    fn filling_ends_exactly_at_the_limit() {
        let bed = Bed::with(Config {
            max_inodes: 4,
            ..testing::config()
        });
        let mut filling = bed.fs.fill(bed.root(), 512).unwrap();
        let mut add = |name: &[u8]| filling.add(name, loaded(described(Kind::Regular, 1, 0)));
        let (a, b) = (add(b"a").unwrap(), add(b"b"));
        assert!(b.is_ok());
        filling.link(a, b"again").unwrap();
        assert_eq!(filling.link(a, b"once more"), Err(Errno::NOSPC));
        let full = filling.add(b"c", loaded(described(Kind::Regular, 1, 0)));
        assert_eq!(full, Err(Errno::NOSPC));
        drop(filling);
        assert_eq!(bed.fs.statfs().files_free, 0);
    }
}
