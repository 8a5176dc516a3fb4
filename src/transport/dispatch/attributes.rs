//! What an inode is, and changing that.

use super::{Call, DONE};
use crate::fs::Result;
use crate::fs::{SetAttr, SetTime};
use crate::transport::channel::exchange::{Answer, MayBlock};
use crate::transport::wire::{AccessIn, AttrOut, SetattrIn, StatfsOut, StatxOut, fattr};
use crate::tree::{Entry, Errno, Time};

const NANOS: u32 = 1_000_000_000;
/// What one page of content has.
const PAGE_BLOCKS: u64 = 8;

impl Call<'_, '_> {
    pub(super) fn getattr(&mut self) -> Result<Answer> {
        let Some(entry) = self.settled()? else {
            return Ok(Answer::AfterWriteback);
        };
        let ttl = self.shared.attr_ttl(&entry.attr);
        self.exchange.send(&AttrOut::new(&entry, ttl))
    }

    /// The attributes, once the kernel has written back what would change `blocks`; `None` if that would block where it may not.
    fn settled(&self) -> Result<Option<Entry>> {
        let (fs, node) = (self.fs(), self.node());
        let entry = fs.stat(node)?;
        if !fs.must_settle(&entry.attr) {
            return Ok(Some(entry));
        }
        match self.may_block {
            MayBlock::No => Ok(None),
            MayBlock::Yes if self.shared.write_back(node, &fs.settle(node)?) => {
                fs.stat(node).map(Some)
            }
            // Not known for sure, and no blocks at all would mean that all of it is zeros.
            _ => fs.stat(node).map(|mut entry| {
                entry.attr.blocks = entry.attr.blocks.max(PAGE_BLOCKS);
                Some(entry)
            }),
        }
    }

    /// Whatever was asked for, all is told: it costs nothing, and the kernel keeps it.
    pub(super) fn statx(&mut self) -> Result<Answer> {
        if !self.shared.btime {
            // The kernel uses GETATTR from now on.
            return Err(Errno::NOSYS);
        }
        let Some(entry) = self.settled()? else {
            return Ok(Answer::AfterWriteback);
        };
        let ttl = self.shared.attr_ttl(&entry.attr);
        self.exchange.send(&StatxOut::new(&entry, ttl))
    }

    pub(super) fn setattr(&mut self) -> Result<Answer> {
        let change = change(&self.exchange.fixed()?)?;
        let (caller, node) = (self.caller(), self.node());
        let cuts = self.may_block == MayBlock::No && change.size.is_some();
        if cuts && !self.fs().may_be_cut(node) {
            return Ok(Answer::Later);
        }
        let set = self.fs().setattr(&caller, node, &change)?;
        let entry = self.shared.deliver(set);
        let ttl = self.shared.attr_ttl(&entry.attr);
        self.exchange.send(&AttrOut::new(&entry, ttl))
    }

    pub(super) fn access(&self) -> Result<Answer> {
        let args: AccessIn = self.exchange.fixed()?;
        self.fs().access(&self.caller(), self.node(), args.mask)?;
        DONE
    }

    pub(super) fn statfs(&mut self) -> Result<Answer> {
        let fs = self.fs().statfs();
        self.exchange.send(&StatfsOut {
            blocks: fs.blocks,
            bfree: fs.blocks_free,
            bavail: fs.blocks_free,
            files: fs.files,
            ffree: fs.files_free,
            bsize: fs.block_size,
            namelen: fs.name_max,
            frsize: fs.block_size,
            ..StatfsOut::default()
        })
    }
}

/// What a SETATTR asks for; EINVAL for a time with more nanoseconds than a second has.
fn change(args: &SetattrIn) -> Result<SetAttr> {
    let has = |bit| args.valid & bit != 0;
    let at = |bit, sec, nsec| match has(bit) {
        true if nsec >= NANOS => Err(Errno::INVAL),
        true => Ok(Some(Time { sec, nsec })),
        false => Ok(None),
    };
    let set = |now, time: Option<Time>| match has(now) {
        true => Some(SetTime::Now),
        false => time.map(SetTime::At),
    };
    let atime = at(fattr::ATIME, args.atime, args.atimensec)?;
    let mtime = at(fattr::MTIME, args.mtime, args.mtimensec)?;
    Ok(SetAttr {
        perm: has(fattr::MODE).then_some((args.mode & 0o7777) as u16),
        uid: has(fattr::UID).then_some(args.uid),
        gid: has(fattr::GID).then_some(args.gid),
        size: has(fattr::SIZE).then_some(args.size),
        atime: set(fattr::ATIME_NOW, atime),
        mtime: set(fattr::MTIME_NOW, mtime),
        ctime: at(fattr::CTIME, args.ctime, args.ctimensec)?,
        by_descriptor: has(fattr::SIZE) && has(fattr::FH),
        kill_suidgid: has(fattr::KILL_SUIDGID),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_valid_is_changed() {
        let args = SetattrIn {
            mode: 0o104755,
            uid: 1,
            gid: 2,
            size: 3,
            atime: -4,
            atimensec: 5,
            mtime: 6,
            mtimensec: 7,
            ctime: 8,
            ctimensec: 9,
            ..SetattrIn::default()
        };
        let with = |valid| change(&SetattrIn { valid, ..args }).unwrap();
        let none = SetAttr::default();
        assert_eq!(with(0), none);
        assert_eq!(
            with(fattr::MODE),
            SetAttr {
                perm: Some(0o4755),
                ..none
            }
        );
        assert_eq!(
            with(fattr::UID),
            SetAttr {
                uid: Some(1),
                ..none
            }
        );
        assert_eq!(
            with(fattr::GID),
            SetAttr {
                gid: Some(2),
                ..none
            }
        );
        assert_eq!(
            with(fattr::SIZE),
            SetAttr {
                size: Some(3),
                ..none
            }
        );
        assert_eq!(with(fattr::FH), none, "of no other change");
        assert_eq!(
            with(fattr::SIZE | fattr::FH),
            SetAttr {
                size: Some(3),
                by_descriptor: true,
                ..none
            }
        );
        let before = SetTime::At(Time { sec: -4, nsec: 5 });
        assert_eq!(
            with(fattr::ATIME),
            SetAttr {
                atime: Some(before),
                ..none
            }
        );
        let after = SetTime::At(Time { sec: 6, nsec: 7 });
        assert_eq!(
            with(fattr::MTIME),
            SetAttr {
                mtime: Some(after),
                ..none
            }
        );
        let now = Some(SetTime::Now);
        assert_eq!(
            with(fattr::ATIME | fattr::ATIME_NOW),
            SetAttr { atime: now, ..none }
        );
        assert_eq!(
            with(fattr::MTIME | fattr::MTIME_NOW),
            SetAttr { mtime: now, ..none }
        );
        let ctime = Some(Time { sec: 8, nsec: 9 });
        assert_eq!(with(fattr::CTIME), SetAttr { ctime, ..none });
        assert_eq!(
            with(fattr::KILL_SUIDGID),
            SetAttr {
                kill_suidgid: true,
                ..none
            }
        );
    }

    #[test]
    fn a_second_has_no_more_nanoseconds_than_that() {
        let args = |valid| SetattrIn {
            valid,
            atimensec: NANOS,
            mtimensec: NANOS,
            ctimensec: u32::MAX,
            ..SetattrIn::default()
        };
        for valid in [fattr::ATIME, fattr::MTIME, fattr::CTIME] {
            assert_eq!(change(&args(valid)), Err(Errno::INVAL));
        }
        assert!(change(&args(fattr::UID)).is_ok());
    }
}
