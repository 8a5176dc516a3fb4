//! The differences that are known and stay, each with the reason. Nothing else may differ.
//!
//! What no two filesystems share is left out where it is looked at: inode numbers (only which names lead to the same one
//! counts), the size of directories, `st_blocks` (but bytes that are not zero take room), positions in listings and of
//! data and holes (but they must be true), numbers in statfs, access times of reading (both are mounted noatime).

use crate::call::{Call, Whence};
use crate::look::{Seen, Shown};
use crate::perform::Answer;
use rustix::fs::FileType;
use rustix::io::Errno;

/// Of one call: what was asked, and what tmpfs and norefs answered.
pub struct Pair<'a> {
    pub call: &'a Call,
    pub tmpfs: &'a Answer,
    pub norefs: &'a Answer,
}

struct Known {
    why: &'static str,
    is: fn(&Pair) -> bool,
}

const ZERO_RANGE: u32 = 0x10;
const DONT_SYNC: u32 = 0x4000;

const KNOWN: &[Known] = &[
    Known {
        why: "shmem_fallocate has no FALLOC_FL_ZERO_RANGE",
        is: |pair| {
            matches!(pair.call, Call::Allocate { mode, .. } if mode & ZERO_RANGE != 0)
                && *pair.tmpfs == Err(Errno::OPNOTSUPP)
        },
    },
    Known {
        why: "chown(-1, -1) by a stranger: chown_common asks FUSE for a change without attributes, as a write does",
        is: |pair| {
            matches!(
                pair.call,
                Call::Chown {
                    uid: None,
                    gid: None,
                    ..
                }
            ) && *pair.tmpfs == Err(Errno::PERM)
        },
    },
    Known {
        why: "directories: offset_dir_llseek knows SEEK_SET and SEEK_CUR alone, generic_file_llseek the others too",
        is: |pair| {
            matches!(
                pair.call,
                Call::Seek {
                    whence: Whence::End | Whence::Data | Whence::Hole,
                    ..
                }
            ) && *pair.tmpfs == Err(Errno::INVAL)
        },
    },
    Known {
        why: "AT_STATX_DONT_SYNC takes what the kernel has: fuse_update_get_attr",
        is: |pair| {
            matches!(pair.call, Call::Stat { flags, .. } if flags & DONT_SYNC != 0)
                && pair.tmpfs.is_ok()
                && pair.norefs.is_ok()
        },
    },
];

/// Why the two answers of a call differ, if that is known.
pub fn why(pair: &Pair) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| (known.is)(pair));
    known.map(|known| known.why)
}

/// Whether what is seen at one place in both is the same, but for what is known.
pub fn same(tmpfs: &Seen, norefs: &Seen) -> bool {
    comparable(tmpfs) == comparable(norefs)
}

/// As [`same`], whatever time moved.
pub fn same_but_for_times(tmpfs: &Seen, norefs: &Seen) -> bool {
    let timeless = |seen: &Seen| Seen {
        atime: Shown::Still,
        mtime: Shown::Still,
        ctime: Shown::Still,
        ..seen.clone()
    };
    timeless(tmpfs) == timeless(norefs)
}

/// Inodes of FUSE are `S_NOCMTIME` (`fuse_iget`): what goes through a fifo (`pipe_write`) leaves its times alone.
fn comparable(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    if seen.kind() == FileType::Fifo {
        for time in [&mut seen.mtime, &mut seen.ctime] {
            *time = Shown::Still;
        }
    }
    seen
}
