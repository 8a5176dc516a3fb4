//! The dentry tree. The page of the crate tells how it is made and used.

/// Steps of a test between two steps of an operation; nothing in a release build.
macro_rules! failpoint {
    ($failpoint:ident) => {{
        #[cfg(any(test, feature = "failpoints"))]
        crate::tree::failpoint::reach(crate::tree::failpoint::Failpoint::$failpoint);
    }};
}

mod attr;
mod block;
mod change;
mod cred;
mod dentry;
mod directory;
mod ext;
#[cfg(any(test, feature = "failpoints"))]
pub mod failpoint;
mod fill;
mod follow;
mod fork;
mod inode_ref;
mod listing;
mod lookup;
mod name;
pub mod noref;
mod numbers;
mod outcomes;
mod path;
mod rebase;
mod record;
mod remove;
mod rename;
#[cfg(all(test, not(miri)))]
mod sealed;
mod store;
mod survey;
mod walk;
mod witness;
mod writer;

pub use attr::{Attr, InodeFlags, KEPT_FLAGS, Kind, Time, Touched};
pub use change::NewInode;
pub use cred::{Credential, Mask};
pub use ext::{Ext, Seed};
pub use fill::Filling;
pub use follow::Loose;
pub use inode_ref::InodeRef;
pub use listing::DirEntry;
pub use name::NAME_MAX;
pub use outcomes::{Outcome, Outcomes};
pub use path::{LinkTarget, PATH_MAX, PathArgs};
pub use record::Record;
pub use rename::{RenameMode, Renamed};
pub use rustix::io::Errno;
pub use survey::{Survey, SurveyedInode, SurveyedName};
pub use witness::Witness;
pub use writer::DIRENT_SIZE;

use crate::sync::Up;
use block::Head;
use crossbeam_epoch::Guard;
use crossbeam_utils::CachePadded;
use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use dentry::Dentry;
use name::Name;
use numbers::Numbers;
use outcomes::OutcomeCounters;
use parking_lot::Mutex;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use store::{Inode, Store};

/// An epoch, and two until what was given up in it is free.
const ROUNDS: usize = 3;

/// What a tree's operations return. Not public: whoever takes everything of this module keeps the `Result` of the standard library.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Names an inode for good: the slot it lies in, and the generation of that slot. The same 64 bits
/// never name two inodes. They are the FUSE node id, and `st_ino` where nothing else was said ([`Tree::number`]).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(u64);

impl NodeId {
    /// The root of every tree.
    pub const ROOT: NodeId = NodeId(1);

    pub(crate) const fn new(slot: u32, generation: u32) -> NodeId {
        NodeId((generation as u64) << 32 | slot as u64)
    }

    /// The id in 64 bits that a client sent. Any value is allowed; one that names nothing is answered
    /// with `ESTALE` where it is used.
    pub const fn from_raw(raw: u64) -> NodeId {
        NodeId(raw)
    }

    /// The 64 bits.
    pub const fn raw(self) -> u64 {
        self.0
    }

    const fn slot(self) -> u32 {
        self.0 as u32
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A name resolved: the inode it leads to, and that inode's attributes of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The inode.
    pub id: NodeId,
    /// Its number, `st_ino`.
    pub ino: u64,
    /// Its attributes.
    pub attr: Attr,
}

/// A tree of directories in memory. See the [crate](crate).
///
/// `E` is what the user of the tree keeps with an inode, such as file contents: at most one value an
/// inode, made when it is first needed and dropped when the inode ends.
pub struct Tree<E: Send + Sync + 'static = ()> {
    store: Arc<Store<E>>,
    /// Keyed at random, so that nobody can choose names that collide.
    hasher: ahash::RandomState,
    /// Held by every rename between two directories: then the shape of the tree stands still, as far
    /// as directories are not made or removed. Taken before any directory's lock.
    rename_lock: CachePadded<Mutex<()>>,
    /// Held shared by everything that gives or takes a name, but for a load, and by [`InodeRef::update`]; threads then mostly
    /// write to lines of their own. The fallback of path operations holds it alone: then nothing on a path
    /// changes under it. So does a [`Survey`], for which sizes and times have to stay as well. Taken before every other lock.
    still: ShardedLock<()>,
    /// Of the no-reference operations.
    outcomes: OutcomeCounters,
    /// Of those that find an inode without a reference and take one.
    lookups: OutcomeCounters,
}

