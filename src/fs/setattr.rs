//! chmod, chown, truncate, utimens: one request.

use super::privilege::{Loss, would_lose};
use super::{Caller, Committed, Fs, Node, SetAttr};
use crate::fs::Result;
use crate::tree::{Attr, Entry, Errno, InodeRef, Kind, NodeId, Time};

/// Largest size of a file.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;

impl Fs {
    /// Changes attributes as one step and returns what stat reports then. ctime becomes now unless it is
    /// given, as does mtime when a size is.
    ///
    /// Growing a file allocates nothing. Cutting a source-backed file does not read its source.
    ///
    /// # Errors
    /// A size: EISDIR for a directory, EINVAL for anything else that is not a regular file, EFBIG
    /// beyond 2^63-1. EROFS, EPERM, EACCES, ESTALE.
    pub fn setattr(
        &self,
        caller: &Caller,
        id: NodeId,
        change: &SetAttr,
    ) -> Result<Committed<Entry>> {
        // The kernel replaces what it caches by the reply.
        let set = self.set(caller, id, change)?;
        Ok(Committed::new(set, []))
    }

    /// Clears set-user-id, set-group-id and capabilities, as opening a file to empty it does. The reply to that brings no
    /// attributes.
    ///
    /// # Errors
    /// EROFS, EPERM, ESTALE.
    pub fn take_privileges(&self, caller: &Caller, id: NodeId) -> Result<Committed<()>> {
        let change = SetAttr {
            kill_suidgid: true,
            ..SetAttr::default()
        };
        self.set(caller, id, &change)?;
        Ok(Committed::new((), [id]))
    }

    fn set(&self, caller: &Caller, id: NodeId, change: &SetAttr) -> Result<Entry> {
        self.writable()?;
        let inode = self.get(id)?;
        let change = &self.permitted(caller, &inode, change)?;
        self.room_for_change(&inode)?;
        if is_of_a_stranger(caller, &inode, change) {
            return Ok(inode.entry());
        }
        let attr = match change.size {
            Some(size) => self.resize(caller, &inode, size, change)?,
            None => apply(caller, &inode, change, |_| ())?,
        };
        Ok(Entry {
            id: inode.id(),
            ino: inode.ino(),
            attr,
        })
    }

