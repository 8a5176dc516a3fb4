//! Random reads and changes of files whose content is there from the start, each compared with the same bytes in memory.
//!
//! fsx empties or zeroes the file that it is given, so it never reads what a source holds. Here a file begins with bytes that
//! differ from place to place, and is replaced by a fresh one after some steps: reads, cuts and copies meet content that is
//! still in the source, that was cut there, and that was copied into memory by the first write.
//!
//! For long, ten seeds with 100 000 steps each: `cargo test -p mount-tests --test suites known_content:: -- --ignored`.

use mount_tests::{Daemon, Dice, Scratch, offered, report};
use rustix::fs::{
    Advice, FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fadvise, fallocate, fstat,
    memfd_create, open, seek, sendfile,
};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vmap::{Flush, Map, MapMut};

/// Most bytes of a file: several chunks.
const LENGTH: u64 = 300_000;

/// Most bytes of a step: more than a chunk.
const STEP: u64 = 100_000;

/// Lengths of the files: around the ends of pages and chunks.
const LENGTHS: &[u64] = &[
    0, 1, 4_095, 4_096, 65_535, 65_536, 65_537, 131_072, 200_001, 262_144, 299_999, LENGTH,
];

/// The file that others copy from, and that nobody changes.
const LENDER: &str = "lender";

/// Steps with a file before it is left.
const STEPS_OF_A_FILE: u64 = 100;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    ReadDirectly,
    ReadMap,
    Send,
    Seek,
    Forget,
    Reopen,
    Cut,
    Write,
    WriteMap,
    Append,
    Punch,
    Allocate,
    CopyWithin,
    Borrow,
}

/// What leaves a file as it is, through any mount.
const READS: &[Kind] = &[
    Kind::Read,
    Kind::ReadMap,
    Kind::Send,
    Kind::Seek,
    Kind::Forget,
    Kind::Reopen,
];

/// What leaves the rest of the content where it is.
const CUTS: &[Kind] = &[
    Kind::Read,
    Kind::ReadDirectly,
    Kind::ReadMap,
    Kind::Seek,
    Kind::Forget,
    Kind::Cut,
];

const ALL: &[Kind] = &[
    Kind::Read,
    Kind::Read,
    Kind::ReadDirectly,
    Kind::ReadMap,
    Kind::Send,
    Kind::Seek,
    Kind::Forget,
    Kind::Reopen,
    Kind::Cut,
    Kind::Write,
    Kind::Write,
    Kind::WriteMap,
    Kind::Append,
    Kind::Punch,
    Kind::Allocate,
    Kind::CopyWithin,
    Kind::Borrow,
];

/// Bytes of which no two pages are alike; every third file has long zeros in them.
fn content(number: usize, length: u64) -> Vec<u8> {
    let byte = |at: u64| {
        let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ number as u64);
        let hole = number % 3 == 2 && (at / 20_000).is_multiple_of(2);
        if hole { 0 } else { (mixed >> 40) as u8 | 1 }
    };
    (0..length).map(byte).collect()
}

/// Writes what is not zero, so that the file has holes where the filesystem has them.
fn lay_out(path: &Path, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, page) in bytes.chunks(4_096).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, number as u64 * 4_096).unwrap();
        }
    }
}

fn name(number: usize) -> String {
    format!("file{number}")
}

/// Makes each file in `root`.
fn lay_out_all(root: &Path) {
    for (number, length) in LENGTHS.iter().enumerate() {
        lay_out(&root.join(name(number)), &content(number, *length));
    }
    lay_out(&root.join(LENDER), &content(LENGTHS.len(), LENGTH));
}

/// A file, and what it must hold.
struct Exercise<'a> {
    path: PathBuf,
    file: File,
    writable: bool,
    lender: File,
    expected: Vec<u8>,
    dice: &'a mut Dice,
}

