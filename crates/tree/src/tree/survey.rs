//! All names that were not loaded, or lead to what changed since, at one instant.

use super::block::{self, Head};
use super::dentry::Dentry;
use super::witness::Witness;
use super::{Attr, NodeId, Tree};
use crate::sync::Up;
use crossbeam_utils::sync::ShardedLockWriteGuard;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many names are looked at before others may free something.
const STRIDE: u32 = 1024;

/// The tree while nothing changes in it, but for what a load brings.
pub struct Survey<'t, E: Send + Sync + 'static = ()> {
    pub(super) tree: &'t Tree<E>,
    _still: ShardedLockWriteGuard<'t, ()>,
}

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyedName<'a> {
    /// The directory it is in.
    pub directory: NodeId,
    /// Its bytes.
    pub name: &'a [u8],
    /// The inode it leads to.
    pub id: NodeId,
    /// A load brought it.
    pub loaded: bool,
}

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyedInode {
    /// Its attributes.
    pub attr: Attr,
    /// Its number.
    pub ino: u64,
    /// A load brought it.
    pub loaded: bool,
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Keeps names and attributes from changing until the result is dropped: whoever wants either waits.
    pub fn survey(&self) -> Survey<'_, E> {
        Survey {
            tree: self,
            _still: self.keep_still(),
        }
    }
}

impl<E: Send + Sync + 'static> std::fmt::Debug for Survey<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Survey").field(self.tree).finish()
    }
}

impl<E: Send + Sync + 'static> Survey<'_, E> {
    /// Has `witness` told of every change from now on; false if there is one. Of what a load brings it is not told.
    pub fn set_witness(&self, witness: Arc<dyn Witness>) -> bool {
        self.tree.store.witness.set(witness).is_ok()
    }

