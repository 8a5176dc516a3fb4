//! Where everything lies: one slab for each kind of thing, joined by 32-bit numbers.

use super::block::{self, Block, Head, STAMP, WORDS};
use super::dentry::Dentry;
use super::directory::Directory;
use super::name::Piece;
use super::numbers::Numbers;
use super::record::{Record, differs};
use super::witness::Witness;
use super::{Attr, Kind, NodeId, Result};
use crate::sync::{
    Era, Lifetime, OnceCell, Retired, Segmented, Segments, Slab, Slot, Table, Verdict,
};
use crossbeam_epoch::Guard;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// An inode. The first cache line is all that a walk reads of a directory; the counts, which are
/// written all the time, lie elsewhere ([`Store::lives`]).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Inode<E> {
    /// A directory's names. Changed under the lock of its [`Names`](super::directory::Names).
    pub(crate) table: Table,
    /// The attributes. Written under `lock`.
    pub(crate) block: Block,
    /// What the layer above keeps with this inode.
    pub(crate) ext: OnceCell<E>,
    /// How many dentries lead here; written under `lock`. The free link of an empty slot.
    pub(crate) links: AtomicU32,
    /// The inode lock: a leaf, nothing is locked under it.
    pub(crate) lock: Mutex<()>,
}

const _: () = assert!(size_of::<Inode<()>>() == 128);
const _: () = assert!(std::mem::offset_of!(Inode<()>, block) + 8 * 7 == 64);

impl<E> Default for Inode<E> {
    fn default() -> Self {
        Inode {
            table: Table::default(),
            block: Block::default(),
            ext: OnceCell::default(),
            links: AtomicU32::new(0),
            lock: Mutex::new(()),
        }
    }
}

impl<E: Send + Sync> Segmented for Inode<E> {
    const SEGMENT_BITS: u32 = 15;
}

impl<E: Send + Sync> Slot for Inode<E> {
    fn free_link(&self) -> &AtomicU32 {
        &self.links
    }
}

impl<E> Inode<E> {
    /// The head, or `None` if writers did not let go of the block in time.
    #[inline(always)]
    pub(crate) fn head(&self) -> Option<Head> {
        self.block.read().map(|(words, _)| Head::new(words))
    }

    /// How many dentries lead here; of an empty slot any number.
    pub(crate) fn links(&self) -> u32 {
        self.links.load(Ordering::Relaxed)
    }

    /// Whether the permissions (and the life) are still those of `stamp`. After an Acquire fence.
    #[inline(always)]
    pub(crate) fn has_stamp(&self, stamp: u64) -> bool {
        self.block.word(STAMP) == stamp
    }

    /// The words, waiting for a writer if need be.
    pub(crate) fn words(&self) -> [u64; WORDS] {
        if let Some((words, _)) = self.block.read() {
            return words;
        }
        let _lock = self.lock.lock();
        self.block.read_locked()
    }

    /// Gives the words that `change` makes of those there are, as one step. The inode is alive.
    fn edit<T>(
        &self,
        change: impl FnOnce(&[u64; WORDS]) -> Result<([u64; WORDS], T)>,
    ) -> Result<T> {
        let _lock = self.lock.lock();
        let (words, value) = change(&self.block.read_locked())?;
        self.block.write(&words);
        Ok(value)
    }
}

/// The words with other attributes, but for the kind, which stays.
fn changed<T>(
    words: &[u64; WORDS],
    change: impl FnOnce(&mut Attr) -> Result<T>,
) -> Result<([u64; WORDS], Attr, T)> {
    let mut attr = block::decode(words);
    let kind = attr.kind;
    let value = change(&mut attr)?;
    attr.kind = kind;
    let words = block::encode(&attr, words);
    attr.touched = block::decode(&words).touched;
    Ok((words, attr, value))
}

impl Segmented for Lifetime {
    const SEGMENT_BITS: u32 = 17;
}

/// A symbolic link's target.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) target: OnceCell<Box<[u8]>>,
    next: AtomicU32,
}

