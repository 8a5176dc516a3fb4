//! New inodes and new names of old ones.

use super::flags::inherited as inherited_flags;
use super::privilege::SGID;
use super::{Caller, Committed, Fs, Node};
use crate::fs::Result;
use crate::tree::{Attr, Entry, Errno, InodeRef, Kind, NewInode, NodeId, Time};

/// Longest target of a symbolic link that the limit of inodes alone pays for, bytes.
const TARGET_FREE: usize = 128;

impl Fs {
    /// A new file that is neither directory nor symbolic link. `mode` carries the type, none
    /// standing for a regular file, and the most permissions it may have: the caller's umask, or the list its directory
    /// hands down, takes from them. `rdev` counts for devices alone. Raises nlookup by one.
    ///
    /// # Errors
    /// EEXIST, ENOENT for a removed parent, ENOTDIR, EINVAL for another type or a name that cannot
    /// be, ENAMETOOLONG, ENOSPC, EROFS, EACCES, ESTALE.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        rdev: u32,
    ) -> Result<Committed<Entry>> {
        let kind = match mode & libc::S_IFMT {
            0 => Kind::Regular,
            _ => Kind::from_mode(mode).ok_or(Errno::INVAL)?,
        };
        if matches!(kind, Kind::Directory | Kind::Symlink) {
            return Err(Errno::INVAL);
        }
        self.create(
            caller,
            parent,
            name,
            |attr| Attr {
                kind,
                perm: permissions(mode),
                nlink: 1,
                rdev: if kind.is_device() { rdev } else { 0 },
                ..attr
            },
            None,
        )
    }

    /// A new directory. It inherits set-group-id and the group of a parent that has it, and the list that the parent
    /// hands down. Raises nlookup by one.
    ///
    /// # Errors
    /// As [`Fs::mknod`], and EMLINK.
    pub fn mkdir(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: &[u8],
        mode: u32,
    ) -> Result<Committed<Entry>> {
        self.create(
            caller,
            parent,
            name,
            |attr| Attr {
                kind: Kind::Directory,
                perm: permissions(mode) | attr.perm,
                nlink: 2,
                ..attr
            },
            None,
        )
    }

    /// A new symbolic link to `target`. Raises nlookup by one.
    ///
    /// # Errors
    /// As [`Fs::mknod`], ENOSPC also if no bytes are left for a long target; ENOENT for an empty
    /// target, ENAMETOOLONG for one over 4095 bytes, EINVAL for one with a NUL.
    pub fn symlink(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
    ) -> Result<Committed<Entry>> {
        self.create(
            caller,
            parent,
            name,
            |attr| Attr {
                kind: Kind::Symlink,
                perm: 0o777,
                nlink: 1,
                ..attr
            },
            Some(target),
        )
    }

    /// A new regular file without a name, as `O_TMPFILE` wants. `mode` is as for [`Fs::mknod`]. [`Fs::link`] may name
    /// it; without a name it ends when the kernel forgets it. Raises nlookup by one.
    ///
    /// The directory decides group and permissions alone and may have been removed. The kernel takes it for changed.
    ///
    /// # Errors
    /// EINVAL for another type, ENOTDIR, ENOSPC, EROFS, EACCES, ESTALE.
    pub fn tmpfile(&self, caller: &Caller, dir: NodeId, mode: u32) -> Result<Committed<Entry>> {
        let (max_inodes, max_bytes) = self.writable_limits()?;
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(Errno::INVAL);
        }
        self.may_name(caller, dir)?;
        let dir = self.get(dir)?;
        if dir.kind() != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        let mut attr = Attr {
            perm: permissions(mode),
            ..born(caller, &dir, Time::now())
        };
        let new = NewInode {
            ext: self.inherit(caller, &dir, &mut attr, max_bytes)?,
            ..NewInode::plain(attr)
        };
        let inode = {
            let _room = self.room_for_inode(max_inodes)?;
            self.tree.create_nameless(new)?
        };
        entry(&inode, &dir)
    }

    /// A new name of the inode `id`, or the first of one that was made or became nameless: whether that may be is for
    /// the kernel to say. Raises its nlookup by one.
    ///
    /// # Errors
    /// EPERM for a directory and for what is protected from strangers, EACCES, EEXIST, ENOENT for a removed parent or inode, ENOTDIR, EMLINK,
    /// ENAMETOOLONG, EINVAL, ENOSPC, EROFS, ESTALE.
    pub fn link(
        &self,
        caller: &Caller,
        id: NodeId,
        parent: NodeId,
        name: &[u8],
    ) -> Result<Committed<Entry>> {
        let max_inodes = self.writable()?.max_inodes;
        self.may_link(caller, id, parent)?;
        let (inode, parent) = (self.get(id)?, self.get(parent)?);
        {
            let _room = self.room_for_name(&inode, max_inodes)?;
            self.tree.link(&inode, &parent, name, Some(Time::now()))?;
        }
        entry(&inode, &parent)
    }

    /// Creates what `describe` makes of the attributes it is [`born`] with.
    fn create(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: &[u8],
        describe: impl FnOnce(Attr) -> Attr,
        target: Option<&[u8]>,
    ) -> Result<Committed<Entry>> {
        let (max_inodes, max_bytes) = self.writable_limits()?;
        self.may_name(caller, parent)?;
        let parent = self.get(parent)?;
        let now = Time::now();
        let mut attr = describe(born(caller, &parent, now));
        let ext = match target {
            Some(target) if target.len() > TARGET_FREE => {
                Some(Node::charged(&self.quota, target.len() as u64, max_bytes)?)
            }
            _ => self.inherit(caller, &parent, &mut attr, max_bytes)?,
        };
        let new = NewInode {
            target,
            ext,
            ..NewInode::plain(attr)
        };
        let (inode, entry) = {
            let _room = self.room_for_inode(max_inodes)?;
            self.tree.create_entry(&parent, name, new, Some(now))?
        };
        inode.raise_lookup()?;
        Ok(Committed::new(entry, [parent.id()]))
    }
}

