//! Who asks, and whether they may.

use super::block::Head;
use super::{Attr, Kind};

/// The identity a permission check is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The user; 0 may do what `CAP_DAC_OVERRIDE` allows.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: &'a [u32],
}

impl Credential<'_> {
    /// The superuser.
    pub const ROOT: Credential<'static> = Credential {
        uid: 0,
        gid: 0,
        groups: &[],
    };
}

/// What access(2) asks for: `R_OK`, `W_OK` and `X_OK` or-ed; 0 (`F_OK`) asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u8);

impl Mask {
    /// Nothing but existence.
    pub const EXISTS: Mask = Mask(0);
    /// Execute a file, or search a directory.
    pub const EXECUTE: Mask = Mask(1);
    /// Write.
    pub const WRITE: Mask = Mask(2);
    /// Read.
    pub const READ: Mask = Mask(4);

    /// The mask in the low three bits of access(2)'s mode; `None` if others are set.
    pub const fn from_bits(bits: u32) -> Option<Mask> {
        if bits > 7 {
            None
        } else {
            Some(Mask(bits as u8))
        }
    }

    /// The bits as access(2) has them.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Whether permission bits `allowed` (rwx) grant all of this.
    const fn granted_by(self, allowed: u32) -> bool {
        self.0 as u32 & !allowed == 0
    }
}

impl std::ops::BitOr for Mask {
    type Output = Mask;

    fn bitor(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }
}

/// The part of an inode's attributes that decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// An access control list, which is not known here, decides for all but the owner.
    pub(crate) acl: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    pub(crate) fn of(attr: &Attr) -> Owner {
        Owner {
            kind: attr.kind,
            mode: attr.mode(),
            acl: attr.acl,
            uid: attr.uid,
            gid: attr.gid,
        }
    }

    /// The same out of a head.
    #[inline(always)]
    pub(crate) fn of_head(head: &Head) -> Owner {
        Owner {
            kind: if head.is_directory() {
                Kind::Directory
            } else {
                Kind::Regular
            },
            mode: head.mode(),
            acl: head.has_acl(),
            uid: head.uid(),
            gid: head.gid(),
        }
    }

    /// Whether `cred` may do `mask`, by the rules of the kernel's `generic_permission`. Where a list decides, nothing is
    /// allowed to those it decides for.
    #[inline(always)]
    pub(crate) fn allows(&self, cred: &Credential<'_>, mask: Mask) -> bool {
        let in_group = || cred.gid == self.gid || cred.groups.contains(&self.gid);
        self.decide(cred.uid, mask, in_group)
    }

    /// The same without the supplementary groups: `None` if they would decide.
    pub(crate) fn allows_without_groups(&self, uid: u32, gid: u32, mask: Mask) -> Option<bool> {
        let member = self.decide(uid, mask, || true);
        let other = self.decide(uid, mask, || gid == self.gid);
        (member == other).then_some(other)
    }

    #[inline(always)]
    fn decide(&self, uid: u32, mask: Mask, in_group: impl FnOnce() -> bool) -> bool {
        if uid == 0 {
            // A file nobody may execute is not executed by the superuser either.
            let executable = self.kind == Kind::Directory || self.mode & 0o111 != 0;
            return executable || mask.0 & Mask::EXECUTE.0 == 0;
        }
        let shift = match uid == self.uid {
            true => 6,
            false if self.acl => return mask == Mask::EXISTS,
            false if in_group() => 3,
            false => 0,
        };
        mask.granted_by(self.mode >> shift & 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> Owner {
        Owner {
            kind: Kind::Regular,
            mode,
            acl: false,
            uid: 10,
            gid: 20,
        }
    }

    fn cred(uid: u32, gid: u32, groups: &[u32]) -> Credential<'_> {
        Credential { uid, gid, groups }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let read = Mask::READ;
        assert!(!file(0o077).allows(&cred(10, 20, &[]), read), "owner");
        assert!(!file(0o707).allows(&cred(11, 20, &[]), read), "group");
        assert!(!file(0o707).allows(&cred(11, 21, &[3, 20]), read), "groups");
        assert!(file(0o004).allows(&cred(11, 21, &[3]), read), "others");
        assert!(!file(0o666).allows(&cred(10, 20, &[]), Mask::EXECUTE));
        assert!(file(0).allows(&cred(11, 21, &[]), Mask::EXISTS));
    }

    #[test]
    fn where_a_list_decides_only_the_owner_and_the_superuser_are_sure() {
        let listed = |mode| Owner {
            acl: true,
            ..file(mode)
        };
        let read = Mask::READ;
        assert!(listed(0o400).allows(&cred(10, 21, &[]), read));
        assert!(!listed(0o044).allows(&cred(10, 20, &[]), read));
        assert!(listed(0).allows(&Credential::ROOT, read));
        for stranger in [cred(11, 20, &[]), cred(11, 21, &[20]), cred(11, 21, &[])] {
            assert!(!listed(0o777).allows(&stranger, read));
            assert!(listed(0o777).allows(&stranger, Mask::EXISTS));
        }
        let without_groups = listed(0o777).allows_without_groups(11, 21, read);
        assert_eq!(without_groups, Some(false), "whatever the groups are");
    }

    #[test]
    fn the_superuser_executes_only_what_somebody_may() {
        assert!(file(0).allows(&Credential::ROOT, Mask::READ | Mask::WRITE));
        assert!(!file(0o666).allows(&Credential::ROOT, Mask::EXECUTE));
        assert!(file(0o001).allows(&Credential::ROOT, Mask::EXECUTE));
        let directory = Owner {
            kind: Kind::Directory,
            ..file(0)
        };
        assert!(directory.allows(&Credential::ROOT, Mask::EXECUTE));
    }

    #[test]
    fn groups_are_asked_for_only_if_they_decide() {
        assert_eq!(file(0o640).allows_without_groups(11, 21, Mask::READ), None);
        assert_eq!(
            file(0o644).allows_without_groups(11, 21, Mask::READ),
            Some(true)
        );
        assert_eq!(
            file(0o600).allows_without_groups(11, 21, Mask::READ),
            Some(false)
        );
        assert_eq!(
            file(0o640).allows_without_groups(11, 20, Mask::READ),
            Some(true)
        );
        assert_eq!(
            file(0o640).allows_without_groups(10, 1, Mask::READ),
            Some(true)
        );
        assert_eq!(file(0).allows_without_groups(0, 0, Mask::READ), Some(true));
    }
}
