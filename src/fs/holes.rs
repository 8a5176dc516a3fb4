//! Holes, and what a client may hold of them.
//!
//! A client that maps a file stores to pages it holds, and writes them back when it likes. To hold a page it has to read
//! it first. So what is known here of a hole can be out of date only if the hole was read: reads through holes leave a
//! mark at the inode ([`Attr::unsettled`](crate::tree::Attr)), and who is asked about holes of a marked inode has the client write back
//! first. Where only the source knows of holes, every hole counts as read.

use super::data::Content;
use super::{Committed, Fs, Node};
use crate::fs::Result;
use crate::tree::{Errno, InodeRef, NodeId};
use std::ops::Range;

/// No more holes than this are written back one by one.
const MANY: usize = 64;

/// What was found of data and holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Where it starts; `None` if there is none.
    pub offset: Option<u64>,
    /// The hole that this rests on, of which the client may hold pages: what it wrote there comes first. Else empty.
    pub unsure: Range<u64>,
}

impl Fs {
    /// Where data (`SEEK_DATA`) or a hole (`SEEK_HOLE`) starts at or behind `offset`. The end of
    /// the file counts as a hole.
    ///
    /// # Errors
    /// ENXIO if `offset` is not inside the file, EINVAL for another `whence` or what is not a regular file, EISDIR,
    /// ESTALE.
    pub fn seek(&self, id: NodeId, offset: i64, whence: i32) -> Result<Sought> {
        let inode = self.regular(id)?;
        let from = from(offset, whence)?;
        let node = self.node(&inode);
        let content = node.content.read();
        let attr = inode.attr();
        let size = attr.size;
        let data = || next_data(&content, from, size);
        let (offset, hole) = match whence {
            _ if from >= size => return Err(Errno::NXIO),
            libc::SEEK_DATA => data().map(|at| ((at < size).then_some(at), from..at))?,
            _ => content
                .seek_hole(from, size)
                .map(|at| (Some(at), at..size))?,
        };
        let held = attr.unsettled || !content.is_in_memory();
        let unsure = match held && !hole.is_empty() && !self.config.load().read_only {
            true => hole.start..next_data(&content, hole.start, size)?,
            false => 0..0,
        };
        Ok(Sought { offset, unsure })
    }

    /// The offset [`Fs::seek`] finds, with no regard for what the client holds.
    ///
    /// # Errors
    /// As [`Fs::seek`], and ENXIO if there is none.
    pub fn lseek(&self, id: NodeId, offset: i64, whence: i32) -> Result<i64> {
        let found = self.seek(id, offset, whence)?.offset;
        found.map(u64::cast_signed).ok_or(Errno::NXIO)
    }

    /// The same of a file that has no hole, for whoever cannot wait: everything of it is then read as data.
    ///
    /// # Errors
    /// As [`Fs::seek`].
    pub fn seek_as_data(&self, id: NodeId, offset: i64, whence: i32) -> Result<u64> {
        let size = self.regular(id)?.attr().size;
        match from(offset, whence)? {
            from if from >= size => Err(Errno::NXIO),
            from if whence == libc::SEEK_DATA => Ok(from),
            _ => Ok(size),
        }
    }

    /// Notes that the client is about to hold the `length` bytes read at `offset`: called before it is answered.
    ///
    /// Never waits; somebody who changes the content meanwhile counts as a hole.
    pub fn note_read(&self, id: NodeId, offset: u64, length: usize) -> Committed<()> {
        let range = offset..offset.saturating_add(length as u64);
        match self.regular(id) {
            Ok(inode) if !range.is_empty() && self.reads_hole(&inode, range) => self.unsettle(id),
            _ => Committed::new((), []),
        }
    }

    fn reads_hole(&self, inode: &InodeRef<'_, Node>, range: Range<u64>) -> bool {
        let attr = inode.attr();
        if attr.unsettled {
            return false;
        }
        let Some(node) = self.content_node(inode) else {
            return true;
        };
        match node.content.try_read().as_deref() {
            Some(Content::Memory(memory)) => memory.next_hole(range.start) < range.end,
            // What allocates nothing is a hole, or cannot be told from one.
            Some(Content::Backed(_)) => attr.blocks == 0,
            None => true,
        }
    }

    /// Notes that the client may hold pages of holes: of a write that failed it still has them.
    pub fn unsettle(&self, id: NodeId) -> Committed<()> {
        let noted = self.get(id).and_then(|inode| {
            inode.note(|attr| {
                attr.unsettled = true;
                Ok(())
            })
        });
        Committed::new((), noted.is_ok().then_some(id))
    }

    /// Whether the client has to write back before it is told how many blocks are allocated. On a read-only filesystem
    /// it cannot.
    pub fn must_settle(&self, attr: &crate::tree::Attr) -> bool {
        attr.unsettled && !self.config.load().read_only
    }

    /// Forgets that the client may hold pages of holes, and gives the ranges it is to write back and drop for that: the
    /// holes, or what includes them if they are many.
    ///
    /// # Errors
    /// EISDIR, EINVAL for what is not a regular file, ESTALE.
    pub fn settle(&self, id: NodeId) -> Result<Vec<Range<u64>>> {
        let inode = self.regular(id)?;
        // Before anything is written back: what is read meanwhile counts again.
        let (_, attr) = inode.note(|attr| {
            attr.unsettled = false;
            Ok(())
        })?;
        let size = attr.size;
        let whole = || std::iter::once(0..size).collect();
        let Some(node) = self.content_node(&inode) else {
            return Ok(whole());
        };
        let content = node.content.read();
        if !content.is_in_memory() {
            return Ok(whole());
        }
        let mut holes = Vec::new();
        let mut at = 0;
        while at < size {
            let start = content.seek_hole(at, size)?;
            at = next_data(&content, start, size)?;
            if start < at {
                holes.push(start..at);
            }
            if holes.len() == MANY {
                holes[MANY - 1].end = size;
                break;
            }
        }
        Ok(holes)
    }
}

/// Where data starts at or behind `from`; `size` if nowhere.
fn next_data(content: &Content, from: u64, size: u64) -> Result<u64> {
    match content.seek_data(from, size) {
        Err(Errno::NXIO) => Ok(size),
        found => found,
    }
}

fn from(offset: i64, whence: i32) -> Result<u64> {
    if !matches!(whence, libc::SEEK_DATA | libc::SEEK_HOLE) {
        return Err(Errno::INVAL);
    }
    u64::try_from(offset).map_err(|_| Errno::NXIO)
}
