//! New names: of a new inode, or one more of an old one.

use super::block::{Head, WORDS};
use super::name::Name;
use super::writer::{Position, Writer};
use super::{Attr, Entry, Errno, InodeRef, Kind, PATH_MAX, Result, Seed, Time, Tree};
use crate::sync::{Lifetime, Up};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

/// What a new inode starts with.
#[derive(Debug)]
pub struct NewInode<'a, E = ()> {
    /// Its attributes. `nlink` is what `stat` shows once the first name exists: 1, or 2 for an empty
    /// directory. A symbolic link's size is set to the length of its target.
    pub attr: Attr,
    /// The target of a symbolic link: 1 to 4095 bytes without a NUL.
    pub target: Option<&'a [u8]>,
    /// The extension to start with.
    pub ext: Option<E>,
    /// The number to show, in a tree that shows numbers ([`Tree::number`]).
    pub ino: Option<NonZeroU64>,
}

impl<E> NewInode<'_, E> {
    /// An inode of `attr` without target, extension and number.
    pub fn plain(attr: Attr) -> NewInode<'static, E> {
        NewInode {
            attr,
            target: None,
            ext: None,
            ino: None,
        }
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Makes a new inode under the name `name` in `parent`.
    ///
    /// With `now` the parent's times, size and nlink move as POSIX wants. Without it only the name
    /// appears and all attributes stay as given: that is for loading a tree.
    ///
    /// # Errors
    /// `EEXIST`; `ENOENT` if `parent` was removed; `ENOTDIR`; `ENAMETOOLONG`;
    /// `EINVAL` for a name nothing can have; `ENOSPC` without room for the inode or the name. For a target: `ENOENT` if it
    /// is empty, `ENAMETOOLONG` beyond 4095 bytes, `EINVAL` with a NUL in it.
    pub fn create<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        new: NewInode<'_, E>,
        now: Option<Time>,
    ) -> Result<InodeRef<'t, E>> {
        self.create_entry(parent, name, new, now)
            .map(|(inode, _)| inode)
    }

    /// As [`Tree::create`], with what `stat` reports of the new inode as long as nobody changes it.
    ///
    /// # Errors
    /// Those of [`Tree::create`].
    pub fn create_entry<'t>(
        &'t self,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        new: NewInode<'_, E>,
        now: Option<Time>,
    ) -> Result<(InodeRef<'t, E>, Entry)> {
        let name = self.fresh_name(name)?;
        self.directory(parent)?;
        let (inode, words) = self.begin_with(new, 1, None, false)?;
        match self.attach(&inode, parent, &name, now, || Ok(())) {
            Ok(()) => {
                let entry = inode.entry_of(&words);
                Ok((inode, entry))
            }
            Err(error) => {
                self.drop_link(&inode);
                Err(error)
            }
        }
    }

    /// Makes a new inode that has no name, and shows none. [`Tree::link`] gives it one. Without a name it ends when
    /// nobody holds it and the client has forgotten it, if it was told at all ([`InodeRef::raise_lookup`]).
    ///
    /// # Errors
    /// `EISDIR` for a directory, which cannot be given a name later; `ENOSPC`; for a target those of [`Tree::create`].
    pub fn create_nameless(&self, mut new: NewInode<'_, E>) -> Result<InodeRef<'_, E>> {
        if new.attr.kind == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        new.attr.nlink = 0;
        self.begin(new, 0)
    }

    /// Gives `inode` one more name, or the first. See [`Tree::create`] for `now`.
    ///
    /// # Errors
    /// `EPERM` for a directory; `EXDEV` for an inode of another tree; `EMLINK`; `ENOENT` if the inode lost its last name and was forgotten;
    /// and those of [`Tree::create`].
    pub fn link<'t>(
        &'t self,
        inode: &InodeRef<'t, E>,
        parent: &InodeRef<'t, E>,
        name: &[u8],
        now: Option<Time>,
    ) -> Result<()> {
        let name = self.fresh_name(name)?;
        self.may_link(inode)?;
        self.attach(inode, parent, &name, now, || self.add_link(inode, now))
    }

    /// Refuses what can have no further name here.
    pub(super) fn may_link(&self, inode: &InodeRef<'_, E>) -> Result<()> {
        self.owns(inode)?;
        match inode.kind() {
            Kind::Directory => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    /// An inode with that many links and a reference, under no name yet.
    pub(super) fn begin<'t>(&'t self, new: NewInode<'_, E>, links: u32) -> Result<InodeRef<'t, E>> {
        self.begin_with(new, links, None, false)
            .map(|(inode, _)| inode)
    }

    /// The same, with its attributes as they are kept, and whether a load brings it. Only a regular file without extension keeps
    /// `seed`.
    pub(super) fn begin_with<'t>(
        &'t self,
        new: NewInode<'_, E>,
        links: u32,
        seed: Option<Seed>,
        loaded: bool,
    ) -> Result<(InodeRef<'t, E>, [u64; WORDS])> {
        let store = &self.store;
        let mut attr = new.attr;
        let seed = seed.filter(|_| attr.kind == Kind::Regular);
        let aux = match attr.kind {
            Kind::Directory => {
                let slot = store.directories.take().map_err(|_| Errno::NOSPC)?;
                store.directories.at(slot).begin(Up::Removed);
                slot
            }
            Kind::Symlink => {
                let target = new.target.unwrap_or_default();
                check_target(target)?;
                attr.size = target.len() as u64;
                store.links.take().map_err(|_| Errno::NOSPC)?
            }
            _ => seed.map_or(0, |seed| seed.number),
        };
        let (slot, words) = store
            .begin_inode(&attr, aux, links, new.ino, loaded)
            .inspect_err(|_| match attr.kind {
                Kind::Directory => store.directories.free(aux),
                Kind::Symlink => store.links.free(aux),
                _ => {}
            })?;
        if let (Kind::Symlink, Some(target)) = (attr.kind, new.target) {
            store.set_target(aux, target);
        }
        match (new.ext, seed) {
            (Some(ext), _) => _ = store.inode(slot).ext.set(ext),
            (None, Some(seed)) => store.inode(slot).ext.sow(seed.bits),
            (None, None) => {}
        }
        Ok((InodeRef::adopt_as(self, slot, &Head::of(&words)), words))
    }

    /// Publishes `name` for `inode`. `count` counts the link, once nothing else can fail.
    fn attach<'t>(
        &'t self,
        inode: &InodeRef<'t, E>,
        parent: &InodeRef<'t, E>,
        name: &Name<'_>,
        now: Option<Time>,
        count: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let dentry = self.new_dentry(parent, inode.slot, name)?;
        let _change = self.change();
        let attached = Writer::lock(self, parent).and_then(|mut names| {
            self.attach_locked(inode, &mut names, (name, dentry), now, count)
        });
        if attached.is_ok() {
            self.store
                .tell_named(parent.slot, name.as_bytes(), inode.id(), false);
            self.tell_other_names(inode);
        }
        if attached.is_err() {
            self.store.free_dentry(dentry);
        }
        attached
    }

    /// The same in a directory already locked, for a dentry already made.
    pub(super) fn attach_locked<'t>(
        &'t self,
        inode: &InodeRef<'t, E>,
        names: &mut Writer<'t, E>,
        (name, dentry): (&Name<'_>, u32),
        now: Option<Time>,
        count: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if names.find(name).is_some() {
            return Err(Errno::EXIST);
        }
        names.reserve(1)?;
        count()?;
        let is_directory = inode.kind() == Kind::Directory;
        if is_directory {
            self.directory(inode)?.up.set(Up::Name(dentry));
        }
        let place = now.map_or(Position::Loaded, |_| Position::New);
        names.publish(dentry, name, place);
        if let Some(now) = now {
            names.touch(now, 1, is_directory.into());
        }
        Ok(())
    }

    /// A live dentry that is in no table yet.
    pub(super) fn new_dentry(
        &self,
        parent: &InodeRef<'_, E>,
        inode: u32,
        name: &Name<'_>,
    ) -> Result<u32> {
        let slot = self.store.dentries.take().map_err(|_| Errno::NOSPC)?;
        let dentry = self.store.dentry(slot);
        let begun = dentry.begin(parent.slot, inode, name, &self.store.pieces);
        begun.inspect_err(|_| self.store.dentries.free(slot))?;
        self.store.count(0, dentry.bytes());
        Ok(slot)
    }

    /// Counts a further name, in `links` and in what is shown as one step: another name may go meanwhile.
    pub(super) fn add_link(&self, inode: &InodeRef<'_, E>, now: Option<Time>) -> Result<()> {
        let record = inode.inode();
        let added = self.store.edit(inode.slot, |attr| {
            if self.store.life(inode.slot).nlookup.is_dead() {
                return Err(Errno::NOENT);
            }
            let links = record.links.load(Ordering::Relaxed);
            let more = links.checked_add(1).ok_or(Errno::MLINK)?;
            record.links.store(more, Ordering::Relaxed);
            if links > 0 {
                self.store.further_names.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(now) = now {
                attr.nlink = attr.nlink.saturating_add(1);
                attr.ctime = now;
            }
            Ok(())
        });
        added.map(|_| ())
    }

    /// Tells that an inode changed which has more names than the one that was told of.
    pub(super) fn tell_other_names(&self, inode: &InodeRef<'_, E>) {
        if inode.kind() != Kind::Directory && inode.links() > 1 {
            self.store.tell_edited(inode.id());
        }
    }

    /// Uncounts a link that never became a name. The reference held ends the inode if need be.
    pub(super) fn drop_link(&self, inode: &InodeRef<'_, E>) {
        let _lock = inode.inode().lock.lock();
        self.uncount_link(inode);
    }

    /// Uncounts a link and says how many are left. The inode's lock is held.
    pub(super) fn uncount_link(&self, inode: &InodeRef<'_, E>) -> u32 {
        let left = Lifetime::drop_link(&inode.inode().links);
        if left > 0 {
            self.store.further_names.fetch_sub(1, Ordering::Relaxed);
        }
        left
    }
}