impl Segmented for Link {
    const SEGMENT_BITS: u32 = 17;
}

impl Slot for Link {
    fn free_link(&self) -> &AtomicU32 {
        &self.next
    }
}

/// What an inode of any kind takes, with its number.
const INODE_BYTES: usize = size_of::<Inode<()>>() + size_of::<Lifetime>() + size_of::<u64>();
/// What an allocation takes beside its bytes.
const ALLOCATION: usize = 16;

/// What an inode of `kind` takes beside that.
const fn kind_bytes(kind: Option<Kind>) -> usize {
    match kind {
        Some(Kind::Directory) => size_of::<Directory>(),
        Some(Kind::Symlink) => size_of::<Link>() + ALLOCATION,
        _ => 0,
    }
}

/// Bytes of an array that is not kept with what a thread has to give back.
const LARGE_TABLE: usize = 64 << 10;

/// The slabs of one tree.
pub(crate) struct Store<E: Send + Sync + 'static> {
    pub(crate) inodes: Slab<Inode<E>>,
    /// The counts of each inode, under the inode's number.
    pub(crate) lives: CachePadded<Segments<Lifetime>>,
    /// In which `nlookup` counts: it grows where this process begins as a copy of another one. See [`Store::era`].
    era: AtomicU64,
    /// What inodes show as their numbers, unless that is the node id.
    pub(crate) numbers: OnceLock<Numbers>,
    /// Is told of what was loaded and goes or changes.
    pub(crate) record: OnceLock<Arc<dyn Record>>,
    /// Is told of everything that changes.
    pub(crate) witness: OnceLock<Arc<dyn Witness>>,
    pub(crate) dentries: Slab<Dentry>,
    pub(crate) pieces: Slab<Piece>,
    pub(crate) directories: Slab<Directory>,
    pub(crate) links: Slab<Link>,
    /// How many inodes live.
    pub(crate) living: CachePadded<AtomicU64>,
    /// Names of inodes beyond the first of each.
    pub(crate) further_names: CachePadded<AtomicU64>,
    /// Bytes that inodes and names take: what lies in slots, tables, listings, targets of links. What was given up counts
    /// no more, though readers may still hold it.
    memory: CachePadded<AtomicU64>,
}

impl<E: Send + Sync + 'static> Default for Store<E> {
    fn default() -> Self {
        Store {
            inodes: Slab::default(),
            lives: CachePadded::default(),
            era: AtomicU64::new(Era::FIRST.word()),
            numbers: OnceLock::new(),
            record: OnceLock::new(),
            witness: OnceLock::new(),
            dentries: Slab::default(),
            pieces: Slab::default(),
            directories: Slab::default(),
            links: Slab::default(),
            living: CachePadded::default(),
            further_names: CachePadded::default(),
            memory: CachePadded::default(),
        }
    }
}