impl<E: Send + Sync + 'static> std::fmt::Debug for Tree<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("inodes", &self.inodes())
            .finish_non_exhaustive()
    }
}

impl<E: Send + Sync + 'static> Drop for Tree<E> {
    fn drop(&mut self) {
        // What waits for readers holds arrays of names, and nobody may come by for a long time.
        for _ in 0..ROUNDS {
            crossbeam_epoch::pin().flush();
        }
    }
}

impl Tree<()> {
    /// A tree without extensions whose root has the attributes `root`.
    ///
    /// # Panics
    /// If there is no memory for its first inode; [`Tree::with_extension`] returns an error instead.
    pub fn new(root: Attr) -> Tree<()> {
        Tree::with_extension(root).expect("memory for the first inode")
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// A tree whose root has the attributes `root`, but that it is a directory.
    ///
    /// # Errors
    /// `ENOSPC` without memory for the first slots.
    pub fn with_extension(root: Attr) -> Result<Tree<E>> {
        let store = Arc::new(Store::default());
        let attr = Attr {
            kind: Kind::Directory,
            ..root
        };
        let directory = store.directories.take().map_err(|_| Errno::NOSPC)?;
        store.directories.at(directory).begin(Up::Root);
        let (slot, _) = store.begin_inode(&attr, directory, 1, None, false)?;
        assert_eq!(u64::from(slot), NodeId::ROOT.raw());
        Ok(Tree {
            store,
            hasher: ahash::RandomState::new(),
            rename_lock: CachePadded::default(),
            still: ShardedLock::default(),
            outcomes: OutcomeCounters::default(),
            lookups: OutcomeCounters::default(),
        })
    }

    /// Has inodes show the numbers they are made with ([`NewInode::ino`]) instead of their node ids; the root shows `root`.
    /// To be called before anything else is made, and once.
    ///
    /// A number stays with its inode. Two inodes that are given the same one show the same.
    /// Without one an inode gets a number from the range of [`Tree::set_own_numbers`]; if there is none left, it shows 2^63 and the low
    /// 62 bits of its node id.
    ///
    /// # Errors
    /// `ENOSPC` without memory.
    pub fn number(&self, root: Option<NonZeroU64>) -> Result<()> {
        let numbers = self.store.numbers.get_or_init(Numbers::default);
        let given = numbers.give(NodeId::ROOT.slot(), root);
        given.then_some(()).ok_or(Errno::NOSPC)
    }

    /// Says which numbers nothing has that was, or will be, made with a number: they are for those that are
    /// made without one from now on, each for one. The first call counts, in a tree that shows numbers.
    ///
    /// # Panics
    /// If `range` is empty.
    pub fn set_own_numbers(&self, range: Range<u64>) {
        if let Some(numbers) = self.store.numbers.get() {
            numbers.set_own(range);
        }
    }

    /// Has `record` told of what was loaded and goes or changes. To be called before anything is; false if there is one.
    pub fn set_record(&self, record: Arc<dyn Record>) -> bool {
        self.store.record.set(record).is_ok()
    }

    /// How many inodes live, the root included.
    pub fn inodes(&self) -> u64 {
        self.store.living.load(Ordering::Relaxed)
    }

    /// How many names there are beyond the first of each inode: hard links.
    pub fn further_names(&self) -> u64 {
        self.store.further_names.load(Ordering::Relaxed)
    }

    /// Bytes of memory that inodes and names take, with all that belongs to them but extensions. Memory that was given
    /// up counts no more; the tree keeps it for others.
    pub fn memory(&self) -> u64 {
        self.store.memory()
    }

    /// The root.
    pub fn root(&self) -> InodeRef<'_, E> {
        match InodeRef::take(self, NodeId::ROOT.slot()) {
            Some(root) => root,
            None => unreachable!("the root does not die"),
        }
    }

