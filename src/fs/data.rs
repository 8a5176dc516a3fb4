//! File content in memory.
//!
//! A file is cut into chunks of 64 KiB, and those into pages of 4 KiB. A chunk is a byte vector holding those of its pages
//! that are no holes, one after the other, and a bit for each page that tells which; what lies behind the end of the last is zero. So a
//! hole costs nothing, a small file is one allocation of its own length, and a file that outgrows its first chunk moves that
//! chunk without copying it. As on tmpfs, every page that was written to or allocated is data until a hole covers all of it.
//!
//! The size of the file is an attribute and lives in the tree. Content knows of it only what keeps
//! this true: **no byte at or behind the file's size is anything but zero.** Growing a file
//! therefore touches no content.
//!
//! A file loaded from a source starts *backed*: it is read through its [`Backing`] until the first
//! write, which copies it.

mod memory;

use super::quota::{Charge, Quota};
use crate::fs::Result;
use crate::tree::{Attr, Errno, Seed};
pub(super) use memory::Memory;
use parking_lot::{Mutex, MutexGuard};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Something in the directory that an [origin](crate::fs::Origin) is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginEntry {
    /// Where it is below that.
    pub path: Box<[u8]>,
    /// Its device (`st_dev`).
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
    /// Its attributes.
    pub attr: Attr,
}

/// Bytes of a file before its first write: read from elsewhere when asked for.
pub trait Backing: Send + Sync {
    /// Reads into `buf` at `offset` and returns how many bytes; short only at the end.
    ///
    /// # Errors
    /// ESTALE if the source changed since it was recorded; whatever reading it fails with.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Fills all of `buf` from `offset` on if that takes no waiting for a device or another machine; else false, and
    /// `buf` holds anything.
    ///
    /// # Errors
    /// As [`Backing::read_at`].
    fn try_read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<bool> {
        Ok(false)
    }

    /// The regular file of this machine that holds exactly these bytes, open for reading; `None` if there is no such
    /// file. Unless `wait` is set it takes no waiting for a device or another machine.
    ///
    /// # Errors
    /// EAGAIN if it would have to wait; as [`Backing::read_at`].
    fn file(&self, _wait: bool) -> Result<Option<Arc<OwnedFd>>> {
        Ok(None)
    }

    /// From what this was made, if there is such a thing.
    fn seed(&self) -> Option<Seed> {
        None
    }

    /// These bytes are to be read from `entry` from now on, which has them: false if it is not there any more.
    ///
    /// # Errors
    /// What looking at it fails with.
    fn renew(&self, entry: &OriginEntry) -> Result<bool> {
        let _ = entry;
        Ok(false)
    }

    /// The first byte at or behind `offset` that is not in a hole, `None` if only a hole is left.
    ///
    /// # Errors
    /// As [`Backing::read_at`].
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok(Some(offset))
    }

    /// The first hole at or behind `offset`, `None` if data goes on to the end.
    ///
    /// # Errors
    /// As [`Backing::read_at`].
    fn next_hole(&self, _offset: u64) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// The content of one regular file. `CHUNK` is smaller in tests only.
pub(super) enum Content<const CHUNK: usize = CHUNK_BYTES> {
    Memory(Memory<CHUNK>),
    Backed(Backed),
}

/// Content that is read from a source up to `valid` and zero behind.
#[derive(Clone)]
pub(super) struct Backed {
    source: Arc<Source>,
    valid: u64,
}

/// What backed content is read from, shared with who reads it while the content is not locked.
struct Source {
    backing: Box<dyn Backing>,
    /// Held by who copies it: there may be no room for two copies.
    copying: Mutex<()>,
    charge: Charge,
}

impl<const CHUNK: usize> Content<CHUNK> {
    pub(super) fn new(quota: &Arc<Quota>) -> Self {
        Content::Memory(Memory::new(quota))
    }

    /// No content, but a charge of `bytes`; ENOSPC.
    pub(super) fn charged(quota: &Arc<Quota>, bytes: u64, max: u64) -> Result<Self> {
        Ok(Content::Memory(Memory::charged(quota, bytes, max)?))
    }

