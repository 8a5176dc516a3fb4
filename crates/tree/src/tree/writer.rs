//! A directory locked for changing its names.

use super::directory::{Directory, Names};
use super::name::Name;
use super::store::Store;
use super::{Errno, InodeRef, Result, Time, Tree};
use parking_lot::RwLockWriteGuard;

/// How much `st_size` of a directory changes with one entry, as on tmpfs.
pub const DIRENT_SIZE: u64 = 20;

/// A table for so many names is not worth making a smaller one.
const FEW: usize = 64;

/// The directory, its lock held exclusively. Locks are taken from the root downwards; see
/// [`rename`](super::rename) for two at once.
pub(super) struct Writer<'t, E: Send + Sync + 'static> {
    pub(super) tree: &'t Tree<E>,
    pub(super) slot: u32,
    pub(super) directory: &'t Directory,
    pub(super) names: RwLockWriteGuard<'t, Names>,
    /// Which of the names that are loaded comes next, if that is known.
    pub(super) at: Option<u32>,
}

/// Where a name that appears is listed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// Where nobody who lists now comes to.
    New,
    /// As [`Writer::at`] says, or behind what was loaded before.
    Loaded,
    /// In place of this dentry, which is in the same directory and dead.
    Of(u32),
}

impl<'t, E: Send + Sync + 'static> Writer<'t, E> {
    /// Locks `parent`.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` if the directory was removed.
    pub(super) fn lock(tree: &'t Tree<E>, parent: &InodeRef<'t, E>) -> Result<Writer<'t, E>> {
        let directory = tree.directory(parent)?;
        let names = directory.names.write();
        if names.is_dead() {
            return Err(Errno::NOENT);
        }
        Ok(Writer {
            tree,
            slot: parent.slot,
            directory,
            names,
            at: None,
        })
    }

    /// The dentry for `name`.
    pub(super) fn find(&self, name: &Name<'_>) -> Option<u32> {
        self.tree.find_locked(self.slot, name)
    }

    /// Makes room for `more` dentries, so that publishing them cannot fail.
    ///
    /// # Errors
    /// `ENOSPC`; nothing changed.
    pub(super) fn reserve(&mut self, more: usize) -> Result<()> {
        let names = &mut *self.names;
        if names.is_full(more) {
            let store = &self.tree.store;
            names.renumber(|dentry, cookie| store.dentry(dentry).set_cookie(cookie));
        }
        let listing = names.bytes();
        let reserved = names.reserve(more);
        self.tree.store.count(listing, names.bytes());
        if !reserved {
            return Err(Errno::NOSPC);
        }
        let table = &self.tree.store.inode(self.slot).table;
        let capacity = table.capacity();
        if names.used_cells as usize + more > capacity {
            let need = names.len() + more;
            // At least half full of live names: grow. Else it is tombs that fill it: shrink.
            let want = if need > capacity / 2 {
                need.max(capacity + 1)
            } else {
                need
            };
            self.rebuild(want)?;
        }
        Ok(())
    }

    /// Gives the directory a table for `want` names; ENOSPC.
    fn rebuild(&mut self, want: usize) -> Result<()> {
        let (store, guard) = (&self.tree.store, crossbeam_epoch::pin());
        let table = &store.inode(self.slot).table;
        let retired = table.rebuild(want, &guard).map_err(|_| Errno::NOSPC)?;
        store.count(retired.bytes(), table.bytes());
        Store::<E>::retire_table(retired, &guard);
        self.names.used_cells = self.names.len() as u32;
        Ok(())
    }

    /// Gives back what the directory keeps for more names after most of them went. Nothing may be reserved.
    pub(super) fn tidy(&mut self) {
        let capacity = self.tree.store.inode(self.slot).table.capacity();
        if capacity <= FEW || self.names.len() > capacity / 8 {
            return;
        }
        let listing = self.names.bytes();
        self.names.tidy();
        self.tree.store.count(listing, self.names.bytes());
        // Without memory for a smaller table the larger one stays.
        self.rebuild(self.names.len() * 2).unwrap_or_default();
    }

    /// Makes a dentry that is live and in no table yet reachable, at this place of the listing. Room was reserved.
    pub(super) fn publish(&mut self, dentry: u32, name: &Name<'_>, place: Position) {
        let store = &self.tree.store;
        let cookie = match place {
            Position::New => self.names.push(dentry),
            Position::Loaded => self.names.push_loaded(dentry, self.at.take()),
            Position::Of(old) => {
                let cookie = store.dentry(old).cookie();
                self.names.put_in_place(dentry, (old, cookie));
                cookie
            }
        };
        let loaded = matches!(place, Position::Loaded);
        store.dentry(dentry).set_place(cookie, loaded);
        let guard = crossbeam_epoch::pin();
        let table = &self.tree.store.inode(self.slot).table;
        let reused = table.insert(name.hash(), dentry, &guard);
        self.names.used_cells += u32::from(!reused);
    }

    /// Takes a dead dentry out of table and listing. The caller retires it once nothing leads to it.
    pub(super) fn withdraw(&mut self, dentry: u32, name: &Name<'_>) {
        let store = &self.tree.store;
        if store.dentry(dentry).is_loaded() {
            let inode = store.dentry(dentry).inode();
            store.tell_gone(self.slot, name.as_bytes(), inode);
        }
        self.withdraw_untold(dentry, name);
    }

    /// The same, and nobody is told that a name of the source is gone: it is so there too.
    pub(super) fn withdraw_untold(&mut self, dentry: u32, name: &Name<'_>) {
        let guard = crossbeam_epoch::pin();
        let table = &self.tree.store.inode(self.slot).table;
        let removed = table.remove(name.hash(), dentry, &guard);
        assert!(removed, "a dentry that stays in a table is not retired");
        let cookie = self.tree.store.dentry(dentry).cookie();
        let listing = self.names.bytes();
        self.names.remove(dentry, cookie);
        self.tree.store.count(listing, self.names.bytes());
    }

    /// Moves the directory's own attributes after a change of its names: `entries` more names,
    /// `directories` of them directories.
    pub(super) fn touch(&self, now: Time, entries: i64, directories: i32) {
        self.tree.store.touch(self.slot, |attr| {
            attr.mtime = now;
            attr.ctime = now;
            attr.nlink = attr.nlink.saturating_add_signed(directories);
            attr.size = attr
                .size
                .saturating_add_signed(entries * DIRENT_SIZE as i64);
        });
    }
}
