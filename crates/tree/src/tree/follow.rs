//! A source that lives on: names, and what they lead to, become what it has, and that is no difference to it.
//!
//! All of it happens under a [`Survey`]. A name is [taken](Survey::take), which leaves its inode [loose](Loose): counted as linked and
//! under no name. A name is [put](Survey::put) for what is loose, also in place of another one, as one step for every reader. Nothing is
//! told to a [`Record`](super::Record), and no time moves: the attributes are [described](InodeRef::refresh) as the source has them.

use super::block::{self, Head};
use super::name::Name;
use super::writer::{Position, Writer};
use super::{Attr, Errno, InodeRef, Kind, NewInode, NodeId, Result, Seed, Survey, Tree};
use crate::sync::{Up, hand_over};

/// How many slots are looked at before others may free something.
const STRIDE: u32 = 1024;

/// An inode with a link that is no name. Dropped, that link is gone.
pub struct Loose<'t, E: Send + Sync + 'static> {
    inode: InodeRef<'t, E>,
    /// A name has the link.
    named: bool,
}

impl<E: Send + Sync + 'static> std::fmt::Debug for Loose<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Loose").field(&self.inode.id()).finish()
    }
}

impl<'t, E: Send + Sync + 'static> Loose<'t, E> {
    fn new(inode: InodeRef<'t, E>) -> Loose<'t, E> {
        let named = false;
        Loose { inode, named }
    }

    /// What is loose.
    pub fn inode(&self) -> &InodeRef<'t, E> {
        &self.inode
    }
}

impl<E: Send + Sync + 'static> Drop for Loose<'_, E> {
    fn drop(&mut self) {
        if self.named {
            return;
        }
        let record = self.inode.inode();
        let _lock = record.lock.lock();
        if self.inode.tree.uncount_link(&self.inode) > 0 {
            return;
        }
        // Nothing of the source leads there, and who has it open sees that.
        let words = record.block.read_locked();
        let attr = Attr {
            nlink: 0,
            ..block::decode(&words)
        };
        record
            .block
            .write(&block::as_made(block::encode(&attr, &words)));
    }
}