impl<'a> Exercise<'a> {
    fn new(root: &Path, number: usize, writable: bool, dice: &'a mut Dice) -> Exercise<'a> {
        let path = root.join(name(number));
        Exercise {
            file: opened(&path, writable),
            path,
            writable,
            lender: File::open(root.join(LENDER)).unwrap(),
            expected: content(number, LENGTHS[number]),
            dice,
        }
    }

    /// Takes `steps` of `kinds`; what is wrong, if anything is, after the steps that led to it.
    fn take(&mut self, kinds: &[Kind], steps: u64) -> Result<(), String> {
        let mut taken = Vec::new();
        for _ in 0..steps {
            let kind = self.dice.choose(kinds);
            let range = self.range();
            taken.push(format!("{kind:?} {range:?} of {}", self.expected.len()));
            let wrong = |why| format!("{why} after\n{}", taken.join("\n"));
            self.step(kind, range).map_err(wrong)?;
        }
        let whole = std::fs::read(&self.path).unwrap();
        let wrong = |why| format!("at the end: {why} after\n{}", taken.join("\n"));
        same(&whole, &self.expected, 0).map_err(wrong)
    }

    /// A range that may go over the end of the file, and seldom begins behind it.
    fn range(&mut self) -> Range<u64> {
        let end = match self.dice.roll(4) {
            0 => LENGTH,
            _ => self.size().max(1),
        };
        let from = self.dice.roll(end);
        from..(from + 1 + self.dice.roll(STEP)).min(LENGTH)
    }

    fn size(&self) -> u64 {
        self.expected.len() as u64
    }

    /// The part of `range` that the file has.
    fn within(&self, range: &Range<u64>) -> Range<u64> {
        range.start.min(self.size())..range.end.min(self.size())
    }

    fn step(&mut self, kind: Kind, range: Range<u64>) -> Result<(), String> {
        let length = range.end - range.start;
        match kind {
            Kind::Read => self.read(&self.file, range),
            Kind::ReadDirectly => {
                let flags = OFlags::RDONLY | OFlags::DIRECT;
                let direct = File::from(open(&self.path, flags, Mode::empty()).unwrap());
                self.read(
                    &direct,
                    range.start & !4_095..range.end.next_multiple_of(4_096),
                )
            }
            Kind::ReadMap => self.read_map(range),
            Kind::Send => self.send(range),
            Kind::Seek => self.seek(range.start),
            Kind::Forget => {
                self.file.sync_data().unwrap();
                fadvise(&self.file, 0, None, Advice::DontNeed).unwrap();
                Ok(())
            }
            Kind::Reopen => {
                self.file = opened(&self.path, self.writable);
                Ok(())
            }
            Kind::Cut => {
                self.file.set_len(range.start).unwrap();
                self.expected.resize(range.start as usize, 0);
                self.has_its_size()
            }
            Kind::Write => {
                let bytes = self.bytes(length);
                self.file.write_all_at(&bytes, range.start).unwrap();
                self.put(&bytes, range.start);
                self.has_its_size()
            }
            Kind::WriteMap => {
                self.write_map(range);
                Ok(())
            }
            Kind::Append => {
                let length = length.min(LENGTH - self.size());
                let bytes = self.bytes(length);
                let mut file = File::options().append(true).open(&self.path).unwrap();
                std::io::Write::write_all(&mut file, &bytes).unwrap();
                self.put(&bytes, self.size());
                self.has_its_size()
            }
            Kind::Punch => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.file, flags, range.start, length).unwrap();
                let zeros = self.within(&range);
                self.expected[zeros.start as usize..zeros.end as usize].fill(0);
                self.has_its_size()
            }
            Kind::Allocate => {
                fallocate(&self.file, FallocateFlags::empty(), range.start, length).unwrap();
                let size = self.size().max(range.end);
                self.expected.resize(size as usize, 0);
                self.has_its_size()
            }
            Kind::CopyWithin => {
                let to = self.dice.roll(LENGTH);
                let from = self.within(&range);
                // Ranges of one file must not overlap.
                let length = (from.end - from.start)
                    .min(to.abs_diff(from.start))
                    .min(LENGTH - to);
                let bytes = self.expected[from.start as usize..][..length as usize].to_vec();
                copy(&self.file, from.start, &self.file, to, length);
                self.put(&bytes, to);
                self.has_its_size()
            }
            Kind::Borrow => {
                let to = self.dice.roll(LENGTH);
                let length = length.min(LENGTH - to);
                let lent = content(LENGTHS.len(), LENGTH);
                copy(&self.lender, range.start, &self.file, to, length);
                self.put(&lent[range.start as usize..][..length as usize], to);
                self.has_its_size()
            }
        }
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let start = self.dice.roll(256) as u8;
        (0..length)
            .map(|at| start.wrapping_add((at / 3) as u8))
            .collect()
    }

    /// What `bytes` at `offset` do to the content.
    fn put(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset as usize + bytes.len();
        if end > self.expected.len() {
            self.expected.resize(end, 0);
        }
        self.expected[offset as usize..end].copy_from_slice(bytes);
    }

    fn has_its_size(&self) -> Result<(), String> {
        let size = fstat(&self.file).unwrap().st_size as u64;
        match size == self.size() {
            true => Ok(()),
            false => Err(format!("{size} bytes instead of {}", self.size())),
        }
    }

    fn expect(&self, found: &[u8], range: &Range<u64>) -> Result<(), String> {
        let range = self.within(range);
        let expected = &self.expected[range.start as usize..range.end as usize];
        same(found, expected, range.start)
    }

    fn read(&self, file: &File, range: Range<u64>) -> Result<(), String> {
        let mut found = vec![0xee; (range.end - range.start) as usize];
        let mut length = 0;
        loop {
            match file
                .read_at(&mut found[length..], range.start + length as u64)
                .unwrap()
            {
                0 => break,
                more => length += more,
            }
        }
        self.expect(&found[..length], &range)
    }

    fn read_map(&self, range: Range<u64>) -> Result<(), String> {
        let range = self.within(&range);
        if range.is_empty() {
            return Ok(());
        }
        let length = (range.end - range.start) as usize;
        let mut options = Map::with_options();
        let map = options
            .offset(range.start as usize)
            .len(length)
            .map(&self.file);
        self.expect(&map.unwrap(), &range)
    }

    fn write_map(&mut self, range: Range<u64>) {
        let range = self.within(&range);
        if range.is_empty() {
            return;
        }
        let bytes = self.bytes(range.end - range.start);
        let mut options = MapMut::with_options();
        options
            .write()
            .offset(range.start as usize)
            .len(bytes.len());
        let mut map = options.map(&self.file).unwrap();
        map.copy_from_slice(&bytes);
        // Every other time the kernel writes it when it likes to.
        if self.dice.roll(2) == 0 {
            map.flush(&self.file, Flush::Sync).unwrap();
        }
        self.put(&bytes, range.start);
    }

    fn send(&self, range: Range<u64>) -> Result<(), String> {
        let to = memfd_create("sent", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut offset = range.start;
        while offset < range.end {
            let rest = (range.end - offset) as usize;
            if sendfile(&to, &self.file, Some(&mut offset), rest).unwrap() == 0 {
                break;
            }
        }
        let to = File::from(to);
        let mut found = vec![0; to.metadata().unwrap().len() as usize];
        to.read_exact_at(&mut found, 0).unwrap();
        self.expect(&found, &range)
    }

    /// What is passed over on the way to the next data is zero; what is not data lies in the file or at its end.
    fn seek(&self, from: u64) -> Result<(), String> {
        let beyond = from >= self.size();
        let data = seek(&self.file, SeekFrom::Data(from));
        let hole = seek(&self.file, SeekFrom::Hole(from));
        let zeros = match (data, beyond) {
            (Err(Errno::NXIO), true) if hole == Err(Errno::NXIO) => return Ok(()),
            (Err(Errno::NXIO), false) => from..self.size(),
            (Ok(data), false) if (from..self.size()).contains(&data) => from..data,
            _ => return Err(format!("the data after {from} are at {data:?}")),
        };
        let all_zero = self.expected[zeros.start as usize..zeros.end as usize]
            .iter()
            .all(|byte| *byte == 0);
        let hole_is_inside = hole.is_ok_and(|hole| (from..=self.size()).contains(&hole));
        match all_zero && hole_is_inside {
            true => Ok(()),
            false => Err(format!("{zeros:?} are no hole, or a hole is at {hole:?}")),
        }
    }
}

