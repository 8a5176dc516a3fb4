//! The access control lists that inodes have: set, told, removed, inherited, and kept in step with the mode.
//!
//! A list and the mode that shows it change together, under the lock of the extended attributes. A list that says no
//! more than the mode is not kept.

use super::acl::Acl;
use super::kept::{Which, Xattrs};
use super::privilege::{SGID, is_member, supplementary_groups};
use super::quota::Quota;
use super::{Caller, Committed, Fs, Node};
use crate::fs::Result;
use crate::tree::{Attr, Errno, InodeRef, Kind, Mask, NodeId, Time};
use std::sync::Arc;

const ACCESS_BITS: u16 = 0o777;

/// The mode of an inode whose access list becomes `acl`, which is given back if it has to be kept.
fn show(acl: Acl, attr: &mut Attr) -> Option<Acl> {
    attr.perm = attr.perm & !ACCESS_BITS | acl.mode();
    attr.acl = !acl.is_mode();
    attr.acl.then_some(acl)
}

impl Fs {
    /// Which list `name` is, if lists are kept.
    pub(super) fn acl_of_name(&self, name: &[u8]) -> Option<Which> {
        Which::of_name(name).filter(|_| self.acls)
    }

    pub(super) fn set_acl(
        &self,
        caller: &Caller,
        id: NodeId,
        which: Which,
        value: &[u8],
        kill_sgid: bool,
    ) -> Result<Committed<()>> {
        let max = self.writable_limits()?.1;
        let Some(acl) = Acl::parse(value)? else {
            return self.remove_acl(caller, id, which);
        };
        acl.check_size()?;
        self.refuse_fixed(id)?;
        let inode = self.get(id)?;
        which.check_kind(inode.kind())?;
        self.room_for_change(&inode)?;
        let mut xattrs = self.node(&inode).xattrs.write();
        let xattrs = xattrs.get_or_insert_with(|| Box::new(Xattrs::new(&self.quota)));
        let (mode, more) = (acl.mode(), !acl.is_mode());
        let kept = (which == Which::Default || more).then_some(acl);
        let listed = kept.is_some() || xattrs.acls().get(which).is_some();
        xattrs.put_acl(which, kept, max)?;
        inode.update(|attr| {
            attr.touched.acl |= listed;
            if which == Which::Access {
                attr.perm = attr.perm & !ACCESS_BITS | mode;
                attr.acl = more;
                if kill_sgid {
                    attr.perm &= !SGID;
                }
            }
            attr.ctime = Time::now();
            Ok(())
        })?;
        Ok(Committed::new((), [id]))
    }

    /// Sets a list of an inode that is described, not changed.
    pub(super) fn load_acl(
        &self,
        xattrs: &mut Xattrs,
        which: Which,
        value: &[u8],
        attr: &mut Attr,
        max: u64,
    ) -> Result<()> {
        let Some(acl) = Acl::parse(value)? else {
            return Ok(());
        };
        acl.check_size()?;
        which.check_kind(attr.kind)?;
        let kept = match which {
            Which::Access => show(acl, attr),
            Which::Default => Some(acl),
        };
        xattrs.put_acl(which, kept, max)
    }

    pub(super) fn get_acl(&self, id: NodeId, which: Which) -> Result<Vec<u8>> {
        let inode = self.get(id)?;
        let node = inode.ext().made().ok_or(Errno::NODATA)?;
        let xattrs = node.xattrs.read();
        let acl = xattrs.as_ref().and_then(|xattrs| xattrs.acls().get(which));
        acl.ok_or(Errno::NODATA)?.to_value()
    }

