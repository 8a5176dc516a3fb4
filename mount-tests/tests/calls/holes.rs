//! What is data and what is a hole, page by page, and what both take: as on tmpfs.

use mount_tests::posix::{extents, read_write, same_as_tmpfs, seen};
use mount_tests::{Daemon, Dice, Scratch, fails, norefs, wait_until};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmap::{Flush, MapMut};

const PAGE: u64 = 4096;
const LARGEST: u64 = 400_000;
const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

fn blocks(file: &File) -> i64 {
    rustix::fs::fstat(file).unwrap().st_blocks
}

/// One change of a kind and at a place that chance decides.
fn change(path: &Path, file: &File, dice: &mut Dice, kinds: u64) {
    let mut at = || match dice.roll(2) {
        0 => dice.roll(LARGEST),
        _ => dice.roll(LARGEST / PAGE) * PAGE,
    };
    let (start, other) = (at(), at());
    let length = match dice.roll(3) {
        0 => dice.roll(20_000) + 1,
        1 => PAGE * (dice.roll(20) + 1),
        _ => start.abs_diff(other).max(1),
    };
    match dice.roll(kinds) {
        0..3 => file
            .write_all_at(&vec![b'x'; length.min(30_000) as usize], start)
            .unwrap(),
        3..5 => fallocate(file, PUNCH, start, length).unwrap(),
        5 => file.set_len(start).unwrap(),
        6 if seen(path).size > 0 => {
            let size = seen(path).size;
            let (mut map, file) = MapMut::with_options()
                .write()
                .len(size as usize)
                .open(path)
                .unwrap();
            map[(start % size) as usize] = b'm';
            if dice.roll(2) == 0 {
                map.flush(&file, Flush::Sync).unwrap();
            }
        }
        6 => {}
        _ => fallocate(file, FallocateFlags::KEEP_SIZE, start, length).unwrap(),
    }
}

/// What `look` finds after each of `steps` random changes, and the bytes at the end, are the same on tmpfs.
fn the_same_after_each_change<T: PartialEq + std::fmt::Debug>(
    steps: usize,
    kinds: u64,
    look: impl Fn(&Path, &File) -> T,
) {
    for seed in 0..3 {
        same_as_tmpfs(|root| {
            let path = root.join("file");
            let file = read_write(&path);
            let mut dice = Dice::new(seed);
            let step = |_| {
                change(&path, &file, &mut dice, kinds);
                look(&path, &file)
            };
            let all: Vec<_> = (0..steps).map(step).collect();
            (all, std::fs::read(&path).unwrap())
        });
    }
}

#[test]
fn every_page_is_data_or_a_hole_as_on_tmpfs() {
    the_same_after_each_change(120, 7, |path, file| {
        (extents(file), blocks(file), seen(path).size)
    });
}

#[test]
fn what_is_allocated_takes_as_much_as_on_tmpfs() {
    the_same_after_each_change(80, 9, |path, file| (blocks(file), seen(path).size));
}

#[test]
fn holes_are_as_small_as_a_page() {
    let daemon = Daemon::start();
    let path = daemon.path("file");
    let file = read_write(&path);
    file.write_all_at(b"x", 5 * PAGE).unwrap();
    assert_eq!(
        (extents(&file), blocks(&file)),
        (vec![(5 * PAGE, 5 * PAGE + 1)], 8)
    );
    file.write_all_at(&[b'y'; 16 * PAGE as usize], 0).unwrap();
    fallocate(&file, PUNCH, 3 * PAGE, PAGE).unwrap();
    assert_eq!(extents(&file), [(0, 3 * PAGE), (4 * PAGE, 16 * PAGE)]);
    assert_eq!(blocks(&file), 15 * 8);
    // Zeroing allocates.
    fallocate(&file, FallocateFlags::ZERO_RANGE, 0, 16 * PAGE).unwrap();
    assert_eq!(
        (extents(&file), blocks(&file)),
        (vec![(0, 16 * PAGE)], 16 * 8)
    );
}