fn opened(path: &Path, writable: bool) -> File {
    File::options()
        .read(true)
        .write(writable)
        .open(path)
        .unwrap()
}

fn copy(from: &File, mut from_offset: u64, to: &File, mut to_offset: u64, mut length: u64) {
    while length > 0 {
        let (from_offset, to_offset) = (Some(&mut from_offset), Some(&mut to_offset));
        let copied = copy_file_range(from, from_offset, to, to_offset, length as usize).unwrap();
        assert!(copied > 0, "{length} bytes were not copied");
        length -= copied as u64;
    }
}

/// Whether `found` is what was to be found at `offset`.
fn same(found: &[u8], expected: &[u8], offset: u64) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    Err(match differs {
        Some(at) => format!(
            "byte {} is {} instead of {}",
            offset + at as u64,
            found[at],
            expected[at]
        ),
        None => format!(
            "{} bytes at {offset} instead of {}",
            found.len(),
            expected.len()
        ),
    })
}

/// A mount of which the kernel caches nothing but pages for each third seed.
fn options(seed: u64) -> &'static str {
    match seed % 3 {
        2 => "allow_other,cache=none",
        _ => "allow_other",
    }
}

/// Takes about `steps` in mounts that `mount` makes, whose files are those of [`lay_out_all`].
fn exercise(seeds: Range<u64>, steps: u64, writable: bool, mount: impl Fn(u64) -> Daemon) {
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let mut taken = 0;
        while taken < steps {
            let mount = mount(seed);
            for number in 0..LENGTHS.len() {
                let kinds = match (writable, dice.roll(4)) {
                    (false, _) | (_, 0) => READS,
                    (_, 1) => CUTS,
                    _ => ALL,
                };
                let mut exercise = Exercise::new(mount.root(), number, writable, &mut dice);
                if let Err(why) = exercise.take(kinds, STEPS_OF_A_FILE) {
                    panic!("seed {seed}, file {number}: {why}");
                }
                taken += STEPS_OF_A_FILE;
            }
        }
        report::operations(&report::target(), taken);
    }
}

