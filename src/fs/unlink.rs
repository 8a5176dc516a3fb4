//! Names that go away or move.

use super::create::born;
use super::{Caller, Committed, Fs};
use crate::fs::Result;
use crate::tree::{Attr, Errno, Kind, NewInode, NodeId, RenameMode, Time};

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;

impl Fs {
    /// Removes a name of anything but a directory. The inode lives on while the kernel knows it.
    ///
    /// # Errors
    /// ENOENT, EISDIR, ENOTDIR, EINVAL, ENAMETOOLONG, EROFS, EACCES, EPERM, ESTALE.
    pub fn unlink(&self, caller: &Caller, parent: NodeId, name: &[u8]) -> Result<Committed<()>> {
        self.writable()?;
        let dir = self.get(parent)?;
        self.may_remove(caller, &dir, name)?;
        self.tree.unlink(&dir, name, Time::now())?;
        self.removals.note();
        Ok(Committed::new((), [parent]))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY, EINVAL, ENAMETOOLONG, EROFS, EACCES, EPERM, ESTALE.
    pub fn rmdir(&self, caller: &Caller, parent: NodeId, name: &[u8]) -> Result<Committed<()>> {
        self.writable()?;
        let dir = self.get(parent)?;
        self.may_remove(caller, &dir, name)?;
        self.tree.rmdir(&dir, name, Time::now())?;
        self.removals.note();
        Ok(Committed::new((), [parent]))
    }

    /// Moves a name as one step, replacing the target if there is one. `flags`: `RENAME_NOREPLACE`
    /// (1) refuses to replace, `RENAME_EXCHANGE` (2) swaps the two names, `RENAME_WHITEOUT` (4) leaves a
    /// character device 0/0 without permissions under the old name, which is the caller's.
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EMLINK, ENAMETOOLONG, EROFS, EACCES, EPERM, ESTALE; EINVAL for
    /// a directory into itself, a name that cannot be, the second flag with another, or other flags; ENOSPC without
    /// room for what is left.
    pub fn rename(
        &self,
        caller: &Caller,
        from: (NodeId, &[u8]),
        to: (NodeId, &[u8]),
        flags: u32,
    ) -> Result<Committed<()>> {
        let leaves = flags & RENAME_WHITEOUT != 0;
        let mode = match flags & !RENAME_WHITEOUT {
            0 => RenameMode::Replace,
            RENAME_NOREPLACE => RenameMode::NoReplace,
            RENAME_EXCHANGE if !leaves => RenameMode::Exchange,
            _ => return Err(Errno::INVAL),
        };
        let (max_inodes, max_bytes) = self.writable_limits()?;
        let (old, new) = (self.get(from.0)?, self.get(to.0)?);
        let (old_name, new_name, now) = ((&old, from.1), (&new, to.1), Time::now());
        self.may_rename(caller, old_name, new_name, mode == RenameMode::Exchange)?;
        let done = if leaves {
            let mut attr = Attr {
                kind: Kind::CharDevice,
                perm: 0,
                nlink: 1,
                ..born(caller, &old, now)
            };
            let whiteout = NewInode {
                ext: self.inherit(caller, &old, &mut attr, max_bytes)?,
                ..NewInode::plain(attr)
            };
            let _room = self.room_for_inode(max_inodes)?;
            self.tree
                .rename_leaving(old_name, new_name, mode, whiteout, now)?
        } else {
            // A longer name takes more memory.
            if to.1.len() > from.1.len() && !self.has_memory(1) {
                return Err(Errno::NOSPC);
            }
            self.tree.rename(old_name, new_name, mode, now)?
        };
        if !done.changed {
            return Ok(Committed::new((), []));
        }
        // Maybe over another name.
        self.removals.note();
        let stale = [Some(from.0), Some(to.0), Some(done.moved), done.exchanged];
        Ok(Committed::new((), stale.into_iter().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Config;
    use crate::fs::testing::{self, Bed, USER, stale, value};
    use std::time::Instant;

    #[test]
    fn an_unlinked_file_lives_until_it_is_forgotten() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.write(file, 0, b"still here");
        let before = bed.age(file);
        let ((), told) = stale(bed.fs.unlink(&USER, bed.root(), b"f"));
        assert_eq!(told, [bed.root()]);
        let attr = bed.attr(file);
        assert_eq!(attr.nlink, 0);
        assert!(attr.ctime > before.ctime);
        assert_eq!(attr.mtime, before.mtime);
        assert_eq!(bed.read(file, 0, 100), b"still here");
        bed.write(file, 0, b"STILL");
        assert_eq!(bed.read(file, 0, 100), b"STILL here");
        bed.fs.forget(file, 1);
        assert_eq!(bed.fs.getattr(file).err(), Some(Errno::STALE));
        assert_eq!(
            value(bed.fs.write(&USER, file, 0, b"x", false)).err(),
            Some(Errno::STALE)
        );
    }

    #[test]
    fn room_may_come_for_a_moment_after_a_removal() {
        let bed = Bed::new();
        bed.file("f");
        bed.dir("d");
        bed.file("g");
        let (fs, root) = (&bed.fs, bed.root());
        let fades = || {
            assert!(fs.room_may_come(Instant::now()));
            while fs.room_may_come(Instant::now()) {
                std::thread::yield_now();
            }
        };
        assert!(!fs.room_may_come(Instant::now()));
        stale(fs.unlink(&USER, root, b"f"));
        fades();
        stale(fs.rmdir(&USER, root, b"d"));
        fades();
        let before = Instant::now();
        stale(fs.rename(&USER, (root, b"g"), (root, b"h"), 0));
        fades();
        stale(fs.rename(&USER, (root, b"h"), (root, b"g"), 0));
        assert!(!fs.room_may_come(before), "it asked long enough");
        fades();
        assert!(fs.unlink(&USER, root, b"x").is_err());
        assert!(!fs.room_may_come(Instant::now()));
    }

    #[test]
    fn removing_the_wrong_kind_or_nothing() {
        let bed = Bed::new();
        let dir = bed.dir("d");
        bed.file("f");
        bed.file_in(dir, "inside");
        let (fs, root) = (&bed.fs, bed.root());
        assert_eq!(fs.unlink(&USER, root, b"d").err(), Some(Errno::ISDIR));
        assert_eq!(fs.rmdir(&USER, root, b"f").err(), Some(Errno::NOTDIR));
        assert_eq!(fs.rmdir(&USER, root, b"d").err(), Some(Errno::NOTEMPTY));
        assert_eq!(fs.unlink(&USER, root, b"x").err(), Some(Errno::NOENT));
        assert_eq!(fs.rmdir(&USER, root, b"x").err(), Some(Errno::NOENT));
        assert_eq!(fs.rmdir(&USER, root, b".").err(), Some(Errno::INVAL));
        fs.unlink(&USER, dir, b"inside").unwrap().deliver(drop);
        fs.rmdir(&USER, root, b"d").unwrap().deliver(drop);
        assert_eq!(bed.attr(root).nlink, 2);
        assert_eq!(bed.attr(dir).nlink, 0);
    }

    #[test]
    fn rename_names_everything_it_made_stale() {
        let bed = Bed::new();
        let (a, b, file) = (bed.dir("a"), bed.dir("b"), bed.file("f"));
        let root = bed.root();
        let rename = |from, to, flags| stale(bed.fs.rename(&USER, from, to, flags)).1;
        assert_eq!(rename((root, b"f"), (a, b"f"), 0), [root, a, file]);
        assert_eq!(rename((a, b"f"), (a, b"g"), 0), [a, file]);
        let other = bed.file_in(b, "h");
        assert_eq!(
            rename((a, b"g"), (b, b"h"), RENAME_EXCHANGE),
            [a, b, file, other]
        );
        assert_eq!(bed.fs.lookup(&USER, b, b"h").unwrap().unwrap().id, file);
        bed.fs.link(&USER, file, b, b"same").unwrap().deliver(drop);
        assert_eq!(rename((b, b"h"), (b, b"same"), 0), []);
        assert_eq!(bed.attr(file).nlink, 2);
    }

    #[test]
    fn rename_replaces_only_what_it_may() {
        let bed = Bed::new();
        let (dir, full) = (bed.dir("d"), bed.dir("full"));
        bed.file_in(full, "x");
        let (f, g) = (bed.file("f"), bed.file("g"));
        let root = bed.root();
        let rename = |from: &[u8], to: &[u8], flags| {
            bed.fs
                .rename(&USER, (root, from), (root, to), flags)
                .map(|done| done.deliver(drop))
        };
        assert_eq!(rename(b"f", b"g", RENAME_NOREPLACE), Err(Errno::EXIST));
        assert_eq!(rename(b"f", b"d", 0), Err(Errno::ISDIR));
        assert_eq!(rename(b"d", b"f", 0), Err(Errno::NOTDIR));
        assert_eq!(rename(b"d", b"full", 0), Err(Errno::NOTEMPTY));
        assert_eq!(rename(b"none", b"f", 0), Err(Errno::NOENT));
        assert_eq!(rename(b"f", b"none", RENAME_EXCHANGE), Err(Errno::NOENT));
        assert_eq!(
            rename(b"f", b"g", RENAME_NOREPLACE | RENAME_EXCHANGE),
            Err(Errno::INVAL)
        );
        assert_eq!(rename(b"f", b"g", 8), Err(Errno::INVAL));
        assert_eq!(rename(b"f", b"g", 6), Err(Errno::INVAL));
        assert_eq!(rename(b"f", b"..", 0), Err(Errno::INVAL));
        let into_itself = bed.fs.rename(&USER, (root, b"d"), (dir, b"d"), 0);
        assert_eq!(into_itself.err(), Some(Errno::INVAL));
        assert_eq!(rename(b"f", b"g", 0), Ok(()));
        assert_eq!(bed.attr(g).nlink, 0);
        assert_eq!(bed.attr(f).nlink, 1);
        assert_eq!(rename(b"full", b"d", 0), Ok(()));
        assert_eq!(bed.attr(dir).nlink, 0);
    }

    #[test]
    fn a_whiteout_takes_the_old_name() {
        let bed = Bed::new();
        let shared = Caller { gid: 77, ..USER };
        let dir = bed.fs.mkdir(&shared, bed.root(), b"d", 0o2775);
        let dir = stale(dir).0.id;
        let (file, other) = (bed.file_in(dir, "f"), bed.file("g"));
        let root = bed.root();
        let sizes = || (bed.attr(dir).size, bed.attr(root).size);
        let before = sizes();
        let rename = |from, to, flags| bed.fs.rename(&USER, from, to, flags);
        let exists = rename(
            (dir, b"f"),
            (root, b"g"),
            RENAME_WHITEOUT | RENAME_NOREPLACE,
        );
        assert_eq!(exists.err(), Some(Errno::EXIST));
        let ((), told) = stale(rename((dir, b"f"), (root, b"g"), RENAME_WHITEOUT));
        assert_eq!(told, [dir, root, file]);
        assert_eq!((bed.attr(other).nlink, sizes()), (0, before));

        let look = |dir, name: &[u8]| bed.fs.lookup(&USER, dir, name).unwrap().unwrap();
        assert_eq!(look(root, b"g").id, file);
        let whiteout = look(dir, b"f").attr;
        assert_eq!((whiteout.mode(), whiteout.rdev), (libc::S_IFCHR, 0));
        assert_eq!((whiteout.uid, whiteout.gid), (USER.uid, 77));
        assert_eq!((whiteout.nlink, whiteout.size), (1, 0));

        bed.fs
            .link(&USER, file, root, b"same")
            .unwrap()
            .deliver(drop);
        let inodes = bed.fs.tree().inodes();
        assert_eq!(
            stale(rename((root, b"g"), (root, b"same"), RENAME_WHITEOUT)).1,
            []
        );
        assert_eq!(look(root, b"g").id, file, "nothing moved, nothing is left");
        assert_eq!(bed.fs.tree().inodes(), inodes);
        let ((), told) = stale(rename(
            (root, b"d"),
            (root, b"e"),
            RENAME_WHITEOUT | RENAME_NOREPLACE,
        ));
        assert_eq!(told, [root, dir]);
        assert_eq!(bed.attr(root).nlink, 3);
        assert_eq!(look(root, b"d").attr.kind, Kind::CharDevice);
        stale(bed.fs.unlink(&USER, root, b"d"));
    }

    #[test]
    fn a_whiteout_counts_as_an_inode() {
        let bed = Bed::with(Config {
            max_inodes: 3,
            ..testing::config()
        });
        bed.file("f");
        let root = bed.root();
        let rename = |from: &[u8], to: &[u8]| {
            let done = bed
                .fs
                .rename(&USER, (root, from), (root, to), RENAME_WHITEOUT);
            done.map(|done| done.deliver(drop))
        };
        assert_eq!(rename(b"none", b"g"), Err(Errno::NOENT));
        assert_eq!(bed.fs.statfs().files_free, 1);
        assert_eq!(rename(b"f", b"g"), Ok(()));
        assert_eq!(bed.fs.statfs().files_free, 0);
        assert_eq!(rename(b"g", b"h"), Err(Errno::NOSPC));
        stale(bed.fs.unlink(&USER, root, b"f"));
        assert_eq!(rename(b"g", b"h"), Ok(()));
    }
}