impl<'t, E: Send + Sync + 'static> Survey<'t, E> {
    /// A new inode as a load brings it.
    ///
    /// # Errors
    /// ENOSPC; for a target those of [`Tree::create`].
    pub fn bring(&self, new: NewInode<'_, E>, seed: Option<Seed>) -> Result<Loose<'t, E>> {
        let (inode, _) = self.tree.begin_with(new, 1, seed, true)?;
        Ok(Loose::new(inode))
    }

    /// One more link to the inode `id`.
    ///
    /// # Errors
    /// ESTALE, EPERM for a directory, ENOENT if it lost its last name and was forgotten, EMLINK.
    pub fn link_more(&self, id: NodeId) -> Result<Loose<'t, E>> {
        let inode = self.tree.get(id)?;
        self.tree.may_link(&inode)?;
        self.tree.add_link(&inode, None)?;
        Ok(Loose::new(inode))
    }

    /// Takes the name `name` in `directory` away, which leads to `inode`. A directory keeps what is in it.
    ///
    /// # Errors
    /// ESTALE if there is no such directory, or the name leads elsewhere; those of a name that cannot be.
    pub fn take(&self, directory: NodeId, name: &[u8], inode: NodeId) -> Result<Loose<'t, E>> {
        let tree = self.tree;
        let (name, directory) = (tree.fresh_name(name)?, tree.get(directory)?);
        let mut names = Writer::lock(tree, &directory)?;
        let dentry = names.find(&name).ok_or(Errno::STALE)?;
        let child = self.led_to(dentry, inode)?;
        tree.store.dentry(dentry).live.kill();
        tree.set_up(&child, Up::Removed);
        names.withdraw_untold(dentry, &name);
        let below = child.kind() == Kind::Directory;
        tree.store
            .tell_named(names.slot, name.as_bytes(), child.id(), below);
        names.tidy();
        tree.store.retire_dentry(dentry, &crossbeam_epoch::pin());
        Ok(Loose::new(child))
    }

    /// Puts what is loose under the name `name` in `directory`, in place of the inode `over` if there is one, which is given back.
    /// `loaded`: the source has the name.
    ///
    /// # Errors
    /// EEXIST if something else has the name, ESTALE if nothing has the name of `over`, ENOENT, ENOTDIR, ENOSPC, those of a name that
    /// cannot be. Then `loose` stays what it is.
    pub fn put(
        &self,
        (directory, name): (NodeId, &[u8]),
        loose: &mut Option<Loose<'t, E>>,
        over: Option<NodeId>,
        loaded: bool,
    ) -> Result<Option<Loose<'t, E>>> {
        let tree = self.tree;
        let (name, directory) = (tree.fresh_name(name)?, tree.get(directory)?);
        let inode = &loose.as_ref().ok_or(Errno::INVAL)?.inode;
        let mut names = Writer::lock(tree, &directory)?;
        let old = match (names.find(&name), over) {
            (None, None) => None,
            (Some(dentry), Some(over)) => Some((dentry, self.led_to(dentry, over)?)),
            (Some(_), None) => return Err(Errno::EXIST),
            (None, Some(_)) => return Err(Errno::STALE),
        };
        names.reserve(1)?;
        let dentry = tree.new_dentry(&directory, inode.slot, &name)?;
        tree.set_up(inode, Up::Name(dentry));
        match &old {
            None => names.publish(dentry, &name, Position::Loaded),
            Some((old, replaced)) => self.replace(&mut names, &name, dentry, (*old, replaced)),
        }
        let kinds = [Some(inode), old.as_ref().map(|(_, old)| old)];
        let below = kinds
            .into_iter()
            .flatten()
            .any(|inode| inode.kind() == Kind::Directory);
        tree.store
            .tell_named(names.slot, name.as_bytes(), inode.id(), below);
        // Nobody can tell: whoever asks for the mark holds a survey.
        match loaded {
            true => tree.store.dentry(dentry).set_loaded(),
            false => tree.store.dentry(dentry).set_made(),
        }
        if let Some(mut loose) = loose.take() {
            loose.named = true;
        }
        Ok(old.map(|(_, inode)| Loose::new(inode)))
    }

    fn replace(
        &self,
        names: &mut Writer<'t, E>,
        name: &Name<'_>,
        dentry: u32,
        (old, replaced): (u32, &InodeRef<'t, E>),
    ) {
        let store = &self.tree.store;
        let renames = &names.directory.renames;
        hand_over(&[renames], &[&store.dentry(old).live], || {
            names.publish(dentry, name, Position::Of(old));
            self.tree.set_up(replaced, Up::Removed);
        });
        names.withdraw_untold(old, name);
        store.retire_dentry(old, &crossbeam_epoch::pin());
    }

    /// The inode of `dentry`, if that is `inode`; ESTALE.
    fn led_to(&self, dentry: u32, inode: NodeId) -> Result<InodeRef<'t, E>> {
        let store = &self.tree.store;
        let child = InodeRef::take(self.tree, store.dentry(dentry).inode());
        child
            .filter(|child| child.id() == inode)
            .ok_or(Errno::STALE)
    }

    /// Has a directory refuse new names for ever.
    ///
    /// # Errors
    /// ENOTEMPTY if it has some; ENOTDIR.
    pub fn close(&self, directory: &InodeRef<'t, E>) -> Result<()> {
        self.tree.kill_empty(directory)
    }

    /// Takes the name `name` in `directory` for one that was made.
    pub fn take_name_for_made(&self, directory: NodeId, name: &[u8]) {
        let tree = self.tree;
        let (Ok(name), Ok(directory)) = (tree.fresh_name(name), tree.get(directory)) else {
            return;
        };
        if let Ok(names) = Writer::lock(tree, &directory)
            && let Some(dentry) = names.find(&name)
        {
            tree.store.dentry(dentry).set_made();
        }
    }

    /// Calls `visit` with each name in `directory`, the inode that it leads to, and whether a load brought it.
    pub fn names_in(&self, directory: NodeId, mut visit: impl FnMut(&[u8], NodeId, bool)) {
        let store = &self.tree.store;
        let Ok(directory) = self.tree.get(directory) else {
            return;
        };
        let Ok(directory) = self.tree.directory(&directory) else {
            return;
        };
        for (_, index) in directory.names.read().after(0) {
            let dentry = store.dentry(index);
            let (name, id) = (dentry.name(&store.pieces), store.id(dentry.inode()));
            visit(&name, id, dentry.is_loaded());
        }
    }

    /// Calls `visit` for each inode that a load brought, with the number that it shows.
    pub fn loaded_inodes(&self, mut visit: impl FnMut(NodeId, u64)) {
        let store = &self.tree.store;
        let mut from = 1;
        while store.inodes.get(from).is_some() {
            let _guard = crossbeam_epoch::pin();
            for slot in from..from + STRIDE {
                let Some(inode) = store.inodes.get(slot) else {
                    break;
                };
                let words = inode.words();
                let head = Head::of(&words);
                if head.kind().is_some() && block::is_loaded(&words) {
                    let id = NodeId::new(slot, head.generation());
                    visit(id, store.ino(id));
                }
            }
            from += STRIDE;
        }
    }

    /// Calls `visit` for each name that a load brought: its directory, its bytes, and the inode that it leads to.
    pub fn loaded_names(&self, mut visit: impl FnMut(NodeId, &[u8], NodeId)) {
        let store = &self.tree.store;
        let mut from = 1;
        while store.dentries.get(from).is_some() {
            let _guard = crossbeam_epoch::pin();
            for index in from..from + STRIDE {
                let Some(dentry) = store.dentries.get(index) else {
                    break;
                };
                if dentry.published() == Some(true) {
                    let (directory, id) = (store.id(dentry.parent()), store.id(dentry.inode()));
                    visit(directory, &dentry.name(&store.pieces), id);
                }
            }
            from += STRIDE;
        }
    }
}

