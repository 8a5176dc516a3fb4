//! Calls on the content of open files.

use crate::call::{Call, Whence};
use crate::perform::{Answer, Files, nothing, number};
use ahash::RandomState;
use mount_tests::posix::CAPABILITY;
use rustix::fs::{self, FallocateFlags, FileType, Mode, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags, Result};
use rustix::process::geteuid;
use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use vmap::{Advise, Flush, Map, MapMut};

impl Files {
    /// Makes a call on what is in a slot.
    #[rustfmt::skip]
    pub fn content(&mut self, call: &Call) -> Answer {
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
            Call::Write { slot, len, byte } => number(rustix::io::write(self.target(slot)?, &vec![byte; len])),
            Call::WriteAt { slot, offset, len, byte, flags } => {
                let (file, bytes) = (self.target(slot)?, vec![byte; len]);
                let flags = ReadWriteFlags::from_bits_retain(flags);
                number(rustix::io::pwritev2(file, &[IoSlice::new(&bytes)], offset, flags))
            }
            Call::Map { slot, offset, len, byte, keep } => self.map(slot, offset..offset + len, byte, keep),
            Call::ReadMap { slot, offset, len } => {
                let file = self.slot(slot)?;
                can_be_mapped(file)?;
                let mapped: Map = Map::with_options().len(offset + len).map(file).map_err(errno)?;
                Ok(digest(&mapped[offset..]))
            }
            Call::Truncate { slot, size } => nothing(fs::ftruncate(self.slot(slot)?, size)),
            Call::Allocate { slot, mode, offset, len } => {
                let mode = FallocateFlags::from_bits_retain(mode);
                nothing(fs::fallocate(self.target(slot)?, mode, offset, len))
            }
            Call::Seek { slot, to, whence } => seek(self.slot(slot)?, to, whence),
            Call::Copy { from, from_offset, to, to_offset, len } => {
                let (mut from_offset, mut to_offset) = (from_offset, to_offset);
                let (from, to) = (self.slot(from)?, self.target(to)?);
                let (source, target) = (Some(&mut from_offset), Some(&mut to_offset));
                number(fs::copy_file_range(from, source, to, target, len))
            }
            Call::Send { from, mut offset, to, len } => {
                let (from, to) = (self.slot(from)?, self.target(to)?);
                // Pages are on their way while they are overwritten: nothing is promised of that.
                if fs::fstat(from)?.st_ino == fs::fstat(to)?.st_ino {
                    return Err(Errno::INVAL);
                }
                number(fs::sendfile(to, from, Some(&mut offset), len))
            }
            Call::Sync { slot, how } => nothing(match how {
                0 => fs::fsync(self.slot(slot)?),
                1 => fs::fdatasync(self.slot(slot)?),
                _ => fs::syncfs(self.slot(slot)?),
            }),
            _ => unreachable!("{call:?} touches no content"),
        }
    }

    /// What is in a slot, to be written by a call; nothing if that takes privileges in another way, see `known.rs`.
    fn target(&self, slot: usize) -> Result<&File> {
        let file = self.slot(slot)?;
        let of_program = || {
            let mode = Mode::from_raw_mode(fs::fstat(file)?.st_mode);
            Ok(mode.intersects(Mode::SUID | Mode::SGID))
        };
        let capable = || {
            let found = fs::fgetxattr(file, CAPABILITY, &mut [0; 64][..]);
            !matches!(found, Err(Errno::NODATA | Errno::BADF))
        };
        match geteuid().is_root() && of_program()? && capable() {
            true => Err(Errno::ALREADY),
            false => Ok(file),
        }
    }

    /// Writes through a shared map, the one that was kept for the slot if it reaches as far. A map stays what it is when its
    /// file is cut; what is behind the end of the file must not be touched.
    fn map(&mut self, slot: usize, range: Range<usize>, byte: u8, keep: bool) -> Answer {
        let size = fs::fstat(self.slot(slot)?)?.st_size as usize;
        let kept = self.maps[slot].take();
        let file = self.slot(slot)?;
        let reaches = |map: &MapMut| range.end <= map.len().min(size);
        let mut mapped = match kept.filter(reaches) {
            Some(map) => map,
            None => {
                can_be_mapped(file)?;
                let mut options = MapMut::with_options();
                options.write().len(range.end).map(file).map_err(errno)?
            }
        };
        mapped[range].fill(byte);
        mapped.flush(file, Flush::Sync).map_err(errno)?;
        // tmpfs leaves the page writable after a flush, so that the next write through the map would move no time.
        mapped.advise(Advise::WillNotNeed).map_err(errno)?;
        self.maps[slot] = keep.then_some(mapped);
        Ok(String::new())
    }
}

/// Bytes in short: their number, and a sum that tells them apart.
pub fn digest(bytes: &[u8]) -> String {
    let sum = RandomState::with_seeds(1, 2, 3, 4).hash_one(bytes);
    format!("{} bytes, {sum:x}", bytes.len())
}

/// Mapping what is no file would fail in ways of its own.
fn can_be_mapped(file: &File) -> Result<()> {
    let kind = FileType::from_raw_mode(fs::fstat(file)?.st_mode);
    kind.is_file().then_some(()).ok_or(Errno::NODEV)
}

fn errno(error: vmap::Error) -> Errno {
    Errno::from_io_error(&std::io::Error::from(error)).unwrap_or(Errno::RANGE)
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
