//! Random changes of one file's content, compared with bytes in memory after each.

use mount_tests::{Daemon, Dice, Scratch};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use vmap::{Flush, MapMut};

const CHANGES: usize = 600;
const LARGEST: u64 = 400_000;

/// A file, and what it must hold.
struct Pair {
    file: File,
    bytes: Vec<u8>,
}

impl Pair {
    fn grow(&mut self, end: usize) {
        let size = self.bytes.len().max(end);
        self.bytes.resize(size, 0);
    }

    fn write(&mut self, at: u64, length: u64, byte: u8) {
        let (start, end) = (at as usize, (at + length) as usize);
        self.file
            .write_all_at(&vec![byte; length as usize], at)
            .unwrap();
        if length > 0 {
            self.grow(end);
            self.bytes[start..end].fill(byte);
        }
    }

    fn cut(&mut self, size: u64) {
        self.file.set_len(size).unwrap();
        self.bytes.resize(size as usize, 0);
    }

    fn allocate(&mut self, at: u64, length: u64) {
        fallocate(&self.file, FallocateFlags::empty(), at, length).unwrap();
        self.grow((at + length) as usize);
    }

    /// Zeroes a range without a change of the size.
    fn zero(&mut self, how: FallocateFlags, at: u64, length: u64) {
        fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, at, length).unwrap();
        let size = self.bytes.len();
        self.bytes[size.min(at as usize)..size.min((at + length) as usize)].fill(0);
    }

    /// Writes through a mapping of the whole file.
    fn map(&mut self, at: u64, length: u64, byte: u8) {
        let size = self.bytes.len();
        let part = size.min(at as usize)..size.min((at + length) as usize);
        if part.is_empty() {
            return;
        }
        let mut map = MapMut::with_options()
            .write()
            .len(size)
            .map(&self.file)
            .unwrap();
        map[part.clone()].fill(byte);
        map.flush(&self.file, Flush::Sync).unwrap();
        self.bytes[part].fill(byte);
    }

    fn change(&mut self, dice: &mut Dice, number: usize) -> &'static str {
        let (at, length) = (dice.roll(LARGEST - 70_000), 1 + dice.roll(70_000));
        let byte = 1 + number as u8 % 255;
        match dice.roll(10) {
            0..=3 => (self.write(at, length, byte), "write").1,
            4 => {
                (
                    self.write(self.bytes.len() as u64 % LARGEST, 10, byte),
                    "append",
                )
                    .1
            }
            5 => (self.cut(at), "truncate").1,
            6 => (self.allocate(at, length), "allocate").1,
            7 => (self.zero(FallocateFlags::PUNCH_HOLE, at, length), "punch").1,
            8 => (self.zero(FallocateFlags::ZERO_RANGE, at, length), "zero").1,
            _ => (self.map(at, length, byte), "map").1,
        }
    }

    fn check(&self, file: &File, how: &str) {
        let mut got = vec![0; self.bytes.len() + 10];
        let mut length = 0;
        while let read @ 1.. = file.read_at(&mut got[length..], length as u64).unwrap() {
            length += read;
        }
        assert_eq!(length, self.bytes.len(), "the size after {how}");
        let different = got
            .iter()
            .zip(&self.bytes)
            .position(|(got, byte)| got != byte);
        assert_eq!(different, None, "the first wrong byte after {how}");
    }
}

/// Changes the file at `path` that holds `bytes`; the daemon's bytes are read past the page cache
/// now and then.
fn change_at_random(path: &Path, bytes: Vec<u8>, seed: u64) {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap();
    let direct = OFlags::DIRECT.bits() as i32;
    let uncached = File::options()
        .read(true)
        .custom_flags(direct)
        .open(path)
        .unwrap();
    let mut pair = Pair { file, bytes };
    let mut dice = Dice::new(seed);
    for number in 0..CHANGES {
        let what = pair.change(&mut dice, number);
        let how = format!("{what}, change {number} of seed {seed}");
        pair.check(&pair.file, &how);
        if number % 8 == 0 {
            pair.check(&uncached, &format!("{how}, past the page cache"));
        }
    }
}

#[test]
fn of_a_file_made_here() {
    for (seed, options) in [(1, "allow_other"), (2, "cache=none")] {
        let mount = Daemon::with(&["-o", options]);
        change_at_random(&mount.path("file"), Vec::new(), seed);
    }
}

#[test]
fn of_a_file_of_the_source() {
    let source = Scratch::new();
    let bytes: Vec<u8> = (0..300_000).map(|at| (at / 7) as u8).collect();
    std::fs::write(source.join("file"), &bytes).unwrap();
    for (seed, options) in [(3, "allow_other"), (4, "cache=none")] {
        let mount = Daemon::with(&["-o", options, source.to_str().unwrap()]);
        change_at_random(&mount.path("file"), bytes.clone(), seed);
    }
    assert!(std::fs::read(source.join("file")).unwrap() == bytes);
}
