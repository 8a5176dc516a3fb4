//! Reading, writing and arranging the bytes of regular files.

use super::data::{Content, Memory};
use super::privilege::Loss;
use super::setattr::SIZE_MAX;
use super::{Caller, Changed, Committed, Failed, Fs, Node};
use crate::fs::Result;
use crate::tree::{Errno, Ext, InodeRef, Kind, NodeId, Time};
use parking_lot::RwLockWriteGuard;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The allocation modes served, with the bits of fallocate(2).
const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
const PUNCH_HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP_SIZE;
const ZERO_RANGE: i32 = libc::FALLOC_FL_ZERO_RANGE;
const ZERO_RANGE_KEEP_SIZE: i32 = ZERO_RANGE | KEEP_SIZE;

impl Fs {
    /// Checks that an inode's content can be served. `flags` are those of open(2); O_TRUNC is not
    /// acted on.
    ///
    /// # Errors
    /// EISDIR for writing a directory, ENXIO for what has no content here, EROFS, EPERM for what flags forbid, EACCES,
    /// ESTALE.
    pub fn open(&self, caller: &Caller, id: NodeId, flags: i32) -> Result<()> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        match self.get(id)?.kind() {
            Kind::Directory if writes => return Err(Errno::ISDIR),
            Kind::Directory | Kind::Regular => {}
            Kind::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        if writes {
            self.writable()?;
        }
        self.may_open(caller, id, flags)
    }

    /// Reads at `offset` into `out` and says how many bytes; fewer than fit only at the end of the file. What
    /// `out` held behind them, or holds after an error, means nothing.
    ///
    /// # Errors
    /// EISDIR, EINVAL for what is not a regular file, ESTALE if the inode is gone or its source changed; whatever
    /// reading the source fails with.
    pub fn read(&self, id: NodeId, offset: u64, out: &mut [u8]) -> Result<usize> {
        let inode = self.regular(id)?;
        // Content comes before a size: a size seen without content is one of zeros only.
        let hole = length_within(&inode, offset, out);
        let Some(node) = self.content_node(&inode) else {
            out[..hole].fill(0);
            return Ok(hole);
        };
        loop {
            let content = node.content.read();
            let length = length_within(&inode, offset, out);
            let Some(backed) = content.backed_now() else {
                content.read(offset, &mut out[..length])?;
                return Ok(length);
            };
            // Who cuts the file does not wait for its source.
            drop(content);
            let read = backed.read(offset, &mut out[..length]);
            let content = node.content.read();
            if content.is_still(&backed) && length == length_within(&inode, offset, out) {
                return read.map(|()| length);
            }
        }
    }

    /// As [`Fs::read`], but `None` instead of waiting: for a lock that somebody may hold for long, or for a source that
    /// does not have all of it in memory.
    ///
    /// # Errors
    /// As [`Fs::read`].
    pub fn try_read(&self, id: NodeId, offset: u64, out: &mut [u8]) -> Result<Option<usize>> {
        let inode = self.regular(id)?;
        let hole = length_within(&inode, offset, out);
        let Some(node) = self.content_node(&inode) else {
            out[..hole].fill(0);
            return Ok(Some(hole));
        };
        let Some(content) = node.content.try_read() else {
            return Ok(None);
        };
        let length = length_within(&inode, offset, out);
        let read = content.try_read(offset, &mut out[..length])?;
        Ok(read.then_some(length))
    }

    /// The file of the source that holds the content of `id`, open for reading, so that it may be read there; `None` if
    /// there is none, or if changes are allowed, which would not show there. Unless `wait` is set nothing is waited for.
    ///
    /// # Errors
    /// EAGAIN if it would have to wait; as [`Fs::read`].
    pub fn source_file(&self, id: NodeId, wait: bool) -> Result<Option<Arc<OwnedFd>>> {
        let inode = self.regular(id)?;
        let Some(node) = self.content_node(&inode) else {
            return Ok(None);
        };
        if !self.config.load().read_only {
            return Ok(None);
        }
        let content = match wait {
            true => node.content.read(),
            false => node.content.try_read().ok_or(Errno::AGAIN)?,
        };
        let (backed, size) = (content.backed_now(), inode.attr().size);
        drop(content);
        backed.map_or(Ok(None), |backed| backed.file(size, wait))
    }