    fn resize(
        &self,
        caller: &Caller,
        inode: &InodeRef<'_, Node>,
        size: u64,
        change: &SetAttr,
    ) -> Result<Attr> {
        match inode.kind() {
            Kind::Regular if size <= SIZE_MAX => {}
            Kind::Regular => return Err(Errno::FBIG),
            Kind::Directory => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        let node = self.node(inode);
        let mut content = node.content.write();
        let before = inode.attr();
        // What was allocated behind the end stays where the end comes nearer to it.
        let blocks = match size > before.size {
            true => before.blocks,
            false => content.truncate(size, before.blocks),
        };
        apply(caller, inode, change, |attr| {
            attr.touched.content |= size != attr.size;
            attr.size = size;
            attr.blocks = blocks;
        })
    }
}

/// Whether this changes nothing, since it would only take privileges, of which another is the owner.
///
/// A request without any attribute comes of a write to a file with privileges (`file_remove_privs`), whose descriptor may
/// be of times when more was permitted, so it must not fail: the write itself takes them. It also comes of
/// `chown(path, -1, -1)`, which nobody else has checked.
fn is_of_a_stranger(caller: &Caller, inode: &InodeRef<'_, Node>, change: &SetAttr) -> bool {
    let attr = inode.attr();
    *change == SetAttr::default()
        && caller.uid != 0
        && caller.uid != attr.uid
        && would_lose(&attr, caller)
}

/// Whether an inode of `owner` loses its privileges.
///
/// A request without any attribute comes of `chown(path, -1, -1)`, which is checked by nobody else,
/// and of a write, which asks again for itself. So it counts for those alone who may change the
/// mode.
fn takes_privileges(change: &SetAttr, caller: &Caller, owner: u32) -> bool {
    let chown = change.uid.is_some() || change.gid.is_some();
    let empty = *change == SetAttr::default() && (caller.uid == 0 || caller.uid == owner);
    change.kill_suidgid || (change.perm.is_none() && (chown || empty))
}

fn apply(
    caller: &Caller,
    inode: &InodeRef<'_, Node>,
    change: &SetAttr,
    also: impl FnOnce(&mut Attr),
) -> Result<Attr> {
    // With a new owner the kernel asks for the loss whatever the caller can do (`fuse_do_setattr`).
    let chown = change.uid.is_some() || change.gid.is_some();
    let privileged = caller.uid == 0 && (chown || !change.kill_suidgid);
    let loss = takes_privileges(change, caller, inode.attr().uid)
        .then(|| Loss::begin(inode, caller, privileged))
        .flatten();
    // A list says the same as the mode does.
    let listed = change.perm.and(inode.ext().made());
    let mut xattrs = listed.map(|node| node.xattrs.write());
    let ((), attr) = inode.update(|attr| {
        let now = Time::now();
        also(attr);
        if let Some(loss) = &loss {
            loss.apply(attr);
        }
        if let Some(perm) = change.perm {
            attr.perm = perm & 0o7777;
            if let Some(xattrs) = xattrs.as_mut().and_then(|xattrs| xattrs.as_mut()) {
                xattrs.acls_mut().set_mode(perm);
            }
        }
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        if change.size.is_some() {
            attr.mtime = now;
        }
        if let Some(time) = change.mtime {
            attr.mtime = time.resolve(now);
        }
        if let Some(time) = change.atime {
            attr.atime = time.resolve(now);
        }
        attr.ctime = change.ctime.unwrap_or(now);
        Ok(())
    })?;
    if change.perm.is_some()
        && attr.acl
        && xattrs.is_none()
        && let Some(node) = inode.ext().made()
        && let Some(xattrs) = node.xattrs.write().as_mut()
    {
        // The first list was set meanwhile.
        xattrs.acls_mut().set_mode(inode.attr().perm);
    }
    Ok(attr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::SetTime;
    use crate::fs::kept::Xattrs;
    use crate::fs::testing::{Bed, ROOT, USER, stale};

    fn set(bed: &Bed, id: NodeId, change: SetAttr) -> Result<Attr> {
        bed.fs.setattr(&ROOT, id, &change).map(|done| {
            done.deliver(|id| panic!("the reply itself brings {id:?} up to date"))
                .attr
        })
    }

    #[test]
    fn chmod_changes_mode_and_ctime_alone() {
        let bed = Bed::new();
        let file = bed.file("f");
        let before = bed.age(file);
        let change = SetAttr {
            perm: Some(0o4711),
            ..SetAttr::default()
        };
        let after = set(&bed, file, change).unwrap();
        assert!(after.ctime > before.ctime);
        assert_eq!(
            after,
            Attr {
                perm: 0o4711,
                ctime: after.ctime,
                ..before
            }
        );
        assert_eq!(bed.attr(file), after);
    }

    #[test]
    fn a_strangers_change_of_nothing_takes_nothing() {
        let bed = Bed::new();
        let file = bed.file("f");
        let mode = SetAttr {
            perm: Some(0o4757),
            ..SetAttr::default()
        };
        set(&bed, file, mode).unwrap();
        let before = bed.age(file);
        let stranger = Caller {
            uid: 77,
            gid: 77,
            pid: 0,
            umask: 0,
        };
        let nothing = bed.fs.setattr(&stranger, file, &SetAttr::default());
        assert_eq!(stale(nothing).0.attr, before);
        // Nothing would be taken, so it is a change like others.
        let mode = SetAttr {
            perm: Some(0o2745),
            gid: Some(stranger.gid),
            ..SetAttr::default()
        };
        set(&bed, file, mode).unwrap();
        let before = bed.age(file);
        let nothing = bed.fs.setattr(&stranger, file, &SetAttr::default());
        let after = stale(nothing).0.attr;
        assert_eq!((after.perm, after.ctime > before.ctime), (0o2745, true));
    }

    #[test]
    fn chown_clears_privileges_of_files_only() {
        let bed = Bed::new();
        let (file, dir) = (bed.file("f"), bed.dir("d"));
        let mode = |id, perm| {
            set(
                &bed,
                id,
                SetAttr {
                    perm: Some(perm),
                    ..SetAttr::default()
                },
            )
            .unwrap()
        };
        let chown = SetAttr {
            uid: Some(5),
            gid: Some(6),
            ..SetAttr::default()
        };
        mode(file, 0o6755);
        bed.fs
            .setxattr(&ROOT, file, Xattrs::CAPABILITY, b"cap", 0, false)
            .unwrap()
            .deliver(drop);
        let attr = set(&bed, file, chown).unwrap();
        assert_eq!((attr.uid, attr.gid, attr.perm), (5, 6, 0o755));
        assert_eq!(
            bed.fs.getxattr(&ROOT, file, Xattrs::CAPABILITY),
            Err(Errno::NODATA)
        );
        mode(file, 0o6755);
        assert_eq!(set(&bed, file, SetAttr::default()).unwrap().perm, 0o755);
        mode(file, 0o6755);
        let nothing = |caller| bed.fs.setattr(caller, file, &SetAttr::default());
        assert_eq!(stale(nothing(&USER)).0.attr.perm, 0o6755);
        let owner = Caller { uid: 5, ..USER };
        assert_eq!(stale(nothing(&owner)).0.attr.perm, 0o755);
        let both = SetAttr {
            perm: Some(0o6711),
            ..chown
        };
        assert_eq!(set(&bed, file, both).unwrap().perm, 0o6711);
        mode(file, 0o2745);
        let told = SetAttr {
            kill_suidgid: true,
            ..chown
        };
        assert_eq!(set(&bed, file, told).unwrap().perm, 0o2745, "by root");
        mode(dir, 0o2775);
        assert_eq!(set(&bed, dir, chown).unwrap().perm, 0o2775);
    }

    #[test]
    fn times_are_set_as_given() {
        let bed = Bed::new();
        let file = bed.file("f");
        let before = bed.age(file);
        let past = Time {
            sec: -5,
            nsec: 999_999_999,
        };
        let change = SetAttr {
            atime: Some(SetTime::At(past)),
            mtime: Some(SetTime::Now),
            ..SetAttr::default()
        };
        let after = set(&bed, file, change).unwrap();
        assert_eq!(after.atime, past);
        assert!(after.mtime > before.mtime && after.ctime == after.mtime);
        let given = SetAttr {
            ctime: Some(past),
            ..SetAttr::default()
        };
        assert_eq!(set(&bed, file, given).unwrap().ctime, past);
    }

    #[test]
    fn a_size_moves_mtime_and_frees_or_costs_nothing() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.write(file, 0, &[1; 3000]);
        let before = bed.age(file);
        let size = |size| {
            set(
                &bed,
                file,
                SetAttr {
                    size: Some(size),
                    ..SetAttr::default()
                },
            )
        };
        let cut = size(10).unwrap();
        assert_eq!((cut.size, cut.blocks), (10, 8));
        assert!(cut.mtime > before.mtime && cut.ctime > before.ctime);
        let grown = size(1 << 62).unwrap();
        assert_eq!((grown.size, grown.blocks), (1 << 62, 8));
        assert_eq!(bed.read(file, 8, 4), [1, 1, 0, 0]);
        assert_eq!(size(1 << 63), Err(Errno::FBIG));
        assert_eq!(size(0).unwrap().blocks, 0);
        assert_eq!(bed.fs.quota.used(), 0);
        let dir = bed.dir("d");
        let change = SetAttr {
            size: Some(1),
            ..SetAttr::default()
        };
        assert_eq!(set(&bed, dir, change), Err(Errno::ISDIR));
        let link = bed.fs.symlink(&USER, bed.root(), b"l", b"t");
        assert_eq!(set(&bed, stale(link).0.id, change), Err(Errno::INVAL));
    }

    #[test]
    fn an_unprivileged_truncation_kills_suid() {
        let bed = Bed::new();
        let file = bed.file("f");
        let change = SetAttr {
            perm: Some(0o6755),
            ..SetAttr::default()
        };
        set(&bed, file, change).unwrap();
        let cut = SetAttr {
            size: Some(0),
            ..SetAttr::default()
        };
        assert_eq!(set(&bed, file, cut).unwrap().perm, 0o6755);
        let kill = SetAttr {
            kill_suidgid: true,
            ..cut
        };
        assert_eq!(set(&bed, file, kill).unwrap().perm, 0o755);
    }
}
