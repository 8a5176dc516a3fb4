//! Calls on the content of open files and directories.

use crate::call::{Call, Whence};
use crate::perform::{Answer, Files, nothing, number};
use rustix::fs::{self, FallocateFlags, FileType, RawDir, SeekFrom};
use rustix::io::{Errno, Result};
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;

impl Files {
    /// Makes a call on what is in a slot.
    pub fn content(&self, call: &Call) -> Answer {
        match *call {
            Call::Read { slot, len } => {
                let mut bytes = vec![0; len];
                let length = rustix::io::read(self.slot(slot)?, &mut bytes)?;
                Ok(digest(&bytes[..length]))
            }
            Call::ReadAt { slot, offset, len } => {
                let mut bytes = vec![0; len];
                let length = rustix::io::pread(self.slot(slot)?, &mut bytes, offset)?;
                Ok(digest(&bytes[..length]))
            }
            Call::Write { slot, len, byte } => {
                number(rustix::io::write(self.slot(slot)?, &vec![byte; len]))
            }
            Call::WriteAt {
                slot,
                offset,
                len,
                byte,
            } => number(rustix::io::pwrite(
                self.slot(slot)?,
                &vec![byte; len],
                offset,
            )),
            Call::Map {
                slot,
                offset,
                len,
                byte,
            } => map(self.slot(slot)?, offset, len, byte),
            Call::Truncate { slot, size } => nothing(fs::ftruncate(self.slot(slot)?, size)),
            Call::Allocate {
                slot,
                mode,
                offset,
                len,
            } => {
                let mode = FallocateFlags::from_bits_retain(mode);
                nothing(fs::fallocate(self.slot(slot)?, mode, offset, len))
            }
            Call::Seek { slot, to, whence } => seek(self.slot(slot)?, to, whence),
            Call::Copy {
                from,
                from_offset,
                to,
                to_offset,
                len,
            } => {
                let (mut from_offset, mut to_offset) = (from_offset, to_offset);
                let (from, to) = (self.slot(from)?, self.slot(to)?);
                let (source, target) = (Some(&mut from_offset), Some(&mut to_offset));
                number(fs::copy_file_range(from, source, to, target, len))
            }
            Call::Sync { slot } => nothing(fs::fsync(self.slot(slot)?)),
            Call::List { slot, again_from } => list(self.slot(slot)?, again_from),
            _ => unreachable!("{call:?} touches no content"),
        }
    }
}

/// Bytes in short: their number, and a sum that tells them apart.
pub fn digest(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes, {sum:x}", bytes.len())
}

fn map(file: &File, offset: usize, len: usize, byte: u8) -> Answer {
    if !fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file()) {
        return Err(Errno::NODEV);
    }
    let errno = |error: vmap::Error| {
        Errno::from_io_error(&std::io::Error::from(error)).unwrap_or(Errno::RANGE)
    };
    let mut options = vmap::MapMut::with_options();
    let mut mapped = options.write().len(offset + len).map(file).map_err(errno)?;
    mapped[offset..].fill(byte);
    mapped.flush(file, vmap::Flush::Sync).map_err(errno)?;
    Ok(String::new())
}

/// Positions of data and holes are the filesystem's own choice. What is asked of them is that they are true of the
/// content.
fn seek(file: &File, to: i64, whence: Whence) -> Answer {
    let from = to.unsigned_abs();
    let found = match whence {
        Whence::Start => return number(fs::seek(file, SeekFrom::Start(from))),
        Whence::End => return number(fs::seek(file, SeekFrom::End(to))),
        Whence::Data => fs::seek(file, SeekFrom::Data(from)),
        Whence::Hole => fs::seek(file, SeekFrom::Hole(from)),
    };
    let size = fs::fstat(file)?.st_size as u64;
    if from >= size || !matches!(found, Ok(_) | Err(Errno::NXIO)) {
        return number(found);
    }
    let skipped = match whence {
        Whence::Data => from..found.unwrap_or(size),
        _ => found?..size.min(found? + 1),
    };
    // The position is part of what later calls see.
    fs::seek(file, SeekFrom::Start(from))?;
    let inside = from <= skipped.start && skipped.end <= size;
    match inside && is_zero(file, skipped.clone()) {
        true => Ok("true".to_owned()),
        false => Ok(format!("{whence:?} from {from} of {size}: {skipped:?}")),
    }
}

fn is_zero(file: &File, range: Range<u64>) -> bool {
    let mut bytes = vec![0; (range.end - range.start).min(1 << 20) as usize];
    match rustix::io::pread(file, &mut bytes, range.start) {
        Ok(length) => bytes[..length].iter().all(|byte| *byte == 0),
        // Not open for reading.
        Err(_) => true,
    }
}

/// All names, and whether the position after one of them leads to those that came behind it.
fn list(dir: &File, again_from: usize) -> Answer {
    fs::seek(dir, SeekFrom::Start(0))?;
    let all = entries(dir)?;
    let mut names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let from = again_from % all.len().max(1);
    let rest = match all.get(from) {
        Some((_, position)) => {
            fs::seek(dir, SeekFrom::Start(*position))?;
            entries(dir)? == all[from + 1..]
        }
        None => true,
    };
    Ok(format!("{names:?}, the rest again: {rest}"))
}

/// Names with their kinds, and the position behind each.
fn entries(dir: &File) -> Result<Vec<(String, u64)>> {
    let mut room = [MaybeUninit::uninit(); 1 << 12];
    let mut listing = RawDir::new(dir, &mut room);
    let mut all = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        all.push((
            format!("{name} {:?}", entry.file_type()),
            entry.next_entry_cookie(),
        ));
    }
    Ok(all)
}