impl<E: Send + Sync + 'static> Store<E> {
    #[inline(always)]
    pub(crate) fn inode(&self, slot: u32) -> &Inode<E> {
        self.inodes.at(slot)
    }

    #[inline(always)]
    pub(crate) fn dentry(&self, slot: u32) -> &Dentry {
        self.dentries.at(slot)
    }

    #[inline(always)]
    pub(crate) fn life(&self, slot: u32) -> &Lifetime {
        self.lives.at(slot)
    }

    /// In which the client is told of inodes. It changes only where no other thread is.
    #[inline(always)]
    pub(crate) fn era(&self) -> Era {
        Era::of_word(self.era.load(Ordering::Relaxed))
    }

    /// Begins to count anew what the client is told. Called where no other thread is.
    ///
    /// # Errors
    /// `EOVERFLOW` after the last era.
    pub(super) fn begin_era(&self) -> Result<()> {
        let next = self.era().next().ok_or(Errno::OVERFLOW)?;
        self.era.store(next.word(), Ordering::Relaxed);
        Ok(())
    }

    /// Counts that the client is told of the inode `slot` once more. False if it ends.
    #[inline]
    pub(crate) fn tell(&self, slot: u32) -> bool {
        self.life(slot).nlookup.get_in(self.era())
    }

    /// Takes back what [`Store::tell`] counted, `n` times. As [`Lifetime::forget`].
    #[inline]
    pub(crate) fn forget(&self, slot: u32, n: u64) -> Option<bool> {
        let links = &self.inode(slot).links;
        self.life(slot).forget(self.era(), n, links)
    }

    /// The number of `id`, to be looked at before its block is found unchanged.
    #[inline(always)]
    pub(crate) fn ino(&self, id: NodeId) -> u64 {
        shown(&self.numbers, id)
    }

    /// Changes the attributes of the living inode `slot` as one step, but for the kind, which stays.
    pub(crate) fn edit<T>(
        &self,
        slot: u32,
        change: impl FnOnce(&mut Attr) -> Result<T>,
    ) -> Result<(T, Attr)> {
        self.inode(slot).edit(|words| {
            let (mut new, attr, value) = changed(words, change)?;
            if block::is_as_loaded(words) && differs(&block::decode(words), &attr) {
                self.tell_changed(slot, words);
                new = block::as_changed(new);
            }
            Ok((new, (value, attr)))
        })
    }

    /// The same for a change that cannot fail.
    pub(crate) fn touch(&self, slot: u32, change: impl FnOnce(&mut Attr)) {
        let _: Result<_> = self.edit(slot, |attr| {
            change(attr);
            Ok(())
        });
    }

    /// Says that a load brought the living inode `slot`, with the attributes that `change` gives it.
    pub(crate) fn describe(
        &self,
        slot: u32,
        change: impl FnOnce(&mut Attr) -> Result<()>,
    ) -> Result<()> {
        self.inode(slot).edit(|words| {
            let (new, _, ()) = changed(words, change)?;
            Ok((block::as_loaded(new), ()))
        })
    }

    /// Tells that the dead name `name` in the directory `directory` led to `inode`, both of which live still.
    #[cold]
    pub(super) fn tell_gone(&self, directory: u32, name: &[u8], inode: u32) {
        if let Some(record) = self.record.get() {
            record.gone(self.id(directory), name, self.id(inode));
        }
    }

    /// Tells that the inode `slot` changes, whose words are still `words`.
    #[cold]
    pub(super) fn tell_changed(&self, slot: u32, words: &[u64; WORDS]) {
        if let Some(record) = self.record.get() {
            let id = NodeId::new(slot, Head::of(words).generation());
            record.changed(id, self.ino(id), &block::decode(words));
        }
    }

    /// Tells that the name `name` in the directory `directory`, which lives, came, went, or leads elsewhere. The stillness is held.
    pub(super) fn tell_named(&self, directory: u32, name: &[u8], inode: NodeId, below: bool) {
        if let Some(witness) = self.witness.get() {
            witness.named(self.id(directory), name, inode, below);
        }
    }

    /// Tells that `inode` changed. The stillness is held.
    pub(super) fn tell_edited(&self, inode: NodeId) {
        if let Some(witness) = self.witness.get() {
            witness.changed(inode);
        }
    }

    /// The id of what lives in `slot`.
    pub(super) fn id(&self, slot: u32) -> NodeId {
        NodeId::new(slot, Head::of(&self.inode(slot).words()).generation())
    }

    /// Bytes that inodes and names take.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Counts a change of what they take.
    pub(crate) fn count(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(0) => {}
            Some(more) => _ = self.memory.fetch_add(more as u64, Ordering::Relaxed),
            None => {
                _ = self
                    .memory
                    .fetch_sub((before - after) as u64, Ordering::Relaxed)
            }
        }
    }

    /// Keeps the target of a link that begins.
    pub(crate) fn set_target(&self, link: u32, target: &[u8]) {
        self.count(0, target.len());
        self.links.at(link).target.set(target.into());
    }

    /// Begins an inode's life with one reference and `links`. Nobody else can find it yet.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(crate) fn begin_inode(
        &self,
        attr: &Attr,
        aux: u32,
        links: u32,
        ino: Option<NonZeroU64>,
        loaded: bool,
    ) -> Result<(u32, [u64; WORDS])> {
        let slot = self.inodes.take().map_err(|_| Errno::NOSPC)?;
        let numbers = self.numbers.get();
        if self.lives.reach(slot).is_err() || numbers.is_some_and(|n| !n.give(slot, ino)) {
            self.inodes.free(slot);
            return Err(Errno::NOSPC);
        }
        let (inode, life) = (self.inode(slot), self.life(slot));
        let _lock = inode.lock.lock();
        life.renew();
        let referenced = life.refs.get();
        assert!(referenced, "a renewed count is alive");
        inode.links.store(links, Ordering::Relaxed);
        let mut words = block::with_aux(inode.block.read_locked(), aux);
        if loaded {
            words = block::as_loaded(words);
        }
        let words = block::encode(attr, &words);
        inode.block.write(&words);
        self.living.fetch_add(1, Ordering::Relaxed);
        self.count(0, INODE_BYTES + kind_bytes(Some(attr.kind)));
        Ok((slot, words))
    }

    /// Looks whether the inode `slot` of `generation` has to end, after one of its counts came to zero,
    /// and ends it.
    pub(crate) fn reap(self: &Arc<Self>, slot: u32, generation: u32) {
        self.reap_if(slot, |head| head.generation() == generation);
    }

    /// The same for a slot that is not reused under `_guard`, whatever its generation.
    pub(crate) fn reap_pinned(self: &Arc<Self>, slot: u32, _guard: &Guard) {
        self.reap_if(slot, |_| true);
    }

    fn reap_if(self: &Arc<Self>, slot: u32, same: impl FnOnce(&Head) -> bool) {
        let (inode, life) = (self.inode(slot), self.life(slot));
        let lock = inode.lock.lock();
        let words = inode.block.read_locked();
        let head = Head::of(&words);
        if !same(&head) || life.try_end(self.era(), &inode.links) == Verdict::Lives {
            return;
        }
        let generation = head.generation();
        inode
            .block
            .write(&block::empty(generation.wrapping_add(1), &words));
        drop(lock);
        self.living.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the extension is only read by holders of a reference, and there is none left.
        drop(unsafe { inode.ext.take() });

        let aux = (head.kind(), head.aux());
        let guard = crossbeam_epoch::pin();
        self.count(self.bytes_of(slot, aux, &guard), 0);
        // The last generation is never followed by another: such a slot is not used again.
        let reuse = generation != u32::MAX - 1;
        self.defer(&guard, move |store| {
            store.free_inode(slot, aux, reuse);
        });
    }

    /// What an inode took that has just ended.
    fn bytes_of(&self, slot: u32, aux: (Option<Kind>, u32), guard: &Guard) -> usize {
        let own = INODE_BYTES + kind_bytes(aux.0);
        own + match aux {
            (Some(Kind::Directory), directory) => {
                let listing = self.directories.at(directory).names.write().give_up();
                self.inode(slot).table.bytes() + listing
            }
            (Some(Kind::Symlink), link) => {
                let target = self.links.at(link).target.get(guard);
                target.map_or(0, |target| target.len())
            }
            _ => 0,
        }
    }

    /// Has `work` done when no reader holds what can be reached now. What waits for that holds neither the tree nor any of
    /// its memory, since nobody can say when it comes: a tree that is dropped takes its memory along, and there is nothing
    /// left to do then.
    fn defer(self: &Arc<Self>, guard: &Guard, work: impl FnOnce(&Self) + Send + 'static) {
        let store = Arc::downgrade(self);
        guard.defer(move || {
            if let Some(store) = store.upgrade() {
                work(&store);
            }
        });
    }

    /// Frees what belonged to an ended inode. Runs when no reader can hold any of it.
    fn free_inode(&self, slot: u32, aux: (Option<Kind>, u32), reuse: bool) {
        drop(self.inode(slot).table.clear());
        match aux {
            (Some(Kind::Directory), directory) => self.directories.free(directory),
            (Some(Kind::Symlink), link) => {
                // SAFETY: whoever could read the target under an epoch has let go of it.
                drop(unsafe { self.links.at(link).target.take() });
                self.links.free(link);
            }
            _ => {}
        }
        if reuse {
            self.inodes.free(slot);
        }
    }

    /// Frees a dentry that was killed and taken out of its table, once no reader can hold it.
    pub(crate) fn retire_dentry(self: &Arc<Self>, slot: u32, guard: &Guard) {
        self.count(self.dentry(slot).bytes(), 0);
        self.defer(guard, move |store| store.free_dentry_slot(slot));
    }

    /// Drops an array of names that was replaced, once no reader can hold it. One that is worth it does not wait until
    /// this thread has more to give back.
    pub(crate) fn retire_table(table: Retired, guard: &Guard) {
        let large = table.bytes() >= LARGE_TABLE;
        guard.defer(move || drop(table));
        if large {
            guard.flush();
        }
    }

    /// Frees a dentry nobody could reach ever.
    pub(crate) fn free_dentry(&self, slot: u32) {
        self.count(self.dentry(slot).bytes(), 0);
        self.free_dentry_slot(slot);
    }

    fn free_dentry_slot(&self, slot: u32) {
        self.dentry(slot).free_name(&self.pieces);
        self.dentries.free(slot);
    }
}

