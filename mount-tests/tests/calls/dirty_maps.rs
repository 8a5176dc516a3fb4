//! Bytes stored through a shared map are the file's, for whatever asks, before anybody writes them back.

use mount_tests::posix::{age, extents, read_write, same_as_tmpfs, seen};
use mount_tests::programs::{run, sh};
use mount_tests::{Daemon, InProcess, Scratch, Tmpfs, fails};
use norefs::transport::{Cache, Options, RequestKind};
use rustix::fs::{
    FallocateFlags, IFlags, SeekFrom, copy_file_range, fallocate, ioctl_setflags, seek,
};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use vmap::MapMut;

const MIB: usize = 1 << 20;
const CHUNK: usize = 64 << 10;

/// A file of `size` bytes, all of it a hole, mapped shared.
fn mapped(path: &Path, size: usize) -> (MapMut, File) {
    read_write(path).set_len(size as u64).unwrap();
    MapMut::with_options().write().len(size).open(path).unwrap()
}

/// The bytes of `path` that are not zero.
fn letters(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    bytes.into_iter().filter(|&byte| byte != 0).collect()
}

#[test]
fn what_is_stored_is_no_hole() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        let (mut map, file) = mapped(&path, MIB);
        let mut seen = vec![extents(&file)];
        for at in [0, 5 * CHUNK, 5 * CHUNK + 4096, MIB - 4096] {
            map[at] = b'x';
            seen.push(extents(&file));
        }
        map[8 * CHUNK] = b'y';
        seen.push(extents(&file));
        let holes = [0, CHUNK, 6 * CHUNK, MIB - 1];
        let holes = holes.map(|at| seek(&file, SeekFrom::Hole(at as u64)));
        (seen, holes)
    });
}

#[test]
fn what_is_stored_takes_room() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        let (mut map, _file) = mapped(&path, MIB);
        let mut blocks = vec![seen(&path).blocks];
        for at in [0, 5 * CHUNK, 5 * CHUNK + 1, 8 * CHUNK] {
            map[at] = b'x';
            blocks.push(seen(&path).blocks);
            let listed: Vec<_> = std::fs::read_dir(root).unwrap().collect();
            assert_eq!(listed.len(), 1);
            blocks.push(seen(&path).blocks);
        }
        blocks
    });
}

#[test]
fn whatever_copies_sees_what_is_stored() {
    let elsewhere = Tmpfs::new();
    for daemon in [Daemon::start(), Daemon::without_cache()] {
        let names = ["cp", "tar", "mv", "install", "range", "new"];
        let mut maps = Vec::new();
        for name in names {
            let (mut map, file) = mapped(&daemon.path(name), MIB);
            map[7 * CHUNK] = b'7';
            map[2] = b'2';
            maps.push((map, file));
        }
        let out = elsewhere.to_str().unwrap();
        run(daemon.root(), "cp", &["cp", &format!("{out}/cp")]);
        run(daemon.root(), "mv", &["mv", &format!("{out}/mv")]);
        run(
            daemon.root(),
            "install",
            &["install", &format!("{out}/install")],
        );
        sh(daemon.root(), &format!("tar cSf - tar | tar xf - -C {out}"));
        let range = File::open(daemon.path("range")).unwrap();
        let copied = copy_file_range(&range, None, read_write(&daemon.path("copied")), None, MIB);
        assert_eq!(copied, Ok(MIB));
        assert_eq!(letters(&daemon.path("copied")), b"27");
        for name in &names[..4] {
            assert_eq!(letters(&elsewhere.join(name)), b"27", "{name}");
        }
        for name in &names[..4] {
            std::fs::remove_file(elsewhere.join(name)).unwrap();
        }
    }
}

