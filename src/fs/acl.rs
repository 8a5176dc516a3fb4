//! POSIX access control lists: what one says, and what it makes of a mode.
//!
//! A list travels as the value of an extended attribute: a version, then entries of tag, permissions and id,
//! little-endian. An [`Acl`] is such a value of which the kernel's `posix_acl_valid` would say that it is one: entries
//! in the order of their tags, one each for owner, group and others, and a mask wherever somebody is named. Ids may come
//! in any order and more than once.
//!
//! Of a list that an inode has, three entries *are* bits of its mode: owner, others, and the mask (the group's entry if
//! there is no mask). [`lists`](super::lists) sees to it that they stay so.

use crate::fs::Result;
use crate::tree::{Attr, Errno};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const VERSION: u32 = 2;
/// The id of an entry that names nobody.
const NOBODY: u32 = u32::MAX;
const RWX: u16 = 0o7;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct AclEntry {
    tag: U16,
    bits: U16,
    id: U32,
}

/// Whom an entry of a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The owner.
    Owner,
    /// The user of this id.
    User(u32),
    /// The file's group.
    Group,
    /// The group of this id.
    NamedGroup(u32),
    /// Nobody: the most that the entries for users and groups can give.
    Mask,
    /// All others.
    Others,
}

impl AclEntry {
    /// `None` for a tag there is not, or an id that is none.
    fn who(&self) -> Option<Who> {
        let id = || Some(self.id.get()).filter(|id| *id != NOBODY);
        match self.tag.get() {
            OWNER => Some(Who::Owner),
            USER => id().map(Who::User),
            GROUP => Some(Who::Group),
            NAMED_GROUP => id().map(Who::NamedGroup),
            MASK => Some(Who::Mask),
            OTHERS => Some(Who::Others),
            _ => None,
        }
    }
}

/// A valid access control list.
#[derive(Debug, PartialEq, Eq)]
pub struct Acl {
    entries: Box<[AclEntry]>,
}

impl Acl {
    /// The extended attribute that is the list of an inode itself.
    pub const ACCESS: &'static [u8] = b"system.posix_acl_access";
    /// The extended attribute that is the list new inodes of a directory begin with.
    pub const DEFAULT: &'static [u8] = b"system.posix_acl_default";
    /// Bytes of the longest list that is kept. The kernel asks a FUSE filesystem for no more than a page, and could not
    /// check permissions by a longer one (`fuse_get_acl`).
    pub const SIZE_MAX: usize = 4096;

    /// The list in the value of an extended attribute; `None` if that has no entries, which stands for no list.
    ///
    /// # Errors
    /// EOPNOTSUPP for another version, EINVAL for what is no list, ENOSPC if no memory is left for it.
    pub fn parse(value: &[u8]) -> Result<Option<Acl>> {
        if value.is_empty() {
            return Ok(None);
        }
        let (version, rest) = U32::read_from_prefix(value).map_err(|_| Errno::INVAL)?;
        if version.get() != VERSION {
            return Err(Errno::OPNOTSUPP);
        }
        let entries = <[AclEntry]>::ref_from_bytes(rest).map_err(|_| Errno::INVAL)?;
        if entries.is_empty() {
            return Ok(None);
        }
        check(entries)?;
        let mut acl = Acl::copy_of(entries)?;
        for entry in &mut acl.entries {
            if !matches!(entry.tag.get(), USER | NAMED_GROUP) {
                entry.id = NOBODY.into();
            }
        }
        Ok(Some(acl))
    }

    /// A copy; ENOSPC.
    pub fn copy(&self) -> Result<Acl> {
        Acl::copy_of(&self.entries)
    }