/// The number of `id`.
#[inline(always)]
pub(crate) fn shown(numbers: &OnceLock<Numbers>, id: NodeId) -> u64 {
    numbers.get().map_or(id.raw(), |numbers| numbers.of(id))
}

#[cfg(test)]
mod tests {
    use crate::tree::{Attr, Kind, NewInode, RenameMode, Time, Tree};
    use std::sync::{Arc, Weak, mpsc};
    use std::time::{Duration, Instant};

    /// Whoever gives back something of the tree just now holds it.
    fn is_gone<T>(dropped: &Weak<T>) -> bool {
        let began = Instant::now();
        while dropped.strong_count() > 0 {
            if began.elapsed() > Duration::from_secs(10) {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn a_tree_takes_its_memory_along_whatever_was_removed_before() {
        let now = Time::default();
        let directory = || NewInode::plain(Attr::new(Kind::Directory, 0o755, 0, 0, now));
        let tree = Tree::with_extension(directory().attr).unwrap();
        let counted = Arc::new(());
        let root = tree.root();
        let link = NewInode {
            target: Some(b"somewhere"),
            ..NewInode::plain(Attr::new(Kind::Symlink, 0o777, 0, 0, now))
        };
        let file = |ext: &Arc<()>| NewInode {
            ext: Some(ext.clone()),
            ..NewInode::plain(Attr::default())
        };
        tree.create(&root, b"dir", directory(), None).unwrap();
        tree.create(&root, b"link", link, None).unwrap();
        for number in 0..if cfg!(miri) { 5 } else { 100 } {
            let name = format!("file {number}");
            tree.create(&root, name.as_bytes(), file(&counted), None)
                .unwrap();
        }
        drop(root);
        let store = Arc::downgrade(&tree.store);
        let tree = Arc::new(tree);
        let (removed, others) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        // What a thread has to give back is not known to others as long as it lives.
        let thread = std::thread::spawn({
            let tree = Arc::clone(&tree);
            move || {
                let root = tree.root();
                let (from, to) = ((&root, &b"file 0"[..]), (&root, &b"file 1"[..]));
                tree.rename(from, to, RenameMode::Replace, now).unwrap();
                tree.unlink(&root, b"file 2", now).unwrap();
                tree.unlink(&root, b"link", now).unwrap();
                tree.rmdir(&root, b"dir", now).unwrap();
                drop(root);
                drop(tree);
                removed.send(()).unwrap();
                left.recv().unwrap_err();
            }
        });
        others.recv().unwrap();
        drop(tree);
        assert!(is_gone(&store));
        assert_eq!(Arc::strong_count(&counted), 1);
        drop(leave);
        thread.join().unwrap();
    }
}