fn check_target(target: &[u8]) -> Result<()> {
    match target.len() {
        0 => Err(Errno::NOENT),
        PATH_MAX.. => Err(Errno::NAMETOOLONG),
        _ if target.contains(&0) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::NoSlot;

    fn plain(kind: Kind) -> NewInode<'static> {
        let nlink = 1 + u32::from(kind == Kind::Directory);
        NewInode::plain(Attr {
            nlink,
            ..Attr::new(kind, 0o755, 0, 0, Time::default())
        })
    }

    fn symlink(target: &[u8]) -> NewInode<'_> {
        NewInode {
            target: Some(target),
            ..plain(Kind::Symlink)
        }
    }

    #[test]
    fn a_link_that_found_no_room_leaves_no_target_behind() {
        let tree = Tree::new(plain(Kind::Directory).attr);
        let root = tree.root();
        let refused = tree.store.inodes.while_full(|| {
            assert_eq!(tree.store.inodes.take(), Err(NoSlot));
            tree.create(&root, b"first", symlink(b"one"), None)
        });
        assert_eq!(refused.map(|link| link.id()), Err(Errno::NOSPC));
        let second = tree.create(&root, b"second", symlink(b"two"), None);
        assert_eq!(second.unwrap().target().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn what_is_told_of_a_new_inode_is_what_is_kept() {
        let tree = Tree::new(plain(Kind::Directory).attr);
        let root = tree.root();
        let odd = |kind| Attr {
            rdev: 7,
            blocks: 9,
            nlink: 3,
            mtime: Time { sec: -1, nsec: 5 },
            ..Attr::new(kind, 0o6751, 8, 9, Time::default())
        };
        for (name, new) in [
            (b"file", NewInode::plain(odd(Kind::Regular))),
            (b"node", NewInode::plain(odd(Kind::BlockDevice))),
            (b"diry", NewInode::plain(odd(Kind::Directory))),
            (b"link", symlink(b"target")),
        ] {
            let made = tree.create_entry(&root, name, new, Some(Time::default()));
            let (inode, entry) = made.unwrap();
            assert_eq!(entry, inode.entry());
        }
    }

    #[test]
    fn nlink_counts_a_name_before_another_can_go() {
        let tree = Tree::new(plain(Kind::Directory).attr);
        let (root, now) = (tree.root(), Some(Time::default()));
        let dir = tree.create(&root, b"d", plain(Kind::Directory), now);
        let file = tree.create(&root, b"a", plain(Kind::Regular), now);
        let (dir, file) = (dir.unwrap(), file.unwrap());
        let name = tree.name(b"b").unwrap();
        std::thread::scope(|scope| {
            // The link is held up right after its name can be found.
            let hold = dir.inode().lock.lock();
            let linking = scope.spawn(|| tree.link(&file, &dir, b"b", now));
            while tree
                .find(dir.slot, &name, &crossbeam_epoch::pin())
                .is_none()
            {
                std::thread::yield_now();
            }
            tree.unlink(&root, b"a", Time::default()).unwrap();
            drop(hold);
            linking.join().unwrap().unwrap();
        });
        assert_eq!((file.links(), file.attr().nlink), (1, 1));
    }
}
