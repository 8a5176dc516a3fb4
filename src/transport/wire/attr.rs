//! Attributes as the kernel wants them.

use crate::tree::{Entry, NodeId, Time};
use std::time::Duration;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `st_blksize`.
const BLOCK_SIZE: u32 = 4096;
/// `STATX_BASIC_STATS | STATX_BTIME`.
const STATX_ALL: u32 = 0xfff;

/// `struct fuse_attr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct FuseAttr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: i64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) atimensec: u32,
    pub(crate) mtimensec: u32,
    pub(crate) ctimensec: u32,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) blksize: u32,
    pub(crate) flags: u32,
}

impl FuseAttr {
    fn new(Entry { ino, attr, .. }: &Entry) -> FuseAttr {
        FuseAttr {
            ino: *ino,
            size: attr.size,
            blocks: attr.blocks,
            atime: attr.atime.sec,
            mtime: attr.mtime.sec,
            ctime: attr.ctime.sec,
            atimensec: attr.atime.nsec,
            mtimensec: attr.mtime.nsec,
            ctimensec: attr.ctime.nsec,
            mode: attr.mode(),
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }
}

/// `struct fuse_entry_out`: a name resolved.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct EntryOut {
    pub(crate) nodeid: u64,
    pub(crate) generation: u64,
    pub(crate) entry_valid: u64,
    pub(crate) attr_valid: u64,
    pub(crate) entry_valid_nsec: u32,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) attr: FuseAttr,
}

impl EntryOut {
    /// The kernel may keep the name for `name_ttl` and the attributes for `ttl`. `mount` is of this mount alone: it becomes
    /// the part of a file handle by which other mounts, whose node ids are the same, know that it is not theirs.
    pub(crate) fn new(entry: &Entry, name_ttl: Duration, ttl: Duration, mount: u32) -> EntryOut {
        EntryOut {
            attr_valid: ttl.as_secs(),
            attr_valid_nsec: ttl.subsec_nanos(),
            nodeid: entry.id.raw(),
            generation: match entry.id {
                // As the kernel itself made it (`fuse_get_root_inode`).
                NodeId::ROOT => 0,
                _ => u64::from(mount),
            },
            attr: FuseAttr::new(entry),
            ..negative_entry(name_ttl)
        }
    }
}

/// No such name, which the kernel may keep for `name_ttl`: node id 0 says so.
pub(crate) fn negative_entry(name_ttl: Duration) -> EntryOut {
    EntryOut {
        entry_valid: name_ttl.as_secs(),
        entry_valid_nsec: name_ttl.subsec_nanos(),
        ..EntryOut::default()
    }
}

/// `struct fuse_attr_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct AttrOut {
    pub(crate) attr_valid: u64,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) dummy: u32,
    pub(crate) attr: FuseAttr,
}

impl AttrOut {
    pub(crate) fn new(entry: &Entry, ttl: Duration) -> AttrOut {
        AttrOut {
            attr_valid: ttl.as_secs(),
            attr_valid_nsec: ttl.subsec_nanos(),
            dummy: 0,
            attr: FuseAttr::new(entry),
        }
    }
}

/// `struct fuse_sx_time`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SxTime {
    pub(crate) sec: i64,
    pub(crate) nsec: u32,
    pub(crate) reserved: i32,
}

impl From<Time> for SxTime {
    fn from(time: Time) -> SxTime {
        SxTime {
            sec: time.sec,
            nsec: time.nsec,
            reserved: 0,
        }
    }
}

/// `struct fuse_statx_out` with the `struct fuse_statx` at its end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct StatxOut {
    pub(crate) attr_valid: u64,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) flags: u32,
    pub(crate) spare: [u64; 2],
    pub(crate) mask: u32,
    pub(crate) blksize: u32,
    pub(crate) attributes: u64,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    pub(crate) spare0: u16,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) attributes_mask: u64,
    pub(crate) atime: SxTime,
    pub(crate) btime: SxTime,
    pub(crate) ctime: SxTime,
    pub(crate) mtime: SxTime,
    pub(crate) rdev_major: u32,
    pub(crate) rdev_minor: u32,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    pub(crate) spare2: [u64; 14],
}