    fn copy_of(entries: &[AclEntry]) -> Result<Acl> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(entries.len())
            .map_err(|_| Errno::NOSPC)?;
        copy.extend_from_slice(entries);
        Ok(Acl {
            entries: copy.into_boxed_slice(),
        })
    }

    /// Bytes of [`Acl::to_value`].
    pub fn size(&self) -> usize {
        size_of::<U32>() + size_of_val(&*self.entries)
    }

    /// Whether it may be kept; E2BIG.
    pub fn check_size(&self) -> Result<()> {
        match self.size() <= Acl::SIZE_MAX {
            true => Ok(()),
            false => Err(Errno::TOOBIG),
        }
    }

    /// The value of the extended attribute; ENOSPC if no memory is left for it.
    pub fn to_value(&self) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        value
            .try_reserve_exact(self.size())
            .map_err(|_| Errno::NOSPC)?;
        value.extend_from_slice(U32::new(VERSION).as_bytes());
        value.extend_from_slice(self.entries.as_bytes());
        Ok(value)
    }

    /// The entries in their order, each with its permissions (rwx).
    pub fn entries(&self) -> impl Iterator<Item = (Who, u16)> {
        let known = |entry: &AclEntry| Some((entry.who()?, entry.bits.get() & RWX));
        self.entries.iter().filter_map(known)
    }

    /// Whether it says no more than its [`mode`](Acl::mode) does.
    pub fn is_mode(&self) -> bool {
        self.entries.len() == 3
    }

    /// The permissions that a mode shows of it.
    pub fn mode(&self) -> u16 {
        let shown = |tag| self.entry(tag).map_or(0, |entry| entry.bits.get() & RWX);
        shown(OWNER) << 6 | shown(self.shown_as_group()) << 3 | shown(OTHERS)
    }

    /// Changes it as chmod to `perm` does: the mode it shows is that of `perm`.
    pub(super) fn set_mode(&mut self, perm: u16) {
        let group = self.shown_as_group();
        for (tag, bits) in [(OWNER, perm >> 6), (group, perm >> 3), (OTHERS, perm)] {
            if let Some(entry) = self.entries.iter_mut().find(|entry| entry.tag.get() == tag) {
                entry.bits = (bits & RWX).into();
            }
        }
    }

    /// Makes it the list of a new inode that is to have `perm` at most, and gives what both allow.
    pub(super) fn restrict(&mut self, perm: u16) -> u16 {
        let both = perm & self.mode();
        self.set_mode(both);
        perm & !0o777 | both
    }

    /// Whether it allows `asked` (rwx) to somebody who is not the owner of a file with `attr`, but `uid` and in the
    /// groups for which `is_member` says so.
    ///
    /// As `acl_permission_check` of the kernel has it, those whom it names are others if it is masked altogether.
    pub(super) fn allows(
        &self,
        attr: &Attr,
        uid: u32,
        is_member: impl Fn(u32) -> bool,
        asked: u16,
    ) -> bool {
        let mask = self.entry(MASK).map_or(RWX, |entry| entry.bits.get());
        let others = attr.perm & asked == asked;
        if attr.perm & 0o070 == 0 {
            return others && !is_member(attr.gid) || asked == 0;
        }
        let mut in_a_group = false;
        for (who, bits) in self.entries() {
            let member = match who {
                Who::User(id) if id == uid => return bits & mask & asked == asked,
                Who::Group => is_member(attr.gid),
                Who::NamedGroup(gid) => is_member(gid),
                _ => continue,
            };
            if member && bits & asked == asked {
                return mask & asked == asked;
            }
            in_a_group |= member;
        }
        others && !in_a_group
    }

    fn entry(&self, tag: u16) -> Option<&AclEntry> {
        self.entries.iter().find(|entry| entry.tag.get() == tag)
    }

    /// The tag of the entry that a mode shows as its group's bits.
    fn shown_as_group(&self) -> u16 {
        self.entry(MASK).map_or(GROUP, |_| MASK)
    }
}