#[test]
fn changes_of_the_content_go_by_what_is_stored() {
    same_as_tmpfs(|root| {
        let (target, source) = (root.join("target"), root.join("source"));
        let (mut map, file) = mapped(&target, MIB);
        for page in 0..MIB / 4096 {
            map[page * 4096 + 1] = b'a' + (page % 26) as u8;
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 4 * CHUNK as u64, CHUNK as u64).unwrap();
        map[4 * CHUNK + 4096] = b'+';
        fallocate(&file, FallocateFlags::empty(), 0, 3 * 4096).unwrap();
        map[4096] = b'-';
        std::fs::write(&source, vec![b'='; 10_000]).unwrap();
        let mut to = 9 * CHUNK as u64 + 100;
        map[9 * CHUNK] = b'<';
        map[9 * CHUNK + 3 * 4096] = b'>';
        let from = File::open(&source).unwrap();
        copy_file_range(&from, None, &file, Some(&mut to), 10_000).unwrap();
        map[MIB - 2 * CHUNK - 1] = b'e';
        drop(map);
        file.set_len((MIB - 2 * CHUNK) as u64).unwrap();
        file.set_len(MIB as u64).unwrap();
        let direct = sh(root, "dd if=target bs=64k iflag=direct status=none | cksum");
        (std::fs::read(&target).unwrap(), direct, seen(&target).size)
    });
}

#[test]
fn what_was_stored_before_a_file_became_immutable_stays() {
    same_as_tmpfs(|root| {
        [IFlags::IMMUTABLE, IFlags::APPEND].map(|flag| {
            let path = root.join(format!("{flag:?}"));
            let (mut map, file) = mapped(&path, MIB);
            map[5 * CHUNK] = b'x';
            ioctl_setflags(&file, flag).unwrap();
            drop(map);
            let synced = rustix::fs::fsync(&file);
            let direct = "iflag=direct bs=64k status=none";
            let name = path.file_name().unwrap().to_str().unwrap();
            let kept = sh(root, &format!("dd if='{name}' {direct} | tr -d '\\0'"));
            ioctl_setflags(&file, IFlags::empty()).unwrap();
            (synced, kept)
        })
    });
}

#[test]
fn many_files_become_immutable_at_once_and_one_thread_serves() {
    many_at_once_and_one_thread_serves(|path| {
        let (mut map, file) = mapped(path, MIB);
        map[5 * CHUNK] = b'x';
        let set = ioctl_setflags(&file, IFlags::IMMUTABLE);
        // Where too many ask, some are to come again.
        assert!(matches!(set, Ok(()) | Err(Errno::BUSY)), "{set:?}");
        drop(map);
        rustix::fs::fsync(&file).unwrap();
        ioctl_setflags(&file, IFlags::empty()).unwrap();
    });
}

#[test]
fn a_file_of_a_source_is_no_exception() {
    let source = Scratch::new();
    let path = source.join("file");
    read_write(&path).set_len(MIB as u64).unwrap();
    let mixed = source.join("mixed");
    std::fs::write(&mixed, vec![b'm'; 2 * CHUNK]).unwrap();
    read_write(&mixed).set_len(MIB as u64).unwrap();
    let daemon = Daemon::with(&[source.to_str().unwrap()]);
    for (name, stored) in [("file", "x"), ("mixed", "x")] {
        let (mut map, file) = mapped(&daemon.path(name), MIB);
        map[9 * CHUNK] = stored.as_bytes()[0];
        assert!(seen(daemon.path(name)).blocks > 0);
        let found = seek(&file, SeekFrom::Data(3 * CHUNK as u64));
        assert_eq!(found, Ok(9 * CHUNK as u64), "{name}");
        drop(map);
        let tar = format!("tar cSf - {name} | tar xOf - | tr -d '\\0m'");
        assert_eq!(sh(daemon.root(), &tar), "x", "{name}");
    }
}

#[test]
fn nobody_pays_for_maps_that_are_not_there() {
    let mount = InProcess::start(Cache::Forever);
    let path = mount.path("file");
    let file = read_write(&path);
    file.set_len(MIB as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 5 * CHUNK as u64).unwrap();
    seen(&path);
    let before = mount.notifications();
    assert_eq!(
        extents(&file),
        [(5 * CHUNK as u64, 5 * CHUNK as u64 + 4096)]
    );
    let asked = mount.count(RequestKind::Statx, || {
        let asked = mount.count(RequestKind::Getattr, || _ = seen(&path));
        assert_eq!(asked, 0);
    });
    assert_eq!((asked, mount.notifications()), (0, before));
}

