//! What is kept with one inode as its extended attributes, access control lists among them.

use super::acl::Acl;
use super::quota::{Charge, Quota};
use crate::fs::Result;
use crate::tree::{Errno, Kind};
use std::sync::Arc;

pub(super) const XATTR_CREATE: i32 = libc::XATTR_CREATE;
pub(super) const XATTR_REPLACE: i32 = libc::XATTR_REPLACE;
const XATTR_NAME_MAX: usize = 255;
/// Longest value and longest list of names, bytes.
pub(super) const XATTR_SIZE_MAX: usize = 64 << 10;
pub(super) const TRUSTED: &[u8] = b"trusted.";

/// The name and the value of an extended attribute.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// Which of its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Access,
    Default,
}

impl Which {
    /// In the order they are listed in.
    pub(super) const ALL: [Which; 2] = [Which::Access, Which::Default];

    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Which::Access => Acl::ACCESS,
            Which::Default => Acl::DEFAULT,
        }
    }

    pub(super) fn of_name(name: &[u8]) -> Option<Which> {
        Which::ALL.into_iter().find(|which| which.name() == name)
    }

    /// EOPNOTSUPP for a symbolic link, EACCES for a default list of anything but a directory.
    pub(super) fn check_kind(self, kind: Kind) -> Result<()> {
        match (self, kind) {
            (_, Kind::Symlink) => Err(Errno::OPNOTSUPP),
            (Which::Access, _) | (Which::Default, Kind::Directory) => Ok(()),
            (Which::Default, _) => Err(Errno::ACCESS),
        }
    }
}

/// The lists of one inode.
#[derive(Debug, Default)]
pub(super) struct Acls {
    access: Option<Acl>,
    default: Option<Acl>,
}

impl Acls {
    pub(super) fn get(&self, which: Which) -> Option<&Acl> {
        match which {
            Which::Access => self.access.as_ref(),
            Which::Default => self.default.as_ref(),
        }
    }

    pub(super) fn replace(&mut self, which: Which, acl: Option<Acl>) -> Option<Acl> {
        let slot = match which {
            Which::Access => &mut self.access,
            Which::Default => &mut self.default,
        };
        std::mem::replace(slot, acl)
    }

    /// Makes the access list, if there is one, follow a chmod to `perm`.
    pub(super) fn set_mode(&mut self, perm: u16) {
        if let Some(access) = &mut self.access {
            access.set_mode(perm);
        }
    }

    /// What keeping `acl` takes.
    pub(super) fn cost(acl: &Acl) -> u64 {
        (OVERHEAD + acl.size()) as u64
    }
}

/// The extended attributes of one inode.
pub(super) struct Xattrs {
    /// Sorted by name.
    entries: Vec<Xattr>,
    acls: Acls,
    charge: Charge,
}

impl Xattrs {
    /// The file capabilities, which go with a change of owner or content.
    pub(super) const CAPABILITY: &[u8] = b"security.capability";

    pub(super) fn new(quota: &Arc<Quota>) -> Xattrs {
        Xattrs {
            entries: Vec::new(),
            acls: Acls::default(),
            charge: Charge::new(quota),
        }
    }

    pub(super) fn acls(&self) -> &Acls {
        &self.acls
    }

    pub(super) fn acls_mut(&mut self) -> &mut Acls {
        &mut self.acls
    }

    /// Keeps `acl`, or no list, instead of what list there was; ENOSPC.
    pub(super) fn put_acl(&mut self, which: Which, acl: Option<Acl>, max: u64) -> Result<()> {
        if let Some(acl) = &acl {
            let named = self.acls.get(which).is_some();
            if !named && self.list_len() + which.name().len() + 1 > XATTR_SIZE_MAX {
                return Err(Errno::NOSPC);
            }
            self.charge.take(Acls::cost(acl), max)?;
        }
        if let Some(old) = self.acls.replace(which, acl) {
            self.charge.give(Acls::cost(&old));
        }
        Ok(())
    }