    /// Whether calls that touch the content of `id` need not wait now: its bytes are in memory, or there are none, and
    /// nobody changes them. So they need not for an unknown inode, which they refuse.
    ///
    /// Somebody who reads bytes in memory is done with them in no time and counts for nothing.
    pub fn would_not_block(&self, id: NodeId) -> bool {
        let Ok(inode) = self.get(id) else {
            return true;
        };
        let node = match inode.ext() {
            Ext::Made(node) => node,
            Ext::Seed(_) => return false,
            Ext::None => return true,
        };
        node.content
            .try_read()
            .is_some_and(|content| content.is_in_memory())
    }

    /// Whether the content of `id` can be cut without waiting: nobody has it locked. What is cut off is not looked at.
    pub fn may_be_cut(&self, id: NodeId) -> bool {
        let made = self.get(id).map(|inode| {
            let node = inode.ext().made();
            node.is_none_or(|node| node.content.try_write().is_some())
        });
        made.unwrap_or(true)
    }

    /// The content of `node` in memory, locked. What is in a source is copied first, while others may read it or cut
    /// it.
    ///
    /// ENOSPC, or what the source fails with (ESTALE); then nothing changed.
    fn owned<'n>(&self, node: &'n Node, max: u64) -> Result<RwLockWriteGuard<'n, Content>> {
        loop {
            let content = node.content.write();
            let Some(backed) = content.backed_now() else {
                return Ok(content);
            };
            drop(content);
            // Only one copies: there may be no room for two.
            let _alone = backed.lock_copying();
            if !node.content.read().is_still(&backed) {
                continue;
            }
            let copy = backed.copy(max);
            let mut content = node.content.write();
            if content.is_still(&backed) {
                *content = Content::Memory(copy?);
                return Ok(content);
            }
        }
    }

    /// Writes `data` at `offset` and returns how many bytes fitted. Clears set-user-id,
    /// set-group-id and capabilities if told to.
    ///
    /// The first write to source-backed content copies all of it into memory.
    ///
    /// # Errors
    /// EISDIR, EINVAL for what is not a regular file, EFBIG at 2^63-1, ENOSPC if nothing fits,
    /// EROFS, ESTALE; whatever reading the source fails with. The content is unchanged then.
    pub fn write(
        &self,
        caller: &Caller,
        id: NodeId,
        offset: u64,
        data: &[u8],
        kill_suidgid: bool,
    ) -> Changed<u32> {
        let max = self.writable_limits()?.1;
        let inode = self.regular(id)?;
        if data.is_empty() {
            return Ok(Committed::new(0, []));
        }
        let room = SIZE_MAX.saturating_sub(offset).min(u64::from(u32::MAX));
        let data = &data[..data.len().min(room as usize)];
        if data.is_empty() {
            return Err(Errno::FBIG.into());
        }
        self.room_for_change(&inode)?;
        let node = self.node(&inode);
        let copied = !node.content.read().is_in_memory();
        let mut content = self.owned(node, max)?;
        let memory = content.own(max)?;
        let written = memory.write(offset, data, max).map(|length| length as u32);
        let change = ContentChange {
            done: written,
            blocks: memory.blocks(),
            copied,
            takes_privileges: kill_suidgid,
            writes: true,
        };
        change.commit(&inode, caller, |&written| offset + u64::from(written))
    }

    /// Allocates (mode 0), allocates behind the end (`KEEP_SIZE`), frees (`PUNCH_HOLE|KEEP_SIZE`)
    /// or zeroes (`ZERO_RANGE`) a range.
    ///
    /// Clears set-user-id, set-group-id and capabilities unless the caller is uid 0: the request
    /// does not say.
    ///
    /// # Errors
    /// EOPNOTSUPP for another mode, EISDIR, ENODEV for what is not a regular file, EINVAL for
    /// length 0, EFBIG, ENOSPC, EROFS, EPERM, ESTALE; whatever reading the source fails with.
    pub fn fallocate(
        &self,
        caller: &Caller,
        id: NodeId,
        offset: u64,
        length: u64,
        mode: i32,
    ) -> Changed<()> {
        if ![0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE_KEEP_SIZE].contains(&mode) {
            return Err(Errno::OPNOTSUPP.into());
        }
        let max = self.writable_limits()?.1;
        match mode {
            0 | KEEP_SIZE => self.refuse_immutable(id)?,
            _ => self.refuse_fixed(id)?,
        }
        let inode = self.regular(id).map_err(|errno| match errno {
            Errno::INVAL => Errno::NODEV,
            other => other,
        })?;
        if length == 0 {
            return Err(Errno::INVAL.into());
        }
        let end = offset.checked_add(length).filter(|&end| end <= SIZE_MAX);
        let range = offset..end.ok_or(Errno::FBIG)?;
        self.room_for_change(&inode)?;
        let node = self.node(&inode);
        let copied = !node.content.read().is_in_memory();
        let mut content = self.owned(node, max)?;
        let memory = content.own(max)?;
        let change = ContentChange {
            done: arrange(memory, mode, range.clone(), max),
            blocks: memory.blocks(),
            copied,
            takes_privileges: caller.uid != 0,
            writes: mode & (PUNCH_HOLE | ZERO_RANGE) & !KEEP_SIZE != 0,
        };
        let keeps_size = mode & KEEP_SIZE != 0;
        let done = change.commit(&inode, caller, |()| if keeps_size { 0 } else { range.end })?;
        // Where the size may change the kernel counts the change itself.
        Ok(if keeps_size { done.and(id) } else { done })
    }

    /// A regular file: EISDIR, EINVAL for anything else; ESTALE.
    pub(super) fn regular(&self, id: NodeId) -> Result<InodeRef<'_, Node>> {
        let inode = self.get(id)?;
        match inode.kind() {
            Kind::Regular => Ok(inode),
            Kind::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }
}