    /// Content read from `source` until it is written: `size` bytes.
    pub(super) fn backed(quota: &Arc<Quota>, source: Box<dyn Backing>, size: u64) -> Self {
        Content::Backed(Backed {
            source: Arc::new(Source {
                backing: source,
                copying: Mutex::new(()),
                charge: Charge::new(quota),
            }),
            valid: size,
        })
    }

    /// Fills all of `buf` from `offset` on; holes are zeros.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match self {
            Content::Memory(memory) => {
                memory.read(offset, buf);
                Ok(())
            }
            Content::Backed(backed) => backed.read(offset, buf),
        }
    }

    /// What is still in the source: so that it may be asked while the content is not locked.
    pub(super) fn backed_now(&self) -> Option<Backed> {
        match self {
            Content::Memory(_) => None,
            Content::Backed(backed) => Some(backed.clone()),
        }
    }

    /// Whether this is what [`Content::backed_now`] gave.
    pub(super) fn is_still(&self, before: &Backed) -> bool {
        matches!(self, Content::Backed(backed)
            if backed.valid == before.valid && Arc::ptr_eq(&backed.source, &before.source))
    }

    /// As [`Content::read`], or false if that would have to wait.
    pub(super) fn try_read(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        match self {
            Content::Memory(memory) => {
                memory.read(offset, buf);
                Ok(true)
            }
            Content::Backed(backed) => {
                let data = backed.fill_hole(offset, buf);
                Ok(data.is_empty() || backed.source.backing.try_read_at(offset, data)?)
            }
        }
    }

    /// The source has `size` bytes there now, from where they were read all the time. False if that is nowhere.
    pub(super) fn has_now(&mut self, size: u64) -> bool {
        match self {
            Content::Memory(_) => false,
            Content::Backed(backed) => {
                backed.valid = size;
                true
            }
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self, Content::Memory(_))
    }

    /// Cuts the content at `size` and says how many units of 512 bytes are allocated now; they were
    /// `blocks` before.
    pub(super) fn truncate(&mut self, size: u64, blocks: u64) -> u64 {
        match self {
            Content::Memory(memory) => {
                memory.truncate(size);
                memory.blocks()
            }
            Content::Backed(backed) if size > 0 => {
                backed.valid = backed.valid.min(size);
                blocks.min(size.div_ceil(512))
            }
            Content::Backed(backed) => {
                *self = Content::new(backed.source.charge.quota());
                0
            }
        }
    }

    /// The bytes in memory, so that they may be changed: backed content is copied first.
    ///
    /// ENOSPC, or what the source fails with (ESTALE); then nothing changed.
    pub(super) fn own(&mut self, max: u64) -> Result<&mut Memory<CHUNK>> {
        if let Content::Backed(backed) = self {
            *self = Content::Memory(backed.copy(max)?);
        }
        match self {
            Content::Memory(memory) => Ok(memory),
            Content::Backed(_) => unreachable!("backed content was copied above"),
        }
    }

    /// Where the first data at or behind `from` starts, below `size`; ENXIO if there is none.
    pub(super) fn seek_data(&self, from: u64, size: u64) -> Result<u64> {
        let found = match self {
            Content::Memory(memory) => memory.next_data(from),
            Content::Backed(backed) => backed.next_data(from)?,
        };
        found.filter(|&found| found < size).ok_or(Errno::NXIO)
    }

    /// Where the first hole at or behind `from` starts; the end of the file counts as one. ENXIO if
    /// `from` is not below `size`.
    pub(super) fn seek_hole(&self, from: u64, size: u64) -> Result<u64> {
        if from >= size {
            return Err(Errno::NXIO);
        }
        let found = match self {
            Content::Memory(memory) => memory.next_hole(from),
            Content::Backed(backed) => backed.next_hole(from)?,
        };
        Ok(found.min(size))
    }
}

impl Backed {
    /// As [`Backing::seed`].
    pub(super) fn seed(&self) -> Option<Seed> {
        self.source.backing.seed()
    }