    /// Whether `other` has the same names and values.
    pub(super) fn is_same(&self, other: &Xattrs) -> bool {
        let acl = |which| self.acls.get(which) == other.acls.get(which);
        self.entries == other.entries && Which::ALL.into_iter().all(acl)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list_len() == 0
    }

    /// Whether there are any but lists.
    pub(super) fn has_attributes(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Whether there is a list.
    pub(super) fn has_lists(&self) -> bool {
        Which::ALL
            .into_iter()
            .any(|which| self.acls.get(which).is_some())
    }

    /// The names as they are listed: those of lists first.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let kept = |which: Which| self.acls.get(which).map(|_| which.name());
        let acls = Which::ALL.into_iter().filter_map(kept);
        acls.chain(self.entries.iter().map(|(name, _)| &**name))
    }

    fn position(&self, name: &[u8]) -> std::result::Result<usize, usize> {
        self.entries
            .binary_search_by(|(have, _)| have.as_ref().cmp(name))
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.position(name).ok()?;
        Some(&self.entries[at].1)
    }

    /// Takes file capabilities away. A value without bytes stays: the kernel would leave it too (`cap_inode_need_killpriv`).
    /// Says whether there were any.
    pub(super) fn lose_capabilities(&mut self) -> bool {
        let capable = |value: &[u8]| !value.is_empty();
        let has = self.get(Xattrs::CAPABILITY).is_some_and(capable);
        has && self.remove(Xattrs::CAPABILITY).is_ok()
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], flags: i32, max: u64) -> Result<()> {
        match self.position(name) {
            Ok(_) if flags & XATTR_CREATE != 0 => Err(Errno::EXIST),
            Ok(at) => {
                let new = boxed(value)?;
                self.charge.take(value.len() as u64, max)?;
                let old = std::mem::replace(&mut self.entries[at].1, new);
                self.charge.give(old.len() as u64);
                Ok(())
            }
            Err(_) if flags & XATTR_REPLACE != 0 => Err(Errno::NODATA),
            Err(at) => {
                if self.list_len() + name.len() + 1 > XATTR_SIZE_MAX {
                    return Err(Errno::NOSPC);
                }
                let pair = (boxed(name)?, boxed(value)?);
                self.entries
                    .try_reserve_exact(1)
                    .map_err(|_| Errno::NOSPC)?;
                self.charge.take(cost(&pair), max)?;
                self.entries.insert(at, pair);
                Ok(())
            }
        }
    }

    /// As [`set`](Xattrs::set), of names that are served; others are left out.
    pub(super) fn load(&mut self, name: &[u8], value: &[u8], max: u64) -> Result<()> {
        match check_namespace(name) {
            Ok(()) => self.set(name, value, 0, max),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        let at = self.position(name).map_err(|_| Errno::NODATA)?;
        let pair = self.entries.remove(at);
        self.charge.give(cost(&pair));
        Ok(())
    }

    fn list_len(&self) -> usize {
        self.names().map(|name| name.len() + 1).sum()
    }
}

/// What keeping an attribute takes beside name and value: two pointers with lengths, two allocations.
pub(super) const OVERHEAD: usize = 64;

fn cost((name, value): &Xattr) -> u64 {
    (OVERHEAD + name.len() + value.len()) as u64
}

pub(super) fn boxed(bytes: &[u8]) -> Result<Box<[u8]>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| Errno::NOSPC)?;
    copy.extend_from_slice(bytes);
    Ok(copy.into_boxed_slice())
}

/// EOPNOTSUPP for names that are not kept, EINVAL for a namespace without a name, ERANGE for too
/// long a one.
pub(super) fn check_namespace(name: &[u8]) -> Result<()> {
    if name.len() > XATTR_NAME_MAX {
        return Err(Errno::RANGE);
    }
    let rest = [b"user.", TRUSTED, b"security."]
        .iter()
        .find_map(|namespace| name.strip_prefix(*namespace));
    match rest {
        Some(b"") => Err(Errno::INVAL),
        Some(_) if name.contains(&0) => Err(Errno::INVAL),
        Some(_) => Ok(()),
        None => Err(Errno::OPNOTSUPP),
    }
}