    /// The inode `id` names.
    ///
    /// # Errors
    /// `ESTALE` if there is none.
    pub fn get(&self, id: NodeId) -> Result<InodeRef<'_, E>> {
        let (guard, slot, head) = self.pin_inode(id)?;
        let taken = self.store.life(slot).refs.get();
        drop(guard);
        taken
            .then(|| InodeRef::adopt_as(self, slot, &head))
            .ok_or(Errno::STALE)
    }

    /// Pins the epoch and finds the inode `id`: its slot is not reused under the guard.
    fn pin_inode(&self, id: NodeId) -> Result<(Guard, u32, Head)> {
        let inode = self.store.inodes.get(id.slot()).ok_or(Errno::STALE)?;
        loop {
            let guard = crossbeam_epoch::pin();
            if let Some(head) = inode.head() {
                let same = head.generation() == id.generation() && head.kind().is_some();
                return same.then_some((guard, id.slot(), head)).ok_or(Errno::STALE);
            }
            drop(guard);
            drop(inode.lock.lock());
        }
    }

    /// Announces a change, until the result is dropped. Not to be called by who holds one.
    fn change(&self) -> ShardedLockReadGuard<'_, ()> {
        self.still.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps such changes away until the result is dropped.
    fn keep_still(&self) -> ShardedLockWriteGuard<'_, ()> {
        self.still.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn name<'a>(&self, bytes: &'a [u8]) -> Result<Name<'a>> {
        Name::new(bytes, &self.hasher)
    }

    /// A name to be given or taken away.
    fn fresh_name<'a>(&self, bytes: &'a [u8]) -> Result<Name<'a>> {
        Name::fresh(bytes, &self.hasher)
    }

    /// The live dentry for `name` in the directory `slot`.
    #[inline(always)]
    fn find(&self, slot: u32, name: &Name<'_>, guard: &Guard) -> Option<u32> {
        let found = self.find_in(self.store.inode(slot), name, guard);
        found.map(|(index, _)| index)
    }

    /// The same with the dentry itself, in a directory already at hand.
    #[inline(always)]
    fn find_in(
        &self,
        directory: &Inode<E>,
        name: &Name<'_>,
        guard: &Guard,
    ) -> Option<(u32, &Dentry)> {
        for index in directory.table.groups(guard).values(name.hash()) {
            // A file and its first name are made together, so their slots are neighbours as long as
            // nothing was freed: mostly a good guess at where the dentry leads, and never more.
            self.store.inodes.prefetch(index + 1);
            let dentry = self.store.dentry(index);
            if dentry.is_named(name, &self.store.pieces) && dentry.live.is_live() {
                return Some((index, dentry));
            }
        }
        None
    }

    /// The same for a holder of the directory's lock, under which the dentry stays what it is.
    fn find_locked(&self, slot: u32, name: &Name<'_>) -> Option<u32> {
        self.find(slot, name, &crossbeam_epoch::pin())
    }

    /// How the no-reference operations ended so far, summed over all threads.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes.sums()
    }

    /// The same of those that find an inode and count that: [`Tree::lookup`], which raises what the client was told, and
    /// [`Tree::lookup_path`], which takes a reference. They write to the tree, and so are none of the others.
    pub fn lookups(&self) -> Outcomes {
        self.lookups.sums()
    }

    /// The counts of the inode `id`, for diagnosis: references held here, and how often the client was
    /// told of it.
    ///
    /// # Errors
    /// `ESTALE` if there is no such inode.
    pub fn counts(&self, id: NodeId) -> Result<(u64, u64)> {
        let (_guard, slot, _) = self.pin_inode(id)?;
        let life = self.store.life(slot);
        Ok((life.refs.count(), life.nlookup.count_in(self.store.era())))
    }
}
