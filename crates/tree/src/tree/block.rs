//! How an inode's attributes lie in its block of words.
//!
//! ```text
//! word   high half      low half
//!  0     generation     flags, acl, S_IFMT, permissions     the head: all that a walk
//!  1     uid            gid                                 needs of a directory
//!  2     nlink          aux (slot in the slab of the kind)
//!  3     stamp of 0 and 1: grows whenever either changes
//!  4     size in bytes; of a device: its number
//!  5     blocks, and in the highest bits: unsettled; loaded, changed since, and what of it
//!  6     mtime, seconds
//!  7     atime, seconds
//!  8     ctime, seconds
//!  9     btime, seconds
//! 10     mtime ns       atime ns
//! 11     ctime ns       btime ns
//! ```
//!
//! The stamp lets a walk rely on a directory's permissions although its times change with every file
//! made in it: evidence is the stamp, not the version of the whole block.

use super::attr::{Attr, InodeFlags, KEPT_FLAGS, Kind, Time, Touched};
use crate::sync::SeqBlock;

pub(crate) const WORDS: usize = 12;
/// How many words the head has.
pub(crate) const HEAD: usize = 4;
/// Which word the stamp is.
pub(crate) const STAMP: usize = 3;

/// In the low half of word 0, above the mode: an access control list decides too.
const ACL: u32 = 1 << 16;
/// How far above their own places the inode flags lie there, beside that bit.
const FLAGS_SHIFT: u32 = 13;
const FLAGS: u32 = KEPT_FLAGS.bits() << FLAGS_SHIFT;

const _: () = assert!(FLAGS & (ACL | 0xffff) == 0 && FLAGS >> FLAGS_SHIFT == KEPT_FLAGS.bits());

/// In word 5, above every number of blocks a file can have: that number is not settled.
const UNSETTLED: u64 = 1 << 63;
/// Also there: a load brought the inode.
const LOADED: u64 = 1 << 62;
/// And it changed since.
const CHANGED: u64 = 1 << 61;
/// [`Touched`], of what was loaded.
const CONTENT: u64 = 1 << 60;
const XATTRS: u64 = 1 << 59;
const LISTS: u64 = 1 << 58;
const TOUCHED: u64 = CONTENT | XATTRS | LISTS;
const BLOCKS: u64 = LISTS - 1;
/// Which word that is.
const MARKS: usize = 5;

/// A file of the largest size has fewer.
const _: () = assert!(BLOCKS > u64::MAX / 512);

pub(crate) type Block = SeqBlock<WORDS>;

const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn low(word: u64) -> u32 {
    word as u32
}

/// What a walk needs of an inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    words: [u64; HEAD],
}

impl Head {
    #[inline(always)]
    pub(crate) fn new(words: [u64; HEAD]) -> Head {
        Head { words }
    }

    #[inline(always)]
    pub(crate) fn of(words: &[u64; WORDS]) -> Head {
        Head::new([words[0], words[1], words[2], words[3]])
    }

    #[inline(always)]
    pub(crate) fn generation(&self) -> u32 {
        high(self.words[0])
    }

    #[inline(always)]
    pub(crate) fn mode(&self) -> u32 {
        low(self.words[0]) & !(ACL | FLAGS)
    }

    /// Whether an access control list decides too.
    #[inline(always)]
    pub(crate) fn has_acl(&self) -> bool {
        low(self.words[0]) & ACL != 0
    }

    /// The kind, or `None` if the slot is empty.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_mode(self.mode())
    }

    #[inline(always)]
    pub(crate) fn is_directory(&self) -> bool {
        self.mode() & libc::S_IFMT == libc::S_IFDIR
    }

    #[inline(always)]
    pub(crate) fn is_symlink(&self) -> bool {
        self.mode() & libc::S_IFMT == libc::S_IFLNK
    }

    #[inline(always)]
    pub(crate) fn uid(&self) -> u32 {
        high(self.words[1])
    }

    #[inline(always)]
    pub(crate) fn gid(&self) -> u32 {
        low(self.words[1])
    }

    #[inline(always)]
    pub(crate) fn aux(&self) -> u32 {
        low(self.words[2])
    }

    #[inline(always)]
    pub(crate) fn stamp(&self) -> u64 {
        self.words[STAMP]
    }
}

/// The words of a living inode's attributes. `previous` is what the block held: generation and aux
/// stay, the stamp grows if need be.
pub(crate) fn encode(attr: &Attr, previous: &[u64; WORDS]) -> [u64; WORDS] {
    let head = Head::of(previous);
    let acl = if attr.acl { ACL } else { 0 };
    let flags = (attr.flags & KEPT_FLAGS).bits() << FLAGS_SHIFT;
    let access = [
        pair(head.generation(), attr.mode() | acl | flags),
        pair(attr.uid, attr.gid),
    ];
    let same = access == [previous[0], previous[1]];
    [
        access[0],
        access[1],
        pair(attr.nlink, head.aux()),
        head.stamp() + u64::from(!same),
        match attr.kind.is_device() {
            true => attr.rdev.into(),
            false => attr.size,
        },
        attr.blocks & BLOCKS
            | if attr.unsettled { UNSETTLED } else { 0 }
            | marks(&attr.touched, previous[MARKS]),
        attr.mtime.sec as u64,
        attr.atime.sec as u64,
        attr.ctime.sec as u64,
        attr.btime.sec as u64,
        pair(attr.mtime.nsec, attr.atime.nsec),
        pair(attr.ctime.nsec, attr.btime.nsec),
    ]
}

/// What was loaded stays that; nothing else has been touched.
fn marks(touched: &Touched, previous: u64) -> u64 {
    if previous & LOADED == 0 {
        return 0;
    }
    let mark = |set: bool, mark: u64| if set { mark } else { 0 };
    previous & (LOADED | CHANGED)
        | mark(touched.content, CONTENT)
        | mark(touched.xattrs, XATTRS)
        | mark(touched.acl, LISTS)
}

