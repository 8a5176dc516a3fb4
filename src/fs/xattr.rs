//! Extended attributes: `user.`, `trusted.` and `security.` names.
//!
//! The two `system.` names that stand for access control lists mean something only where those are kept
//! ([`Fs::with_acls`]), and go to [`lists`](super::lists); all other names are answered EOPNOTSUPP. That `user.` belongs to
//! regular files and directories, and `trusted.` and `security.` to the privileged, is checked by the kernel
//! (`xattr_permission`, `cap_inode_setxattr`); listing hides `trusted.` from others here.

use super::kept::{
    TRUSTED, XATTR_CREATE, XATTR_REPLACE, XATTR_SIZE_MAX, Xattrs, boxed, check_namespace,
};
use super::{Caller, Committed, Fs, Node};
use crate::fs::Result;
use crate::tree::{Errno, InodeRef, NodeId, Time};
use std::sync::atomic::Ordering::Relaxed;

/// What a security module calls a file.
const LABEL: &[u8] = b"security.selinux";

impl Fs {
    /// Sets an extended attribute. `flags`: `XATTR_CREATE` (1) only a new one, `XATTR_REPLACE` (2)
    /// only an old one.
    ///
    /// An access control list, for which `flags` do not count, changes the mode as well; one that says no more than the
    /// mode, or nothing, is not kept. With `kill_sgid`, which counts for [`Acl::ACCESS`](super::Acl::ACCESS) alone, it also takes
    /// set-group-id away: the caller is not in the group and lacks `CAP_FSETID`.
    ///
    /// # Errors
    /// EEXIST, ENODATA, E2BIG for a value over 64 KiB, or a list over 4096 bytes, ENOSPC if the names together would pass
    /// 64 KiB or memory is used up, EOPNOTSUPP, EINVAL, ERANGE for a name over 255 bytes, EACCES, also for a default list
    /// of anything but a directory, EPERM, EROFS, ESTALE.
    pub fn setxattr(
        &self,
        caller: &Caller,
        id: NodeId,
        name: &[u8],
        value: &[u8],
        flags: i32,
        kill_sgid: bool,
    ) -> Result<Committed<()>> {
        if let Some(which) = self.acl_of_name(name) {
            return self.set_acl(caller, id, which, value, kill_sgid);
        }
        let max = self.writable_limits()?.1;
        self.may_change_xattr(caller, id, name)?;
        check_namespace(name)?;
        if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
            return Err(Errno::INVAL);
        }
        if value.len() > XATTR_SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        let inode = self.get(id)?;
        self.room_for_change(&inode)?;
        let mut xattrs = self.node(&inode).xattrs.write();
        self.note_label(name);
        xattrs
            .get_or_insert_with(|| Box::new(Xattrs::new(&self.quota)))
            .set(name, value, flags, max)?;
        touch(&inode)?;
        Ok(Committed::new((), [id]))
    }

    /// Remembers that there are labels.
    pub(super) fn note_label(&self, name: &[u8]) {
        if name == LABEL {
            self.labelled.store(true, Relaxed);
        }
    }

    /// The value of an extended attribute.
    ///
    /// `security.selinux` is EOPNOTSUPP as long as nothing has one: `ls -l` then asks once and not for
    /// each file.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP, EINVAL, ERANGE, ENOSPC if no memory is left for the copy, EACCES, ESTALE.
    pub fn getxattr(&self, caller: &Caller, id: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        if let Some(which) = self.acl_of_name(name) {
            return self.get_acl(id, which);
        }
        self.may_read_xattr(caller, id, name)?;
        check_namespace(name)?;
        if name == LABEL && !self.labelled.load(Relaxed) {
            return Err(Errno::OPNOTSUPP);
        }
        let inode = self.get(id)?;
        let Some(node) = inode.ext().made() else {
            return Err(Errno::NODATA);
        };
        let xattrs = node.xattrs.read();
        let value = xattrs.as_ref().and_then(|xattrs| xattrs.get(name));
        Ok(boxed(value.ok_or(Errno::NODATA)?)?.into_vec())
    }

    /// The names, each ended by NUL; `trusted.` ones for uid 0 alone.
    ///
    /// # Errors
    /// ESTALE.
    pub fn listxattr(&self, caller: &Caller, id: NodeId) -> Result<Vec<u8>> {
        let inode = self.get(id)?;
        let mut names = Vec::new();
        let Some(node) = inode.ext().made() else {
            return Ok(names);
        };
        if let Some(xattrs) = node.xattrs.read().as_ref() {
            for name in xattrs.names() {
                if caller.uid == 0 || !name.starts_with(TRUSTED) {
                    names.extend_from_slice(name);
                    names.push(0);
                }
            }
        }
        Ok(names)
    }

    /// Whether `id` has extended attributes, and access control lists.
    pub fn has_xattrs(&self, id: NodeId) -> (bool, bool) {
        let has = self.get(id).map(|inode| {
            let kept = inode.ext().made().map(|node| node.xattrs.read());
            let kept = kept.as_ref().and_then(|kept| kept.as_deref());
            kept.map_or((false, false), |kept| {
                (kept.has_attributes(), kept.has_lists())
            })
        });
        has.unwrap_or_default()
    }

    /// Removes an extended attribute. Of an access control list only the mode remains, with the mask as the group's
    /// bits. File capabilities may stay until what takes them is permitted.
    ///
    /// # Errors
    /// ENODATA, but not for an access control list; EOPNOTSUPP, EINVAL, ERANGE, EROFS, EACCES, EPERM, ESTALE.
    pub fn removexattr(&self, caller: &Caller, id: NodeId, name: &[u8]) -> Result<Committed<()>> {
        if let Some(which) = self.acl_of_name(name) {
            return self.remove_acl(caller, id, which);
        }
        self.writable()?;
        self.may_change_xattr(caller, id, name)?;
        check_namespace(name)?;
        if self.only_prepares_a_change(caller, id, name) {
            return Ok(Committed::new((), []));
        }
        let inode = self.get(id)?;
        self.room_for_change(&inode)?;
        let Some(node) = inode.ext().made() else {
            return Err(Errno::NODATA);
        };
        let mut xattrs = node.xattrs.write();
        xattrs.as_mut().ok_or(Errno::NODATA)?.remove(name)?;
        touch(&inode)?;
        Ok(Committed::new((), [id]))
    }
}

