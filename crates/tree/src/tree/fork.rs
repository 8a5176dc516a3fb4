//! A tree in a process that began as a copy of another one (fork(2)): everything is as it was, but that the client that was told of
//! inodes is the other process's.

use super::block::Head;
use super::{NodeId, Result, Tree};

impl<E: Send + Sync + 'static> Tree<E> {
    /// Counts anew what the client is told, for a new client: what the old one was told holds nothing any more. To be called in a
    /// process that has one thread, and no reference to an inode but its own.
    ///
    /// Nothing is looked at for this, so no memory is copied that the processes share. Inodes without a name that only the old client
    /// knew are there still; [`Tree::end_unknown`] ends them.
    ///
    /// # Errors
    /// `EOVERFLOW` in the 2^15th process of a line of copies of copies.
    pub fn begin_as_copy(&self) -> Result<()> {
        self.store.begin_era()
    }

    /// Ends inodes that have no name and that only a client of before was told of. Looks at all inodes, and writes to those alone. Others
    /// may use the tree meanwhile. Gives how many it looked at closely.
    pub fn end_unknown(&self) -> u64 {
        let (store, era) = (&self.store, self.store.era());
        let mut found = 0;
        for slot in NodeId::ROOT.slot().. {
            let (Some(inode), Some(life)) = (store.inodes.get(slot), store.lives.get(slot)) else {
                break;
            };
            if inode.links() != 0 || !life.nlookup.is_left_from_before(era) {
                continue;
            }
            let head = Head::of(&inode.words());
            if head.kind().is_some() {
                store.reap(slot, head.generation());
                found += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Errno, Kind, NewInode, Time};

    fn tree() -> Tree {
        Tree::new(Attr::new(Kind::Directory, 0o755, 0, 0, Time::default()))
    }

    fn file(tree: &Tree, name: &[u8]) -> NodeId {
        let new = NewInode::plain(Attr::new(Kind::Regular, 0o644, 0, 0, Time::default()));
        let file = tree.create(&tree.root(), name, new, None).unwrap();
        file.raise_lookup().unwrap();
        file.id()
    }

    fn unlink(tree: &Tree, name: &[u8]) {
        tree.unlink(&tree.root(), name, Time::default()).unwrap();
    }

    #[test]
    fn what_another_client_was_told_holds_nothing() {
        let tree = tree();
        let id = file(&tree, b"f");
        tree.begin_as_copy().unwrap();
        assert_eq!(tree.counts(id), Ok((0, 0)));
        assert!(!tree.forget(id, 1), "this client was not told");
        assert_eq!(tree.inodes(), 2);
        unlink(&tree, b"f");
        assert_eq!(tree.inodes(), 1);
        assert_eq!(tree.get(id).err(), Some(Errno::STALE));
    }

    #[test]
    fn what_this_client_was_told_holds_as_ever() {
        let tree = tree();
        let id = file(&tree, b"f");
        tree.begin_as_copy().unwrap();
        tree.lookup(NodeId::ROOT, b"f").unwrap();
        assert_eq!(tree.counts(id), Ok((0, 1)));
        unlink(&tree, b"f");
        assert_eq!(tree.end_unknown(), 0);
        assert_eq!(tree.inodes(), 2, "it is open");
        assert!(tree.forget(id, 1));
        assert_eq!(tree.inodes(), 1);
    }

    #[test]
    fn what_only_another_client_held_ends() {
        let tree = tree();
        let open = [b"a", b"b"].map(|name| file(&tree, name));
        let named = file(&tree, b"c");
        unlink(&tree, b"a");
        unlink(&tree, b"b");
        assert_eq!(tree.end_unknown(), 0, "they are this client's");
        assert_eq!(tree.inodes(), 4);
        tree.begin_as_copy().unwrap();
        let new = file(&tree, b"d");
        unlink(&tree, b"d");
        let held = tree.get(open[1]).unwrap();
        assert_eq!(tree.end_unknown(), 2);
        assert_eq!(tree.get(open[0]).err(), Some(Errno::STALE));
        assert!(tree.get(named).is_ok() && tree.get(new).is_ok());
        drop(held);
        assert_eq!(tree.get(open[1]).err(), Some(Errno::STALE));
        assert_eq!(tree.inodes(), 3);
    }
}