fn in_memory(seeds: Range<u64>, steps: u64) {
    exercise(seeds, steps, true, |seed| {
        let mount = match options(seed).contains("none") {
            true => Daemon::without_cache(),
            false => Daemon::start(),
        };
        lay_out_all(mount.root());
        mount
    });
}

fn of_a_source(seeds: Range<u64>, steps: u64, more: &str) {
    let source = Scratch::new();
    lay_out_all(&source);
    let writable = more.is_empty();
    exercise(seeds, steps, writable, |seed| {
        let options = format!("{}{more}", options(seed));
        Daemon::with(&["-o", &options, source.to_str().unwrap()])
    });
    for (number, length) in LENGTHS.iter().enumerate() {
        let bytes = std::fs::read(source.join(name(number))).unwrap();
        assert!(
            bytes == content(number, *length),
            "file {number} of the source was changed"
        );
    }
}

const PASSTHROUGH: &str = ",ro,passthrough";

#[test]
fn made_on_the_mount() {
    in_memory(0..3, 2_400);
}

#[test]
fn of_the_source() {
    of_a_source(0..3, 2_400, "");
}

#[test]
fn passed_through() {
    if !offered::passthrough() {
        return;
    }
    of_a_source(0..3, 2_400, PASSTHROUGH);
}

#[test]
#[ignore = "takes minutes"]
fn made_on_the_mount_for_long() {
    in_memory(10..20, 100_000);
}

#[test]
#[ignore = "takes minutes"]
fn of_the_source_for_long() {
    of_a_source(10..20, 100_000, "");
}

#[test]
#[ignore = "takes minutes"]
fn passed_through_for_long() {
    if !offered::passthrough() {
        return;
    }
    of_a_source(10..20, 100_000, PASSTHROUGH);
}