/// Whether `work` ends soon; it is left alone else.
fn ends(work: impl FnOnce() + Send + 'static) -> bool {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(60)).is_ok()
}

/// Each of many threads does `work` with a file of its own, and none waits for ever.
#[track_caller]
fn many_at_once_and_one_thread_serves(work: fn(&Path)) {
    let daemon = Daemon::with(&["--threads", "1"]);
    let root = daemon.root().to_owned();
    let done = ends(move || {
        std::thread::scope(|scope| {
            for number in 0..96 {
                let path = root.join(number.to_string());
                scope.spawn(move || work(&path));
            }
        });
    });
    assert!(done, "somebody waits for ever");
}

#[test]
fn many_ask_at_once_and_one_thread_serves() {
    many_at_once_and_one_thread_serves(|path| {
        let (mut map, file) = mapped(path, MIB);
        for round in 0..5 {
            let at = (round * 3 + 1) * CHUNK;
            map[at] = b'x';
            let from = SeekFrom::Data(at as u64 - 4096);
            // Where too many ask, a hole may count as data, and nothing else.
            let found = seek(&file, from).unwrap();
            assert!(found == at as u64 || found == at as u64 - 4096);
            assert!(seen(path).blocks >= 8);
        }
    });
}

#[test]
fn a_writer_that_never_rests_keeps_nobody_waiting() {
    let daemon = Daemon::start();
    let path = daemon.path("file");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let storing = path.clone();
        scope.spawn(move || {
            let (mut map, _file) = mapped(&storing, MIB);
            for at in (0..).step_by(4096 * 7) {
                map[at % MIB] = b'x';
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let done = ends(move || {
            let file = read_write(&path);
            for _ in 0..50 {
                extents(&file);
                seen(&path);
                age(&path);
            }
        });
        stop.store(true, Ordering::Relaxed);
        assert!(done);
    });
}

#[test]
fn what_finds_no_room_is_no_hole_either() {
    let daemon = Daemon::start_with("size=1m");
    let path = daemon.path("file");
    let (mut map, file) = mapped(&path, 4 * MIB);
    for page in 0..MIB / 1024 {
        map[page * 4096] = b'x';
    }
    assert_eq!(
        seek(&file, SeekFrom::Data(3 * MIB as u64)),
        Ok(3 * MIB as u64)
    );
    assert!(seen(&path).blocks > 0);
    fails(Errno::NOSPC, rustix::fs::fsync(&file).or(Err(Errno::NOSPC)));
}

#[test]
fn a_page_that_is_still_read_is_waited_for_and_holds_up_nobody_else() {
    let mount = InProcess::with(&Options {
        threads: Some(1),
        ..Options::default()
    });
    let path = mount.path("file");
    let (map, file) = mapped(&path, MIB);
    assert_eq!(map[0], 0);
    drop(map);
    let hold = mount
        .failpoints()
        .hold(RequestKind::Read, Some(mount.node(&path)));
    let (tell, told) = mpsc::channel();
    let reading = path.clone();
    let reader = std::thread::spawn(move || {
        let file = File::open(reading).unwrap();
        let mut byte = [1];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 8 * CHUNK as u64).unwrap();
        byte
    });
    assert!(hold.wait_held(Duration::from_secs(60)));
    let seeker = std::thread::spawn(move || {
        let found = seek(&file, SeekFrom::Data(0));
        tell.send(found).unwrap();
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(told.try_recv().is_err());
    let other = mount.path("other");
    assert!(ends(move || std::fs::write(other, b"x").unwrap()));
    drop(hold);
    assert_eq!(
        told.recv_timeout(Duration::from_secs(60)),
        Ok(Err(Errno::NXIO))
    );
    assert_eq!(reader.join().unwrap(), [0]);
    seeker.join().unwrap();
}
