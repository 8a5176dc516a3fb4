use super::*;
use crate::fs::testing::{self, Bed, Fixed, ROOT, USER, stale, value};
use crate::fs::{Backing, Config, SetAttr, deliver};

fn tight(max_bytes: u64) -> Bed {
    Bed::with(Config {
        max_bytes,
        ..testing::config()
    })
}

#[test]
fn a_write_moves_size_times_and_blocks_together() {
    let bed = Bed::new();
    let file = bed.file("f");
    let before = bed.age(file);
    bed.write(file, 1000, b"tail");
    let attr = bed.attr(file);
    assert_eq!((attr.size, attr.blocks), (1004, 8));
    assert!(attr.mtime > before.mtime && attr.ctime == attr.mtime);
    assert_eq!((attr.atime, attr.btime), (before.atime, before.btime));
    bed.write(file, 0, b"head");
    assert_eq!(bed.attr(file).size, 1004);
    let read = bed.read(file, 0, 4096);
    assert_eq!((&read[..4], &read[1000..]), (&b"head"[..], &b"tail"[..]));
    assert!(read[4..1000].iter().all(|&byte| byte == 0));
    assert_eq!(bed.read(file, 1002, 1), b"i");
    assert_eq!(bed.read(file, 1004, 9), b"");
    assert_eq!(bed.read(file, u64::MAX, 9), b"");
}

#[test]
fn a_small_file_costs_its_own_bytes() {
    let bed = Bed::new();
    let file = bed.file("f");
    bed.write(file, 0, &[1; 100]);
    assert_eq!(bed.fs.quota.used(), 100);
}

#[test]
fn an_empty_write_changes_nothing() {
    let bed = Bed::new();
    let file = bed.file("f");
    let before = bed.age(file);
    bed.write(file, 5000, b"");
    assert_eq!(bed.attr(file), before);
}

#[test]
fn privileges_go_only_when_told() {
    let bed = Bed::new();
    let file = bed.file("f");
    let suid = SetAttr {
        perm: Some(0o6755),
        ..SetAttr::default()
    };
    stale(bed.fs.setattr(&ROOT, file, &suid));
    stale(
        bed.fs
            .setxattr(&ROOT, file, b"security.capability", b"cap", 0, false),
    );
    bed.write(file, 0, b"x");
    assert_eq!(bed.attr(file).perm, 0o6755);
    value(bed.fs.write(&ROOT, file, 0, b"x", true)).unwrap();
    assert_eq!(bed.attr(file).perm, 0o755);
    assert_eq!(bed.fs.listxattr(&ROOT, file).unwrap(), b"");
    stale(bed.fs.setattr(&ROOT, file, &suid));
    stale(bed.fs.fallocate(&ROOT, file, 0, 9, 0));
    assert_eq!(bed.attr(file).perm, 0o6755);
    stale(bed.fs.fallocate(&USER, file, 0, 9, 0));
    assert_eq!(bed.attr(file).perm, 0o755);
}

#[test]
fn who_counts_a_change_of_content_is_told_of_lost_privileges_alone() {
    let bed = Bed::new();
    let (from, file) = (bed.file("from"), bed.file("f"));
    bed.write(from, 0, b"x");
    let write = || stale(bed.fs.write(&USER, file, 0, b"x", true)).1;
    let allocate = || stale(bed.fs.fallocate(&USER, file, 0, 9, 0)).1;
    let copy = || stale(bed.fs.copy_range(&USER, from, 0, file, 0, 1)).1;
    let changes: [&dyn Fn() -> Vec<NodeId>; 3] = [&write, &allocate, &copy];
    for change in changes {
        for (perm, told) in [(0o6755, vec![file]), (0o755, vec![])] {
            let mode = SetAttr {
                perm: Some(perm),
                ..SetAttr::default()
            };
            stale(bed.fs.setattr(&ROOT, file, &mode));
            assert_eq!((change(), bed.attr(file).perm), (told, 0o755));
        }
    }
}

