//! Between the filesystem's plain values and fuser's types.

use crate::tree::{Attr, Errno, Kind, NodeId, Time};
use fuser::{FileAttr, FileType, Generation, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `st_blksize`.
const BLOCK_SIZE: u32 = 4096;

pub(crate) fn node(ino: INodeNo) -> NodeId {
    NodeId::from_raw(ino.0)
}

pub(crate) fn ino(id: NodeId) -> INodeNo {
    INodeNo(id.raw())
}

/// The upper half of the node id, which is never used twice for one slot.
pub(crate) fn generation(id: NodeId) -> Generation {
    Generation(id.raw() >> 32)
}

pub(crate) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Regular => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

pub(crate) fn file_attr(id: NodeId, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: ino(id),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: attr.perm,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The attributes of a negative entry: node id 0 says that there is no such name.
pub(crate) fn negative_entry() -> FileAttr {
    file_attr(NodeId::from_raw(0), &Attr::default())
}

/// Saturates at what `SystemTime` can hold.
fn system_time(time: Time) -> SystemTime {
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nsec.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// A time a client sent, undoing how fuser 0.18 decodes one before 1970: it subtracts the
/// nanoseconds, which the kernel means to be added.
pub(crate) fn sent_time(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time {
            sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nsec: after.subsec_nanos(),
        },
        Err(error) => {
            let before = error.duration();
            Time {
                sec: 0i64.saturating_sub_unsigned(before.as_secs()),
                nsec: before.subsec_nanos(),
            }
        }
    }
}

pub(crate) fn set_time(time: TimeOrNow) -> crate::fs::SetTime {
    match time {
        TimeOrNow::Now => crate::fs::SetTime::Now,
        TimeOrNow::SpecificTime(time) => crate::fs::SetTime::At(sent_time(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fuser's decoding of seconds and nanoseconds in a SETATTR request.
    fn fuser_decodes(sec: i64, nsec: u32) -> SystemTime {
        if sec >= 0 {
            UNIX_EPOCH + Duration::new(sec as u64, nsec)
        } else {
            UNIX_EPOCH - Duration::new((-sec) as u64, nsec)
        }
    }

    #[test]
    fn a_sent_time_is_the_one_meant() {
        for (sec, nsec) in [(0, 0), (7, 5), (-1, 999_999_999), (-2, 1), (-3, 0)] {
            assert_eq!(sent_time(fuser_decodes(sec, nsec)), Time { sec, nsec });
        }
    }

    #[test]
    fn a_time_before_1970_counts_nanoseconds_forward() {
        let shown = system_time(Time {
            sec: -2,
            nsec: 800_000_000,
        });
        assert_eq!(shown, UNIX_EPOCH - Duration::from_millis(1200));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        for sec in [i64::MIN, i64::MAX] {
            system_time(Time {
                sec,
                nsec: 999_999_999,
            });
        }
    }

    #[test]
    fn a_negative_entry_is_node_zero() {
        assert_eq!(negative_entry().ino.0, 0);
    }
}
