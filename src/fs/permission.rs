//! Who may do what, on a mount where the kernel does not decide.
//!
//! The rules are those of the kernel for a filesystem in it: `may_create`, `may_delete`, `may_open`, `may_linkat`,
//! `setattr_prepare`, `xattr_permission`. The kernel's own part stays with it, since it needs no mode: capabilities for
//! devices and for `trusted.` and `security.` attributes, read-only and noexec mounts, names that are taken. User id 0
//! may do everything; supplementary groups are looked up only if they decide.
//!
//! **Why checking first and acting then is sound.** The kernel holds the inode lock (`i_rwsem`) of a directory while it
//! asks for a change of its names, and that of an inode while it asks for a change of its attributes; and all changes
//! come through the mount. So what was checked still holds when the change is made. LOOKUP and OPEN hold no such lock:
//! there, as in the kernel, permission is one step and what it permits is the next.
//!
//! What is reached through a descriptor (reading, writing, listing, attributes) was permitted when that was opened.

#[cfg(test)]
mod tests;

use super::flags::refuse_taking;
use super::kept::Xattrs;
use super::privilege::{GROUP_EXEC, SGID, SUID, is_member, supplementary_groups};
use super::{Caller, Fs, Node, SetAttr};
use crate::fs::Result;
use crate::tree::{Attr, Errno, InodeRef, Kind, Mask, NodeId};
use serde::{Deserialize, Serialize};

const STICKY: u16 = libc::S_ISVTX as u16;

/// `__FMODE_EXEC`: a file is opened to be executed. Nobody but the kernel can set it (`build_open_flags`).
const FMODE_EXEC: i32 = 1 << 5;

const PROTECTED_HARDLINKS: &str = "/proc/sys/fs/protected_hardlinks";

/// Who decides whether a caller may do something. Fixed for the life of a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permissions {
    /// The kernel, from owner and mode (`default_permissions`): what arrives is permitted.
    #[default]
    Kernel,
    /// The filesystem, for every call. The kernel must then ask for every step of a path.
    Daemon,
}

impl Fs {
    fn decides(&self) -> bool {
        self.permissions == Permissions::Daemon
    }

    /// Whether `caller` may do `mask` to an inode; EPERM for writing what is immutable, EACCES, ESTALE.
    pub(super) fn may(&self, caller: &Caller, id: NodeId, mask: Mask) -> Result<()> {
        if mask.bits() & Mask::WRITE.bits() != 0 {
            self.refuse_immutable(id)?;
        }
        match self.decides() {
            true => self.check(caller, id, mask),
            false => Ok(()),
        }
    }

    /// As [`Fs::may`], whoever decides.
    pub(super) fn check(&self, caller: &Caller, id: NodeId, mask: Mask) -> Result<()> {
        let groups = || supplementary_groups(caller.pid);
        self.tree
            .access_node(id, caller.uid, caller.gid, mask, groups)
    }

    /// Whether names may be made in, or taken out of, a directory; EPERM, EACCES.
    pub(super) fn may_name(&self, caller: &Caller, dir: NodeId) -> Result<()> {
        self.may(caller, dir, Mask::WRITE | Mask::EXECUTE)
    }

    /// Whether a file may be opened with `flags` of open(2), in which the kernel marks execution; EPERM, EACCES.
    pub(super) fn may_open(&self, caller: &Caller, id: NodeId, flags: i32) -> Result<()> {
        let mask = match flags & libc::O_ACCMODE {
            _ if flags & FMODE_EXEC != 0 => Mask::EXECUTE,
            libc::O_RDONLY => Mask::READ,
            libc::O_WRONLY => Mask::WRITE,
            _ => Mask::READ | Mask::WRITE,
        };
        self.may(caller, id, mask)?;
        self.refuse_opening(id, flags)
    }

    /// Whether an inode may be given a further name in `dir`: EPERM if it is protected, from strangers or by its flags, EACCES.
    pub(super) fn may_link(&self, caller: &Caller, id: NodeId, dir: NodeId) -> Result<()> {
        if self.decides() {
            let attr = self.tree.stat_node(id)?;
            let harmless = owns(caller, &attr) || self.is_harmless_to_link(caller, id, &attr);
            if !harmless && links_protected() {
                return Err(Errno::PERM);
            }
        }
        self.may_name(caller, dir)?;
        self.refuse_fixed(id)
    }

    /// A file that the caller may read and write anyway and that lends no rights (`safe_hardlink_source`).
    fn is_harmless_to_link(&self, caller: &Caller, id: NodeId, attr: &Attr) -> bool {
        let sgid_program = attr.perm & (SGID | GROUP_EXEC) == SGID | GROUP_EXEC;
        attr.kind == Kind::Regular
            && attr.perm & SUID == 0
            && !sgid_program
            && self.check(caller, id, Mask::READ | Mask::WRITE).is_ok()
    }

    /// Whether the name `name` may be taken out of `dir`: EACCES, EPERM for what a sticky directory or flags
    /// protect, ENOENT.
    pub(super) fn may_remove(
        &self,
        caller: &Caller,
        dir: &InodeRef<'_, Node>,
        name: &[u8],
    ) -> Result<()> {
        if !self.decides() && !self.has_flags() {
            return Ok(());
        }
        self.may_name(caller, dir.id())?;
        self.may_take(caller, &dir.attr(), &self.tree.child(dir, name)?.attr())
    }