#[test]
fn of_a_change_that_fails_is_told_what_it_left() {
    let left = |change: &dyn Fn(&Bed, NodeId) -> Option<Failed>| {
        let bed = tight(100_000);
        let file = bed.backed(Fixed(vec![1; 70_000]), 70_000);
        bed.write(bed.file("rest"), 0, &[1; 30_000]);
        let before = bed.attr(file);
        let mut told = vec![];
        let errno = change(&bed, file).unwrap().deliver(|id| told.push(id));
        assert_eq!(told.contains(&file), bed.attr(file) != before);
        (errno, told.len())
    };
    let far = 1 << 20;
    let write = |bed: &Bed, file| bed.fs.write(&ROOT, file, far, &[1; 9000], false).err();
    assert_eq!(left(&write), (Errno::NOSPC, 1));
    let allocate = |bed: &Bed, file| bed.fs.fallocate(&ROOT, file, far, 9000, 0).err();
    assert_eq!(left(&allocate), (Errno::NOSPC, 1));
    let unknown = |bed: &Bed, file| bed.fs.fallocate(&ROOT, file, far, 9000, 64).err();
    assert_eq!(left(&unknown), (Errno::OPNOTSUPP, 0));
}

#[test]
fn the_largest_offset() {
    let bed = Bed::new();
    let file = bed.file("f");
    let write = |offset| value(bed.fs.write(&ROOT, file, offset, b"abc", false));
    assert_eq!(write(SIZE_MAX), Err(Errno::FBIG));
    assert_eq!(write(u64::MAX), Err(Errno::FBIG));
    assert_eq!(
        value(bed.fs.write(&ROOT, file, u64::MAX, b"", false)),
        Ok(0)
    );
    assert_eq!(write(SIZE_MAX - 2), Ok(2));
    assert_eq!(bed.attr(file).size, SIZE_MAX);
    assert_eq!(bed.read(file, SIZE_MAX - 3, 9), b"\0ab");
    assert_eq!(bed.fs.lseek(file, 0, libc::SEEK_HOLE), Ok(0));
    assert!(bed.fs.lseek(file, 0, libc::SEEK_DATA).unwrap() > 1 << 62);
}

#[test]
fn a_full_filesystem_takes_what_fits_and_gives_it_back() {
    let bed = tight(1000);
    let (f, g) = (bed.file("f"), bed.file("g"));
    bed.write(f, 0, &[1; 600]);
    assert_eq!(value(bed.fs.write(&ROOT, g, 0, &[2; 600], false)), Ok(400));
    assert_eq!(bed.attr(g).size, 400);
    let before = bed.age(g);
    assert_eq!(
        value(bed.fs.write(&ROOT, g, 400, b"x", false)),
        Err(Errno::NOSPC)
    );
    assert_eq!(bed.attr(g), before);
    bed.write(g, 0, &[3; 400]);
    bed.remove("f");
    bed.write(g, 400, &[2; 600]);
    bed.remove("g");
    assert_eq!(bed.fs.quota.used(), 0);
}

#[test]
fn fallocate_promises_space() {
    let bed = tight(10_000);
    let file = bed.file("f");
    let fallocate = |offset, length, mode| {
        let mut told = 0;
        let done = bed.fs.fallocate(&ROOT, file, offset, length, mode);
        deliver(done, |_| told += 1).map(|()| told)
    };
    let before = bed.age(file);
    assert_eq!(fallocate(0, 4096, 0), Ok(0));
    let attr = bed.attr(file);
    assert_eq!((attr.size, attr.blocks), (4096, 8));
    assert!(attr.mtime > before.mtime && attr.ctime > before.ctime);
    let before = bed.age(file);
    assert_eq!(fallocate(4096, 4096, KEEP_SIZE), Ok(1));
    let attr = bed.attr(file);
    assert_eq!((attr.size, attr.blocks), (4096, 16));
    assert!(attr.mtime > before.mtime && attr.ctime > before.ctime);
    assert_eq!(fallocate(0, 10_001, 0), Err(Errno::NOSPC));
    assert_eq!(fallocate(0, 1 << 62, 0), Err(Errno::NOSPC));
    assert_eq!(bed.attr(file), attr);
    let other = bed.file("g");
    assert_eq!(
        value(bed.fs.write(&ROOT, other, 0, &[1; 4000], false)),
        Ok(10_000 - 8192)
    );
    bed.write(file, 0, &[1; 8192]);
}

