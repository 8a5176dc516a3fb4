//! Making names and inodes count as loaded that have become what a load would bring now.
//!
//! A name's mark is set under its directory's lock and a [`Survey`]: whoever else reads or writes it holds one of the two.

use super::block::{self, Head};
use super::writer::Writer;
use super::{Attr, NodeId, Survey};

impl<E: Send + Sync + 'static> Survey<'_, E> {
    /// What the name `name` in `directory` leads to, and whether a load brought it.
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<(NodeId, bool)> {
        let tree = self.tree;
        let name = tree.fresh_name(name).ok()?;
        let (guard, slot, head) = tree.pin_inode(directory).ok()?;
        if !head.is_directory() {
            return None;
        }
        let dentry = tree.store.dentry(tree.find(slot, &name, &guard)?);
        let loaded = dentry.published()?;
        Some((tree.store.id(dentry.inode()), loaded))
    }

    /// Takes the name `name` in `directory` for one that a load brought, if it leads to `inode`; false if it does not.
    pub fn take_for_loaded(&self, directory: NodeId, name: &[u8], inode: NodeId) -> bool {
        let tree = self.tree;
        let (Ok(name), Ok(directory)) = (tree.fresh_name(name), tree.get(directory)) else {
            return false;
        };
        let Ok(names) = Writer::lock(tree, &directory) else {
            return false;
        };
        let dentry = names.find(&name).map(|dentry| tree.store.dentry(dentry));
        let Some(dentry) = dentry.filter(|dentry| tree.store.id(dentry.inode()) == inode) else {
            return false;
        };
        dentry.set_loaded();
        true
    }

    /// Takes the inode `id` for one that a load brought: as it is, if `is_same` says of its attributes that they are what was
    /// brought, and else as changed since. Gives what `is_same` gave, or `None` if the inode has ended.
    ///
    /// What of an inode that was made has been touched since is not known: then it is all that can be. `is_same` runs under the
    /// inode's lock and must not call the tree.
    pub fn rebase_inode(&self, id: NodeId, is_same: impl FnOnce(&Attr) -> bool) -> Option<bool> {
        self.edit_marks(id, |words| {
            let same = is_same(&block::decode(&words));
            let marked = match same {
                true => block::as_loaded(words),
                false => block::as_loaded_before(words),
            };
            (marked, same)
        })
    }

    /// Takes the inode `id` for one that was made: nothing that a load brought leads there any more.
    pub fn take_for_made(&self, id: NodeId) {
        self.edit_marks(id, |words| (block::as_made(words), ()));
    }

    fn edit_marks<T>(
        &self,
        id: NodeId,
        edit: impl FnOnce([u64; block::WORDS]) -> ([u64; block::WORDS], T),
    ) -> Option<T> {
        let inode = self.tree.store.inodes.get(id.slot())?;
        let _lock = inode.lock.lock();
        let words = inode.block.read_locked();
        let head = Head::of(&words);
        if head.generation() != id.generation() || head.kind().is_none() {
            return None;
        }
        let (words, value) = edit(words);
        inode.block.write(&words);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Errno, Kind, NewInode, Record, Time, Touched, Tree};
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Record for Told {
        fn gone(&self, _: NodeId, name: &[u8], _: NodeId) {
            let name = String::from_utf8_lossy(name);
            self.0.lock().push(format!("{name} is gone"));
        }

        fn changed(&self, inode: NodeId, _: u64, _: &Attr) {
            self.0.lock().push(format!("{} changed", inode.raw()));
        }
    }

    const NOW: Time = Time { sec: 7, nsec: 8 };

    fn tree() -> (Tree, Arc<Told>) {
        let tree = Tree::new(Attr::new(Kind::Directory, 0o755, 0, 0, NOW));
        let told = Arc::new(Told::default());
        assert!(tree.set_record(told.clone()));
        (tree, told)
    }

    fn make(tree: &Tree, name: &[u8]) -> NodeId {
        let new = NewInode::plain(Attr::new(Kind::Regular, 0o644, 0, 0, NOW));
        tree.create(&tree.root(), name, new, Some(NOW))
            .unwrap()
            .id()
    }

