//! Opening files, and what is in them.

use super::{Call, DONE};
use crate::fs::Result;
use crate::transport::channel::exchange::{Answer, MayBlock};
use crate::transport::passthrough::Passthrough;
use crate::transport::wire::{
    CopyFileRangeIn, CopyOut, FallocateIn, LseekIn, LseekOut, OPEN_KEEP_CACHE, OPEN_KILL_SUIDGID,
    OPEN_PASSTHROUGH, Opcode, OpenIn, OpenOut, ReadIn, WRITE_KILL_SUIDGID, WriteIn, WriteOut,
};
use crate::tree::{Errno, NodeId};

/// So many holes of one file, each of which turns out to be data, are passed before the rest counts as data.
const WRITEBACKS: usize = 1000;

/// Copying or allocating more bytes than this keeps a thread for long.
const LONG: u64 = 1 << 20;

impl Call<'_, '_> {
    pub(super) fn open(&mut self) -> Result<Answer> {
        if self.shared.agreed.zero_message_open {
            return Err(Errno::NOSYS);
        }
        let args: OpenIn = self.exchange.fixed()?;
        let (caller, node) = (self.caller(), self.node());
        self.fs().open(&caller, node, args.flags.cast_signed())?;
        if let Some(passthrough) = &self.shared.passthrough {
            return self.open_passed_through(passthrough, args.flags);
        }
        if args.open_flags & OPEN_KILL_SUIDGID != 0 {
            self.shared
                .deliver(self.fs().take_privileges(&caller, node)?);
        }
        self.exchange.send(&OpenOut {
            open_flags: self.where_cached(OPEN_KEEP_CACHE),
            ..OpenOut::default()
        })
    }

    /// Lets the kernel read from the source what is there. It opens that file with the caller's flags, so nobody may
    /// have one for writing, whatever the filesystem allows.
    fn open_passed_through(&mut self, passthrough: &Passthrough, flags: u32) -> Result<Answer> {
        if flags.cast_signed() & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(Errno::ROFS);
        }
        let (node, wait) = (self.node(), self.may_block == MayBlock::Yes);
        let file = match self.fs().source_file(node, wait) {
            Err(Errno::AGAIN) if !wait => return Ok(Answer::Later),
            // There may be more of it when the content is asked for.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => None,
            file => file?,
        };
        let backing = passthrough.open(node, file.as_deref());
        let keep = self.where_cached(OPEN_KEEP_CACHE);
        self.exchange.send(&OpenOut {
            open_flags: backing.map_or(keep, |_| OPEN_PASSTHROUGH),
            backing_id: backing.unwrap_or_default(),
            ..OpenOut::default()
        })
    }

    /// Nothing is kept for an open file, unless the kernel reads it by itself.
    pub(super) fn release(&self) -> Result<Answer> {
        if let Some(passthrough) = &self.shared.passthrough {
            passthrough.release(self.node());
        }
        DONE
    }

    pub(super) fn read(&mut self) -> Result<Answer> {
        let args: ReadIn = self.exchange.fixed()?;
        let (node, fs) = (self.node(), &self.shared.fs);
        let room = self.exchange.room(args.size)?;
        let read = match self.may_block {
            MayBlock::Yes => Some(fs.read(node, args.offset, room)?),
            _ => fs.try_read(node, args.offset, room)?,
        };
        let Some(length) = read else {
            return Ok(Answer::Later);
        };
        self.shared.deliver(fs.note_read(node, args.offset, length));
        Ok(Answer::Bytes(length))
    }

    pub(super) fn write(&mut self) -> Result<Answer> {
        let args: WriteIn = self.exchange.fixed()?;
        let data = self.exchange.rest()?.get(..args.size as usize);
        let data = data.ok_or(Errno::INVAL)?;
        let (caller, node) = (self.caller(), self.node());
        self.fs()
            .may_write(node, args.offset, args.flags.cast_signed())?;
        if self.must_wait(node) {
            return Ok(Answer::Later);
        }
        let kill_suidgid = args.write_flags & WRITE_KILL_SUIDGID != 0;
        let written = self
            .fs()
            .write(&caller, node, args.offset, data, kill_suidgid);
        let written = self.shared.deliver_any(written);
        if !written.is_ok_and(|size| size == args.size) {
            self.shared.write_failed(node);
        }
        let size = written?;
        self.exchange.send(&WriteOut { size, padding: 0 })
    }

    pub(super) fn fallocate(&self) -> Result<Answer> {
        let args: FallocateIn = self.exchange.fixed()?;
        let (caller, node) = (self.caller(), self.node());
        if self.is_long(args.length) || self.must_wait(node) {
            return Ok(Answer::Later);
        }
        let mode = args.mode.cast_signed();
        let done = self
            .fs()
            .fallocate(&caller, node, args.offset, args.length, mode);
        self.shared.deliver_any(done)?;
        DONE
    }

    /// Whether moving so many bytes would keep a thread that has no time.
    fn is_long(&self, bytes: u64) -> bool {
        self.may_block == MayBlock::No && bytes > LONG
    }

    /// Where there are holes, pages of them that were stored to through a map come first.
    pub(super) fn lseek(&mut self) -> Result<Answer> {
        let args: LseekIn = self.exchange.fixed()?;
        let (offset, whence) = (args.offset.cast_signed(), args.whence.cast_signed());
        let (node, fs) = (self.node(), &self.shared.fs);
        let mut settled = 0..0;
        for _ in 0..WRITEBACKS {
            if self.may_block != MayBlock::Yes && !fs.would_not_block(node) {
                break;
            }
            let sought = fs.seek(node, offset, whence)?;
            let unsure = sought.unsure;
            if unsure.is_empty() || settled.start <= unsure.start && unsure.end <= settled.end {
                let offset = sought.offset.ok_or(Errno::NXIO)?;
                return self.exchange.send(&LseekOut { offset });
            }
            if self.may_block != MayBlock::Yes
                || !self.shared.write_back(node, std::slice::from_ref(&unsure))
            {
                break;
            }
            settled = unsure;
        }
        if self.may_block == MayBlock::No {
            return Ok(Answer::AfterWriteback);
        }
        let offset = fs.seek_as_data(node, offset, whence)?;
        self.exchange.send(&LseekOut { offset })
    }

    pub(super) fn copy_file_range(&mut self, opcode: Opcode) -> Result<Answer> {
        let args: CopyFileRangeIn = self.exchange.fixed()?;
        if args.flags != 0 {
            return Err(Errno::INVAL);
        }
        let (from, to) = (self.node(), NodeId::from_raw(args.nodeid_out));
        if self.is_long(args.len) || self.must_wait(from) || self.must_wait(to) {
            return Ok(Answer::Later);
        }
        let caller = self.caller();
        let copied = self
            .fs()
            .copy_range(&caller, from, args.off_in, to, args.off_out, args.len);
        let copied = self.shared.deliver_any(copied)?;
        match opcode {
            Opcode::CopyFileRange64 => self.exchange.send(&CopyOut { bytes: copied }),
            // The filesystem copies less than 2^32 bytes at once.
            _ => self.exchange.send(&WriteOut {
                size: copied as u32,
                padding: 0,
            }),
        }
    }
}