#[test]
fn fallocate_punches_and_zeroes() {
    let bed = Bed::new();
    let file = bed.file("f");
    bed.write(file, 0, &[1; 200_000]);
    let full = bed.fs.quota.used();
    let before = bed.age(file);
    stale(bed.fs.fallocate(&ROOT, file, 10, 150_000, PUNCH_HOLE));
    let attr = bed.attr(file);
    assert!(attr.mtime > before.mtime && attr.size == 200_000);
    assert!(bed.fs.quota.used() < full - 100_000);
    assert_eq!(attr.blocks, (49 - 35) * 8);
    assert_eq!(bed.read(file, 8, 4), [1, 1, 0, 0]);
    assert_eq!(bed.read(file, 150_008, 4), [0, 0, 1, 1]);
    assert_eq!(bed.fs.lseek(file, 10, libc::SEEK_DATA), Ok(10));
    assert_eq!(bed.fs.lseek(file, 0, libc::SEEK_HOLE), Ok(4096));
    assert_eq!(bed.fs.lseek(file, 4096, libc::SEEK_DATA), Ok(147_456));
    stale(
        bed.fs
            .fallocate(&ROOT, file, 199_999, 2, ZERO_RANGE_KEEP_SIZE),
    );
    assert_eq!(
        (bed.attr(file).size, bed.read(file, 199_998, 9)),
        (200_000, vec![1, 0])
    );
    stale(bed.fs.fallocate(&ROOT, file, 199_998, 12, ZERO_RANGE));
    assert_eq!(
        (bed.attr(file).size, bed.read(file, 199_998, 99)),
        (200_010, vec![0; 12])
    );
}

#[test]
fn what_fallocate_and_lseek_refuse() {
    let bed = Bed::new();
    let (file, dir) = (bed.file("f"), bed.dir("d"));
    let fifo = bed.fs.mknod(&ROOT, bed.root(), b"p", libc::S_IFIFO, 0);
    let fifo = stale(fifo).0.id;
    let fallocate = |id, length, mode| value(bed.fs.fallocate(&ROOT, id, 1, length, mode)).err();
    assert_eq!(fallocate(file, 0, 0), Some(Errno::INVAL));
    assert_eq!(fallocate(file, SIZE_MAX, 0), Some(Errno::FBIG));
    assert_eq!(
        fallocate(file, 1, libc::FALLOC_FL_PUNCH_HOLE),
        Some(Errno::OPNOTSUPP)
    );
    assert_eq!(
        fallocate(file, 1, libc::FALLOC_FL_COLLAPSE_RANGE),
        Some(Errno::OPNOTSUPP)
    );
    assert_eq!(fallocate(dir, 1, 0), Some(Errno::ISDIR));
    assert_eq!(fallocate(fifo, 1, 0), Some(Errno::NODEV));
    bed.write(file, 0, b"data");
    assert_eq!(bed.fs.lseek(file, 4, libc::SEEK_DATA), Err(Errno::NXIO));
    assert_eq!(bed.fs.lseek(file, 4, libc::SEEK_HOLE), Err(Errno::NXIO));
    assert_eq!(bed.fs.lseek(file, -1, libc::SEEK_DATA), Err(Errno::NXIO));
    assert_eq!(bed.fs.lseek(file, 0, libc::SEEK_SET), Err(Errno::INVAL));
    assert_eq!(bed.fs.lseek(file, 3, libc::SEEK_DATA), Ok(3));
    assert_eq!(bed.fs.lseek(file, 3, libc::SEEK_HOLE), Ok(4));
}

#[test]
fn what_can_be_opened_and_read() {
    let bed = Bed::new();
    let (file, dir) = (bed.file("f"), bed.dir("d"));
    assert_eq!(bed.fs.open(&ROOT, file, libc::O_RDWR), Ok(()));
    assert_eq!(bed.fs.open(&ROOT, dir, libc::O_RDONLY), Ok(()));
    assert_eq!(bed.fs.open(&ROOT, dir, libc::O_WRONLY), Err(Errno::ISDIR));
    assert_eq!(bed.fs.read(dir, 0, &mut [0]), Err(Errno::ISDIR));
    assert_eq!(
        value(bed.fs.write(&ROOT, dir, 0, b"x", false)),
        Err(Errno::ISDIR)
    );
    let link = stale(bed.fs.symlink(&ROOT, bed.root(), b"l", b"t")).0.id;
    assert_eq!(
        value(bed.fs.write(&ROOT, link, 0, b"x", false)),
        Err(Errno::INVAL)
    );
}