/// How many bytes of the file from `offset` on `out` has room for. They stay as many while its content is locked.
fn length_within(inode: &InodeRef<'_, Node>, offset: u64, out: &[u8]) -> usize {
    let left = inode.attr().size.saturating_sub(offset);
    left.min(out.len() as u64) as usize
}

fn arrange<const CHUNK: usize>(
    memory: &mut Memory<CHUNK>,
    mode: i32,
    range: Range<u64>,
    max: u64,
) -> Result<()> {
    if mode == PUNCH_HOLE {
        memory.punch(range);
        return Ok(());
    }
    memory.allocate(range.clone(), max)?;
    if mode & ZERO_RANGE != 0 {
        memory.zero(range);
    }
    Ok(())
}

/// A change of content that was made or failed, while the content is still locked.
pub(super) struct ContentChange<T> {
    /// How it ended.
    pub(super) done: Result<T>,
    /// How many blocks are allocated now.
    pub(super) blocks: u64,
    /// The content was copied from a source for it, so that nobody noted which holes were read.
    pub(super) copied: bool,
    /// If it was made, it clears set-user-id, set-group-id and capabilities.
    pub(super) takes_privileges: bool,
    /// Bytes within the file may be others.
    pub(super) writes: bool,
}

impl<T> ContentChange<T> {
    /// Brings the attributes up to date, as one step. `end` is how far the file reaches at least, once the change was made.
    ///
    /// The kernel counts size, times and blocks itself (`fuse_write_update_attr`) of a change that was made, and nothing of one
    /// that failed. The mode it would keep.
    pub(super) fn commit(
        self,
        inode: &InodeRef<'_, Node>,
        caller: &Caller,
        end: impl FnOnce(&T) -> u64,
    ) -> Changed<T> {
        let loss = (self.takes_privileges && self.done.is_ok())
            .then(|| Loss::begin(inode, caller, false))
            .flatten();
        let (stale, _) = inode.update(|attr| {
            let before = *attr;
            attr.blocks = self.blocks;
            attr.unsettled |= self.copied;
            let Ok(done) = &self.done else {
                return Ok(*attr != before);
            };
            attr.size = attr.size.max(end(done));
            attr.touched.content |= self.writes || attr.size != before.size;
            attr.mtime = Time::now();
            attr.ctime = attr.mtime;
            if let Some(loss) = &loss {
                loss.apply(attr);
            }
            Ok(attr.perm != before.perm)
        })?;
        let stale = stale.then(|| inode.id());
        match self.done {
            Ok(value) => Ok(Committed::new(value, stale)),
            Err(errno) => Err(Failed::new(errno, stale)),
        }
    }
}

#[cfg(test)]
mod tests;