    /// Whether `victim` may be taken out of `dir`, of which the names may be changed: EPERM if flags of either say no, or if
    /// `dir` is sticky and neither is the caller's.
    fn may_take(&self, caller: &Caller, dir: &Attr, victim: &Attr) -> Result<()> {
        refuse_taking(dir, victim)?;
        let sticky = self.decides() && dir.perm & STICKY != 0;
        match !sticky || owns(caller, victim) || owns(caller, dir) {
            true => Ok(()),
            false => Err(Errno::PERM),
        }
    }

    /// Whether a name may be moved, over another or in exchange for it: as [`Fs::may_remove`] for both, and EACCES for a
    /// directory the caller may not write that would get another parent.
    pub(super) fn may_rename(
        &self,
        caller: &Caller,
        (old, old_name): (&InodeRef<'_, Node>, &[u8]),
        (new, new_name): (&InodeRef<'_, Node>, &[u8]),
        exchange: bool,
    ) -> Result<()> {
        if !self.decides() && !self.has_flags() {
            return Ok(());
        }
        self.may_name(caller, old.id())?;
        let moved = self.tree.child(old, old_name)?;
        self.may_take(caller, &old.attr(), &moved.attr())?;
        self.may_name(caller, new.id())?;
        let other = match self.tree.child(new, new_name) {
            Err(Errno::NOENT) => None,
            other => Some(other?),
        };
        if let Some(other) = &other {
            self.may_take(caller, &new.attr(), &other.attr())?;
        }
        if old.id() == new.id() {
            return Ok(());
        }
        let back = other.filter(|_| exchange);
        for dir in [Some(moved), back].into_iter().flatten() {
            if dir.kind() == Kind::Directory {
                self.may(caller, dir.id(), Mask::WRITE)?;
            }
        }
        Ok(())
    }

    /// The change of attributes that `caller` may make of the one asked for: set-group-id is left out for a group the
    /// caller is not in. EPERM for what takes the owner or the superuser, or what flags forbid, EACCES for what takes write permission.
    pub(super) fn permitted(
        &self,
        caller: &Caller,
        inode: &InodeRef<'_, Node>,
        change: &SetAttr,
    ) -> Result<SetAttr> {
        self.refuse_change(inode, change)?;
        let mut change = *change;
        if !self.decides() || caller.uid == 0 {
            return Ok(change);
        }
        let attr = inode.attr();
        let owner = owns(caller, &attr);
        let writes = change.size.is_some() && !change.by_descriptor;
        if writes || (change.is_touch() && !owner) {
            self.may(caller, inode.id(), Mask::WRITE)?;
        }
        let gives_away = change.uid.is_some_and(|uid| uid != attr.uid);
        if gives_away || (!owner && takes_owner(&change)) {
            return Err(Errno::PERM);
        }
        if let Some(gid) = change.gid
            && gid != attr.gid
            && !is_member(caller, gid)
        {
            return Err(Errno::PERM);
        }
        if let Some(perm) = &mut change.perm
            && *perm & SGID != 0
            && !is_member(caller, change.gid.unwrap_or(attr.gid))
        {
            *perm &= !SGID;
        }
        Ok(change)
    }

    /// Whether the value of an extended attribute may be read; EACCES.
    pub(super) fn may_read_xattr(&self, caller: &Caller, id: NodeId, name: &[u8]) -> Result<()> {
        match goes_by_mode(name) {
            true => self.may(caller, id, Mask::READ),
            false => Ok(()),
        }
    }

    /// Whether an extended attribute may be set or removed: EPERM for a sticky directory of another and where flags
    /// forbid it, EACCES.
    pub(super) fn may_change_xattr(&self, caller: &Caller, id: NodeId, name: &[u8]) -> Result<()> {
        self.refuse_fixed(id)?;
        if !self.decides() || !goes_by_mode(name) {
            return Ok(());
        }
        let attr = self.tree.stat_node(id)?;
        let sticky = attr.kind == Kind::Directory && attr.perm & STICKY != 0;
        if sticky && name.starts_with(b"user.") && !owns(caller, &attr) {
            return Err(Errno::PERM);
        }
        self.may(caller, id, Mask::WRITE)
    }

    /// Whether file capabilities are to be removed for somebody who may not write to the file. The kernel takes them away
    /// before it asks for a change of owner or size (`setattr_prepare`), which may be refused; of all but root it lets nobody
    /// do so otherwise (`cap_inode_removexattr`). What is permitted takes them itself.
    pub(super) fn only_prepares_a_change(&self, caller: &Caller, id: NodeId, name: &[u8]) -> bool {
        self.decides() && name == Xattrs::CAPABILITY && self.may(caller, id, Mask::WRITE).is_err()
    }
}

/// `inode_owner_or_capable`.
fn owns(caller: &Caller, attr: &Attr) -> bool {
    caller.uid == 0 || caller.uid == attr.uid
}

/// Whether it takes the owner to ask for this.
fn takes_owner(change: &SetAttr) -> bool {
    let owner = change.uid.is_some() || change.gid.is_some() || change.perm.is_some();
    owner || change.sets_times()
}

/// Whether the mode of a file decides about an extended attribute, even about one there cannot be.
fn goes_by_mode(name: &[u8]) -> bool {
    let others = [&b"security."[..], b"system.", b"trusted."];
    !others.iter().any(|namespace| name.starts_with(namespace))
}

/// Whether strangers' files are not to be linked. They are not if this cannot be told.
fn links_protected() -> bool {
    std::fs::read(PROTECTED_HARDLINKS).map_or(true, |value| !value.starts_with(b"0"))
}
