//! Inode flags: what chattr(1) sets, with the rules of tmpfs.
//!
//! Who may set them is for the kernel to say (`vfs_fileattr_set`). But it keeps none of them: to it no inode of a FUSE
//! filesystem is immutable. So what they forbid is refused here, by the rules the kernel has for a filesystem in it:
//! `inode_permission`, `may_delete`, `vfs_link`, `may_setattr`, `xattr_permission`, `vfs_fallocate`. What is checked stays
//! so until the change is made for the same reason that [permissions](super::permission) do: the kernel holds the lock of
//! the inode while it asks for either. What was stored through a shared map comes without it.
//!
//! As long as nobody sets flags, and nobody mostly does, none of this costs more than a look at one word.

use super::{Committed, Fs, Node, SetAttr};
use crate::fs::Result;
use crate::tree::{Attr, Errno, InodeFlags, InodeRef, KEPT_FLAGS, Kind, NodeId, Time};
use std::sync::atomic::Ordering::Relaxed;

/// What a new inode has of the flags of its directory.
const INHERITED: InodeFlags = InodeFlags::NODUMP.union(InodeFlags::NOATIME);
/// Each of these keeps an inode's attributes and names as they are.
const FIXED: InodeFlags = InodeFlags::IMMUTABLE.union(InodeFlags::APPEND);

impl Fs {
    /// The flags of a regular file or directory.
    ///
    /// # Errors
    /// ENOTTY for anything else, ESTALE.
    pub fn flags(&self, id: NodeId) -> Result<InodeFlags> {
        let attr = self.tree.stat_node(id)?;
        match attr.kind {
            Kind::Regular | Kind::Directory => Ok(attr.flags),
            _ => Err(Errno::NOTTY),
        }
    }

    /// Replaces the flags of a regular file or directory, which moves ctime. Whoever asks has been permitted to.
    ///
    /// # Errors
    /// EOPNOTSUPP for flags other than [`KEPT_FLAGS`], ENOTTY for anything else than those kinds, EROFS, ESTALE.
    pub fn set_flags(&self, id: NodeId, flags: InodeFlags) -> Result<Committed<()>> {
        self.writable()?;
        self.flags(id)?;
        if !KEPT_FLAGS.contains(flags) {
            return Err(Errno::OPNOTSUPP);
        }
        if !flags.is_empty() {
            self.flagged.store(true, Relaxed);
        }
        let inode = self.get(id)?;
        self.room_for_change(&inode)?;
        inode.update(|attr| {
            attr.flags = flags;
            attr.ctime = Time::now();
            Ok(())
        })?;
        Ok(Committed::new((), [id]))
    }

    /// Whether a file that is written to would keep its content from now on, had it these flags. What a client was permitted
    /// to store and has not written yet would be lost, so it comes first.
    ///
    /// # Errors
    /// ESTALE.
    pub fn would_fix(&self, id: NodeId, flags: InodeFlags) -> Result<bool> {
        let attr = self.tree.stat_node(id)?;
        let more = flags.difference(attr.flags).intersects(FIXED);
        Ok(more && attr.kind == Kind::Regular && self.writable().is_ok())
    }

    /// Whether any inode has flags, or had.
    pub(super) fn has_flags(&self) -> bool {
        self.flagged.load(Relaxed)
    }

    fn refuse(&self, id: NodeId, flags: InodeFlags) -> Result<()> {
        match self.has_flags() && self.tree.stat_node(id)?.flags.intersects(flags) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// EPERM if nobody may write to an inode.
    pub(super) fn refuse_immutable(&self, id: NodeId) -> Result<()> {
        self.refuse(id, InodeFlags::IMMUTABLE)
    }

    /// EPERM if an inode keeps its names, attributes and content.
    pub(super) fn refuse_fixed(&self, id: NodeId) -> Result<()> {
        self.refuse(id, FIXED)
    }

    /// EPERM if a file may not be opened with `flags` of open(2).
    pub(super) fn refuse_opening(&self, id: NodeId, flags: i32) -> Result<()> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        match flags & libc::O_APPEND == 0 {
            true if writes => self.refuse_fixed(id),
            _ if writes => self.refuse_immutable(id),
            _ => Ok(()),
        }
    }