#[test]
fn a_file_of_a_source_keeps_its_holes_when_it_is_written_to() {
    let source = Scratch::new();
    let original = read_write(&source.join("file"));
    original.set_len(200_000).unwrap();
    original.write_all_at(&[b's'; 4096], 3 * PAGE).unwrap();
    let daemon = Daemon::with(&[source.to_str().unwrap()]);
    let file = read_write(&daemon.path("file"));
    file.write_all_at(b"x", 20 * PAGE).unwrap();
    let pages = [3, 20].map(|page| (page * PAGE, (page + 1) * PAGE));
    assert_eq!((extents(&file), blocks(&file)), (pages.to_vec(), 16));
}

#[test]
fn what_holes_give_back_is_room_for_others() {
    let daemon = Daemon::start_with("size=1m");
    let file = read_write(&daemon.path("file"));
    file.write_all_at(&[1; 1 << 20], 0).unwrap();
    let other = read_write(&daemon.path("other"));
    fails(Errno::NOSPC, rustix::io::pwrite(&other, &[1; 4096], 0));
    for page in (1..256).step_by(2) {
        fallocate(&file, PUNCH, page * PAGE, PAGE).unwrap();
    }
    other.write_all_at(&[2; 500 << 10], 0).unwrap();
    assert_eq!(blocks(&file), 1024);
}

#[test]
fn a_failed_allocation_leaves_nothing() {
    let daemon = Daemon::start_with("size=8m");
    let path = daemon.path("file");
    let file = read_write(&path);
    file.write_all_at(&[1; 5000], 100_000).unwrap();
    file.set_len(3 << 20).unwrap();
    let before = (
        seen(&path),
        extents(&file),
        statvfs(daemon.root()).unwrap().f_bfree,
    );
    for (mode, start, length) in [
        (FallocateFlags::empty(), 0, 9 << 20),
        (FallocateFlags::KEEP_SIZE, 50_000, 9 << 20),
        (FallocateFlags::ZERO_RANGE, 0, 1 << 40),
        (FallocateFlags::empty(), 1 << 50, 9 << 20),
    ] {
        fails(Errno::NOSPC, fallocate(&file, mode, start, length));
        let after = (
            seen(&path),
            extents(&file),
            statvfs(daemon.root()).unwrap().f_bfree,
        );
        assert_eq!(after, before);
    }
    fallocate(&file, FallocateFlags::empty(), 0, 7 << 20).unwrap();
}

#[test]
fn who_allocates_too_much_leaves_the_room_to_others() {
    let daemon = Daemon::start_with("size=8m");
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let path = daemon.path(name);
            scope.spawn(move || {
                let file = read_write(&path);
                for _ in 0..100 {
                    match fallocate(&file, FallocateFlags::empty(), 0, 6 << 20) {
                        Ok(()) => file.set_len(0).unwrap(),
                        Err(errno) => assert_eq!(errno, Errno::NOSPC),
                    }
                    assert_eq!((blocks(&file), file.metadata().unwrap().len()), (0, 0));
                }
            });
        }
    });
    fallocate(
        read_write(&daemon.path("all")),
        FallocateFlags::empty(),
        0,
        8 << 20,
    )
    .unwrap();
}

#[test]
fn memory_that_ends_half_way_is_given_back() {
    let mut limited = std::process::Command::new("sh");
    let norefs = norefs();
    let program = norefs.get_program().to_str().unwrap();
    limited.args(["-c", "ulimit -v 800000; exec \"$0\" \"$@\"", program]);
    let mut command = limited;
    command.envs(
        norefs
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let daemon = Daemon::by(command, mount_tests::transport::asked());
    let path = daemon.path("file");
    let file = read_write(&path);
    file.write_all_at(b"kept", 70_000).unwrap();
    let before = (seen(&path), extents(&file));
    let huge = 2 << 30;
    fails(
        Errno::NOSPC,
        fallocate(&file, FallocateFlags::empty(), 0, huge),
    );
    assert_eq!((seen(&path), extents(&file)), before);
    // The allocator has the address space of a thread again when that thread has ended.
    let other = || std::fs::write(daemon.path("other"), vec![7; 4 << 20]);
    assert!(wait_until(|| other().is_ok()));
    std::fs::create_dir(daemon.path("d")).unwrap();
}