    /// As [`Backing::renew`].
    pub(super) fn renew(&self, entry: &OriginEntry) -> Result<bool> {
        self.source.backing.renew(entry)
    }

    /// Waits until nobody else copies this.
    pub(super) fn lock_copying(&self) -> MutexGuard<'_, ()> {
        self.source.copying.lock()
    }

    /// As [`Content::read`].
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let data = self.fill_hole(offset, buf);
        read_exact(self.source.backing.as_ref(), offset, data)
    }

    /// The file of the source that holds exactly the `size` bytes of this content, if there is one.
    pub(super) fn file(&self, size: u64, wait: bool) -> Result<Option<Arc<OwnedFd>>> {
        let file = self
            .source
            .backing
            .file(wait)?
            .filter(|_| self.valid == size);
        // A file that is longer holds more than what is left after a cut.
        Ok(match file {
            Some(file) if rustix::fs::fstat(&file)?.st_size as u64 == size => Some(file),
            _ => None,
        })
    }

    /// Zeroes what lies behind the source's bytes and gives the part of `buf` that is to be read from it.
    fn fill_hole<'b>(&self, offset: u64, buf: &'b mut [u8]) -> &'b mut [u8] {
        let there = self.valid.saturating_sub(offset).min(buf.len() as u64);
        let (data, hole) = buf.split_at_mut(there as usize);
        hole.fill(0);
        data
    }

    pub(super) fn copy<const CHUNK: usize>(&self, max: u64) -> Result<Memory<CHUNK>> {
        let mut copy = Memory::new(self.source.charge.quota());
        let mut buf = Vec::new();
        let mut at = 0;
        while let Some(data) = self.next_data(at)? {
            let start = data / CHUNK as u64 * CHUNK as u64;
            let len = (self.valid - start).min(CHUNK as u64) as usize;
            resize(&mut buf, len)?;
            read_exact(self.source.backing.as_ref(), start, &mut buf)?;
            write_pages(&mut copy, start, &buf, max)?;
            at = start + len as u64;
        }
        Ok(copy)
    }

    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        if from >= self.valid {
            return Ok(None);
        }
        let found = self
            .source
            .backing
            .next_data(from)?
            .map(|found| found.max(from));
        Ok(found.filter(|&found| found < self.valid))
    }

    fn next_hole(&self, from: u64) -> Result<u64> {
        if from >= self.valid {
            return Ok(from);
        }
        let found = self.source.backing.next_hole(from)?.unwrap_or(self.valid);
        Ok(found.clamp(from, self.valid))
    }
}

/// Writes the pages of `buf` that are not all zeros to where they lie from `start` on.
fn write_pages<const CHUNK: usize>(
    memory: &mut Memory<CHUNK>,
    start: u64,
    buf: &[u8],
    max: u64,
) -> Result<()> {
    let page = CHUNK / 16;
    let is_zero = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let zeros: Vec<bool> = buf.chunks(page).map(is_zero).collect();
    let mut at = 0;
    for run in zeros.chunk_by(|one, next| one == next) {
        let part = &buf[at..buf.len().min(at + run.len() * page)];
        if !run[0] && memory.write(start + at as u64, part, max)? < part.len() {
            return Err(Errno::NOSPC);
        }
        at += part.len();
    }
    Ok(())
}

/// Makes `buf` `len` bytes long; ENOMEM.
pub(super) fn resize(buf: &mut Vec<u8>, len: usize) -> Result<()> {
    buf.try_reserve_exact(len.saturating_sub(buf.len()))
        .map_err(|_| Errno::NOMEM)?;
    buf.resize(len, 0);
    Ok(())
}

/// Fills all of `buf` from a source. A source that ends early has changed: ESTALE.
fn read_exact(source: &dyn Backing, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
    while !buf.is_empty() {
        let n = source.read_at(offset, buf)?.min(buf.len());
        if n == 0 {
            return Err(Errno::STALE);
        }
        offset += n as u64;
        buf = &mut buf[n..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