/// The attributes every new inode of `caller` in `parent` starts with: those of a regular file without names. `perm`
/// holds the bits a directory inherits.
pub(super) fn born(caller: &Caller, parent: &InodeRef<'_, Node>, now: Time) -> Attr {
    let above = parent.attr();
    let inherited = above.perm & SGID;
    let gid = if inherited != 0 {
        above.gid
    } else {
        caller.gid
    };
    Attr {
        flags: inherited_flags(&above),
        ..Attr::new(Kind::Regular, inherited, caller.uid, gid, now)
    }
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// The reply to a new name: the lookup it hands out is counted first, and the attributes are those
/// after the change.
fn entry(inode: &InodeRef<'_, Node>, parent: &InodeRef<'_, Node>) -> Result<Committed<Entry>> {
    inode.raise_lookup()?;
    Ok(Committed::new(inode.entry(), [parent.id()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Config;
    use crate::fs::testing::{self, Bed, ROOT, USER, stale};
    use crate::tree::{LinkTarget, PATH_MAX};

    const TARGET_MAX: usize = PATH_MAX - 1;

    #[test]
    fn long_targets_of_links_are_charged() {
        let bed = Bed::with(Config {
            max_bytes: 5000,
            ..testing::config()
        });
        let symlink = |name: &[u8], length| {
            let made = bed.fs.symlink(&USER, bed.root(), name, &vec![b'x'; length]);
            made.map(|made| bed.fs.forget(made.deliver(drop).id, 1))
        };
        assert_eq!(symlink(b"short", TARGET_FREE), Ok(()));
        assert_eq!(bed.fs.statfs().blocks_free, 1);
        assert_eq!(symlink(b"long", TARGET_MAX), Ok(()));
        assert_eq!(symlink(b"more", TARGET_MAX), Err(Errno::NOSPC));
        assert_eq!(symlink(b"long", 900), Err(Errno::EXIST));
        bed.fs
            .unlink(&USER, bed.root(), b"long")
            .unwrap()
            .deliver(drop);
        assert_eq!(symlink(b"more", TARGET_MAX), Ok(()));
    }

    #[test]
    fn each_kind_starts_as_posix_wants() {
        let bed = Bed::new();
        let before = Time::now();
        let (file, told) = stale(bed.fs.mknod(&USER, bed.root(), b"f", 0o4640, 99));
        assert_eq!(told, [bed.root()]);
        let attr = file.attr;
        assert_eq!((attr.mode(), attr.nlink), (libc::S_IFREG | 0o4640, 1));
        assert_eq!((attr.uid, attr.gid, attr.rdev), (USER.uid, USER.gid, 0));
        assert_eq!((attr.size, attr.blocks), (0, 0));
        assert!(attr.mtime >= before && attr.mtime <= Time::now());
        assert_eq!([attr.atime, attr.ctime, attr.btime], [attr.mtime; 3]);

        let (dir, _) = stale(bed.fs.mkdir(&USER, bed.root(), b"d", 0o1755));
        assert_eq!(
            (dir.attr.mode(), dir.attr.nlink),
            (libc::S_IFDIR | 0o1755, 2)
        );
        let (link, _) = stale(bed.fs.symlink(&USER, bed.root(), b"l", b"to/there"));
        assert_eq!(
            (link.attr.mode(), link.attr.size),
            (libc::S_IFLNK | 0o777, 8)
        );
        let mut target = LinkTarget::new();
        bed.fs.readlink(link.id, &mut target).unwrap();
        assert_eq!(target.as_slice(), b"to/there");
        let (device, _) =
            stale(
                bed.fs
                    .mknod(&ROOT, bed.root(), b"c", libc::S_IFCHR | 0o600, 0x105),
            );
        assert_eq!(
            (device.attr.kind, device.attr.rdev),
            (Kind::CharDevice, 0x105)
        );
        let (fifo, _) = stale(
            bed.fs
                .mknod(&ROOT, bed.root(), b"p", libc::S_IFIFO | 0o600, 0x105),
        );
        assert_eq!((fifo.attr.kind, fifo.attr.rdev), (Kind::Fifo, 0));
        assert_eq!(bed.attr(bed.root()).nlink, 3);
    }

    #[test]
    fn a_new_name_moves_the_parents_times_and_nothing_else() {
        let bed = Bed::new();
        let dir = bed.dir("d");
        let before = bed.age(dir);
        bed.fs
            .mknod(&USER, dir, b"f", 0o644, 0)
            .unwrap()
            .deliver(drop);
        let after = bed.attr(dir);
        assert!(after.mtime > before.mtime && after.ctime > before.ctime);
        assert_eq!((after.atime, after.nlink), (before.atime, 2));
        bed.fs
            .mkdir(&USER, dir, b"sub", 0o755)
            .unwrap()
            .deliver(drop);
        assert_eq!(bed.attr(dir).nlink, 3);
    }

    #[test]
    fn a_set_group_id_directory_hands_its_group_down() {
        let bed = Bed::new();
        let shared = Caller { gid: 77, ..USER };
        let dir = bed
            .fs
            .mkdir(&shared, bed.root(), b"d", 0o2775)
            .unwrap()
            .deliver(drop);
        let sub = bed
            .fs
            .mkdir(&USER, dir.id, b"sub", 0o755)
            .unwrap()
            .deliver(drop)
            .attr;
        assert_eq!((sub.perm, sub.gid, sub.uid), (0o2755, 77, USER.uid));
        let file = bed
            .fs
            .mknod(&USER, dir.id, b"f", 0o644, 0)
            .unwrap()
            .deliver(drop)
            .attr;
        assert_eq!((file.perm, file.gid), (0o644, 77));
        let kept = bed
            .fs
            .mknod(&USER, dir.id, b"g", 0o2755, 0)
            .unwrap()
            .deliver(drop)
            .attr;
        assert_eq!((kept.perm, kept.gid), (0o2755, 77));
    }

    #[test]
    fn what_cannot_be_created() {
        let bed = Bed::new();
        let file = bed.file("f");
        let mknod = |parent, name, mode| bed.fs.mknod(&USER, parent, name, mode, 0).err();
        assert_eq!(mknod(bed.root(), b"f", 0o644), Some(Errno::EXIST));
        assert_eq!(mknod(file, b"x", 0o644), Some(Errno::NOTDIR));
        assert_eq!(mknod(bed.root(), b"x", libc::S_IFDIR), Some(Errno::INVAL));
        assert_eq!(mknod(bed.root(), b"x", libc::S_IFLNK), Some(Errno::INVAL));
        assert_eq!(mknod(bed.root(), b"x", 0o170000), Some(Errno::INVAL));
        assert_eq!(mknod(bed.root(), b"..", 0o644), Some(Errno::INVAL));
        assert_eq!(
            mknod(bed.root(), &[b'x'; 256], 0o644),
            Some(Errno::NAMETOOLONG)
        );
        let symlink = |target: &[u8]| bed.fs.symlink(&USER, bed.root(), b"l", target).err();
        assert_eq!(symlink(b""), Some(Errno::NOENT));
        assert_eq!(symlink(b"a\0b"), Some(Errno::INVAL));
        assert_eq!(symlink(&[b'x'; 4096]), Some(Errno::NAMETOOLONG));
        assert_eq!(symlink(&[b'x'; 4095]), None);

        let gone = bed.dir("gone");
        bed.fs
            .rmdir(&USER, bed.root(), b"gone")
            .unwrap()
            .deliver(drop);
        assert_eq!(mknod(gone, b"x", 0o644), Some(Errno::NOENT));
    }

    #[test]
    fn a_link_is_the_same_inode_with_one_more_name() {
        let bed = Bed::new();
        let (file, dir) = (bed.file("f"), bed.dir("d"));
        let before = bed.age(file);
        let (entry, told) = stale(bed.fs.link(&USER, file, dir, b"again"));
        assert_eq!((entry.id, entry.attr.nlink), (file, 2));
        assert!(entry.attr.ctime > before.ctime);
        assert_eq!(entry.attr.mtime, before.mtime);
        assert_eq!(told, [dir]);
        let link = |id, name| bed.fs.link(&USER, id, bed.root(), name).err();
        assert_eq!(link(dir, b"x"), Some(Errno::PERM));
        assert_eq!(link(file, b"f"), Some(Errno::EXIST));
        assert_eq!(link(file, b"."), Some(Errno::INVAL));
    }

    #[test]
    fn a_file_without_a_name_ends_when_it_is_forgotten() {
        let bed = Bed::new();
        let dir = bed.dir("d");
        let before = bed.age(dir);
        let (file, told) = stale(bed.fs.tmpfile(&USER, dir, libc::S_IFREG | 0o4640));
        assert_eq!((file.attr.mode(), file.attr.nlink), (0o104640, 0));
        assert_eq!((file.attr.uid, file.attr.gid), (USER.uid, USER.gid));
        assert_eq!(told, [dir], "the kernel takes it for changed");
        assert_eq!(bed.attr(dir), before);
        bed.write(file.id, 0, b"scratch");
        assert_eq!(bed.read(file.id, 0, 9), b"scratch");
        assert_eq!((bed.fs.tree().inodes(), bed.fs.quota.used()), (3, 7));
        bed.fs.forget(file.id, 1);
        assert_eq!(bed.fs.getattr(file.id), Err(Errno::STALE));
        assert_eq!((bed.fs.tree().inodes(), bed.fs.quota.used()), (2, 0));
    }

    #[test]
    fn a_file_without_a_name_can_be_given_one() {
        let bed = Bed::new();
        let file = stale(bed.fs.tmpfile(&USER, bed.root(), 0o600)).0.id;
        bed.write(file, 0, b"kept");
        let link = |name| bed.fs.link(&USER, file, bed.root(), name);
        let (named, told) = stale(link(b"a"));
        assert_eq!((named.id, named.attr.nlink), (file, 1));
        assert_eq!(told, [bed.root()]);
        assert_eq!(stale(link(b"b")).0.attr.nlink, 2);
        bed.fs.forget(file, 3);
        assert_eq!(bed.read(file, 0, 9), b"kept", "names keep it");
        assert_eq!(bed.fs.tree().further_names(), 1);

        // Open when its last name goes, and named once more: that is for the kernel to allow.
        let known = bed.fs.lookup(&USER, bed.root(), b"a").unwrap().unwrap();
        for name in [b"a", b"b"] {
            stale(bed.fs.unlink(&USER, bed.root(), name));
        }
        assert_eq!(bed.attr(known.id).nlink, 0);
        assert_eq!(stale(link(b"c")).0.attr.nlink, 1);
        stale(bed.fs.unlink(&USER, bed.root(), b"c"));
        bed.fs.forget(file, 2);
        assert_eq!(link(b"d").err(), Some(Errno::STALE));
        assert_eq!((bed.fs.tree().inodes(), bed.fs.quota.used()), (1, 0));
    }

    #[test]
    fn a_forgotten_file_without_a_name_gets_none_although_it_is_held() {
        let bed = Bed::new();
        let file = stale(bed.fs.tmpfile(&USER, bed.root(), 0o600)).0.id;
        let held = bed.fs.get(file).unwrap();
        bed.fs.forget(file, 1);
        let link = bed.fs.link(&USER, file, bed.root(), b"f");
        assert_eq!(link.err(), Some(Errno::NOENT));
        drop(held);
        assert_eq!(bed.fs.tree().inodes(), 1);
    }

    #[test]
    fn what_a_file_without_a_name_asks_for() {
        let bed = Bed::with(Config {
            max_inodes: 4,
            ..testing::config()
        });
        let shared = Caller { gid: 77, ..USER };
        let dir = bed.fs.mkdir(&shared, bed.root(), b"d", 0o2775);
        let dir = stale(dir).0.id;
        let tmpfile = |dir, mode| bed.fs.tmpfile(&USER, dir, mode);
        assert_eq!(tmpfile(dir, libc::S_IFIFO).err(), Some(Errno::INVAL));
        let (file, _) = stale(tmpfile(dir, 0o644));
        assert_eq!((file.attr.gid, file.attr.perm), (77, 0o644));
        assert_eq!(tmpfile(file.id, 0o644).err(), Some(Errno::NOTDIR));
        stale(bed.fs.rmdir(&USER, bed.root(), b"d"));
        let (other, _) = stale(tmpfile(dir, 0o644));
        assert_eq!(tmpfile(dir, 0o644).err(), Some(Errno::NOSPC));
        let link = |id, name| bed.fs.link(&USER, id, bed.root(), name).err();
        assert_eq!(link(file.id, b"f"), None, "it is counted already");
        assert_eq!(link(file.id, b"g"), Some(Errno::NOSPC));
        bed.fs.forget(other.id, 1);
        assert_eq!(link(file.id, b"g"), None);
        assert_eq!(bed.fs.statfs().files_free, 0);
    }
}
