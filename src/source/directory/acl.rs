//! What becomes of the access control lists of a source.
//!
//! A filesystem that keeps lists takes them as they are. For any other, a mode is narrowed. With a list the group bits of
//! a mode are its mask, an upper bound; taken for the group's own rights they would allow more than the source does. So
//! the mode is narrowed until nobody may do more here than there: some whom the list names may do less.
//!
//! Source: the kernel's `posix_acl_permission`.

use super::attributes::Found;
use crate::fs::{Acl, Who};
use crate::tree::{Attr, Kind};

/// Leaves in `found` the lists that are kept, and in `attr` a mode that allows no more than the source does.
pub(super) fn settle(keeps_acls: bool, attr: &mut Attr, found: &mut Found) {
    if attr.kind == Kind::Symlink {
        return;
    }
    let mut in_doubt = found.in_doubt;
    found.xattrs.retain(|(name, value)| match &**name {
        Acl::ACCESS => match Acl::parse(value) {
            Ok(Some(acl)) if keeps_acls && acl.check_size().is_ok() => true,
            Ok(acl) => {
                attr.perm = acl.map_or(attr.perm, |acl| narrow(attr.perm, &acl));
                false
            }
            Err(_) => {
                in_doubt = true;
                false
            }
        },
        Acl::DEFAULT if keeps_acls => {
            let kept =
                Acl::parse(value).and_then(|acl| acl.map(|acl| acl.check_size()).transpose());
            // Without it others may get at what is made here later.
            in_doubt |= kept.is_err();
            matches!(kept, Ok(Some(())))
        }
        Acl::DEFAULT => false,
        _ => true,
    });
    if in_doubt {
        // Whatever the lists say, they say it of anybody but the owner.
        attr.perm &= !0o077;
        found
            .xattrs
            .retain(|(name, _)| !matches!(&**name, Acl::ACCESS | Acl::DEFAULT));
    }
}

