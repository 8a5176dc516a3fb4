//! Where the contents of what differs are read: a mount, or what was kept of one.

use super::{PathBytes, SourceEntry};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The name and the value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// A tree whose contents can be read.
pub trait Tree {
    /// What is at `path`, if anything is.
    ///
    /// # Errors
    /// What looking at it fails with.
    fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>>;

    /// The names in the directory `path`, but `.` and `..`.
    ///
    /// # Errors
    /// What reading it fails with.
    fn names(&self, path: &PathBytes) -> io::Result<Vec<Vec<u8>>>;

    /// The bytes of the regular file `path`.
    ///
    /// # Errors
    /// ENOENT; EINVAL of what is no regular file; what opening it fails with.
    fn content(&self, path: &PathBytes) -> io::Result<Content>;

    /// The target of the symbolic link at `path`.
    ///
    /// # Errors
    /// ENOENT; EINVAL of what is no link; what reading it fails with.
    fn link_target(&self, path: &PathBytes) -> io::Result<CString>;

    /// All extended attributes of `path` that can be seen, access control lists among them.
    ///
    /// # Errors
    /// What reading them fails with.
    fn xattrs(&self, path: &PathBytes) -> io::Result<Vec<Xattr>>;
}

/// Bytes that can be read anywhere.
pub trait Bytes: Send + Sync {
    /// Fills `buf` with what is at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where there are fewer; what reading fails with.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// The first run of bytes at or behind `from` that are no hole, if there is one.
    ///
    /// # Errors
    /// What looking for it fails with.
    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>>;
}

impl Bytes for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let data = match rustix::fs::seek(self, SeekFrom::Data(from)) {
            Ok(data) => data,
            // Behind it is nothing but a hole.
            Err(Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok(Some(data..rustix::fs::seek(self, SeekFrom::Hole(data))?))
    }
}

/// The bytes of a regular file: part of an open one. Read, it gives exactly as many as it has, the holes as zeros without a look at
/// them, and fails if the file is shorter.
pub struct Content {
    file: Arc<dyn Bytes>,
    start: u64,
    size: u64,
    at: u64,
    /// What is known of holes: there is data here, or the next is.
    run: Range<u64>,
}

impl Content {
    /// The `size` bytes of `file` from `start` on.
    pub fn new(file: Arc<dyn Bytes>, start: u64, size: u64) -> Content {
        Content {
            file,
            start,
            size,
            at: 0,
            run: 0..0,
        }
    }

    /// Bytes, holes included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first run of bytes at or behind `from` that are no hole, if there is one.
    ///
    /// # Errors
    /// As [`Bytes::data`].
    pub fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        if from >= self.size {
            return Ok(None);
        }
        let run = self.file.data(self.start.saturating_add(from))?;
        let run = run.map(|run| {
            let within = |at: u64| at.saturating_sub(self.start).min(self.size);
            within(run.start)..within(run.end)
        });
        Ok(run.filter(|run| !run.is_empty()))
    }

    /// Bytes that are no holes.
    ///
    /// # Errors
    /// As [`Bytes::data`].
    pub fn stored(&self) -> io::Result<u64> {
        let (mut at, mut stored) = (0, 0_u64);
        while let Some(run) = self.data(at)? {
            stored += run.end - run.start;
            at = run.end;
        }
        Ok(stored)
    }

    /// Fills `buf` with what is at `offset`.
    ///
    /// # Errors
    /// As [`Bytes::read_exact_at`].
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, self.start + offset)
    }
}

impl Read for Content {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.at;
        let buf = match usize::try_from(left) {
            Ok(left) if left < buf.len() => &mut buf[..left],
            _ => buf,
        };
        if buf.is_empty() {
            return Ok(0);
        }
        if self.at >= self.run.end {
            let end = self.size..self.size;
            self.run = self.data(self.at)?.unwrap_or(end);
        }
        let hole = self.at < self.run.start;
        let until = if hole { self.run.start } else { self.run.end };
        let length = usize::try_from(until - self.at).unwrap_or(usize::MAX);
        let length = length.min(buf.len());
        match hole {
            true => buf[..length].fill(0),
            false => self.read_exact_at(self.at, &mut buf[..length])?,
        }
        self.at += length as u64;
        Ok(length)
    }
}
