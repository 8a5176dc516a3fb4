//! Copying between files without the bytes going through the caller.

use super::data::{Content, Memory, resize};
use super::io::ContentChange;
use super::setattr::SIZE_MAX;
use super::{Caller, Changed, Committed, Fs};
use crate::fs::Result;
use crate::tree::{Errno, NodeId};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most bytes of one call, so that nobody who wants one of the files waits long.
const MOST: u64 = 16 << 20;
/// Bytes copied at once.
const PIECE: usize = 64 << 10;

/// Where bytes go from and to.
struct Span {
    from: u64,
    to: u64,
    length: u64,
}

/// What is copied from; `None` if it is the file that is copied to.
type Source<'n> = Option<RwLockReadGuard<'n, Content>>;

impl Fs {
    /// Copies up to `length` bytes at `from_offset` of one regular file to `to_offset` of another or the same, and
    /// says how many: fewer at the end of the file, on a filling filesystem, and beyond 16 MiB. Zeros take no new room.
    /// Clears set-user-id, set-group-id and capabilities unless the caller is uid 0: the request does not say.
    ///
    /// May wait if either file [would block](Fs::would_not_block): bytes of a source are read, and the first write copies
    /// all of them.
    ///
    /// # Errors
    /// EINVAL for ranges of one file that overlap or what is not a regular file, EISDIR, EFBIG at 2^63-1, ENOSPC if
    /// nothing fits, ENOMEM, EROFS, EPERM, ESTALE; whatever reading a source fails with.
    pub fn copy_range(
        &self,
        caller: &Caller,
        from: NodeId,
        from_offset: u64,
        to: NodeId,
        to_offset: u64,
        length: u64,
    ) -> Changed<u64> {
        let max = self.writable_limits()?.1;
        self.refuse_fixed(to)?;
        let (from, to) = (self.regular(from)?, self.regular(to)?);
        self.room_for_change(&to)?;
        let (source, mut target) = lock(
            (from.id(), &self.node(&from).content),
            (to.id(), &self.node(&to).content),
        );
        let left = from.attr().size.saturating_sub(from_offset);
        let span = Span {
            from: from_offset,
            to: to_offset,
            length: length.min(left),
        };
        let Some(span) = span.check(source.is_none())? else {
            return Ok(Committed::new(0, []));
        };
        let was_elsewhere = !target.is_in_memory();
        let memory = target.own(max)?;
        let change = ContentChange {
            done: copy(&source, memory, &span, max),
            blocks: memory.blocks(),
            copied: was_elsewhere,
            takes_privileges: caller.uid != 0,
            writes: true,
        };
        change.commit(&to, caller, |&copied| span.to + copied)
    }
}

impl Span {
    /// What of it is copied at once, if anything.
    fn check(self, within_one: bool) -> Result<Option<Span>> {
        if self.length == 0 {
            return Ok(None);
        }
        let room = SIZE_MAX.saturating_sub(self.to);
        if room == 0 {
            return Err(Errno::FBIG);
        }
        if within_one && self.from.abs_diff(self.to) < self.length {
            return Err(Errno::INVAL);
        }
        let length = self.length.min(room).min(MOST);
        Ok(Some(Span { length, ..self }))
    }
}

