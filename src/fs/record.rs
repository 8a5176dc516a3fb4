//! What was loaded and is another now: names that are gone, and what inodes were before they changed.
//!
//! Nothing is kept of what did not change. Both lists grow until the source is made what the tree is ([`rebase`](super::rebase)): a name
//! goes once and an inode changes for the first time once, and node ids name nothing else later. So what they say stays true of the
//! source as it was loaded, also of what lives no more.

use super::Fs;
use crate::fs::Result;
use crate::tree::{Attr, Errno, InodeRef, Kind, NodeId, Record, Time};
use ahash::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Threads rarely write to the same one of so many.
pub(super) const SHARDS: usize = 16;

/// What the record takes for one name and one inode at most, beside the name: asked for before anything grows by it.
const ENTRY_BYTES: u64 = 512;

/// What an allocation takes beside its bytes.
pub(super) const ALLOCATION: usize = 16;

/// A name of the source that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gone {
    /// The directory that it was in.
    pub directory: NodeId,
    /// Its bytes.
    pub name: Box<[u8]>,
    /// The inode that it led to.
    pub inode: NodeId,
}

/// What an inode was when it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// The inode.
    pub inode: NodeId,
    /// The number it shows.
    pub ino: u64,
    /// Kind and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names.
    pub nlink: u32,
    /// Bytes; of a device its number, as [`Attr`] has it.
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
    /// Whether it had a list of access.
    pub acl: bool,
}

impl Before {
    /// Of `inode`, which showed the number `ino` and had the attributes `attr`.
    pub fn new(inode: NodeId, ino: u64, attr: &Attr) -> Before {
        let device = attr.kind.is_device();
        Before {
            inode,
            ino,
            mode: attr.mode(),
            uid: attr.uid,
            gid: attr.gid,
            nlink: attr.nlink,
            size: if device { attr.rdev.into() } else { attr.size },
            mtime: (attr.mtime.sec, attr.mtime.nsec),
            ctime: (attr.ctime.sec, attr.ctime.nsec),
            acl: attr.acl,
        }
    }

    /// As attributes. What is not kept has its default.
    pub fn attr(&self) -> Attr {
        let kind = Kind::from_mode(self.mode).unwrap_or(Kind::Regular);
        let device = kind.is_device();
        let time = |(sec, nsec): (i64, u32)| Time { sec, nsec };
        Attr {
            kind,
            perm: (self.mode & 0o7777) as u16,
            acl: self.acl,
            uid: self.uid,
            gid: self.gid,
            nlink: self.nlink,
            size: if device { 0 } else { self.size },
            rdev: if device { self.size as u32 } else { 0 },
            mtime: time(self.mtime),
            ctime: time(self.ctime),
            ..Attr::default()
        }
    }
}

/// What an inode is in the source, where it was brought since that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its device there (`st_dev`).
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    is: Before,
}

impl Brought {
    /// Of `inode`, which has the number `ino` on the device `dev`, and the attributes `attr`.
    pub fn new(inode: NodeId, (dev, ino): (u64, u64), attr: &Attr) -> Brought {
        let is = Before::new(inode, ino, attr);
        Brought { dev, ino, is }
    }

    /// The inode.
    pub fn inode(&self) -> NodeId {
        self.is.inode
    }

    /// Its attributes there. What is not kept has its default.
    pub fn attr(&self) -> Attr {
        self.is.attr()
    }
}

/// The record of one filesystem.
#[derive(Debug, Default)]
pub(super) struct Changes {
    shards: [Mutex<Shard>; SHARDS],
    bytes: AtomicU64,
    /// There was no memory once.
    pub(super) lost: AtomicBool,
    /// Held by who makes it another source's.
    pub(super) rebasing: Mutex<()>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) gone: Vec<Gone>,
    pub(super) before: Vec<Before>,
    /// What inodes are in the source that were brought there since it was loaded.
    pub(super) brought: HashMap<NodeId, Brought, RandomState>,
}

impl Shard {
    /// What it takes, names apart.
    pub(super) fn bytes(&self) -> usize {
        self.gone.capacity() * size_of::<Gone>()
            + self.before.capacity() * size_of::<Before>()
            // One byte beside each place; a seventh of the places stays free.
            + self.brought.capacity() * 8 / 7 * (size_of::<(NodeId, Brought)>() + 1)
    }
}

