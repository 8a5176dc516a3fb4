//! A referenced inode.

use super::block::{self, Head, WORDS};
use super::path::LinkTarget;
use super::store::Inode;
use super::{Attr, Entry, Ext, Kind, NodeId, Result, Seed, Tree};
use crate::sync::{Holding, Lifetime};
use rustix::io::Errno;
use std::sync::atomic::Ordering;

/// An inode that is not freed as long as this lives: one reference of its reference word.
///
/// This is what the no-reference operations avoid. Work that changes something holds one. It cannot outlive
/// its tree:
///
/// ```compile_fail,E0597
/// use norefs_tree::{Attr, Tree};
///
/// let root;
/// {
///     let tree = Tree::new(Attr::default());
///     root = tree.root();
/// }
/// drop(root);
/// ```
pub struct InodeRef<'t, E: Send + Sync + 'static = ()> {
    pub(super) tree: &'t Tree<E>,
    pub(super) slot: u32,
    generation: u32,
    kind: Kind,
    aux: u32,
}

impl<E: Send + Sync + 'static> std::fmt::Debug for InodeRef<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InodeRef").field(&self.id()).finish()
    }
}

impl<E: Send + Sync + 'static> Clone for InodeRef<'_, E> {
    fn clone(&self) -> Self {
        let referenced = self.life().refs.get();
        assert!(referenced, "a held inode does not die");
        InodeRef { ..*self }
    }
}

impl<E: Send + Sync + 'static> Drop for InodeRef<'_, E> {
    fn drop(&mut self) {
        if self.life().put_ref(&self.inode().links) {
            self.tree.store.reap(self.slot, self.generation);
        }
    }
}

