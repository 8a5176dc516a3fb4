//! Names that go.

use super::name::Name;
use super::store::Store;
use super::writer::Writer;
use super::{Errno, InodeRef, Kind, Result, Time, Tree};
use crate::sync::Up;

impl<E: Send + Sync + 'static> Tree<E> {
    /// Removes the name `name` from `parent` and returns the inode that had it.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`; `EINVAL` for a name nothing can have; `EISDIR` for a directory.
    pub fn unlink<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
    ) -> Result<InodeRef<'t, E>> {
        let name = self.fresh_name(name)?;
        let _change = self.change();
        let mut names = Writer::lock(self, parent)?;
        let (dentry, child) = self.named(&names, &name)?;
        if child.kind() == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        self.store.dentry(dentry).live.kill();
        self.take_away(&mut names, dentry, &name, &child, now);
        Ok(child)
    }

    /// Removes the empty directory `name` from `parent` and returns it.
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`; `EINVAL` for a name nothing can have; `ENOTDIR` if it is none; `ENOTEMPTY`.
    pub fn rmdir<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
    ) -> Result<InodeRef<'t, E>> {
        self.remove_directory(parent, name, now, |child| self.kill_empty(child))
    }

    /// Removes the directory `name` from `parent` with everything below it, and returns it. The name
    /// goes at once; what was below goes afterwards, one directory after the other and without recursion.
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`; `EINVAL` for a name nothing can have; `ENOTDIR` if it is none.
    pub fn remove_tree<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
    ) -> Result<InodeRef<'t, E>> {
        let removed =
            self.remove_directory(parent, name, now, |child| self.directory(child).map(|_| ()))?;
        let mut directories = vec![removed.clone()];
        while let Some(directory) = directories.pop() {
            for dentry in self.empty(&directory, &mut directories)? {
                let _change = self.change();
                if let Some(child) = InodeRef::take(self, self.store.dentry(dentry).inode()) {
                    self.lose_name(&child, now);
                }
                self.store.retire_dentry(dentry, &crossbeam_epoch::pin());
            }
        }
        Ok(removed)
    }

    /// Takes all names from a directory that was removed, for good, and collects the directories that had
    /// them. Gives the dentries, which are dead and to be retired.
    fn empty<'t>(
        &'t self,
        removed: &InodeRef<'t, E>,
        below: &mut Vec<InodeRef<'t, E>>,
    ) -> Result<Vec<u32>> {
        let _change = self.change();
        let mut names = self.directory(removed)?.names.write();
        names.die();
        names.used_cells = 0;
        let listing = names.bytes();
        let dentries = names.drain();
        self.store.count(listing, names.bytes());
        for dentry in &dentries {
            let dentry = self.store.dentry(*dentry);
            dentry.live.kill();
            if dentry.is_loaded() {
                let name = dentry.name(&self.store.pieces);
                self.store.tell_gone(removed.slot, &name, dentry.inode());
            }
            if let Some(child) = InodeRef::take(self, dentry.inode())
                && let Ok(directory) = self.directory(&child)
            {
                directory.up.set(Up::Removed);
                below.push(child);
            }
        }
        // Under the lock, so that nobody who holds it later finds a dentry that is being retired.
        let table = removed.inode().table.clear();
        self.store.count(table.bytes(), 0);
        Store::<E>::retire_table(table, &crossbeam_epoch::pin());
        Ok(dentries)
    }

    fn remove_directory<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
        check: impl FnOnce(&InodeRef<'t, E>) -> Result<()>,
    ) -> Result<InodeRef<'t, E>> {
        let name = self.fresh_name(name)?;
        let _change = self.change();
        let mut names = Writer::lock(self, parent)?;
        let (dentry, child) = self.named(&names, &name)?;
        check(&child)?;
        // Whoever reads that `..` leads nowhere must find the name dead: kill first.
        self.store.dentry(dentry).live.kill();
        self.directory(&child)?.up.set(Up::Removed);
        self.take_away(&mut names, dentry, &name, &child, now);
        Ok(child)
    }

    /// Makes an empty directory refuse new names for ever.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOTEMPTY`.
    pub(super) fn kill_empty(&self, directory: &InodeRef<'_, E>) -> Result<()> {
        let mut names = self.directory(directory)?.names.write();
        if names.len() > 0 {
            return Err(Errno::NOTEMPTY);
        }
        names.die();
        Ok(())
    }

    fn named<'t>(
        &'t self,
        names: &Writer<'t, E>,
        name: &Name<'_>,
    ) -> Result<(u32, InodeRef<'t, E>)> {
        let dentry = names.find(name).ok_or(Errno::NOENT)?;
        let child = InodeRef::take(self, self.store.dentry(dentry).inode());
        Ok((dentry, child.ok_or(Errno::NOENT)?))
    }

    /// What follows the death of a dentry: table, listing, attributes, memory.
    fn take_away(
        &self,
        names: &mut Writer<'_, E>,
        dentry: u32,
        name: &Name<'_>,
        child: &InodeRef<'_, E>,
        now: Time,
    ) {
        let directories = -i32::from(child.kind() == Kind::Directory);
        names.withdraw(dentry, name);
        names.touch(now, -1, directories);
        self.lose_name(child, now);
        let below = child.kind() == Kind::Directory;
        self.store
            .tell_named(names.slot, name.as_bytes(), child.id(), below);
        names.tidy();
        self.store.retire_dentry(dentry, &crossbeam_epoch::pin());
    }

    /// Counts that `child` has one name less. The reference held ends it if need be.
    pub(super) fn lose_name(&self, child: &InodeRef<'_, E>, now: Time) {
        self.store.touch(child.slot, |attr| {
            let left = self.uncount_link(child);
            attr.nlink = match left {
                0 => 0,
                _ => attr.nlink.saturating_sub(1).max(left),
            };
            attr.ctime = now;
        });
        if child.links() > 0 {
            self.store.tell_edited(child.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, NewInode, NodeId};
    use parking_lot::Mutex;
    use std::sync::{Arc, Weak};

    /// Looks, when its file ends, which names are left in a directory.
    struct Looks {
        tree: Weak<Tree<Looks>>,
        directory: NodeId,
        left: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let Some(tree) = self.tree.upgrade() else {
                return;
            };
            let directory = tree.get(self.directory).unwrap();
            for name in [&b"a"[..], b"b", b"c"] {
                if tree.child(&directory, name).is_ok() {
                    self.left.lock().push(name.to_vec());
                }
            }
        }
    }

    #[test]
    fn a_directory_of_a_removed_tree_loses_all_names_at_once() {
        let directory = Attr::new(Kind::Directory, 0o755, 0, 0, Time::default());
        let tree = Arc::new(Tree::with_extension(directory).unwrap());
        let (root, left) = (tree.root(), Arc::default());
        let top = tree.create(&root, b"top", NewInode::plain(directory), None);
        let top = top.unwrap();
        for name in [&b"a"[..], b"b", b"c"] {
            let ext = Looks {
                tree: Arc::downgrade(&tree),
                directory: top.id(),
                left: Arc::clone(&left),
            };
            let new = NewInode {
                ext: Some(ext),
                ..NewInode::plain(Attr::default())
            };
            tree.create(&top, name, new, None).unwrap();
        }
        tree.remove_tree(&root, b"top", Time::default()).unwrap();
        assert!(left.lock().is_empty(), "left: {:?}", left.lock());
        assert_eq!(tree.inodes(), 2, "the root, and what is held here");
    }
}