    /// Whether bytes may be written at `offset` by who opened the file with `flags` of open(2): to be asked before
    /// [`Fs::write`], which does not ask.
    ///
    /// # Errors
    /// EPERM for an immutable file, and for one that is only appended to unless that is done; ESTALE.
    pub fn may_write(&self, id: NodeId, offset: u64, flags: i32) -> Result<()> {
        if !self.has_flags() {
            return Ok(());
        }
        let attr = self.tree.stat_node(id)?;
        let appends = flags & libc::O_APPEND != 0 && offset >= attr.size;
        let forbidden = match appends {
            true => InodeFlags::IMMUTABLE,
            false => FIXED,
        };
        match attr.flags.intersects(forbidden) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// EPERM if attributes may not be changed like that, whoever asks.
    pub(super) fn refuse_change(&self, inode: &InodeRef<'_, Node>, change: &SetAttr) -> Result<()> {
        let owner = change.uid.is_some() || change.gid.is_some() || change.perm.is_some();
        if owner || change.size.is_some() || change.sets_times() {
            return self.refuse_fixed(inode.id());
        }
        match change.is_touch() {
            true => self.refuse_immutable(inode.id()),
            false => Ok(()),
        }
    }
}

/// EPERM if `victim` may not be taken out of `dir`, of which names may be changed.
pub(super) fn refuse_taking(dir: &Attr, victim: &Attr) -> Result<()> {
    match dir.flags.contains(InodeFlags::APPEND) || victim.flags.intersects(FIXED) {
        true => Err(Errno::PERM),
        false => Ok(()),
    }
}

/// The flags of what is new in `dir`.
pub(super) fn inherited(dir: &Attr) -> InodeFlags {
    dir.flags & INHERITED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, ROOT, stale};

    #[test]
    fn the_flags_of_tmpfs_are_kept() {
        let bed = Bed::new();
        for id in [bed.file("f"), bed.dir("d")] {
            for flags in [KEPT_FLAGS, InodeFlags::NODUMP, InodeFlags::empty()] {
                let before = bed.age(id);
                let ((), told) = stale(bed.fs.set_flags(id, flags));
                assert_eq!((bed.fs.flags(id), told), (Ok(flags), vec![id]));
                assert!(bed.attr(id).ctime > before.ctime);
            }
            for other in [
                InodeFlags::COMPRESSED,
                InodeFlags::from_bits_retain(1 << 31),
            ] {
                let refused = bed.fs.set_flags(id, other | InodeFlags::NODUMP);
                assert_eq!(refused.err(), Some(Errno::OPNOTSUPP));
            }
        }
        let fifo = bed.fs.mknod(&ROOT, bed.root(), b"p", libc::S_IFIFO, 0);
        let fifo = stale(fifo).0.id;
        assert_eq!(bed.fs.flags(fifo), Err(Errno::NOTTY));
        let set = bed.fs.set_flags(fifo, InodeFlags::empty());
        assert_eq!(set.err(), Some(Errno::NOTTY));
    }

    #[test]
    fn a_file_is_fixed_by_flags_it_does_not_have_yet() {
        let bed = Bed::new();
        let (file, dir) = (bed.file("f"), bed.dir("d"));
        let (immutable, append) = (InodeFlags::IMMUTABLE, InodeFlags::APPEND);
        let ask = |id, flags| bed.fs.would_fix(id, flags).unwrap();
        assert!(ask(file, immutable) && ask(file, append | InodeFlags::NODUMP));
        assert!(!ask(file, InodeFlags::NODUMP) && !ask(dir, immutable));
        stale(bed.fs.set_flags(file, append));
        assert!(!ask(file, append) && ask(file, append | immutable));
    }

    #[test]
    fn who_only_appends_may_do_that() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.write(file, 0, b"12345");
        let ask = |offset, flags| bed.fs.may_write(file, offset, flags);
        let append = libc::O_WRONLY | libc::O_APPEND;
        assert_eq!((ask(0, 0), ask(0, append)), (Ok(()), Ok(())));
        stale(bed.fs.set_flags(file, InodeFlags::APPEND));
        assert_eq!((ask(5, append), ask(9, append)), (Ok(()), Ok(())));
        assert_eq!(ask(4, append), Err(Errno::PERM));
        assert_eq!(ask(5, libc::O_WRONLY), Err(Errno::PERM));
        stale(bed.fs.set_flags(file, InodeFlags::IMMUTABLE));
        assert_eq!(ask(5, append), Err(Errno::PERM));
    }
}