/// `words` of an inode that a load brought, and that nobody changed.
pub(crate) fn as_loaded(mut words: [u64; WORDS]) -> [u64; WORDS] {
    words[MARKS] = words[MARKS] & !(CHANGED | TOUCHED) | LOADED;
    words
}

/// `words` of an inode that is another than what a load would have brought. What was made since has been touched in all that may be.
pub(crate) fn as_loaded_before(mut words: [u64; WORDS]) -> [u64; WORDS] {
    if !is_loaded(&words) {
        let regular = low(words[0]) & libc::S_IFMT == libc::S_IFREG;
        words[MARKS] |= LOADED | XATTRS | LISTS | if regular { CONTENT } else { 0 };
    }
    as_changed(words)
}

/// `words` of an inode that no load brought.
pub(crate) fn as_made(mut words: [u64; WORDS]) -> [u64; WORDS] {
    words[MARKS] &= !(LOADED | CHANGED | TOUCHED);
    words
}

/// `words` of an inode that was changed.
pub(crate) fn as_changed(mut words: [u64; WORDS]) -> [u64; WORDS] {
    words[MARKS] |= CHANGED;
    words
}

/// Whether a load brought the inode.
pub(crate) fn is_loaded(words: &[u64; WORDS]) -> bool {
    words[MARKS] & LOADED != 0
}

/// Whether a load brought it and it is still as it was then.
pub(crate) fn is_as_loaded(words: &[u64; WORDS]) -> bool {
    words[MARKS] & (LOADED | CHANGED) == LOADED
}

/// Whether a load brought the inode of `block` and it was changed since. While nobody changes anything.
pub(crate) fn is_changed(block: &Block) -> bool {
    block.word(MARKS) & CHANGED != 0
}

/// The words of an empty slot between two lives, the next of which has `generation`.
pub(crate) fn empty(generation: u32, previous: &[u64; WORDS]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    words[0] = pair(generation, 0);
    words[STAMP] = previous[STAMP] + 1;
    words
}

/// `words` with another aux.
pub(crate) fn with_aux(mut words: [u64; WORDS], aux: u32) -> [u64; WORDS] {
    words[2] = pair(high(words[2]), aux);
    words
}

/// The attributes in `words`; those of an empty slot are a regular file's without names.
#[inline(always)]
pub(crate) fn decode(words: &[u64; WORDS]) -> Attr {
    let mode = low(words[0]);
    let kind = Kind::from_mode(mode).unwrap_or(Kind::Regular);
    let device = kind.is_device();
    let time = |sec: u64, nsec: u32| Time {
        sec: sec as i64,
        nsec,
    };
    Attr {
        kind,
        perm: (mode & 0o7777) as u16,
        acl: mode & ACL != 0,
        flags: InodeFlags::from_bits_retain((mode & FLAGS) >> FLAGS_SHIFT),
        nlink: high(words[2]),
        uid: high(words[1]),
        gid: low(words[1]),
        size: if device { 0 } else { words[4] },
        blocks: words[MARKS] & BLOCKS,
        rdev: if device { words[4] as u32 } else { 0 },
        mtime: time(words[6], high(words[10])),
        atime: time(words[7], low(words[10])),
        ctime: time(words[8], high(words[11])),
        btime: time(words[9], low(words[11])),
        unsettled: words[MARKS] & UNSETTLED != 0,
        touched: Touched {
            content: words[MARKS] & CONTENT != 0,
            xattrs: words[MARKS] & XATTRS != 0,
            acl: words[MARKS] & LISTS != 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr() -> Attr {
        let at = |sec, nsec| Time { sec, nsec };
        Attr {
            perm: 0o4751,
            nlink: 3,
            uid: 1000,
            gid: u32::MAX,
            size: u64::MAX >> 1,
            blocks: 17,
            mtime: at(-1, 999_999_999),
            atime: at(i64::MAX, 1),
            ctime: at(i64::MIN, 2),
            btime: at(5, 3),
            ..Attr::new(Kind::Regular, 0, 0, 0, Time::default())
        }
    }

    #[test]
    fn every_attribute_survives() {
        let device = Attr {
            kind: Kind::CharDevice,
            size: 0,
            blocks: 0,
            rdev: 0x0fff_ff42,
            ..attr()
        };
        let listed = Attr {
            acl: true,
            ..attr()
        };
        let flagged = KEPT_FLAGS.iter().map(|flag| Attr {
            flags: flag,
            ..attr()
        });
        let unsettled = Attr {
            unsettled: true,
            ..attr()
        };
        let others = [attr(), device, listed, unsettled];
        for attr in others.into_iter().chain(flagged) {
            let words = encode(&attr, &[0; WORDS]);
            assert_eq!(decode(&words), attr);
            assert_eq!(Head::of(&words).mode(), attr.mode());
        }
    }

    #[test]
    fn the_stamp_grows_with_the_permissions_only() {
        let first = encode(&attr(), &empty(7, &[0; WORDS]));
        let touched = Attr {
            nlink: 4,
            size: 1,
            mtime: Time::default(),
            ..attr()
        };
        let second = encode(&touched, &first);
        assert_eq!(second[STAMP], first[STAMP]);
        for changed in [
            Attr { perm: 0, ..attr() },
            Attr { uid: 1, ..attr() },
            Attr { gid: 1, ..attr() },
            Attr {
                acl: true,
                ..attr()
            },
        ] {
            assert!(encode(&changed, &first)[STAMP] > first[STAMP]);
        }
        assert_eq!(Head::of(&second).generation(), 7);
    }
}
