//! The content of files.

use mount_tests::posix::{age, forced, read_write, seen};
use mount_tests::programs::run;
use mount_tests::{Daemon, fails};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fallocate, open, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmap::{Flush, Map, MapMut};

/// Bytes that differ from page to page.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 4096 * 31 + at) as u8).collect()
}

/// The content as the daemon holds it: read past the page cache.
fn stored(path: &Path) -> Vec<u8> {
    rustix::fs::fadvise(
        File::open(path).unwrap(),
        0,
        None,
        rustix::fs::Advice::DontNeed,
    )
    .unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let mount = Daemon::start();
    let path = mount.path("file");
    for len in [0, 1, 100, 4095, 4096, 4097, 131_073, 3_000_001] {
        std::fs::write(&path, pattern(len)).unwrap();
        assert_eq!(seen(&path).size, len as u64);
        assert!(std::fs::read(&path).unwrap() == pattern(len), "{len}");
        assert!(stored(&path) == pattern(len), "{len}, past the page cache");
        assert!(seen(&path).blocks * 512 >= len as u64 || len < 4096);
    }
}

#[test]
fn writes_in_the_middle_across_pages() {
    let mount = Daemon::start();
    let path = mount.path("file");
    let mut expected = pattern(300_000);
    std::fs::write(&path, &expected).unwrap();
    let file = read_write(&path);
    for (offset, len) in [
        (0, 1),
        (4090, 12),
        (8192, 4096),
        (100_000, 150_000),
        (299_999, 10),
    ] {
        let bytes = vec![offset as u8 + 1; len];
        file.write_all_at(&bytes, offset as u64).unwrap();
        expected.resize(expected.len().max(offset + len), 0);
        expected[offset..offset + len].copy_from_slice(&bytes);
        assert!(stored(&path) == expected, "{offset} {len}");
    }
}

#[test]
fn reads_stop_at_the_end() {
    let mount = Daemon::start();
    let file = read_write(&mount.path("file"));
    file.write_all_at(b"0123456789", 0).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 10);
    assert_eq!(file.read_at(&mut buffer, 7).unwrap(), 3);
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
}

#[test]
fn appends_go_to_the_end_for_every_writer() {
    let mount = Daemon::start();
    let path = mount.path("log");
    let append = || {
        File::options()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap()
    };
    let (mut one, mut two) = (append(), append());
    for _ in 0..50 {
        one.write_all(b"one\n").unwrap();
        two.write_all(b"two\n").unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "one\ntwo\n".repeat(50)
    );
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let mut file = append();
            scope.spawn(move || {
                for _ in 0..200 {
                    file.write_all(format!("{name}{name}\n").as_bytes())
                        .unwrap();
                }
            });
        }
    });
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().filter(|line| *line == "aa").count(), 200);
    assert_eq!(text.lines().filter(|line| *line == "bb").count(), 200);
    assert_eq!(text.len(), 400 + 1200);
}

#[test]
fn a_write_moves_both_times_and_a_read_none() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "content").unwrap();
    age(&path);
    let before = seen(&path);
    std::fs::read(&path).unwrap();
    assert_eq!(seen(&path), before);
    read_write(&path).write_all_at(b"C", 0).unwrap();
    let after = seen(&path);
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
    assert_eq!(after, forced(&path));
}

#[test]
fn o_trunc_empties_the_file_in_the_daemon_too() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, pattern(10_000)).unwrap();
    age(&path);
    let before = seen(&path);
    open(&path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty()).unwrap();
    assert_eq!(forced(&path).size, 0);
    assert_eq!(seen(&path), forced(&path));
    assert!(seen(&path).mtime > before.mtime);
    read_write(&path).write_all_at(b"x", 9_999).unwrap();
    assert!(stored(&path)[..9_999].iter().all(|&byte| byte == 0));
}

#[test]
fn holes_read_as_zeros_and_take_no_space() {
    let mount = Daemon::start();
    let path = mount.path("sparse");
    let file = read_write(&path);
    file.write_all_at(b"far", 100 << 20).unwrap();
    assert_eq!(seen(&path).size, (100 << 20) + 3);
    assert!(seen(&path).blocks * 512 < 1 << 20, "{:?}", seen(&path));
    let mut start = vec![1; 70_000];
    file.read_exact_at(&mut start, 50 << 20).unwrap();
    assert!(start.iter().all(|&byte| byte == 0));
}

#[test]
fn seek_finds_data_and_holes() {
    let mount = Daemon::start();
    let file = read_write(&mount.path("sparse"));
    let mib = 1 << 20;
    file.write_all_at(&pattern(mib), 8 << 20).unwrap();
    file.set_len(32 << 20).unwrap();
    let (start, end) = (8 << 20, 9 << 20);
    assert_eq!(seek(&file, SeekFrom::Data(0)).unwrap(), start);
    assert_eq!(seek(&file, SeekFrom::Data(start + 5)).unwrap(), start + 5);
    assert_eq!(seek(&file, SeekFrom::Hole(start)).unwrap(), end);
    assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), 0);
    fails(Errno::NXIO, seek(&file, SeekFrom::Data(end)));
    fails(Errno::NXIO, seek(&file, SeekFrom::Hole(32 << 20)));
    assert_eq!(
        (&file).seek(std::io::SeekFrom::End(-1)).unwrap(),
        (32 << 20) - 1
    );
}

