//! Loading: many names of one directory under one lock, and extensions that are made when they are needed.

use super::name::Name;
use super::writer::Writer;
use super::{InodeRef, NewInode, NodeId, Result, Seed, Tree};

/// A directory locked for being filled: names are added as [`Tree::create`] and [`Tree::link`] without a time do.
/// Readers see each one as it comes.
pub struct Filling<'t, E: Send + Sync + 'static = ()> {
    names: Writer<'t, E>,
    directory: InodeRef<'t, E>,
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Locks `parent` to add about `names` names.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` if the directory was removed; `EXDEV` for a directory of another tree; `ENOSPC`.
    pub fn fill<'t>(&'t self, parent: InodeRef<'t, E>, names: usize) -> Result<Filling<'t, E>> {
        let mut writer = Writer::lock(self, &parent)?;
        writer.reserve(names)?;
        Ok(Filling {
            names: writer,
            directory: parent,
        })
    }
}

impl<'t, E: Send + Sync + 'static> Filling<'t, E> {
    /// The name that is added next is number `at` of the directory, from 0 on: several threads may fill it in parts, in whatever
    /// order. Names without a number come behind those before them.
    pub fn at(&mut self, at: u32) {
        self.names.at = Some(at);
    }

    /// Makes a new inode under the name `name`. A regular file without extension may get a `seed`.
    ///
    /// # Errors
    /// As [`Tree::create`].
    pub fn create(
        &mut self,
        name: &[u8],
        new: NewInode<'_, E>,
        seed: Option<Seed>,
    ) -> Result<NodeId> {
        let tree = self.names.tree;
        let name = tree.fresh_name(name)?;
        let (inode, _) = tree.begin_with(new, 1, seed, true)?;
        let attached = self.attach(&inode, &name, || Ok(()));
        attached.inspect_err(|_| tree.drop_link(&inode))?;
        Ok(inode.id())
    }

    /// Gives `inode` one more name.
    ///
    /// # Errors
    /// As [`Tree::link`].
    pub fn link(&mut self, inode: &InodeRef<'t, E>, name: &[u8]) -> Result<()> {
        let tree = self.names.tree;
        let name = tree.fresh_name(name)?;
        tree.may_link(inode)?;
        self.attach(inode, &name, || tree.add_link(inode, None))
    }

    fn attach(
        &mut self,
        inode: &InodeRef<'t, E>,
        name: &Name<'_>,
        count: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let tree = self.names.tree;
        let dentry = tree.new_dentry(&self.directory, inode.slot, name)?;
        let attached = tree.attach_locked(inode, &mut self.names, (name, dentry), None, count);
        attached.inspect_err(|_| tree.store.free_dentry(dentry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Errno, Ext, Kind, Time};
    use std::ops::ControlFlow;

    fn plain(kind: Kind) -> NewInode<'static, u64> {
        NewInode::plain(Attr::new(kind, 0o755, 0, 0, Time::default()))
    }

    fn tree() -> Tree<u64> {
        Tree::with_extension(plain(Kind::Directory).attr).unwrap()
    }

    #[test]
    fn names_are_found_and_listed_in_the_order_they_came() {
        let tree = tree();
        let before = tree.root().attr();
        let mut filling = tree.fill(tree.root(), 2).unwrap();
        let dir = filling.create(b"dir", plain(Kind::Directory), None);
        let file = filling.create(b"file", plain(Kind::Regular), None);
        let file = tree.get(file.unwrap()).unwrap();
        filling.link(&file, b"again").unwrap();
        let dir = tree.get(dir.unwrap()).unwrap();
        assert_eq!(filling.link(&dir, b"no"), Err(Errno::PERM));
        drop(filling);
        let mut below = tree.fill(dir, 1).unwrap();
        below.create(b"below", plain(Kind::Regular), None).unwrap();
        drop(below);
        let mut listed = Vec::new();
        let listing = tree.read_dir(&tree.root(), 0, |entry| {
            listed.push(entry.name.to_vec());
            ControlFlow::Continue(())
        });
        listing.unwrap();
        assert_eq!(listed, [&b"dir"[..], b"file", b"again"]);
        assert_eq!((file.links(), tree.further_names()), (2, 1));
        assert_eq!((tree.inodes(), tree.root().attr()), (4, before));
        assert_eq!(tree.fill(file, 1).err(), Some(Errno::NOTDIR));
    }

    #[test]
    fn a_name_that_is_refused_leaves_nothing_behind() {
        let tree = tree();
        let mut filling = tree.fill(tree.root(), 1).unwrap();
        let first = filling.create(b"a", plain(Kind::Regular), None).unwrap();
        let seed = Some(Seed::new(1, 1));
        for (name, errno) in [(&b"a"[..], Errno::EXIST), (b"a/b", Errno::INVAL)] {
            let refused = filling.create(name, plain(Kind::Regular), seed);
            assert_eq!(refused, Err(errno));
        }
        let first = tree.get(first).unwrap();
        assert_eq!(filling.link(&first, b"a"), Err(Errno::EXIST));
        assert_eq!((tree.inodes(), first.links()), (2, 1));
    }

    #[test]
    fn a_seed_stays_with_its_file_until_the_extension_is_made() {
        let tree = tree();
        let seed = Seed::new(u32::MAX, u64::MAX);
        assert_eq!(seed.bits(), u64::MAX >> 3);
        let mut filling = tree.fill(tree.root(), 3).unwrap();
        let mut create = |name: &[u8], new| {
            let id = filling.create(name, new, Some(seed)).unwrap();
            tree.get(id).unwrap()
        };
        let file = create(b"file", plain(Kind::Regular));
        let made = NewInode {
            ext: Some(7),
            ..plain(Kind::Regular)
        };
        assert_eq!(create(b"made", made).ext(), Ext::Made(&7));
        assert_eq!(create(b"dir", plain(Kind::Directory)).ext(), Ext::None);
        drop(filling);
        let root = tree.root();
        tree.unlink(&root, b"made", Time::default()).unwrap();
        assert_eq!(file.ext(), Ext::Seed(seed));
        let grow = |given: Option<Seed>| given.unwrap().bits();
        assert_eq!(*file.ext_or_insert_with(grow), seed.bits());
        assert_eq!(file.ext(), Ext::Made(&seed.bits()));
        assert_eq!(*file.ext_or_insert_with(|_| unreachable!()), seed.bits());
    }

    #[test]
    fn the_number_of_a_seed_is_not_taken_for_a_slot_that_ends_with_the_file() {
        let tree = tree();
        let link = |name: &[u8], target: &'static [u8]| {
            let new = NewInode {
                target: Some(target),
                ..plain(Kind::Symlink)
            };
            tree.create(&tree.root(), name, new, None).unwrap()
        };
        let first = link(b"first", b"one");
        let seed = Some(Seed::new(1, 0));
        let mut filling = tree.fill(tree.root(), 1).unwrap();
        filling.create(b"f", plain(Kind::Regular), seed).unwrap();
        drop(filling);
        let root = tree.root();
        tree.unlink(&root, b"f", Time::default()).unwrap();
        // Until the epoch has surely moved on and freed what belonged to the file.
        for number in 0..if cfg!(miri) { 20 } else { 2000u32 } {
            let name = format!("l{number}");
            let made = link(name.as_bytes(), b"two");
            assert_eq!(made.target().as_deref(), Some(&b"two"[..]));
            drop(made);
            tree.unlink(&root, name.as_bytes(), Time::default())
                .unwrap();
        }
        assert_eq!(first.target().as_deref(), Some(&b"one"[..]));
    }
}