fn narrow(perm: u16, acl: &Acl) -> u16 {
    // The group bits are the mask already.
    let mask = perm >> 3 & 7;
    let (mut group, mut named) = (7, 7);
    for (who, bits) in acl.entries() {
        match who {
            Who::Group => group = bits,
            Who::User(_) | Who::NamedGroup(_) => named &= bits,
            Who::Owner | Who::Mask | Who::Others => {}
        }
    }
    let group = group & mask & named;
    let other = perm & 7 & if named == 7 { 7 } else { named & mask };
    perm & !0o77 | group << 3 | other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Time;

    const USER_OBJ: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut list = vec![2, 0, 0, 0];
        for (tag, bits) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(bits.to_le_bytes());
            list.extend(1000u32.to_le_bytes());
        }
        list
    }

    /// The mode, and the names of attributes that are left.
    fn settled(keeps_acls: bool, perm: u16, pairs: &[(&[u8], &[u8])]) -> (u16, Vec<Vec<u8>>) {
        let mut attr = Attr::new(Kind::Directory, perm, 0, 0, Time::default());
        let pairs = pairs.iter();
        let xattrs = pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let mut found = Found {
            xattrs,
            ..Found::default()
        };
        settle(keeps_acls, &mut attr, &mut found);
        let names = found.xattrs.into_iter().map(|(name, _)| name.into_vec());
        (attr.perm, names.collect())
    }

    fn narrowed(perm: u16, entries: &[(u16, u16)]) -> u16 {
        let (perm, left) = settled(false, perm, &[(Acl::ACCESS, &list(entries))]);
        assert_eq!(left, [b""; 0], "a list that is not kept is not handed over");
        perm
    }

    #[test]
    fn the_group_gets_its_own_rights_and_not_the_mask() {
        let entries = [
            (USER_OBJ, 6),
            (USER, 7),
            (GROUP_OBJ, 0),
            (MASK, 7),
            (OTHER, 4),
        ];
        assert_eq!(narrowed(0o674, &entries), 0o604);
        let entries = [(USER_OBJ, 6), (GROUP_OBJ, 6), (MASK, 4), (OTHER, 4)];
        assert_eq!(narrowed(0o2644, &entries), 0o2644);
    }

    #[test]
    fn whom_the_list_refuses_is_not_let_in_as_one_of_the_others() {
        let entries = [
            (USER_OBJ, 6),
            (USER, 0),
            (GROUP_OBJ, 6),
            (MASK, 6),
            (OTHER, 4),
        ];
        assert_eq!(narrowed(0o664, &entries), 0o600);
        let entries = [
            (USER_OBJ, 6),
            (GROUP_OBJ, 4),
            (GROUP, 6),
            (MASK, 4),
            (OTHER, 6),
        ];
        assert_eq!(narrowed(0o646, &entries), 0o644);
    }

    #[test]
    fn without_a_list_nothing_changes_and_with_rubbish_the_owner_alone_is_sure() {
        let user: (&[u8], &[u8]) = (b"user.x", b"1");
        assert_eq!(
            settled(false, 0o640, &[user]),
            (0o640, vec![b"user.x".to_vec()])
        );
        for keeps in [false, true] {
            for none in [&b""[..], b"\x02\0\0\0"] {
                assert_eq!(settled(keeps, 0o640, &[(Acl::ACCESS, none)]).0, 0o640);
            }
            for rubbish in [
                &b"\x02"[..],
                b"\x02\0\0\0\x10\0",
                b"\x01\0\0\0",
                b"\x02\0\0\0\x10\0\x07\0\0\0\0\0",
            ] {
                let pairs = [(Acl::ACCESS, rubbish), user, (Acl::DEFAULT, rubbish)];
                assert_eq!(
                    settled(keeps, 0o4647, &pairs),
                    (0o4600, vec![b"user.x".to_vec()])
                );
            }
        }
    }

    #[test]
    fn in_doubt_the_owner_alone_is_let_in() {
        let value = list(&[(USER_OBJ, 7), (GROUP_OBJ, 7), (OTHER, 7)]);
        for keeps in [false, true] {
            for (kind, perm) in [
                (Kind::Directory, 0o1700),
                (Kind::Regular, 0o1700),
                (Kind::Symlink, 0o1777),
            ] {
                let mut attr = Attr::new(kind, 0o1777, 0, 0, Time::default());
                let mut found = Found {
                    xattrs: vec![(Acl::ACCESS.into(), value[..].into())],
                    in_doubt: kind != Kind::Symlink,
                    ..Found::default()
                };
                found.xattrs.truncate(usize::from(found.in_doubt));
                settle(keeps, &mut attr, &mut found);
                assert_eq!((attr.perm, found.xattrs), (perm, vec![]));
            }
        }
    }

    #[test]
    fn a_default_list_that_cannot_be_kept_closes_its_directory() {
        let mut long = vec![(USER_OBJ, 7)];
        long.resize(520, (USER, 7));
        long.extend([(GROUP_OBJ, 7), (MASK, 7), (OTHER, 0)]);
        let access = list(&[(USER_OBJ, 7), (GROUP_OBJ, 7), (OTHER, 7)]);
        for default in [list(&long), b"rubbish".to_vec()] {
            let pairs = [(Acl::ACCESS, &access[..]), (Acl::DEFAULT, &default[..])];
            assert_eq!(settled(true, 0o777, &pairs), (0o700, vec![]));
            assert_eq!(settled(false, 0o777, &pairs), (0o777, vec![]));
        }
    }

    #[test]
    fn lists_that_are_kept_are_left_as_they_are() {
        let entries = [
            (USER_OBJ, 6),
            (USER, 0),
            (GROUP_OBJ, 6),
            (MASK, 6),
            (OTHER, 4),
        ];
        let value = list(&entries);
        let pairs = [(Acl::ACCESS, &value[..]), (Acl::DEFAULT, &value[..])];
        let both = vec![Acl::ACCESS.to_vec(), Acl::DEFAULT.to_vec()];
        assert_eq!(settled(true, 0o664, &pairs), (0o664, both));
        let mut long = vec![(USER_OBJ, 6)];
        long.resize(509, (USER, 0));
        long.extend([(GROUP_OBJ, 6), (MASK, 6), (OTHER, 4)]);
        let value = list(&long);
        assert_eq!(value.len(), Acl::SIZE_MAX + 4);
        let pairs = [(Acl::ACCESS, &value[..]), (Acl::DEFAULT, &value[..])];
        assert_eq!(
            settled(true, 0o664, &pairs),
            (0o600, vec![]),
            "as if none were kept"
        );
    }
}
