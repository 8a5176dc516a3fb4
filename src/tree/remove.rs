//! Names that go.

use super::directory::Up;
use super::name::Name;
use super::writer::Writer;
use super::{Errno, InodeRef, Kind, Result, Time, Tree};
use crate::sync::Lifetime;

/// How many dentries of a removed subtree are freed in one go.
const CHUNK: usize = 1024;

impl<E: Send + Sync + 'static> Tree<E> {
    /// Removes the name `name` from `parent` and returns the inode that had it.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`; `EISDIR` for a directory.
    pub fn unlink<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
    ) -> Result<InodeRef<'t, E>> {
        let name = self.name(name)?;
        let _change = self.change();
        let mut names = Writer::lock(parent)?;
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
    /// `ENOENT`, `ENAMETOOLONG`; `ENOTDIR` if it is none; `ENOTEMPTY`.
    pub fn rmdir<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
    ) -> Result<InodeRef<'t, E>> {
        self.remove_directory(parent, name, now, |child| self.kill_empty(child))
    }

    /// Removes the directory `name` from `parent` with everything below it, and returns it. The name
    /// goes at once; what was below is freed afterwards, in chunks and without recursion.
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`; `ENOTDIR` if it is none.
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
            let dentries = {
                let mut names = self.directory(&directory)?.names.write();
                names.dead = true;
                names.used_cells = 0;
                names.drain()
            };
            for chunk in dentries.chunks(CHUNK) {
                self.free_names(chunk, now, &mut directories);
            }
            let guard = crossbeam_epoch::pin();
            let table = directory.inode().table.clear();
            guard.defer(move || drop(table));
        }
        Ok(removed)
    }

    /// Ends `dentries` of a directory that is dead, and collects the directories among them.
    fn free_names<'t>(
        &'t self,
        dentries: &[u32],
        now: Time,
        directories: &mut Vec<InodeRef<'t, E>>,
    ) {
        let guard = crossbeam_epoch::pin();
        for slot in dentries {
            let dentry = self.store.dentry(*slot);
            dentry.live.kill();
            if let Some(child) = InodeRef::take(self, dentry.inode()) {
                if let Ok(directory) = self.directory(&child) {
                    directory.set_up(Up::Removed);
                    directories.push(child.clone());
                }
                self.lose_name(&child, now);
            }
            self.store.retire_dentry(*slot, &guard);
        }
    }

    fn remove_directory<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Time,
        check: impl FnOnce(&InodeRef<'t, E>) -> Result<()>,
    ) -> Result<InodeRef<'t, E>> {
        let name = self.name(name)?;
        let _change = self.change();
        let mut names = Writer::lock(parent)?;
        let (dentry, child) = self.named(&names, &name)?;
        check(&child)?;
        // Whoever reads that `..` leads nowhere must find the name dead: kill first.
        self.store.dentry(dentry).live.kill();
        self.directory(&child)?.set_up(Up::Removed);
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
        names.dead = true;
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
        self.store.retire_dentry(dentry, &crossbeam_epoch::pin());
    }

    /// Counts that `child` has one name less. The reference held ends it if need be.
    pub(super) fn lose_name(&self, child: &InodeRef<'_, E>, now: Time) {
        let links = &child.inode().links;
        child.inode().touch(|attr| {
            let left = Lifetime::drop_link(links);
            attr.nlink = match left {
                0 => 0,
                _ => attr.nlink.saturating_sub(1).max(left),
            };
            attr.ctime = now;
        });
    }
}
