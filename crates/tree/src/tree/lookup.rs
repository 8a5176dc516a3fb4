//! One name in one directory, and what the client remembers of it.

use super::block::{self, Head};
use super::name::Name;
use super::noref::ATTEMPTS;
use super::outcomes::Outcome;
use super::{Entry, Errno, InodeRef, NodeId, Result, Tree};
use crate::sync::Up;
use crossbeam_epoch::Guard;

/// Why an attempt must be repeated.
type Retry = Outcome;

impl<E: Send + Sync + 'static> Tree<E> {
    /// Finds `name` in the directory `parent` and counts that the client is told of the child
    /// ([`Tree::forget`] takes it back). `None`: there is no such name, and that was validated.
    ///
    /// `.` and `..` are names like others here, which nothing can have: see [`Tree::parent`].
    ///
    /// # Errors
    /// `ESTALE` (no inode `parent`), `ENOTDIR`, `ENAMETOOLONG`.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        let name = self.name(name)?;
        for _ in 0..ATTEMPTS {
            let (guard, slot, head) = self.pin_inode(parent)?;
            if !head.is_directory() {
                self.lookups.count(Outcome::FastError);
                return Err(Errno::NOTDIR);
            }
            match self.try_lookup(slot, &head, &name, &guard) {
                Ok(found) => {
                    self.lookups.count(Outcome::Fast);
                    return Ok(found);
                }
                Err(cause) => self.lookups.count(cause),
            }
        }
        self.lookups.count(Outcome::Slow);
        self.lookup_locked(&self.get(parent)?, &name)
    }

    /// The same under the directory's lock: there the child keeps its name until all is told of it.
    fn lookup_locked(&self, parent: &InodeRef<'_, E>, name: &Name<'_>) -> Result<Option<Entry>> {
        let directory = self.directory(parent)?;
        let _names = directory.names.read();
        let Some(dentry) = self.find_locked(parent.slot, name) else {
            return Ok(None);
        };
        let child = InodeRef::take(self, self.store.dentry(dentry).inode()).ok_or(Errno::STALE)?;
        child.raise_lookup()?;
        Ok(Some(child.entry()))
    }

    fn try_lookup(
        &self,
        parent: u32,
        head: &Head,
        name: &Name<'_>,
        guard: &Guard,
    ) -> std::result::Result<Option<Entry>, Retry> {
        let Some(index) = self.find_or_miss(parent, head, name, guard)? else {
            return Ok(None);
        };
        let dentry = self.store.dentry(index);
        let slot = dentry.inode();
        if !self.store.tell(slot) {
            return Err(Retry::RetryEdge);
        }
        failpoint!(BeforeEdgeValidate);
        let read = self.store.inode(slot).block.read();
        let retry = match read {
            // The slot stays in this life: its `nlookup` was raised.
            Some((words, _)) if dentry.live.is_live() => {
                let id = NodeId::new(slot, Head::of(&words).generation());
                return Ok(Some(Entry {
                    id,
                    ino: self.store.ino(id),
                    attr: block::decode(&words),
                }));
            }
            Some(_) => Retry::RetryEdge,
            None => Retry::RetryAttr,
        };
        if self.store.forget(slot, 1) == Some(true) {
            self.store.reap_pinned(slot, guard);
        }
        Err(retry)
    }

    /// The dentry for `name`, or a validated miss. The first probe tells nothing of renames, so a miss is
    /// repeated between two looks at the rename sequence; only a miss pays for that.
    fn find_or_miss(
        &self,
        parent: u32,
        head: &Head,
        name: &Name<'_>,
        guard: &Guard,
    ) -> std::result::Result<Option<u32>, Retry> {
        if let Some(found) = self.find(parent, name, guard) {
            return Ok(Some(found));
        }
        let renames = &self.store.directories.at(head.aux()).renames;
        failpoint!(BeforeStamp);
        let stamp = renames.stamp().ok_or(Retry::RetryRename)?;
        failpoint!(BeforeSecondProbe);
        if let Some(found) = self.find(parent, name, guard) {
            return Ok(Some(found));
        }
        failpoint!(BeforeMissValidate);
        let same = renames.is(stamp);
        same.then_some(None).ok_or(Retry::RetryRename)
    }

    /// Takes `n` off what the client was told of `id`. False if there is no such inode or the client
    /// was never told so often: then nothing is changed.
    pub fn forget(&self, id: NodeId, n: u64) -> bool {
        let Ok((guard, slot, _)) = self.pin_inode(id) else {
            return false;
        };
        let forgotten = self.store.forget(slot, n);
        drop(guard);
        if forgotten == Some(true) {
            self.store.reap(slot, id.generation());
        }
        forgotten.is_some()
    }

    /// The child `name` of `parent`, under the directory's lock.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub fn child(&self, parent: &InodeRef<'_, E>, name: &[u8]) -> Result<InodeRef<'_, E>> {
        self.child_named(parent, &self.name(name)?)
    }

    pub(super) fn child_named(
        &self,
        parent: &InodeRef<'_, E>,
        name: &Name<'_>,
    ) -> Result<InodeRef<'_, E>> {
        let directory = self.directory(parent)?;
        let _names = directory.names.read();
        let dentry = self.find_locked(parent.slot, name).ok_or(Errno::NOENT)?;
        InodeRef::take(self, self.store.dentry(dentry).inode()).ok_or(Errno::NOENT)
    }

    /// The directory that `directory` is in; the root's is the root.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` if `directory` was removed.
    pub fn parent(&self, directory: &InodeRef<'_, E>) -> Result<InodeRef<'_, E>> {
        for _ in 0..ATTEMPTS {
            let guard = crossbeam_epoch::pin();
            let index = match self.directory(directory)?.up.get() {
                Up::Root => return Ok(self.root()),
                Up::Removed => return Err(Errno::NOENT),
                Up::Name(index) => index,
            };
            let dentry = self.store.dentry(index);
            let taken = self.store.life(dentry.parent()).refs.get();
            let (slot, live) = (dentry.parent(), dentry.live.is_live());
            drop(guard);
            if taken {
                let parent = InodeRef::adopt(self, slot);
                if live {
                    return Ok(parent);
                }
            }
        }
        // Without renames between directories the parent stays the same, whatever dentry leads here.
        let _still = self.rename_lock.lock();
        self.parent_under_rename_lock(directory)
    }

    pub(super) fn parent_under_rename_lock(
        &self,
        directory: &InodeRef<'_, E>,
    ) -> Result<InodeRef<'_, E>> {
        let guard = crossbeam_epoch::pin();
        let slot = match self.directory(directory)?.up.get() {
            Up::Root => NodeId::ROOT.slot(),
            Up::Removed => return Err(Errno::NOENT),
            Up::Name(index) => self.store.dentry(index).parent(),
        };
        let taken = self.store.life(slot).refs.get();
        drop(guard);
        taken
            .then(|| InodeRef::adopt(self, slot))
            .ok_or(Errno::NOENT)
    }

    /// The directory slot of `inode`.
    ///
    /// # Errors
    /// `ENOTDIR`; `EXDEV` for an inode of another tree.
    pub(super) fn directory(
        &self,
        inode: &InodeRef<'_, E>,
    ) -> Result<&super::directory::Directory> {
        self.owns(inode)?;
        match inode.kind() {
            super::Kind::Directory => Ok(self.store.directories.at(inode.aux())),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Refuses an inode of another tree, whose slots mean something else here.
    pub(super) fn owns(&self, inode: &InodeRef<'_, E>) -> Result<()> {
        let ours = std::ptr::eq(self, inode.tree);
        ours.then_some(()).ok_or(Errno::XDEV)
    }
}