/// Locks both contents, that of the lower node id first: two copies in opposite directions do not wait for each other.
fn lock<'n>(
    (from_id, from): (NodeId, &'n RwLock<Content>),
    (to_id, to): (NodeId, &'n RwLock<Content>),
) -> (Source<'n>, RwLockWriteGuard<'n, Content>) {
    if from_id == to_id {
        return (None, to.write());
    }
    if from_id < to_id {
        let source = from.read();
        return (Some(source), to.write());
    }
    let target = to.write();
    (Some(from.read()), target)
}

/// Copies from the front on. An error ends it, and is told if nothing was copied before.
fn copy<const CHUNK: usize>(
    source: &Source<'_>,
    target: &mut Memory<CHUNK>,
    span: &Span,
    max: u64,
) -> Result<u64> {
    let mut buffer = Vec::new();
    resize(&mut buffer, span.length.min(PIECE as u64) as usize)?;
    let mut copied = 0;
    while copied < span.length {
        let wanted = (span.length - copied).min(PIECE as u64) as usize;
        let bytes = &mut buffer[..wanted];
        match copy_piece(
            source,
            target,
            (span.from + copied, span.to + copied),
            bytes,
            max,
        ) {
            Ok(length) => copied += length as u64,
            Err(errno) if copied == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(copied)
}

/// Copies as many bytes as `buffer` holds, or as fit.
fn copy_piece<const CHUNK: usize>(
    source: &Source<'_>,
    target: &mut Memory<CHUNK>,
    (from, to): (u64, u64),
    buffer: &mut [u8],
    max: u64,
) -> Result<usize> {
    match source {
        Some(source) => source.read(from, buffer)?,
        None => target.read(from, buffer),
    }
    if buffer.iter().any(|&byte| byte != 0) {
        return target.write(to, buffer, max);
    }
    target.zero(to..to + buffer.len() as u64);
    Ok(buffer.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{self, Bed, Broken, Fixed, ROOT, USER, stale, value};
    use crate::fs::{Config, SetAttr};

    fn copy(bed: &Bed, from: (NodeId, u64), to: (NodeId, u64), length: u64) -> Result<u64> {
        value(bed.fs.copy_range(&ROOT, from.0, from.1, to.0, to.1, length))
    }

    fn letters(count: usize) -> Vec<u8> {
        (0..count).map(|at| b'a' + (at % 23) as u8).collect()
    }

    #[test]
    fn bytes_arrive_and_what_surrounds_them_stays() {
        let bed = Bed::new();
        let (from, to) = (bed.file("from"), bed.file("to"));
        let bytes = letters(200_000);
        bed.write(from, 0, &bytes);
        bed.write(to, 0, &[b'.'; 250_000]);
        let before = (bed.age(from), bed.age(to));
        assert_eq!(copy(&bed, (from, 100), (to, 50_000), 150_000), Ok(150_000));
        let read = bed.read(to, 0, 300_000);
        assert_eq!(read[50_000..200_000], bytes[100..150_100]);
        assert!(
            read[..50_000]
                .iter()
                .chain(&read[200_000..])
                .all(|&byte| byte == b'.')
        );
        let after = bed.attr(to);
        assert_eq!(after.size, 250_000);
        assert!(after.mtime > before.1.mtime && after.ctime == after.mtime);
        assert_eq!(bed.attr(from), before.0);

        assert_eq!(copy(&bed, (from, 199_990), (to, 400_000), 999), Ok(10));
        assert_eq!(bed.attr(to).size, 400_010);
        assert_eq!(bed.read(to, 400_000, 99), bytes[199_990..]);
        let before = bed.age(to);
        assert_eq!(copy(&bed, (from, 200_000), (to, 0), 9), Ok(0));
        assert_eq!(copy(&bed, (from, 0), (to, 0), 0), Ok(0));
        assert_eq!(bed.attr(to), before);
    }

    #[test]
    fn one_file_is_copied_within_itself_if_the_ranges_lie_apart() {
        let bed = Bed::new();
        let file = bed.file("f");
        let bytes = letters(100_000);
        bed.write(file, 0, &bytes);
        assert_eq!(
            copy(&bed, (file, 0), (file, 99_999), 100_000),
            Err(Errno::INVAL)
        );
        assert_eq!(copy(&bed, (file, 10), (file, 9), 2), Err(Errno::INVAL));
        assert_eq!(copy(&bed, (file, 10), (file, 8), 2), Ok(2));
        assert_eq!(
            bed.read(file, 8, 4),
            [&bytes[10..12], &bytes[10..12]].concat()
        );
        bed.write(file, 0, &bytes);
        assert_eq!(
            copy(&bed, (file, 0), (file, 100_000), u64::MAX),
            Ok(100_000)
        );
        assert_eq!(bed.read(file, 0, 300_000), bytes.repeat(2));
    }

    #[test]
    fn holes_take_no_room_and_cover_what_was_there() {
        let bed = Bed::new();
        let (from, to) = (bed.file("from"), bed.file("to"));
        let grown = SetAttr {
            size: Some(1 << 40),
            ..SetAttr::default()
        };
        stale(bed.fs.setattr(&ROOT, from, &grown));
        bed.write(to, 0, b"covered");
        let used = bed.fs.quota.used();
        assert_eq!(copy(&bed, (from, 0), (to, 2), 1 << 30), Ok(MOST));
        assert_eq!(bed.fs.quota.used(), used);
        assert_eq!(bed.attr(to).size, MOST + 2);
        assert_eq!(bed.read(to, 0, 7), b"co\0\0\0\0\0");
    }

    #[test]
    fn a_full_filesystem_takes_what_fits() {
        let bed = Bed::with(Config {
            max_bytes: 150_000,
            ..testing::config()
        });
        let (from, to, third) = (bed.file("from"), bed.file("to"), bed.file("third"));
        bed.write(from, 0, &letters(80_000));
        let copied = copy(&bed, (from, 0), (to, 0), 80_000).unwrap();
        assert!((60_000..80_000).contains(&copied), "{copied}");
        assert_eq!(bed.attr(to).size, copied);
        assert_eq!(bed.read(to, 0, 80_000), letters(copied as usize));
        bed.write(third, 0, &vec![1; 150_000 - bed.fs.quota.used() as usize]);
        let fourth = bed.file("fourth");
        let before = bed.age(fourth);
        assert_eq!(copy(&bed, (from, 0), (fourth, 0), 9), Err(Errno::NOSPC));
        assert_eq!(bed.attr(fourth), before);
    }

    #[test]
    fn what_is_refused_and_what_it_takes_away() {
        let bed = Bed::new();
        let (from, to, dir) = (bed.file("from"), bed.file("to"), bed.dir("d"));
        bed.write(from, 0, b"bytes");
        assert_eq!(copy(&bed, (dir, 0), (to, 0), 9), Err(Errno::ISDIR));
        assert_eq!(copy(&bed, (from, 0), (dir, 0), 9), Err(Errno::ISDIR));
        assert_eq!(copy(&bed, (from, 0), (to, SIZE_MAX), 9), Err(Errno::FBIG));
        assert_eq!(copy(&bed, (from, 0), (to, u64::MAX), 9), Err(Errno::FBIG));
        assert_eq!(copy(&bed, (from, u64::MAX), (to, 0), u64::MAX), Ok(0));
        assert_eq!(copy(&bed, (from, 0), (to, SIZE_MAX - 2), 9), Ok(2));
        let suid = SetAttr {
            perm: Some(0o6755),
            ..SetAttr::default()
        };
        stale(bed.fs.setattr(&ROOT, to, &suid));
        assert_eq!(copy(&bed, (from, 0), (to, 0), 9), Ok(5));
        assert_eq!(bed.attr(to).perm, 0o6755);
        let copied = value(bed.fs.copy_range(&USER, from, 0, to, 0, 9));
        assert_eq!((copied, bed.attr(to).perm), (Ok(5), 0o755));
    }

    #[test]
    fn what_a_source_has_is_read_from_there() {
        let bed = Bed::new();
        let (from, to) = (bed.backed(Fixed(letters(70_000)), 70_000), bed.file("to"));
        assert_eq!(copy(&bed, (from, 1), (to, 0), 70_000), Ok(69_999));
        assert_eq!(bed.read(to, 0, 70_000), letters(70_000)[1..]);
        assert!(!bed.fs.would_not_block(from), "it stayed there");
        assert_eq!(copy(&bed, (to, 0), (from, 69_999), 9), Ok(9));
        let ends = [&letters(70_000)[..69_999], &letters(70_000)[1..10]].concat();
        assert_eq!(bed.read(from, 0, 80_000), ends);

        let bed = Bed::new();
        let (broken, file) = (bed.backed(Broken, 9), bed.file("f"));
        bed.write(file, 0, b"whole");
        let before = (bed.age(broken), bed.age(file));
        assert_eq!(copy(&bed, (broken, 0), (file, 0), 9), Err(Errno::STALE));
        assert_eq!(copy(&bed, (file, 0), (broken, 0), 9), Err(Errno::STALE));
        assert_eq!((bed.attr(broken), bed.attr(file)), before);
    }

    #[test]
    fn copies_in_opposite_directions_do_not_wait_for_each_other() {
        let bed = &Bed::new();
        let files = [bed.file("a"), bed.file("b")];
        for file in files {
            bed.write(file, 0, &letters(5000));
        }
        std::thread::scope(|scope| {
            for (from, to) in [(0, 1), (1, 0)] {
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let copied = copy(bed, (files[from], 0), (files[to], 0), 5000);
                        assert_eq!(copied, Ok(5000));
                    }
                });
            }
        });
        assert_eq!(bed.read(files[0], 0, 9000), letters(5000));
    }
}
