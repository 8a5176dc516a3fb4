//! What an access control list leaves of a mode.
//!
//! The tree keeps no lists. With a list the group bits of a mode are its mask, an upper bound; taken for
//! the group's own rights they would allow more than the source does. So the mode is narrowed until nobody
//! may do more here than there: some whom the list names may do less.
//!
//! Source: the kernel's `posix_acl_permission`, and the layout of `system.posix_acl_access`: a version, then
//! entries of tag, permissions and id, little-endian.

use crate::fs::Xattr;

const NAME: &[u8] = b"system.posix_acl_access";
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;

/// `perm` narrowed by the list among `xattrs`, if there is one.
pub(super) fn narrow(perm: u16, xattrs: &[Xattr]) -> u16 {
    let list = xattrs.iter().find(|(name, _)| &**name == NAME);
    match list.and_then(|(_, list)| list.get(HEADER..)) {
        Some(entries) => narrow_by(perm, entries),
        None => perm,
    }
}

fn narrow_by(perm: u16, entries: &[u8]) -> u16 {
    let half = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
    // The group bits are the mask already.
    let mask = perm >> 3 & 7;
    let (mut group, mut named) = (7, 7);
    for entry in entries.chunks_exact(ENTRY) {
        let bits = half(entry, 2) & 7;
        match half(entry, 0) {
            GROUP_OBJ => group = bits,
            USER | GROUP => named &= bits,
            _ => {}
        }
    }
    let group = group & mask & named;
    let other = perm & 7 & if named == 7 { 7 } else { named & mask };
    perm & !0o77 | group << 3 | other
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_OBJ: u16 = 0x01;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;

    fn narrowed(perm: u16, entries: &[(u16, u16)]) -> u16 {
        let mut list = vec![2, 0, 0, 0];
        for (tag, bits) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(bits.to_le_bytes());
            list.extend(1000u32.to_le_bytes());
        }
        narrow(perm, &[(NAME.into(), list.into())])
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
            (GROUP, 6),
            (GROUP_OBJ, 4),
            (MASK, 4),
            (OTHER, 6),
        ];
        assert_eq!(narrowed(0o646, &entries), 0o644);
    }

    #[test]
    fn without_a_list_or_with_rubbish_nothing_is_widened() {
        assert_eq!(narrow(0o640, &[]), 0o640);
        for rubbish in [&b""[..], b"\x02", b"\x02\0\0\0", b"\x02\0\0\0\x10\0"] {
            assert_eq!(narrow(0o640, &[(NAME.into(), rubbish.into())]), 0o640);
        }
    }
}