impl<E: Send + Sync + 'static> InodeRef<'_, E> {
    /// Changes what the inode shows to what the source has, as one step for every reader. `change` is told whether the inode was as a
    /// load brought it; then it is so still. It runs under the inode's lock and must not call the tree. Not under a [`Survey`].
    ///
    /// Of a directory a [`Witness`](super::Witness) is not told that its times, size and links moved.
    pub fn refresh<T>(&self, change: impl FnOnce(&mut Attr, bool) -> T) -> T {
        let _change = self.tree.change();
        let (value, differs) = self.refresh_still(change);
        if differs {
            self.tree.store.tell_edited(self.id());
        }
        value
    }

    fn refresh_still<T>(&self, change: impl FnOnce(&mut Attr, bool) -> T) -> (T, bool) {
        let record = self.inode();
        let _lock = record.lock.lock();
        let words = record.block.read_locked();
        let as_loaded = block::is_as_loaded(&words);
        let mut attr = block::decode(&words);
        let before = attr;
        let value = change(&mut attr, as_loaded);
        attr.kind = before.kind;
        record.block.write(&block::encode(&attr, &words));
        let differs = match attr.kind {
            Kind::Directory => {
                let what = |attr: &Attr| (attr.perm, attr.uid, attr.gid, attr.flags, attr.acl);
                what(&attr) != what(&before)
            }
            _ => attr != before,
        };
        (value, differs)
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Whether the inode `id` is a directory that lives.
    pub fn is_directory(&self, id: NodeId) -> bool {
        self.get(id)
            .is_ok_and(|inode| inode.kind() == Kind::Directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Record, Time};
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Record for Told {
        fn gone(&self, _: NodeId, name: &[u8], _: NodeId) {
            self.0.lock().push(String::from_utf8_lossy(name).into());
        }

        fn changed(&self, inode: NodeId, _: u64, _: &Attr) {
            self.0.lock().push(inode.raw().to_string());
        }
    }

    const NOW: Time = Time { sec: 7, nsec: 8 };
    const ROOT: NodeId = NodeId::ROOT;

    fn plain(kind: Kind) -> NewInode<'static> {
        let nlink = 1 + u32::from(kind == Kind::Directory);
        NewInode::plain(Attr {
            nlink,
            ..Attr::new(kind, 0o755, 0, 0, NOW)
        })
    }

    /// A tree with the loaded names `d/`, `d/f` and `g`.
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

    fn names(tree: &Tree, directory: NodeId) -> Vec<(String, NodeId, bool)> {
        let mut names = Vec::new();
        tree.survey().names_in(directory, |name, id, loaded| {
            names.push((String::from_utf8_lossy(name).into(), id, loaded));
        });
        names.sort();
        names
    }

    #[test]
    fn a_directory_that_is_taken_and_put_keeps_what_is_in_it_and_nobody_is_told() {
        let (tree, told, [d, f, g]) = loaded();
        let survey = tree.survey();
        let mut loose = Some(survey.take(ROOT, b"d", d).unwrap());
        assert!(survey.name_of(d, |_| ()).is_none());
        let put = survey.put((ROOT, b"e"), &mut loose, None, true);
        assert!(put.unwrap().is_none() && loose.is_none());
        assert_eq!(
            survey.name_of(d, |name| name.name.to_vec()),
            Some(b"e".to_vec())
        );
        drop(survey);
        let expected = [("e".into(), d, true), ("g".into(), g, true)];
        assert_eq!(names(&tree, ROOT), expected);
        assert_eq!(names(&tree, d), [("f".into(), f, true)]);
        assert!(told.0.lock().is_empty());
        assert!(tree.root().is_as_loaded());
    }

    #[test]
    fn a_name_is_put_in_place_of_another_which_ends_with_what_was_loose() {
        let (tree, told, [_, f, g]) = loaded();
        let survey = tree.survey();
        let mut more = Some(survey.link_more(f).unwrap());
        let replaced = survey.put((ROOT, b"g"), &mut more, Some(g), true).unwrap();
        let held = tree.get(g).unwrap();
        assert_eq!(replaced.as_ref().unwrap().inode().id(), g);
        assert_eq!((held.attr().nlink, held.links()), (1, 1));
        drop(replaced);
        assert_eq!((held.attr().nlink, held.links()), (0, 0));
        assert_eq!(survey.child(ROOT, b"g"), Some((f, true)));
        assert_eq!(tree.get(f).unwrap().links(), 2);
        drop(survey);
        assert!(told.0.lock().is_empty());
    }

    #[test]
    fn what_cannot_be_put_stays_loose_and_what_is_put_for_the_mount_is_made() {
        let (tree, _, [d, f, g]) = loaded();
        let survey = tree.survey();
        let mut loose = Some(survey.bring(plain(Kind::Regular), None).unwrap());
        let id = loose.as_ref().unwrap().inode().id();
        for (name, over, errno) in [
            (b"g", None, Errno::EXIST),
            (b"g", Some(f), Errno::STALE),
            (b"x", Some(f), Errno::STALE),
        ] {
            let put = survey.put((ROOT, name), &mut loose, over, true);
            assert_eq!(put.err(), Some(errno));
        }
        assert_eq!(survey.take(ROOT, b"g", f).err(), Some(Errno::STALE));
        assert_eq!(survey.link_more(d).err(), Some(Errno::PERM));
        survey.put((ROOT, b"x"), &mut loose, None, false).unwrap();
        assert_eq!(survey.child(ROOT, b"x"), Some((id, false)));
        survey.take_name_for_made(ROOT, b"g");
        assert_eq!(survey.child(ROOT, b"g"), Some((g, false)));
        let mut loaded = Vec::new();
        survey.loaded_inodes(|id, ino| loaded.push((id, ino)));
        assert!(loaded.contains(&(id, id.raw())) && loaded.len() == 5);
        let mut names = Vec::new();
        survey.loaded_names(|_, name, id| names.push((name.to_vec(), id)));
        names.sort();
        assert_eq!(names, [(b"d".to_vec(), d), (b"f".to_vec(), f)]);
        let directory = tree.get(d).unwrap();
        assert_eq!(survey.close(&directory), Err(Errno::NOTEMPTY));
        drop(survey.take(d, b"f", f).unwrap());
        assert_eq!(survey.close(&directory), Ok(()));
        let mut late = Some(survey.bring(plain(Kind::Regular), None).unwrap());
        let put = survey.put((d, b"late"), &mut late, None, true);
        assert_eq!((put.err(), late.is_some()), (Some(Errno::NOENT), true));
    }

    #[test]
    fn what_is_refreshed_is_as_loaded_still_or_changed_still() {
        let (tree, told, [_, f, g]) = loaded();
        let file = tree.get(f).unwrap();
        let as_loaded = file.refresh(|attr, as_loaded| {
            (attr.size, attr.kind) = (9, Kind::Symlink);
            as_loaded
        });
        assert!(as_loaded && file.is_as_loaded() && told.0.lock().is_empty());
        assert_eq!((file.attr().size, file.attr().kind), (9, Kind::Regular));
        let other = tree.get(g).unwrap();
        other
            .update(|attr| {
                attr.perm = 0;
                Ok(())
            })
            .unwrap();
        assert!(!other.refresh(|attr, as_loaded| {
            attr.size = 3;
            as_loaded
        }));
        assert!(!other.is_as_loaded());
        assert_eq!(*told.0.lock(), [g.raw().to_string()]);
    }
}