    /// Calls `visit` for each name that no load brought, or that leads to an inode that was loaded and changed since. In no
    /// order.
    pub fn changed_names(&self, visit: impl FnMut(&SurveyedName<'_>)) {
        let store = &self.tree.store;
        let differs = |loaded: bool, inode| !loaded || block::is_changed(&store.inode(inode).block);
        self.names(differs, visit);
    }

    /// Calls `visit` for each name of what is among `inodes`. In no order.
    pub fn names_of(&self, inodes: &HashSet<NodeId>, visit: impl FnMut(&SurveyedName<'_>)) {
        let slots: ahash::HashSet<_> = inodes.iter().map(|id| id.slot()).collect();
        self.names(|_, inode| slots.contains(&inode), visit);
    }

    /// The name of `inode` that was made together with it, if it has that still and nothing else was freed or made meanwhile.
    pub fn first_name<T>(
        &self,
        inode: NodeId,
        visit: impl FnOnce(&SurveyedName<'_>) -> T,
    ) -> Option<T> {
        let _guard = crossbeam_epoch::pin();
        let dentry = self.tree.store.dentries.get(inode.slot().checked_sub(1)?)?;
        let loaded = dentry.published()?;
        self.show(dentry, loaded, |name| {
            (name.id == inode).then(|| visit(name))
        })
    }

    /// How many names lead to `inode`; `None` if it has ended.
    pub fn links(&self, inode: NodeId) -> Option<u32> {
        self.inode(inode)?;
        Some(
            self.tree
                .store
                .inode(inode.slot())
                .links
                .load(Ordering::Relaxed),
        )
    }

    /// Calls `visit` for each name of which `wanted` says so, told whether it was loaded, and the slot it leads to.
    fn names(&self, wanted: impl Fn(bool, u32) -> bool, mut visit: impl FnMut(&SurveyedName<'_>)) {
        let store = &self.tree.store;
        let mut from = 1;
        while store.dentries.get(from).is_some() {
            // What is live now is not given another life.
            let _guard = crossbeam_epoch::pin();
            for index in from..from + STRIDE {
                let Some(dentry) = store.dentries.get(index) else {
                    break;
                };
                let loaded = dentry.published();
                if let Some(loaded) = loaded.filter(|loaded| wanted(*loaded, dentry.inode())) {
                    self.show(dentry, loaded, &mut visit);
                }
            }
            from += STRIDE;
        }
    }

    /// Calls `visit` with a live name. The epoch is pinned.
    fn show<T>(
        &self,
        dentry: &Dentry,
        loaded: bool,
        visit: impl FnOnce(&SurveyedName<'_>) -> T,
    ) -> T {
        let store = &self.tree.store;
        visit(&SurveyedName {
            directory: store.id(dentry.parent()),
            name: &dentry.name(&store.pieces),
            id: store.id(dentry.inode()),
            loaded,
        })
    }

    /// The inode `id`; `None` if it has ended.
    pub fn inode(&self, id: NodeId) -> Option<SurveyedInode> {
        let inode = self.tree.store.inodes.get(id.slot())?;
        let words = inode.words();
        let head = Head::of(&words);
        let lives = head.generation() == id.generation() && head.kind().is_some();
        lives.then(|| SurveyedInode {
            attr: block::decode(&words),
            ino: self.tree.store.ino(id),
            loaded: block::is_loaded(&words),
        })
    }

    /// Calls `visit` with the name that leads to `directory`. `None` of the root, of what was removed, and of anything that is
    /// no directory.
    pub fn name_of<T>(
        &self,
        directory: NodeId,
        visit: impl FnOnce(&SurveyedName<'_>) -> T,
    ) -> Option<T> {
        let store = &self.tree.store;
        let _guard = crossbeam_epoch::pin();
        let head = Head::of(&store.inodes.get(directory.slot())?.words());
        if head.generation() != directory.generation() || !head.is_directory() {
            return None;
        }
        let Up::Name(index) = store.directories.at(head.aux()).up.get() else {
            return None;
        };
        let dentry = store.dentry(index);
        Some(self.show(dentry, dentry.published()?, visit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Errno, Kind, NewInode, Record, RenameMode, Time, Touched};
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Default)]
    struct Told {
        gone: Mutex<Vec<(NodeId, Vec<u8>, NodeId)>>,
        changed: Mutex<Vec<(NodeId, u64, Attr)>>,
    }

    impl Record for Told {
        fn gone(&self, directory: NodeId, name: &[u8], inode: NodeId) {
            self.gone.lock().push((directory, name.to_vec(), inode));
        }

        fn changed(&self, inode: NodeId, ino: u64, before: &Attr) {
            self.changed.lock().push((inode, ino, *before));
        }
    }

    const THEN: Time = Time { sec: 5, nsec: 6 };
    const NOW: Time = Time { sec: 7, nsec: 8 };

    fn plain(kind: Kind) -> NewInode<'static> {
        let nlink = 1 + u32::from(kind == Kind::Directory);
        NewInode::plain(Attr {
            nlink,
            ..Attr::new(kind, 0o755, 0, 0, THEN)
        })
    }

    /// A root with `d/f` and `g`, all loaded.
    fn loaded() -> (Tree, Arc<Told>, [NodeId; 3]) {
        let tree = Tree::new(plain(Kind::Directory).attr);
        let told = Arc::new(Told::default());
        assert!(tree.set_record(told.clone()));
        tree.root().describe(|_| Ok(())).unwrap();
        let mut filling = tree.fill(tree.root(), 2).unwrap();
        let d = filling.create(b"d", plain(Kind::Directory), None).unwrap();
        let g = filling.create(b"g", plain(Kind::Regular), None).unwrap();
        drop(filling);
        let mut filling = tree.fill(tree.get(d).unwrap(), 1).unwrap();
        let f = filling.create(b"f", plain(Kind::Regular), None).unwrap();
        drop(filling);
        (tree, told, [d, f, g])
    }

    type Seen = Vec<(NodeId, Vec<u8>, NodeId, bool)>;

    fn names(tree: &Tree) -> Seen {
        let mut names = Vec::new();
        tree.survey().changed_names(|name| {
            names.push((name.directory, name.name.to_vec(), name.id, name.loaded));
        });
        names.sort();
        names
    }

    #[test]
    fn what_nobody_changes_is_told_of_nowhere() {
        let (tree, told, [d, f, _]) = loaded();
        let file = tree.get(f).unwrap();
        let looked = file.update(|attr| {
            attr.atime = NOW;
            attr.unsettled = true;
            Ok(())
        });
        looked.unwrap();
        assert_eq!(file.update(|_| Err::<(), _>(Errno::PERM)), Err(Errno::PERM));
        assert_eq!(names(&tree), []);
        assert!(told.changed.lock().is_empty() && told.gone.lock().is_empty());
        let survey = tree.survey();
        assert!(survey.inode(f).unwrap().loaded && survey.inode(NodeId::ROOT).unwrap().loaded);
        let place = survey.name_of(d, |name| (name.directory, name.name.to_vec(), name.loaded));
        assert_eq!(place, Some((NodeId::ROOT, b"d".to_vec(), true)));
        assert_eq!(survey.name_of(NodeId::ROOT, |_| ()), None);
        assert_eq!(survey.name_of(f, |_| ()), None);
    }

    #[test]
    fn an_inode_is_told_of_before_its_first_change_and_once() {
        let (tree, told, [_, f, g]) = loaded();
        let before = tree.get(g).unwrap().attr();
        for perm in [0o700, 0o755] {
            let changed = tree.get(g).unwrap().update(|attr| {
                attr.perm = perm;
                attr.touched.content = true;
                Ok(())
            });
            assert!(changed.unwrap().1.touched.content);
        }
        assert_eq!(*told.changed.lock(), [(g, g.raw(), before)]);
        assert_eq!(names(&tree), [(NodeId::ROOT, b"g".to_vec(), g, true)]);
        let touched = Touched {
            content: true,
            ..Touched::default()
        };
        assert_eq!(tree.get(g).unwrap().attr().touched, touched);
        assert_eq!(tree.get(f).unwrap().attr().touched, Touched::default());
    }

    #[test]
    fn what_was_made_has_no_marks() {
        let (tree, told, _) = loaded();
        let root = tree.root();
        let made = tree.create(&root, b"new", plain(Kind::Regular), Some(NOW));
        let made = made.unwrap();
        made.update(|attr| {
            attr.perm = 0;
            attr.touched.content = true;
            Ok(())
        })
        .unwrap();
        assert_eq!(made.attr().touched, Touched::default());
        assert_eq!(
            names(&tree),
            [(NodeId::ROOT, b"new".to_vec(), made.id(), false)]
        );
        assert!(!tree.survey().inode(made.id()).unwrap().loaded);
        let changed: Vec<_> = told.changed.lock().iter().map(|told| told.0).collect();
        assert_eq!(changed, [NodeId::ROOT]);
    }

    #[test]
    fn a_name_is_told_of_when_it_goes_and_never_again() {
        let (tree, told, [d, f, g]) = loaded();
        let (root, dir) = (tree.root(), tree.get(d).unwrap());
        let rename = |from: (_, &[u8]), to: (_, &[u8]), mode| {
            tree.rename(from, to, mode, NOW).unwrap();
        };
        rename((&root, b"g"), (&root, b"h"), RenameMode::Replace);
        rename((&root, b"h"), (&root, b"g"), RenameMode::Replace);
        rename((&root, b"g"), (&dir, b"f"), RenameMode::Exchange);
        tree.unlink(&dir, b"f", NOW).unwrap();
        tree.unlink(&root, b"g", NOW).unwrap();
        tree.rmdir(&root, b"d", NOW).unwrap();
        let gone = [
            (NodeId::ROOT, b"g".to_vec(), g),
            (d, b"f".to_vec(), f),
            (NodeId::ROOT, b"d".to_vec(), d),
        ];
        assert_eq!(*told.gone.lock(), gone);
        assert_eq!(names(&tree), []);
    }

    #[test]
    fn a_tree_that_goes_at_once_is_told_of_name_by_name() {
        let (tree, told, [d, f, g]) = loaded();
        let root = tree.root();
        let to = (&tree.get(d).unwrap(), &b"g"[..]);
        tree.rename((&root, b"g"), to, RenameMode::Replace, NOW)
            .unwrap();
        tree.remove_tree(&root, b"d", NOW).unwrap();
        let gone = [
            (NodeId::ROOT, b"g".to_vec(), g),
            (NodeId::ROOT, b"d".to_vec(), d),
            (d, b"f".to_vec(), f),
        ];
        assert_eq!(*told.gone.lock(), gone);
    }

    #[test]
    fn a_listing_that_is_numbered_anew_keeps_what_was_loaded() {
        let (tree, told, [_, _, g]) = loaded();
        let root = tree.root();
        tree.create(&root, b"new", plain(Kind::Regular), Some(NOW))
            .unwrap();
        let (store, directory) = (&tree.store, tree.store.directories.at(root.aux()));
        let renumber = |dentry, cookie| store.dentry(dentry).set_cookie(cookie);
        directory.names.write().renumber(renumber);
        let found: Vec<_> = names(&tree)
            .into_iter()
            .map(|name| (name.1, name.3))
            .collect();
        assert_eq!(found, [(b"new".to_vec(), false)]);
        tree.unlink(&root, b"g", NOW).unwrap();
        tree.unlink(&root, b"new", NOW).unwrap();
        assert_eq!(*told.gone.lock(), [(NodeId::ROOT, b"g".to_vec(), g)]);
    }

    #[test]
    fn a_name_that_was_not_published_is_no_name() {
        let (tree, _, _) = loaded();
        let root = tree.root();
        for _ in 0..3 {
            let refused = tree.create(&root, b"g", plain(Kind::Regular), Some(NOW));
            assert_eq!(refused.err(), Some(Errno::EXIST));
        }
        let unpublished = tree.new_dentry(&root, 1, &tree.name(b"x").unwrap());
        assert_eq!(names(&tree), []);
        tree.store.free_dentry(unpublished.unwrap());
        assert_eq!(names(&tree), []);
    }
}
