//! Asking about an inode: stat, readlink, access.

use super::{Caller, Fs};
use crate::fs::Result;
use crate::tree::{Attr, Entry, Errno, Kind, LinkTarget, Mask, NodeId};

const W_OK: u32 = libc::W_OK as u32;

impl Fs {
    /// What stat reports, without a lock or a reference.
    ///
    /// # Errors
    /// ESTALE.
    pub fn stat(&self, id: NodeId) -> Result<Entry> {
        self.tree.entry(id)
    }

    /// The attributes alone.
    ///
    /// # Errors
    /// ESTALE.
    pub fn getattr(&self, id: NodeId) -> Result<Attr> {
        self.tree.stat_node(id)
    }

    /// The target of a symbolic link into `out`, without a lock or a reference.
    ///
    /// # Errors
    /// EINVAL if it is none, ESTALE.
    pub fn readlink(&self, id: NodeId, out: &mut LinkTarget) -> Result<()> {
        self.tree.readlink_node(id, out)
    }

    /// Whether `caller` may read (4), write (2), execute or search (1) an inode; 0 asks for existence.
    ///
    /// Supplementary groups are looked up in `/proc` only if the answer depends on them.
    ///
    /// # Errors
    /// EACCES, EPERM for writing what is immutable, EROFS for writing on a read-only filesystem, EINVAL for other mask bits,
    /// ESTALE.
    pub fn access(&self, caller: &Caller, id: NodeId, mask: u32) -> Result<()> {
        let asked = Mask::from_bits(mask).ok_or(Errno::INVAL)?;
        if mask & W_OK != 0 && self.config.load().read_only {
            let kind = self.tree.stat_node(id)?.kind;
            if matches!(kind, Kind::Regular | Kind::Directory | Kind::Symlink) {
                return Err(Errno::ROFS);
            }
        }
        if mask & W_OK != 0 {
            self.refuse_immutable(id)?;
        }
        match self.check(caller, id, asked) {
            Err(Errno::ACCESS) if self.keeps_acls() => self.access_by_acl(caller, id, asked),
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{self, Bed, USER};

    #[test]
    fn access_by_owner_group_and_others() {
        let bed = Bed::new();
        let entry = bed.fs.mknod(&USER, bed.root(), b"f", 0o640, 0);
        let file = entry.unwrap().deliver(drop).id;
        let group = Caller { uid: 7, ..USER };
        let other = Caller {
            uid: 7,
            gid: 7,
            pid: 0,
            umask: 0,
        };
        assert_eq!(bed.fs.access(&USER, file, 6), Ok(()));
        assert_eq!(bed.fs.access(&group, file, 4), Ok(()));
        assert_eq!(bed.fs.access(&group, file, 2), Err(Errno::ACCESS));
        assert_eq!(bed.fs.access(&other, file, 0), Ok(()));
        assert_eq!(bed.fs.access(&other, file, 4), Err(Errno::ACCESS));
        assert_eq!(bed.fs.access(&testing::ROOT, file, 6), Ok(()));
        assert_eq!(bed.fs.access(&testing::ROOT, file, 1), Err(Errno::ACCESS));
        assert_eq!(bed.fs.access(&USER, file, 8), Err(Errno::INVAL));
        assert_eq!(bed.fs.access(&USER, file, 256), Err(Errno::INVAL));
    }
}
