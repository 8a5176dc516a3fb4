//! The lists that inodes have: set, told, removed, inherited, and kept in step with the mode.
//!
//! A list and the mode that shows it change together, under the lock of the extended attributes. A list that says no
//! more than the mode is not kept.

use super::Acl;
use crate::fs::Result;
use crate::fs::ledger::Ledger;
use crate::fs::privilege::{SGID, is_member, supplementary_groups};
use crate::fs::xattr::{OVERHEAD, Xattrs};
use crate::fs::{Caller, Committed, Fs, Node};
use crate::tree::{Attr, Errno, InodeRef, Kind, Mask, NodeId, Time};
use std::sync::Arc;

const ACCESS_BITS: u16 = 0o777;

/// Which of its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fs) enum Which {
    Access,
    Default,
}

impl Which {
    /// In the order they are listed in.
    pub(in crate::fs) const ALL: [Which; 2] = [Which::Access, Which::Default];

    pub(in crate::fs) const fn name(self) -> &'static [u8] {
        match self {
            Which::Access => Acl::ACCESS,
            Which::Default => Acl::DEFAULT,
        }
    }

    pub(in crate::fs) fn of_name(name: &[u8]) -> Option<Which> {
        Which::ALL.into_iter().find(|which| which.name() == name)
    }

    /// EOPNOTSUPP for a symbolic link, EACCES for a default list of anything but a directory.
    pub(in crate::fs) fn check_kind(self, kind: Kind) -> Result<()> {
        match (self, kind) {
            (_, Kind::Symlink) => Err(Errno::OPNOTSUPP),
            (Which::Access, _) | (Which::Default, Kind::Directory) => Ok(()),
            (Which::Default, _) => Err(Errno::ACCESS),
        }
    }
}

/// The lists of one inode.
#[derive(Debug, Default)]
pub(in crate::fs) struct Acls {
    access: Option<Acl>,
    default: Option<Acl>,
}

impl Acls {
    pub(in crate::fs) fn get(&self, which: Which) -> Option<&Acl> {
        match which {
            Which::Access => self.access.as_ref(),
            Which::Default => self.default.as_ref(),
        }
    }

    pub(in crate::fs) fn replace(&mut self, which: Which, acl: Option<Acl>) -> Option<Acl> {
        let slot = match which {
            Which::Access => &mut self.access,
            Which::Default => &mut self.default,
        };
        std::mem::replace(slot, acl)
    }

    /// Makes the access list, if there is one, follow a chmod to `perm`.
    pub(in crate::fs) fn set_mode(&mut self, perm: u16) {
        if let Some(access) = &mut self.access {
            access.set_mode(perm);
        }
    }

    /// What keeping `acl` takes.
    pub(in crate::fs) fn cost(acl: &Acl) -> u64 {
        (OVERHEAD + acl.size()) as u64
    }
}

/// The mode of an inode whose access list becomes `acl`, which is given back if it has to be kept.
fn show(acl: Acl, attr: &mut Attr) -> Option<Acl> {
    attr.perm = attr.perm & !ACCESS_BITS | acl.mode();
    attr.acl = !acl.is_mode();
    attr.acl.then_some(acl)
}

impl Fs {
    /// Which list `name` is, if lists are kept.
    pub(in crate::fs) fn acl_of_name(&self, name: &[u8]) -> Option<Which> {
        Which::of_name(name).filter(|_| self.acls)
    }

    pub(in crate::fs) fn set_acl(
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
        let mut xattrs = self.node(&inode).xattrs.write();
        let xattrs = xattrs.get_or_insert_with(|| Box::new(Xattrs::new(&self.ledger)));
        let (mode, more) = (acl.mode(), !acl.is_mode());
        let kept = (which == Which::Default || more).then_some(acl);
        xattrs.put_acl(which, kept, max)?;
        inode.update(|attr| {
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
    pub(in crate::fs) fn load_acl(
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

    pub(in crate::fs) fn get_acl(&self, id: NodeId, which: Which) -> Result<Vec<u8>> {
        let inode = self.get(id)?;
        let node = inode.ext().made().ok_or(Errno::NODATA)?;
        let xattrs = node.xattrs.read();
        let acl = xattrs.as_ref().and_then(|xattrs| xattrs.acls().get(which));
        acl.ok_or(Errno::NODATA)?.to_value()
    }

    /// The mode stays, with the mask as the group's bits. That there is no list is no error, and ctime moves all the same.
    pub(in crate::fs) fn remove_acl(
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
        let gid = inode.attr().gid;
        // Nobody tells that of a removal, which takes it as a change of the list does (`posix_acl_update_mode`).
        let keeps_sgid = which == Which::Default || caller.uid == 0 || is_member(caller, gid);
        let mut xattrs = inode.ext().made().map(|node| node.xattrs.write());
        if let Some(xattrs) = xattrs.as_mut().and_then(|xattrs| xattrs.as_deref_mut()) {
            xattrs.put_acl(which, None, max)?;
        }
        inode.update(|attr| {
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
    pub(in crate::fs) fn inherit(
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
        let mut access = Acl::copy(&default.entries)?;
        attr.perm = access.restrict(attr.perm);
        let acls = Acls {
            access: show(access, attr),
            default: Some(default).filter(|_| attr.kind == Kind::Directory),
        };
        Node::with_acls(&self.ledger, acls, max)
    }

    fn default_acl(&self, dir: &InodeRef<'_, Node>) -> Result<Option<Acl>> {
        let Some(node) = dir.ext().made().filter(|_| self.acls) else {
            return Ok(None);
        };
        let xattrs = node.xattrs.read();
        let default = xattrs
            .as_ref()
            .and_then(|xattrs| xattrs.acls().get(Which::Default));
        default.map(|acl| Acl::copy(&acl.entries)).transpose()
    }

    /// The answer to [`Fs::access`] where a list gives it.
    pub(in crate::fs) fn access_by_acl(
        &self,
        caller: &Caller,
        id: NodeId,
        asked: Mask,
    ) -> Result<()> {
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
    fn with_acls(ledger: &Arc<Ledger>, mut acls: Acls, max: u64) -> Result<Option<Node>> {
        let mut xattrs = Xattrs::new(ledger);
        for which in Which::ALL {
            if let Some(acl) = acls.replace(which, None) {
                xattrs.put_acl(which, Some(acl), max)?;
            }
        }
        if xattrs.is_empty() {
            return Ok(None);
        }
        let mut node = Node::new(ledger);
        *node.xattrs.get_mut() = Some(Box::new(xattrs));
        Ok(Some(node))
    }
}

#[cfg(test)]
mod tests;