impl Changes {
    /// What it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(super) fn shard(&self, id: NodeId) -> &Mutex<Shard> {
        // Neighbours are mostly changed by one thread.
        &self.shards[(id.raw() as usize >> 6) % SHARDS]
    }

    /// Has `edit` change each part, which is told its number and gives the bytes of names that it took away.
    pub(super) fn edit(&self, mut edit: impl FnMut(usize, &mut Shard) -> usize) {
        for (number, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            let before = shard.bytes();
            let less = before + edit(number, &mut shard);
            let more = shard.bytes();
            match more.checked_sub(less) {
                Some(more) => self.bytes.fetch_add(more as u64, Relaxed),
                None => self.bytes.fetch_sub((less - more) as u64, Relaxed),
            };
        }
    }

    /// How many inodes one part has.
    pub(super) fn before_of(&self, number: usize) -> usize {
        self.shards[number].lock().before.len()
    }

    /// Counts that it takes more.
    pub(super) fn grew(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts that it takes less.
    pub(super) fn shrank(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes as u64, Relaxed);
    }

    fn keep<T>(&self, list: &mut Vec<T>, entry: impl FnOnce() -> Option<T>, beside: usize) {
        let capacity = list.capacity();
        let kept = list.try_reserve(1).is_ok().then(entry).flatten();
        match kept {
            Some(entry) => list.push(entry),
            None => self.lost.store(true, Relaxed),
        }
        self.grew((list.capacity() - capacity) * size_of::<T>() + beside);
    }

    pub(super) fn keep_before(&self, before: Before) {
        let mut shard = self.shard(before.inode).lock();
        self.keep(&mut shard.before, || Some(before), 0);
    }
}

impl Record for Changes {
    fn gone(&self, directory: NodeId, name: &[u8], inode: NodeId) {
        let entry = || {
            let mut copy = Vec::new();
            copy.try_reserve_exact(name.len()).ok()?;
            copy.extend_from_slice(name);
            Some(Gone {
                directory,
                name: copy.into_boxed_slice(),
                inode,
            })
        };
        let mut shard = self.shard(inode).lock();
        self.keep(&mut shard.gone, entry, name.len() + ALLOCATION);
    }

    fn changed(&self, inode: NodeId, ino: u64, before: &Attr) {
        self.keep_before(Before::new(inode, ino, before));
    }
}

impl Fs {
    /// The names of the source that are gone, and what those inodes of it were that changed since, in no order.
    ///
    /// # Errors
    /// ENOSPC if there was no memory to keep all, or is none to give a copy.
    pub fn changes(&self) -> Result<(Vec<Gone>, Vec<Before>)> {
        if self.changes.lost.load(Relaxed) {
            return Err(Errno::NOSPC);
        }
        let (mut gone, mut before) = (Vec::new(), Vec::new());
        for shard in &self.changes.shards {
            let shard = shard.lock();
            let room = gone
                .try_reserve(shard.gone.len())
                .and(before.try_reserve(shard.before.len()));
            room.map_err(|_| Errno::NOSPC)?;
            gone.extend(shard.gone.iter().cloned());
            before.extend_from_slice(&shard.before);
        }
        Ok((gone, before))
    }

