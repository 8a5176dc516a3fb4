//! Finding inodes, and what the client remembers of them.

use super::{Caller, Fs};
use crate::fs::Result;
use crate::tree::{Entry, Errno, Mask, NodeId};

impl Fs {
    /// The child `name` of `parent`; raises its nlookup by one. `None`: there is no such name.
    ///
    /// `"."` and `".."` are answered too, and to anybody, as file handles need it (who may use those has been checked), and `"."`
    /// of any kind of inode. Whoever asks for `"."` holds nothing but a number, so an inode without a name, which ends once it
    /// is forgotten, is gone for it.
    ///
    /// # Errors
    /// ENOTDIR, ENAMETOOLONG, EACCES, ESTALE for an unknown parent; for `".."` ENOENT if the directory was removed.
    pub fn lookup(&self, caller: &Caller, parent: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        if !matches!(name, b"." | b"..") {
            self.may(caller, parent, Mask::EXECUTE)?;
            return self.tree.lookup(parent, name);
        }
        let mut inode = self.get(parent)?;
        if name == b".." {
            inode = self.tree.parent(&inode)?;
        } else if inode.links() == 0 {
            return Err(Errno::STALE);
        }
        inode.raise_lookup()?;
        Ok(Some(inode.entry()))
    }

    /// Takes `n` lookups of `id` back. An inode without lookups and names is freed.
    pub fn forget(&self, id: NodeId, n: u64) {
        if !self.tree.forget(id, n) {
            tracing::debug!(id = id.raw(), n, "FORGET of lookups that were never given");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, USER};

    #[test]
    fn a_missing_name_is_an_answer_and_an_unknown_parent_is_not() {
        let bed = Bed::new();
        let lookup = |parent, name| bed.fs.lookup(&USER, parent, name);
        assert!(lookup(bed.root(), b"none").unwrap().is_none());
        let file = bed.file("f");
        assert_eq!(lookup(bed.root(), b"f").unwrap().unwrap().id, file);
        assert_eq!(lookup(file, b"x").err(), Some(Errno::NOTDIR));
        assert_eq!(
            lookup(NodeId::from_raw(0xdead_beef), b"x").err(),
            Some(Errno::STALE)
        );
        let long = [b'x'; 256];
        assert_eq!(lookup(bed.root(), &long).err(), Some(Errno::NAMETOOLONG));
    }

    #[test]
    fn dots_lead_to_the_directory_and_its_parent_and_count_as_lookups() {
        let bed = Bed::new();
        let a = bed.dir("a");
        let dot = bed.fs.lookup(&USER, a, b".").unwrap().unwrap();
        let up = bed.fs.lookup(&USER, a, b"..").unwrap().unwrap();
        let top = bed.fs.lookup(&USER, bed.root(), b"..").unwrap().unwrap();
        assert_eq!((dot.id, up.id, top.id), (a, bed.root(), bed.root()));
        bed.fs.rmdir(&USER, bed.root(), b"a").unwrap().deliver(drop);
        let gone = |name| bed.fs.lookup(&USER, a, name).err();
        assert_eq!(
            (gone(b"."), gone(b"..")),
            (Some(Errno::STALE), Some(Errno::NOENT))
        );
        bed.fs.forget(a, 1);
        assert_eq!(bed.fs.getattr(a).unwrap().nlink, 0);
        bed.fs.forget(a, 1);
        assert_eq!(bed.fs.getattr(a).err(), Some(Errno::STALE));
    }
}