/// EINVAL unless the entries make a list.
fn check(entries: &[AclEntry]) -> Result<()> {
    let mut last = 0;
    let (mut seen, mut named) = (0, false);
    for entry in entries {
        let tag = entry.tag.get();
        let several = matches!(
            entry.who().ok_or(Errno::INVAL)?,
            Who::User(_) | Who::NamedGroup(_)
        );
        if entry.bits.get() & !RWX != 0 || tag < last || (tag == last && !several) {
            return Err(Errno::INVAL);
        }
        last = tag;
        seen |= tag;
        named |= several;
    }
    let all = OWNER | GROUP | OTHERS | if named { MASK } else { 0 };
    match seen & all == all {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tree::{Kind, Time};
    use proptest::prelude::*;

    /// The value of a list with these tags, permissions and ids.
    pub(in crate::fs) fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            value.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
            value.extend(id.to_le_bytes());
        }
        value
    }

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl::parse(&value(entries)).unwrap().unwrap()
    }

    const FULL: [(u16, u16, u32); 7] = [
        (OWNER, 6, NOBODY),
        (USER, 7, 1000),
        (USER, 0, 1001),
        (GROUP, 4, NOBODY),
        (NAMED_GROUP, 2, 500),
        (MASK, 6, NOBODY),
        (OTHERS, 1, NOBODY),
    ];

    #[test]
    fn what_is_no_list() {
        let parse = |entries: &[_]| Acl::parse(&value(entries)).err();
        let plain = [(OWNER, 6, 0), (GROUP, 4, 0), (OTHERS, 0, 0)];
        assert_eq!((parse(&FULL), parse(&plain)), (None, None));
        for missing in 0..3 {
            let mut entries = plain.to_vec();
            entries.remove(missing);
            assert_eq!(parse(&entries), Some(Errno::INVAL));
        }
        for twice in [0, 3, 5, 6] {
            let mut entries = FULL.to_vec();
            entries.insert(twice, FULL[twice]);
            assert_eq!(parse(&entries), Some(Errno::INVAL), "{twice}");
        }
        for first in 0..6 {
            let mut entries = FULL.to_vec();
            entries.swap(first, first + 1);
            let same = FULL[first].0 == FULL[first + 1].0;
            assert_eq!(parse(&entries).is_none(), same, "{first}");
        }
        let mut unmasked = FULL.to_vec();
        unmasked.remove(5);
        assert_eq!(parse(&unmasked), Some(Errno::INVAL));
        for (place, entry) in [
            (0, (OWNER, 8, NOBODY)),
            (1, (USER, 7, NOBODY)),
            (4, (NAMED_GROUP, 7, NOBODY)),
            (5, (0x40, 7, 0)),
            (5, (0, 7, 0)),
            (3, (GROUP | USER, 7, 0)),
        ] {
            let mut entries = FULL.to_vec();
            entries[place] = entry;
            assert_eq!(parse(&entries), Some(Errno::INVAL), "{entry:?}");
        }
        let good = value(&FULL);
        assert_eq!(Acl::parse(&good[..good.len() - 1]), Err(Errno::INVAL));
        assert_eq!(Acl::parse(&good[..3]), Err(Errno::INVAL));
        assert_eq!(
            Acl::parse(&[&[1, 0, 0, 0], &good[4..]].concat()),
            Err(Errno::OPNOTSUPP)
        );
        assert_eq!(
            (Acl::parse(&good[..4]), Acl::parse(b"")),
            (Ok(None), Ok(None))
        );
    }

    #[test]
    fn a_list_is_told_as_it_came_but_for_ids_that_mean_nothing() {
        let came = [
            (OWNER, 7, 5),
            (USER, 4, 9),
            (USER, 1, 8),
            (USER, 1, 8),
            (GROUP, 4, 6),
            (MASK, 7, 7),
            (OTHERS, 1, 0),
        ];
        let told = came.map(|(tag, bits, id)| match tag {
            USER => (tag, bits, id),
            _ => (tag, bits, NOBODY),
        });
        assert_eq!(acl(&came).to_value().unwrap(), value(&told));
        assert_eq!(acl(&came).size(), value(&told).len());
    }

    #[test]
    fn the_mask_is_what_a_mode_shows_as_the_group() {
        let masked = [(OWNER, 6, 0), (GROUP, 5, 0), (MASK, 2, 0), (OTHERS, 0, 0)];
        assert_eq!(
            (acl(&masked).mode(), acl(&masked).is_mode()),
            (0o620, false)
        );
        let plain = [(OWNER, 6, 0), (GROUP, 5, 0), (OTHERS, 1, 0)];
        assert_eq!((acl(&plain).mode(), acl(&plain).is_mode()), (0o651, true));
    }

    #[test]
    fn chmod_changes_the_mask_and_not_the_group() {
        let mut changed = acl(&FULL);
        changed.set_mode(0o4712);
        let mut expected = FULL;
        (expected[0].1, expected[5].1, expected[6].1) = (7, 1, 2);
        assert_eq!(changed, acl(&expected));
        let mut plain = acl(&[(OWNER, 0, 0), (GROUP, 0, 0), (OTHERS, 0, 0)]);
        plain.set_mode(0o751);
        assert_eq!(plain.mode(), 0o751);
    }

    #[test]
    fn a_new_inode_gets_what_list_and_mode_both_allow() {
        let mut access = acl(&FULL);
        assert_eq!(access.restrict(0o2555), 0o2441);
        let mut expected = FULL;
        (expected[0].1, expected[5].1, expected[6].1) = (4, 4, 1);
        assert_eq!(access, acl(&expected));
    }

    #[test]
    fn the_entry_that_fits_best_decides_within_the_mask() {
        let list = acl(&FULL);
        let attr = Attr::new(Kind::Regular, list.mode(), 0, 100, Time::default());
        let allowed = |uid, groups: &[u32]| {
            let member = |gid| groups.contains(&gid);
            [0, 1, 2, 4, 6, 7].map(|asked| u8::from(list.allows(&attr, uid, member, asked)))
        };
        assert_eq!(allowed(1000, &[]), [1, 0, 1, 1, 1, 0], "masked");
        assert_eq!(
            allowed(1001, &[100, 500]),
            [1, 0, 0, 0, 0, 0],
            "named, and refused"
        );
        assert_eq!(allowed(7, &[100]), [1, 0, 0, 1, 0, 0]);
        assert_eq!(allowed(7, &[500]), [1, 0, 1, 0, 0, 0]);
        assert_eq!(
            allowed(7, &[100, 500]),
            [1, 0, 1, 1, 0, 0],
            "one entry has to allow all"
        );
        assert_eq!(allowed(7, &[8]), [1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn masked_altogether_the_mode_decides() {
        let mut list = acl(&FULL);
        list.set_mode(0o604);
        let attr = Attr::new(Kind::Regular, 0o604, 0, 100, Time::default());
        assert!(list.allows(&attr, 1001, |_| false, 4));
        assert!(!list.allows(&attr, 1001, |gid| gid == 100, 4));
        assert!(list.allows(&attr, 1001, |gid| gid == 100, 0));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_for_a_list_is_one(
            entries in proptest::collection::vec((0..7u32, 0..9u16, 0..3u32), 0..7),
            perm in 0..0o10000u16,
        ) {
            let entries: Vec<_> = entries.iter().map(|&(tag, bits, id)| (1 << tag, bits, id)).collect();
            if let Ok(Some(mut list)) = Acl::parse(&value(&entries)) {
                prop_assert_eq!(list.entries().count(), entries.len());
                prop_assert!(entries.is_sorted_by_key(|entry| entry.0));
                let told = list.to_value().unwrap();
                prop_assert_eq!(&Acl::parse(&told), &Ok(Some(list.copy().unwrap())));
                list.set_mode(perm);
                prop_assert_eq!(list.mode(), perm & 0o777);
                prop_assert!(Acl::parse(&list.to_value().unwrap()).unwrap().is_some());
            }
        }
    }
}
