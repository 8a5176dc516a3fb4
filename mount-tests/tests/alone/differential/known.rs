//! The differences that are known and stay, each with the reason. Nothing else may differ.
//!
//! What no two filesystems share is left out where it is looked at: inode numbers (only which names lead to the same one
//! counts), the size of directories, how much `st_blocks` is (but see [`room`]), positions in listings and of
//! data and holes (but they must be true), numbers in statfs, access times of reading (both are mounted noatime).
//!
//! truncate(2) to the size there is is not made: tmpfs moves times only of files that hold pages (`shmem_setattr`), but what
//! FUSE asks for is what it asks for with O_TRUNC, which moves them (`fuse_do_setattr` leaves the file away if ATTR_OPEN is set).
//!
//! Nor does root write to a file that has capabilities besides set-user-id or set-group-id: what takes the capabilities reaches
//! norefs as a change without attributes, as chown(-1, -1) does, which takes all of them.

use crate::call::{Call, Step, Whence};
use crate::look::{Seen, Shown};
use crate::perform::Answer;
use crate::unasked::Unasked;
use mount_tests::posix::CAPABILITY;
use rustix::fs::FileType;
use rustix::io::Errno;

/// Of one call: what was asked, and what tmpfs and norefs answered.
pub struct Pair<'a> {
    /// Whether norefs decides about permissions itself.
    pub deciding: bool,
    /// The steps of the sequence before it.
    pub before: &'a [Step],
    pub call: &'a Call,
    pub tmpfs: &'a Answer,
    /// What tmpfs refused it for, if no name is looked up there.
    pub unasked: Option<Unasked>,
    pub norefs: &'a Answer,
}

struct Known {
    why: &'static str,
    is: fn(&Pair) -> bool,
}