impl StatxOut {
    pub(crate) fn new(Entry { ino, attr, .. }: &Entry, ttl: Duration) -> StatxOut {
        let (rdev_major, rdev_minor) = device(attr.rdev);
        StatxOut {
            attr_valid: ttl.as_secs(),
            attr_valid_nsec: ttl.subsec_nanos(),
            mask: STATX_ALL,
            blksize: BLOCK_SIZE,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            // All kinds and permissions are in the lower 16 bits.
            mode: attr.mode() as u16,
            ino: *ino,
            size: attr.size,
            blocks: attr.blocks,
            atime: attr.atime.into(),
            btime: attr.btime.into(),
            ctime: attr.ctime.into(),
            mtime: attr.mtime.into(),
            rdev_major,
            rdev_minor,
            ..StatxOut::new_zeroed()
        }
    }
}

/// Major and minor of a device number in the kernel's 32-bit encoding (`new_decode_dev`).
fn device(rdev: u32) -> (u32, u32) {
    (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xfff00)
}

const _: () = {
    assert!(size_of::<FuseAttr>() == 88 && size_of::<EntryOut>() == 128);
    assert!(size_of::<AttrOut>() == 104 && size_of::<StatxOut>() == 288);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Kind};

    const TTL: Duration = Duration::from_millis(2500);

    fn entry() -> Entry {
        Entry {
            id: NodeId::from_raw(7 << 32 | 9),
            ino: 12 << 40,
            attr: attr(),
        }
    }

    fn attr() -> Attr {
        Attr {
            nlink: 3,
            size: 5 << 32,
            blocks: 77,
            rdev: 0x1230_0845,
            atime: Time {
                sec: -2,
                nsec: 800_000_000,
            },
            mtime: Time {
                sec: i64::MIN,
                nsec: 1,
            },
            ctime: Time {
                sec: i64::MAX,
                nsec: 999_999_999,
            },
            btime: Time { sec: 1, nsec: 2 },
            ..Attr::new(Kind::CharDevice, 0o1640, 10, 20, Time::default())
        }
    }

    #[test]
    fn an_entry_says_what_the_attributes_are_and_for_how_long() {
        let out = EntryOut::new(&entry(), Duration::from_secs(9), TTL, 5);
        assert_eq!(
            (out.nodeid, out.generation, out.attr.ino),
            (7 << 32 | 9, 5, 12 << 40)
        );
        assert_eq!((out.entry_valid, out.entry_valid_nsec), (9, 0));
        assert_eq!((out.attr_valid, out.attr_valid_nsec), (2, 500_000_000));
        assert_eq!(
            (out.attr.mode, out.attr.nlink, out.attr.rdev),
            (0o021640, 3, 0x1230_0845)
        );
        assert_eq!((out.attr.atime, out.attr.atimensec), (-2, 800_000_000));
        assert_eq!((out.attr.mtime, out.attr.ctime), (i64::MIN, i64::MAX));
        assert_eq!((out.attr.uid, out.attr.gid), (10, 20));
        let bytes = out.as_bytes();
        assert_eq!(bytes[40..48], (12u64 << 40).to_ne_bytes());
        assert_eq!(bytes[48..56], (5u64 << 32).to_ne_bytes());
        assert_eq!(bytes[100..104], 0o021640u32.to_ne_bytes());
    }

    #[test]
    fn the_root_is_of_the_generation_the_kernel_made_it_of() {
        let root = Entry {
            id: NodeId::ROOT,
            ..entry()
        };
        assert_eq!(EntryOut::new(&root, TTL, TTL, 5).generation, 0);
    }

    #[test]
    fn a_negative_entry_is_node_zero_with_a_lifetime() {
        let out = negative_entry(TTL);
        assert_eq!((out.nodeid, out.entry_valid, out.attr.ino), (0, 2, 0));
    }

    #[test]
    fn statx_tells_all_attributes_and_the_time_of_birth() {
        let out = StatxOut::new(&entry(), TTL);
        let bytes = out.as_bytes();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((long(0), word(8)), (2, 500_000_000));
        let stat = 32;
        assert_eq!((word(stat), word(stat + 4)), (0xfff, 4096));
        assert_eq!(
            (word(stat + 16), word(stat + 20), word(stat + 24)),
            (3, 10, 20)
        );
        assert_eq!(word(stat + 28), 0o021640);
        assert_eq!(
            (long(stat + 32), long(stat + 40), long(stat + 48)),
            (12 << 40, 5 << 32, 77)
        );
        let times = [0, 16, 32, 48].map(|at| (long(stat + 64 + at), word(stat + 72 + at)));
        let attr = attr();
        let expected = [attr.atime, attr.btime, attr.ctime, attr.mtime].map(|t| (t.sec, t.nsec));
        assert_eq!(times, expected);
        assert_eq!((word(stat + 128), word(stat + 132)), (8, 0x12345));
    }
}