    /// The mode stays, with the mask as the group's bits. That there is no list is no error, and ctime moves all the same.
    pub(super) fn remove_acl(
        &self,
        caller: &Caller,
        id: NodeId,
        which: Which,
    ) -> Result<Committed<()>> {
        let max = self.writable_limits()?.1;
        self.refuse_fixed(id)?;
        let inode = self.get(id)?;
        let kind = inode.kind();
        if kind == Kind::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        self.room_for_change(&inode)?;
        let gid = inode.attr().gid;
        // Nobody tells that of a removal, which takes it as a change of the list does (`posix_acl_update_mode`).
        let keeps_sgid = which == Which::Default || caller.uid == 0 || is_member(caller, gid);
        let mut xattrs = inode.ext().made().map(|node| node.xattrs.write());
        let mut listed = false;
        if let Some(xattrs) = xattrs.as_mut().and_then(|xattrs| xattrs.as_deref_mut()) {
            listed = xattrs.acls().get(which).is_some();
            xattrs.put_acl(which, None, max)?;
        }
        inode.update(|attr| {
            attr.touched.acl |= listed;
            if which == Which::Access {
                attr.acl = false;
            }
            if !keeps_sgid {
                attr.perm &= !SGID;
            }
            attr.ctime = Time::now();
            Ok(())
        })?;
        Ok(Committed::new((), [id]))
    }

    /// The permissions of a new inode in `parent` that is to have `attr` at most, and the node to begin with if it has
    /// lists: those its directory hands down, or else none and what the caller's umask leaves.
    pub(super) fn inherit(
        &self,
        caller: &Caller,
        parent: &InodeRef<'_, Node>,
        attr: &mut Attr,
        max: u64,
    ) -> Result<Option<Node>> {
        if attr.kind == Kind::Symlink {
            return Ok(None);
        }
        let Some(default) = self.default_acl(parent)? else {
            attr.perm &= !(caller.umask as u16 & ACCESS_BITS);
            return Ok(None);
        };
        let mut access = default.copy()?;
        attr.perm = access.restrict(attr.perm);
        let acls = [
            (Which::Access, show(access, attr)),
            (
                Which::Default,
                Some(default).filter(|_| attr.kind == Kind::Directory),
            ),
        ];
        Node::with_acls(&self.quota, acls, max)
    }

    fn default_acl(&self, dir: &InodeRef<'_, Node>) -> Result<Option<Acl>> {
        let Some(node) = dir.ext().made().filter(|_| self.acls) else {
            return Ok(None);
        };
        let xattrs = node.xattrs.read();
        let default = xattrs
            .as_ref()
            .and_then(|xattrs| xattrs.acls().get(Which::Default));
        default.map(Acl::copy).transpose()
    }

    /// The answer to [`Fs::access`] where a list gives it.
    pub(super) fn access_by_acl(&self, caller: &Caller, id: NodeId, asked: Mask) -> Result<()> {
        let groups = supplementary_groups(caller.pid);
        let is_member = |gid| gid == caller.gid || groups.contains(&gid);
        let inode = self.get(id)?;
        let xattrs = inode.ext().made().map(|node| node.xattrs.read());
        let acls = xattrs.as_ref().and_then(|xattrs| xattrs.as_deref());
        let attr = inode.attr();
        let acl = acls.and_then(|xattrs| xattrs.acls().get(Which::Access));
        match acl.filter(|_| caller.uid != 0 && caller.uid != attr.uid) {
            Some(acl) if acl.allows(&attr, caller.uid, is_member, asked.bits() as u16) => Ok(()),
            Some(_) => Err(Errno::ACCESS),
            None => self.check(caller, id, asked),
        }
    }
}

impl Node {
    /// For an inode that begins with lists, none if it begins with none; ENOSPC.
    fn with_acls(
        quota: &Arc<Quota>,
        acls: [(Which, Option<Acl>); 2],
        max: u64,
    ) -> Result<Option<Node>> {
        let mut xattrs = Xattrs::new(quota);
        for (which, acl) in acls {
            if acl.is_some() {
                xattrs.put_acl(which, acl, max)?;
            }
        }
        if xattrs.is_empty() {
            return Ok(None);
        }
        let mut node = Node::new(quota);
        *node.xattrs.get_mut() = Some(Box::new(xattrs));
        Ok(Some(node))
    }
}

#[cfg(test)]
mod tests;