const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;
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
        why: "a call that is refused anyhow is refused by the kernel for another reason before norefs is asked: may_delete, \
              do_renameat2, filename_create, vfs_mknod, vfs_link, vfs_truncate, lookup_open, may_open",
        is: |pair| {
            pair.deciding
                && matches!(*pair.tmpfs, Err(Errno::ACCESS | Errno::PERM))
                && pair
                    .norefs
                    .as_ref()
                    .is_err_and(|errno| before_norefs(pair.call).contains(errno))
        },
    },
    Known {
        why: "the kernel asks nobody about opening a fifo where norefs decides: fuse_permission without default_permissions",
        is: |pair| {
            let opened = matches!(pair.norefs, Ok(kind) if kind == "Fifo");
            // Nobody reads from it.
            let opened = opened || *pair.norefs == Err(Errno::NXIO);
            let opens = matches!(pair.call, Call::Open { .. });
            pair.deciding && *pair.tmpfs == Err(Errno::ACCESS) && opens && opened
        },
    },
    Known {
        why: "no LOOKUP comes of a dot, so nobody checks the search of the directory before it: handle_dots, fuse_permission \
              without default_permissions",
        is: |pair| pair.deciding && pair.unasked == Some(Unasked::Dot),
    },
    Known {
        why: "no LOOKUP comes of a name in a removed directory: __lookup_slow, lookup_open, filename_create",
        is: |pair| {
            let dead = pair.unasked == Some(Unasked::Dead);
            pair.deciding && dead && *pair.norefs == Err(Errno::NOENT)
        },
    },
    Known {
        why: "a name that somebody was refused became invalid, and has no path until it is looked up again: fuse_dentry_revalidate, \
              d_invalidate",
        is: |pair| {
            let refused = pair.before.iter().any(|step| step.user != 0);
            let here = matches!(pair.call, Call::Here { .. }) && refused;
            pair.deciding && here && pair.tmpfs.is_ok() && *pair.norefs == Err(Errno::NOENT)
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
        why: "a position of tmpfs is that of the entry behind it, and leads back if that was removed: offset_dir_lookup",
        is: |pair| {
            let wrong = matches!(pair.tmpfs, Ok(fault) if !fault.is_empty());
            matches!(pair.call, Call::Walk { .. }) && wrong && *pair.norefs == Ok(String::new())
        },
    },
    Known {
        why: "may_linkat goes by the mode the kernel has, which is old after a write by a stranger has taken set-user-id until somebody \
              asks for it",
        is: |pair| {
            let links = matches!(pair.call, Call::Link { .. } | Call::LinkSlot { .. });
            let writes = |step: &Step| {
                use Call::*;
                let write = matches!(
                    step.call,
                    Write { .. } | WriteAt { .. } | Copy { .. } | Send { .. } | Allocate { .. }
                );
                write && step.user != 0
            };
            let written = pair.before.iter().any(writes);
            links && written && pair.tmpfs.is_ok() && *pair.norefs == Err(Errno::PERM)
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

/// What the kernel refuses a call for before it asks norefs, which decides.
fn before_norefs(call: &Call) -> &'static [Errno] {
    match call {
        Call::Unlink { .. } => &[Errno::NOTDIR, Errno::ISDIR, Errno::NOTEMPTY, Errno::INVAL],
        Call::Rename { .. } => &[
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::NOTEMPTY,
            Errno::INVAL,
            Errno::BUSY,
            Errno::NOENT,
            Errno::NAMETOOLONG,
            Errno::EXIST,
            Errno::LOOP,
        ],
        Call::Mkdir { .. } | Call::Symlink { .. } => &[Errno::EXIST],
        Call::Mknod { .. } => &[Errno::EXIST, Errno::PERM],
        Call::Link { .. } | Call::LinkSlot { .. } => &[Errno::EXIST, Errno::NOENT, Errno::PERM],
        Call::TruncatePath { .. } => &[Errno::ISDIR, Errno::INVAL],
        Call::Open { .. } => &[
            Errno::EXIST,
            Errno::ISDIR,
            Errno::NOTDIR,
            Errno::LOOP,
            Errno::PERM,
        ],
        _ => &[],
    }
}

/// Whether what is left behind may differ although both succeeded, or both failed:
///
/// * An allocation for which there is no room has taken set-user-id and set-group-id on FUSE (`fuse_file_fallocate` calls
///   `file_modified` before it asks), if it is the owner's.
/// * Where norefs decides, a change of the owner that it refuses to a writer has taken `security.capability` (`fuse_do_setattr` says
///   `ATTR_FORCE`, so `setattr_prepare` takes it before norefs is asked). chown(-1, -1) by somebody who may not write leaves it,
///   which tmpfs takes whoever asks.
pub fn ends(pair: &Pair) -> bool {
    let capability = |step: &Step| {
        matches!(
            step.call,
            Call::Set {
                name: CAPABILITY,
                ..
            }
        )
    };
    match pair.call {
        Call::Allocate { .. } => *pair.norefs == Err(Errno::NOSPC),
        Call::Chown { uid, gid, .. } => {
            let of_nothing = uid.is_none() && gid.is_none();
            let differs = pair.norefs.is_err() || of_nothing;
            pair.deciding && differs && pair.before.iter().any(capability)
        }
        _ => false,
    }
}

/// Why the two answers of a call differ, if that is known.
pub fn why(pair: &Pair) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| (known.is)(pair));
    known.map(|known| known.why)
}

/// Whether what is seen at one place in both is the same, but for what is known.
pub fn same(tmpfs: &Seen, norefs: &Seen) -> bool {
    comparable(tmpfs) == comparable(norefs)
}

/// Whether `steps` allocate room behind the end of a file.
pub fn allocates_behind(steps: &[Step]) -> bool {
    steps.iter().any(|step| {
        matches!(step.call, Call::Allocate { mode, .. } if mode & KEEP_SIZE != 0 && mode & PUNCH_HOLE == 0)
    })
}

/// An empty file takes no room where it takes none on tmpfs. With a size, or room allocated behind it, it may: what lies
/// before the bytes written in a chunk of 64 KiB is kept as zeros, also when those bytes are made a hole.
pub fn room(tmpfs: &Seen, norefs: &Seen) -> bool {
    tmpfs.size > 0 || tmpfs.blocks > 0 || norefs.blocks == 0
}

/// As [`same`], whatever time moved.
pub fn same_but_for_times(tmpfs: &Seen, norefs: &Seen) -> bool {
    let timeless = |seen: &Seen| Seen {
        atime: Shown::Still,
        mtime: Shown::Still,
        ctime: Shown::Still,
        ..comparable(seen)
    };
    timeless(tmpfs) == timeless(norefs)
}

/// Inodes of FUSE are `S_NOCMTIME` (`fuse_iget`): what goes through a fifo (`pipe_write`) leaves its times alone.
fn comparable(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    seen.blocks = 0;
    if seen.kind() == FileType::Fifo {
        for time in [&mut seen.mtime, &mut seen.ctime] {
            *time = Shown::Still;
        }
    }
    seen
}
