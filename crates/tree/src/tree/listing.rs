//! What a directory contains, in an order that stays: what was made from the youngest on, then what was loaded.

use super::block::{self, Head};
use super::{Attr, InodeRef, Kind, NodeId, Result, Tree};
use std::ops::ControlFlow;

/// One name of a listing. The directory is locked, shared, as long as this lives.
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode it leads to.
    pub id: NodeId,
    /// That inode's number, `d_ino`.
    pub ino: u64,
    /// That inode's kind.
    pub kind: Kind,
    /// The position after this entry: a listing goes on from there, whatever was made or removed
    /// meanwhile. At least 3; 0 is the beginning, 1 and 2 are left for `.` and `..`.
    pub cookie: u64,
    /// The attributes, of one instant.
    pub attr: Attr,
    raise: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for DirEntry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirEntry")
            .field("name", &String::from_utf8_lossy(self.name))
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl DirEntry<'_> {
    /// Counts that the client is told of this inode once more, before the reply leaves.
    pub fn raise_lookup(&self) {
        let raised = (self.raise)();
        assert!(raised, "an inode with a name does not die");
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Calls `visit` for each name after position `from` until it breaks. `visit` must not call the
    /// tree, but through the entry.
    ///
    /// # Errors
    /// `ENOTDIR`.
    pub fn read_dir(
        &self,
        directory: &InodeRef<'_, E>,
        from: u64,
        mut visit: impl FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let names = self.directory(directory)?.names.read();
        for (cookie, index) in names.after(from) {
            let dentry = self.store.dentry(index);
            let slot = dentry.inode();
            let words = self.store.inode(slot).words();
            let head = Head::of(&words);
            let id = NodeId::new(slot, head.generation());
            let entry = DirEntry {
                name: &dentry.name(&self.store.pieces),
                id,
                ino: self.store.ino(id),
                kind: head.kind().unwrap_or(Kind::Regular),
                cookie: cookie.into(),
                attr: block::decode(&words),
                raise: &|| self.store.tell(slot),
            };
            if visit(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}