#[test]
fn fallocate_grows_keeps_and_punches() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, pattern(100_000)).unwrap();
    let file = read_write(&path);
    fallocate(&file, FallocateFlags::empty(), 90_000, 60_000).unwrap();
    assert_eq!(seen(&path).size, 150_000);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1_000_000).unwrap();
    assert_eq!(seen(&path).size, 150_000);
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 5_000, 50_000).unwrap();
    let mut expected = pattern(100_000);
    expected.resize(150_000, 0);
    expected[5_000..55_000].fill(0);
    assert!(std::fs::read(&path).unwrap() == expected);
    assert!(stored(&path) == expected);
    assert_eq!(seen(&path), forced(&path));
}

#[test]
fn a_shared_mapping_is_the_file() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, pattern(20_000)).unwrap();
    let (mut map, file) = MapMut::with_options()
        .write()
        .len(20_000)
        .open(&path)
        .unwrap();
    assert!(map[..] == pattern(20_000));
    map[4_090..4_100].fill(b'm');
    map.flush(&file, Flush::Sync).unwrap();
    let mut expected = pattern(20_000);
    expected[4_090..4_100].fill(b'm');
    assert!(stored(&path) == expected);
    file.write_all_at(b"write", 12_000).unwrap();
    assert_eq!(&map[12_000..12_005], b"write");
    drop(map);
    assert_eq!(seen(&path).size, 20_000);
}

#[test]
fn a_private_mapping_leaves_the_file_alone() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, pattern(20_000)).unwrap();
    let (map, _file): (Map, File) = Map::with_options().len(20_000).open(&path).unwrap();
    let (mut copy, _file) = MapMut::with_options()
        .copy()
        .len(20_000)
        .open(&path)
        .unwrap();
    copy[100..200].fill(b'p');
    assert!(map[..] == pattern(20_000));
    drop(copy);
    assert!(stored(&path) == pattern(20_000));
}

#[test]
fn copy_file_range_copies() {
    let mount = Daemon::start();
    std::fs::write(mount.path("from"), pattern(200_000)).unwrap();
    let from = File::open(mount.path("from")).unwrap();
    let to = read_write(&mount.path("to"));
    let (mut source, mut target) = (10_000, 500);
    while source < 160_000 {
        let left = 160_000 - source as usize;
        let copied = copy_file_range(&from, Some(&mut source), &to, Some(&mut target), left);
        assert!(copied.unwrap() > 0);
    }
    let mut expected = vec![0; 500];
    expected.extend_from_slice(&pattern(200_000)[10_000..160_000]);
    assert!(stored(&mount.path("to")) == expected);
    std::fs::copy(mount.path("from"), mount.path("copy")).unwrap();
    assert!(stored(&mount.path("copy")) == pattern(200_000));
}

#[test]
fn a_program_copied_in_can_be_run() {
    let mount = Daemon::start();
    run(mount.root(), "cp", &["/bin/echo", "program"]);
    let program = mount.path("program");
    assert_eq!(
        run(mount.root(), program.to_str().unwrap(), &["runs"]),
        "runs\n"
    );
}

#[test]
fn fsync_and_close_succeed() {
    let mount = Daemon::start();
    let mut file = read_write(&mount.path("file"));
    file.write_all(b"content").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    rustix::fs::syncfs(&file).unwrap();
    File::open(mount.root()).unwrap().sync_all().unwrap();
}

#[test]
fn locks_exclude() {
    use rustix::fs::FlockOperation::{NonBlockingLockExclusive, Unlock};
    let mount = Daemon::start();
    let (one, two) = (
        read_write(&mount.path("file")),
        read_write(&mount.path("file")),
    );
    rustix::fs::flock(&one, NonBlockingLockExclusive).unwrap();
    fails(
        Errno::WOULDBLOCK,
        rustix::fs::flock(&two, NonBlockingLockExclusive),
    );
    rustix::fs::flock(&one, Unlock).unwrap();
    rustix::fs::flock(&two, NonBlockingLockExclusive).unwrap();
}

#[test]
fn two_handles_see_each_other() {
    let mount = Daemon::start();
    let path = mount.path("file");
    let (writer, mut reader) = (read_write(&path), read_write(&path));
    for n in 0..100u64 {
        let text = format!("{n:04}");
        writer.write_all_at(text.as_bytes(), n * 4).unwrap();
        let mut got = [0; 4];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(got, text.as_bytes());
    }
}

#[test]
fn a_full_filesystem_says_so_and_works_on() {
    let mount = Daemon::with(&["-o", "allow_other,size=1m"]);
    let path = mount.path("big");
    fails(Errno::NOSPC, std::fs::write(&path, pattern(4 << 20)));
    assert!(seen(&path).size <= 1 << 20);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(mount.path("small"), pattern(100_000)).unwrap();
    assert!(stored(&mount.path("small")) == pattern(100_000));
}

#[test]
fn a_filesystem_out_of_inodes_says_so_and_works_on() {
    let mount = Daemon::with(&["-o", "allow_other,nr_inodes=10"]);
    let made = (0..20)
        .map(|n| File::create(mount.path(n.to_string())))
        .take_while(|file| file.is_ok())
        .count();
    assert!((5..=10).contains(&made), "{made} files fit");
    fails(Errno::NOSPC, std::fs::create_dir(mount.path("dir")));
    std::fs::remove_file(mount.path("0")).unwrap();
    assert!(mount_tests::wait_until(|| std::fs::create_dir(
        mount.path("dir")
    )
    .is_ok()));
}

#[test]
fn syncfs_succeeds() {
    let mount = Daemon::start();
    std::fs::write(mount.path("file"), "content").unwrap();
    rustix::fs::syncfs(File::open(mount.root()).unwrap()).unwrap();
    File::open(mount.path("file")).unwrap().sync_all().unwrap();
}