/// What `try_read` answers for a range of a file.
fn tried(bed: &Bed, file: NodeId, offset: u64, size: usize) -> Option<Vec<u8>> {
    let mut out = vec![0xee; size];
    let length = bed.fs.try_read(file, offset, &mut out).unwrap()?;
    out.truncate(length);
    Some(out)
}

#[test]
fn nobody_waits_for_whoever_changes_the_content() {
    let bed = Bed::new();
    let file = bed.file("f");
    assert_eq!(tried(&bed, file, 0, 9), Some(vec![]));
    assert!(bed.fs.would_not_block(file), "without content");
    bed.write(file, 0, b"bytes");
    let inode = bed.fs.get(file).unwrap();
    let content = &inode.ext().made().unwrap().content;

    let changing = content.write();
    assert_eq!(tried(&bed, file, 0, 9), None);
    assert!(!bed.fs.would_not_block(file));
    drop(changing);
    let reading = content.read();
    assert_eq!(tried(&bed, file, 1, 9).as_deref(), Some(&b"ytes"[..]));
    assert!(bed.fs.would_not_block(file));
    drop(reading);

    let grown = SetAttr {
        size: Some(7),
        ..SetAttr::default()
    };
    stale(bed.fs.setattr(&ROOT, file, &grown));
    assert_eq!(tried(&bed, file, 3, 9).as_deref(), Some(&b"es\0\0"[..]));
    assert!(content.try_write().is_some(), "no lock is kept");
}

/// A source that has everything in memory.
struct Ready(Fixed);

impl Backing for Ready {
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        panic!("nothing waits here")
    }

    fn try_read_at(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        Ok(self.0.read_at(offset, buf)? == buf.len())
    }
}

#[test]
fn a_source_is_asked_for_what_it_has_in_memory_only() {
    let grown = SetAttr {
        size: Some(9),
        ..SetAttr::default()
    };
    let bed = Bed::new();
    let ready = bed.backed(Ready(Fixed(b"source".to_vec())), 6);
    assert_eq!(tried(&bed, ready, 2, 9).as_deref(), Some(&b"urce"[..]));
    assert!(!bed.fs.would_not_block(ready), "a write would copy it");

    let bed = Bed::new();
    let slow = bed.backed(Fixed(b"source".to_vec()), 6);
    assert_eq!(tried(&bed, slow, 2, 9), None);
    assert_eq!(tried(&bed, slow, 6, 9), Some(vec![]), "nothing to wait for");
    stale(bed.fs.setattr(&ROOT, slow, &grown));
    assert_eq!(tried(&bed, slow, 6, 9), Some(vec![0; 3]), "nor in a hole");
    assert!(!bed.fs.would_not_block(slow));
    bed.write(slow, 0, b"S");
    assert_eq!(tried(&bed, slow, 0, 6).as_deref(), Some(&b"Source"[..]));
    assert!(bed.fs.would_not_block(slow));
}

#[test]
fn what_is_refused_need_not_wait() {
    let bed = Bed::new();
    let (gone, dir) = (NodeId::from_raw(0xdead_beef), bed.dir("d"));
    assert!(bed.fs.would_not_block(gone) && bed.fs.would_not_block(dir));
    assert_eq!(bed.fs.try_read(gone, 0, &mut [0]), Err(Errno::STALE));
    assert_eq!(bed.fs.try_read(dir, 0, &mut [0]), Err(Errno::ISDIR));
}

/// Each write fills the file with one letter, so a torn read would show two.
#[test]
fn a_read_beside_writes_sees_one_of_them() {
    let bed = Bed::new();
    let file = bed.file("f");
    let len = 3 * 65_536;
    bed.write(file, 0, &vec![b'a'; len]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..200 {
                bed.write(file, 0, &vec![b'a' + turn % 26; len]);
            }
        });
        while !writer.is_finished() {
            let seen = bed.read(file, 0, len as u32);
            assert_eq!(seen.len(), len);
            assert!(seen.iter().all(|&byte| byte == seen[0]));
        }
    });
}