impl<'t, E: Send + Sync + 'static> InodeRef<'t, E> {
    /// Takes charge of a reference that was already taken on `slot`.
    pub(super) fn adopt(tree: &'t Tree<E>, slot: u32) -> InodeRef<'t, E> {
        let head = Head::of(&tree.store.inode(slot).words());
        InodeRef::adopt_as(tree, slot, &head)
    }

    /// The same for a caller that has read the head in the same life of the slot.
    #[inline]
    pub(super) fn adopt_as(tree: &'t Tree<E>, slot: u32, head: &Head) -> InodeRef<'t, E> {
        InodeRef {
            tree,
            slot,
            generation: head.generation(),
            kind: head.kind().unwrap_or(Kind::Regular),
            aux: head.aux(),
        }
    }

    /// Takes a reference on `slot` if it lives. The caller makes sure that the slot is not reused
    /// meanwhile: it holds the epoch, or the lock of a directory with a name that leads there.
    #[inline]
    pub(super) fn take(tree: &'t Tree<E>, slot: u32) -> Option<InodeRef<'t, E>> {
        let taken = tree.store.life(slot).refs.get();
        taken.then(|| InodeRef::adopt(tree, slot))
    }

    fn life(&self) -> &'t Lifetime {
        self.tree.store.life(self.slot)
    }

    pub(super) fn inode(&self) -> &'t Inode<E> {
        self.tree.store.inode(self.slot)
    }

    /// The slot in the slab of this inode's kind.
    pub(super) fn aux(&self) -> u32 {
        self.aux
    }

    /// The id a client knows this inode by.
    pub fn id(&self) -> NodeId {
        NodeId::new(self.slot, self.generation)
    }

    /// Its number, `st_ino`, which never changes.
    pub fn ino(&self) -> u64 {
        self.tree.store.ino(self.id())
    }

    /// What `stat` reports.
    pub fn entry(&self) -> Entry {
        Entry {
            id: self.id(),
            ino: self.ino(),
            attr: self.attr(),
        }
    }

    /// The same, where the block holds `words`.
    pub(super) fn entry_of(&self, words: &[u64; WORDS]) -> Entry {
        Entry {
            id: self.id(),
            ino: self.ino(),
            attr: block::decode(words),
        }
    }

    /// The kind, which never changes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The attributes of one instant.
    pub fn attr(&self) -> Attr {
        block::decode(&self.inode().words())
    }

    /// How many names inside the tree lead here.
    pub fn links(&self) -> u32 {
        self.inode().links.load(Ordering::Relaxed)
    }

    /// The target of a symbolic link; `None` for every other kind.
    pub fn target(&self) -> Option<Vec<u8>> {
        self.with_target(<[u8]>::to_vec)
    }

    /// Copies the target of a symbolic link into `out`.
    ///
    /// # Errors
    /// `EINVAL` for every other kind.
    pub fn read_target(&self, out: &mut LinkTarget) -> Result<()> {
        out.clear();
        let copied = self.with_target(|target| out.try_extend_from_slice(target).is_ok());
        copied.unwrap_or(false).then_some(()).ok_or(Errno::INVAL)
    }

    fn with_target<T>(&self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.kind != Kind::Symlink {
            return None;
        }
        let guard = crossbeam_epoch::pin();
        let link = self.tree.store.links.at(self.aux);
        link.target.get(&guard).map(|target| read(target))
    }

    /// The extension, or what it is to be made from.
    pub fn ext(&self) -> Ext<&E> {
        // SAFETY: the extension is taken out when the inode ends, which this reference prevents.
        match unsafe { self.inode().ext.get_owned() } {
            Holding::Nothing => Ext::None,
            Holding::Seed(bits) => Ext::Seed(Seed::new(self.aux, bits)),
            Holding::Value(ext) => Ext::Made(ext),
        }
    }

    /// The extension. `make` is called if there is none, with the seed if there is one; of several that
    /// come at once one is kept.
    pub fn ext_or_insert_with(&self, make: impl FnOnce(Option<Seed>) -> E) -> &E {
        let seed = match self.ext() {
            Ext::Made(ext) => return ext,
            Ext::Seed(seed) => Some(seed),
            Ext::None => None,
        };
        self.inode().ext.set(make(seed));
        match self.ext() {
            Ext::Made(ext) => ext,
            _ => unreachable!("an extension stays until its inode ends"),
        }
    }

    /// Changes the attributes as one step for every reader; nothing changes if `change` fails. Gives
    /// what `change` gave, and the attributes afterwards.
    ///
    /// The kind stays as it is, whatever `change` does, and `rdev` has to. `change` runs under the inode's
    /// lock and must not call the tree.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn update<T>(&self, change: impl FnOnce(&mut Attr) -> Result<T>) -> Result<(T, Attr)> {
        let _change = self.tree.change();
        let edited = self.tree.store.edit(self.slot, change)?;
        self.tree.store.tell_edited(self.id());
        Ok(edited)
    }

    /// As [`InodeRef::update`], for what is no change of the inode to anybody but the caller: no [`Witness`](super::Witness) is told.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn note<T>(&self, change: impl FnOnce(&mut Attr) -> Result<T>) -> Result<(T, Attr)> {
        let _change = self.tree.change();
        self.tree.store.edit(self.slot, change)
    }

    /// As [`InodeRef::update`], for a load: it describes what the inode is instead of changing it, and tells nobody.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn describe(&self, change: impl FnOnce(&mut Attr) -> Result<()>) -> Result<()> {
        let _change = self.tree.change();
        self.tree.store.describe(self.slot, change)
    }

    /// Whether a load brought the inode, and nobody changed it since.
    pub fn is_as_loaded(&self) -> bool {
        block::is_as_loaded(&self.inode().words())
    }

    /// Counts that the client is told of this inode once more; [`Tree::forget`] takes it back. To be
    /// called before the reply that tells it leaves.
    ///
    /// # Errors
    /// `ESTALE` if the inode lost its last name and was forgotten meanwhile.
    pub fn raise_lookup(&self) -> Result<()> {
        let raised = self.tree.store.tell(self.slot);
        raised.then_some(()).ok_or(Errno::STALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{NewInode, Time};

    #[test]
    fn no_update_makes_another_kind_of_an_inode() {
        let directory = Attr::new(Kind::Directory, 0o755, 0, 0, Time::default());
        let tree = Tree::new(directory);
        let new = NewInode::plain(Attr::new(Kind::Regular, 0o644, 0, 0, Time::default()));
        let file = tree.create(&tree.root(), b"f", new, None).unwrap();
        let changed = file.update(|attr| {
            attr.kind = Kind::Symlink;
            attr.perm = u16::MAX;
            Ok(())
        });
        assert_eq!(changed.unwrap().1.kind, Kind::Regular);
        assert_eq!(
            tree.get(file.id()).map(|file| file.attr().mode()),
            Ok(0o107777)
        );
        let mut target = LinkTarget::new();
        assert_eq!(
            tree.readlink_node(file.id(), &mut target),
            Err(Errno::INVAL)
        );
    }
}