/// ctime moves.
fn touch(inode: &InodeRef<'_, Node>) -> Result<()> {
    inode.update(|attr| {
        attr.ctime = Time::now();
        attr.touched.xattrs = true;
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Config;
    use crate::fs::kept::OVERHEAD;
    use crate::fs::testing::{self, Bed, ROOT, USER, stale};

    fn set(bed: &Bed, id: NodeId, name: &[u8], value: &[u8], flags: i32) -> Result<()> {
        bed.fs
            .setxattr(&ROOT, id, name, value, flags, false)
            .map(|done| done.deliver(drop))
    }

    #[test]
    fn labels_are_not_supported_until_there_is_one() {
        let bed = Bed::new();
        let (file, other) = (bed.file("f"), bed.file("g"));
        assert_eq!(bed.fs.getxattr(&USER, file, LABEL), Err(Errno::OPNOTSUPP));
        stale(bed.fs.setxattr(&USER, file, LABEL, b"label", 0, false));
        assert_eq!(bed.fs.getxattr(&USER, file, LABEL).unwrap(), b"label");
        assert_eq!(bed.fs.getxattr(&USER, other, LABEL), Err(Errno::NODATA));
    }

    #[test]
    fn namespaces() {
        for good in [
            &b"user.a"[..],
            b"trusted.overlay.opaque",
            b"security.selinux",
        ] {
            assert_eq!(check_namespace(good), Ok(()));
        }
        for other in [
            &b"system.posix_acl_access"[..],
            b"system.x",
            b"btrfs.x",
            b"user",
            b"",
        ] {
            assert_eq!(check_namespace(other), Err(Errno::OPNOTSUPP));
        }
        assert_eq!(check_namespace(b"user."), Err(Errno::INVAL));
        assert_eq!(check_namespace(b"user.a\0b"), Err(Errno::INVAL));
        let mut long = b"user.".to_vec();
        long.resize(255, b'x');
        assert_eq!(check_namespace(&long), Ok(()));
        long.push(b'x');
        assert_eq!(check_namespace(&long), Err(Errno::RANGE));
    }

    #[test]
    fn set_get_list_remove() {
        let bed = Bed::new();
        let file = bed.file("f");
        assert_eq!(bed.fs.listxattr(&USER, file).unwrap(), b"");
        assert_eq!(bed.fs.getxattr(&USER, file, b"user.b"), Err(Errno::NODATA));
        let before = bed.age(file);
        let ((), told) = stale(bed.fs.setxattr(&USER, file, b"user.b", b"two", 0, false));
        assert_eq!(told, [file]);
        let after = bed.attr(file);
        assert!(after.ctime > before.ctime && after.mtime == before.mtime);
        set(&bed, file, b"user.a", b"", 0).unwrap();
        set(&bed, file, b"trusted.t", b"t", 0).unwrap();
        assert_eq!(bed.fs.listxattr(&USER, file).unwrap(), b"user.a\0user.b\0");
        assert_eq!(
            bed.fs.listxattr(&ROOT, file).unwrap(),
            b"trusted.t\0user.a\0user.b\0"
        );
        assert_eq!(bed.fs.getxattr(&USER, file, b"user.a").unwrap(), b"");
        assert_eq!(bed.fs.getxattr(&USER, file, b"user.b").unwrap(), b"two");
        let ((), told) = stale(bed.fs.removexattr(&USER, file, b"user.b"));
        assert_eq!(told, [file]);
        assert_eq!(
            bed.fs.removexattr(&USER, file, b"user.b").err(),
            Some(Errno::NODATA)
        );
        assert_eq!(bed.fs.getxattr(&USER, file, b"user.b"), Err(Errno::NODATA));
    }

    #[test]
    fn create_and_replace() {
        let bed = Bed::new();
        let file = bed.file("f");
        assert_eq!(
            set(&bed, file, b"user.a", b"1", XATTR_REPLACE),
            Err(Errno::NODATA)
        );
        assert_eq!(set(&bed, file, b"user.a", b"1", XATTR_CREATE), Ok(()));
        assert_eq!(
            set(&bed, file, b"user.a", b"2", XATTR_CREATE),
            Err(Errno::EXIST)
        );
        assert_eq!(set(&bed, file, b"user.a", b"2", XATTR_REPLACE), Ok(()));
        assert_eq!(set(&bed, file, b"user.a", b"2", 4), Err(Errno::INVAL));
        assert_eq!(bed.fs.getxattr(&USER, file, b"user.a").unwrap(), b"2");
        assert_eq!(set(&bed, file, b"user.a", b"much longer", 0), Ok(()));
        let used = bed.fs.quota.used();
        assert_eq!(
            used as usize,
            OVERHEAD + "user.a".len() + "much longer".len()
        );
        stale(bed.fs.removexattr(&USER, file, b"user.a"));
        assert_eq!(bed.fs.quota.used(), 0);
    }

    #[test]
    fn limits_of_value_list_and_memory() {
        let bed = Bed::with(Config {
            max_bytes: 220_000,
            ..testing::config()
        });
        let file = bed.file("f");
        let value = vec![7; XATTR_SIZE_MAX + 1];
        assert_eq!(set(&bed, file, b"user.v", &value, 0), Err(Errno::TOOBIG));
        assert_eq!(set(&bed, file, b"user.v", &value[1..], 0), Ok(()));
        let name = |n: usize| format!("user.{n:0>249}").into_bytes();
        let fitting = (0..)
            .take_while(|&n| set(&bed, file, &name(n), b"", 0).is_ok())
            .count();
        assert_eq!(fitting, (XATTR_SIZE_MAX - 7) / 255);
        assert!(bed.fs.listxattr(&ROOT, file).unwrap().len() <= XATTR_SIZE_MAX);
        let other = bed.file("g");
        assert_eq!(set(&bed, other, b"user.v", &value[1..], 0), Ok(()));
        assert_eq!(
            set(&bed, other, b"user.w", &value[1..], 0),
            Err(Errno::NOSPC)
        );
        for file in ["f", "g"] {
            bed.remove(file);
        }
        assert_eq!(bed.fs.quota.used(), 0);
    }
}