    fn chmod(tree: &Tree, id: NodeId, perm: u16) {
        let changed = tree.get(id).unwrap().update(|attr| {
            attr.perm = perm;
            Ok(())
        });
        changed.unwrap();
    }

    fn changed_names(tree: &Tree) -> usize {
        let mut names = 0;
        tree.survey().changed_names(|_| names += 1);
        names
    }

    #[test]
    fn what_was_made_and_is_taken_for_loaded_is_told_of_as_loaded() {
        let (tree, told) = tree();
        let id = make(&tree, b"f");
        let survey = tree.survey();
        assert_eq!(survey.child(NodeId::ROOT, b"f"), Some((id, false)));
        assert!(survey.take_for_loaded(NodeId::ROOT, b"f", id));
        assert_eq!(
            survey.rebase_inode(id, |attr| attr.perm == 0o644),
            Some(true)
        );
        assert_eq!(survey.child(NodeId::ROOT, b"f"), Some((id, true)));
        drop(survey);
        assert_eq!(changed_names(&tree), 0);
        chmod(&tree, id, 0o600);
        assert_eq!(changed_names(&tree), 1);
        tree.unlink(&tree.root(), b"f", NOW).unwrap();
        let expected = [format!("{} changed", id.raw()), "f is gone".to_owned()];
        assert_eq!(*told.0.lock(), expected);
    }

    #[test]
    fn what_changed_meanwhile_stays_changed_in_all_that_may_be() {
        let (tree, told) = tree();
        let id = make(&tree, b"f");
        assert_eq!(tree.survey().rebase_inode(id, |_| false), Some(false));
        let all = Touched {
            content: true,
            xattrs: true,
            acl: true,
        };
        assert_eq!(tree.get(id).unwrap().attr().touched, all);
        chmod(&tree, id, 0);
        assert!(told.0.lock().is_empty(), "it had changed before");
        tree.survey().rebase_inode(id, |_| true);
        assert_eq!(tree.get(id).unwrap().attr().touched, Touched::default());
        chmod(&tree, id, 0o644);
        assert_eq!(tree.survey().rebase_inode(id, |_| false), Some(false));
        assert_eq!(
            tree.get(id).unwrap().attr().touched,
            Touched::default(),
            "what a load brought remembers itself"
        );
        tree.survey().take_for_made(id);
        chmod(&tree, id, 0);
        assert_eq!(told.0.lock().len(), 1);
    }

    #[test]
    fn what_is_not_so_is_taken_for_nothing() {
        let (tree, _) = tree();
        let (f, g) = (make(&tree, b"f"), make(&tree, b"g"));
        let survey = tree.survey();
        let nothing = NodeId::from_raw(u64::MAX);
        for (directory, name, inode) in [
            (NodeId::ROOT, &b"f"[..], g),
            (NodeId::ROOT, b"x", f),
            (NodeId::ROOT, b"..", NodeId::ROOT),
            (NodeId::ROOT, b"", f),
            (NodeId::ROOT, b"f/", f),
            (f, b"f", f),
            (nothing, b"f", f),
        ] {
            assert!(!survey.take_for_loaded(directory, name, inode));
        }
        assert_eq!(survey.child(f, b"f"), None);
        assert_eq!(survey.child(nothing, b"f"), None);
        assert_eq!(survey.rebase_inode(nothing, |_| true), None);
        survey.take_for_made(nothing);
        drop(survey);
        assert_eq!(changed_names(&tree), 2);
        assert_eq!(tree.get(nothing).err(), Some(Errno::STALE));
    }

    #[test]
    fn a_mark_outlives_whatever_moves_the_names_beside_it() {
        let (tree, _) = tree();
        let id = make(&tree, b"f");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..2000 {
                    make(&tree, number.to_string().as_bytes());
                }
            });
            for _ in 0..100 {
                assert!(tree.survey().take_for_loaded(NodeId::ROOT, b"f", id));
            }
        });
        assert_eq!(tree.survey().child(NodeId::ROOT, b"f"), Some((id, true)));
    }
}