    /// How many names and inodes the record has.
    pub fn changes_kept(&self) -> usize {
        let kept = self.changes.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard.gone.len() + shard.before.len()
        });
        kept.sum()
    }

    /// Room to remember what `inode` was, if it changes now for the first time; ENOSPC. What takes a name away asks for none: it
    /// gives back more.
    pub(super) fn room_for_change(&self, inode: &InodeRef<'_, super::Node>) -> Result<()> {
        match inode.is_as_loaded() && !self.quota.may_grow(ENTRY_BYTES) {
            true => Err(Errno::NOSPC),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, Fixed, ROOT, stale};
    use crate::fs::{Backing, Loaded, Origin, SetAttr};
    use crate::tree::Seed;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::SeqCst;

    struct Letters;

    impl Origin for Letters {
        fn backing(self: Arc<Letters>, _: Seed) -> Box<dyn Backing> {
            Box::new(Fixed(b"letters".to_vec()))
        }
    }

    fn attr(kind: Kind) -> Attr {
        Attr {
            size: 7,
            rdev: 9,
            ..Attr::new(kind, 0o640, 3, 4, Time { sec: -1, nsec: 5 })
        }
    }

    fn load(bed: &Bed, name: &[u8], kind: Kind) -> NodeId {
        let new = Loaded {
            attr: attr(kind),
            ino: None,
            target: None,
            xattrs: Vec::new(),
            backing: None,
            seed: Some(Seed::new(1, 1)),
        };
        bed.fs.load(bed.root(), name, new).unwrap()
    }

    fn with_source() -> Bed {
        let bed = Bed::new();
        bed.fs.set_origin(Arc::new(Letters)).unwrap();
        bed
    }

    fn chmod(bed: &Bed, id: NodeId) -> Result<()> {
        let change = SetAttr {
            perm: Some(0),
            ..SetAttr::default()
        };
        bed.fs
            .setattr(&ROOT, id, &change)
            .map(|done| _ = done.deliver(drop))
    }

    #[test]
    fn what_is_kept_is_what_was_loaded() {
        let bed = with_source();
        let (file, device) = (
            load(&bed, b"f", Kind::Regular),
            load(&bed, b"c", Kind::CharDevice),
        );
        let made = bed.file("made");
        for id in [file, device, made] {
            chmod(&bed, id).unwrap();
            chmod(&bed, id).unwrap();
        }
        stale(bed.fs.unlink(&ROOT, bed.root(), b"f"));
        stale(bed.fs.unlink(&ROOT, bed.root(), b"made"));
        let (gone, mut before) = bed.fs.changes().unwrap();
        let name = Gone {
            directory: bed.root(),
            name: (*b"f").into(),
            inode: file,
        };
        assert_eq!(gone, [name]);
        before.sort_by_key(|before| before.inode);
        assert_eq!(before.len(), 2);
        for (before, (id, kind)) in before
            .iter()
            .zip([(file, Kind::Regular), (device, Kind::CharDevice)])
        {
            assert_eq!((before.inode, before.ino), (id, id.raw()));
            let kept = Attr {
                size: if kind == Kind::Regular { 7 } else { 0 },
                rdev: if kind == Kind::Regular { 0 } else { 9 },
                atime: Time::default(),
                btime: Time::default(),
                ..attr(kind)
            };
            assert_eq!(before.attr(), kept);
        }
    }

    #[test]
    fn reading_is_no_change_and_every_change_of_content_is_one() {
        let bed = with_source();
        type Do = fn(&Bed, NodeId);
        let changes: [(&str, Do); 5] = [
            ("write", |bed, id| bed.write(id, 0, b"L")),
            ("truncate", |bed, id| {
                let change = SetAttr {
                    size: Some(3),
                    ..SetAttr::default()
                };
                stale(bed.fs.setattr(&ROOT, id, &change));
            }),
            ("punch", |bed, id| {
                stale(bed.fs.fallocate(&ROOT, id, 0, 2, 3)).0
            }),
            ("extend", |bed, id| {
                stale(bed.fs.fallocate(&ROOT, id, 0, 9, 0)).0
            }),
            ("copy", |bed, id| {
                assert_eq!(stale(bed.fs.copy_range(&ROOT, id, 0, id, 3, 2)).0, 2);
            }),
        ];
        for (name, change) in changes {
            let id = load(&bed, name.as_bytes(), Kind::Regular);
            assert_eq!(bed.read(id, 0, 9), b"letters");
            bed.fs.unsettle(id).deliver(drop);
            let kept = |bed: &Bed| {
                bed.fs
                    .changes()
                    .unwrap()
                    .1
                    .iter()
                    .any(|one| one.inode == id)
            };
            assert!(!kept(&bed), "{name}");
            change(&bed, id);
            assert!(kept(&bed), "{name}");
            assert!(bed.attr(id).touched.content, "{name}");
        }
        let id = load(&bed, b"more room", Kind::Regular);
        stale(
            bed.fs
                .fallocate(&ROOT, id, 0, 99, libc::FALLOC_FL_KEEP_SIZE),
        );
        assert!(!bed.attr(id).touched.content);
    }

    #[test]
    fn what_is_kept_counts_as_memory_and_is_refused_without() {
        let bed = with_source();
        let files: Vec<_> = (0..1000u32)
            .map(|number| load(&bed, number.to_string().as_bytes(), Kind::Regular))
            .collect();
        let before = bed.fs.memory();
        files[1..].iter().for_each(|id| chmod(&bed, *id).unwrap());
        let changed = bed.fs.memory() - before;
        assert!((999 * 72..999 * 200).contains(&changed), "{changed}");
        bed.fs.quota.growths_left.store(0, SeqCst);
        assert_eq!(chmod(&bed, files[0]), Err(Errno::NOSPC));
        assert_eq!(chmod(&bed, files[1]), Ok(()), "that is kept already");
        stale(bed.fs.unlink(&ROOT, bed.root(), b"0"));
        assert_eq!(bed.fs.changes().unwrap().0.len(), 1);
        bed.fs.changes.lost.store(true, SeqCst);
        assert_eq!(bed.fs.changes().err(), Some(Errno::NOSPC));
    }

    #[test]
    fn without_a_source_nothing_is_kept() {
        let bed = Bed::new();
        let id = load(&bed, b"f", Kind::Regular);
        chmod(&bed, id).unwrap();
        stale(bed.fs.unlink(&ROOT, bed.root(), b"f"));
        assert_eq!(
            (bed.fs.changes(), bed.fs.changes_kept()),
            (Ok((vec![], vec![])), 0)
        );
    }
}
