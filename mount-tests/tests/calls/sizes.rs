//! Files as long as files may be: cut, written, sought, mapped and allocated at the far end.

use mount_tests::posix::{Outcome, fifo, forced, read_write, seen};
use mount_tests::programs::{attempt, sh};
use mount_tests::{Daemon, same_as_tmpfs, wait_until};
use rustix::fs::{
    CWD, FallocateFlags, Mode, OFlags, SeekFrom, fallocate, ftruncate, open, seek, statfs,
};
use rustix::io::{Errno, pread, pwrite};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use vmap::Map;

const MAX: u64 = i64::MAX as u64;

#[test]
fn a_file_may_be_cut_to_any_length() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        let file = read_write(&path);
        let lengths = [
            1 << 62,
            MAX - 4096,
            MAX - 1,
            MAX,
            MAX + 1,
            u64::MAX,
            4097,
            0,
        ];
        lengths.map(|length| {
            let cut = ftruncate(&file, length);
            (cut, seen(&path).size, seen(&path).blocks)
        })
    });
}

#[test]
fn bytes_are_written_and_found_at_the_far_end() {
    same_as_tmpfs(|root| {
        let file = read_write(&root.join("file"));
        let places = [
            0,
            1 << 62,
            MAX - 4096,
            MAX - 2,
            MAX - 1,
            MAX,
            MAX + 1,
            u64::MAX,
        ];
        places.map(|place| {
            let written = pwrite(&file, b"xyz", place);
            let mut bytes = [0; 9];
            let read = pread(&file, &mut bytes, place);
            let size = forced(root.join("file")).size;
            let end = seek(&file, SeekFrom::End(0));
            let behind = seek(&file, SeekFrom::End(1));
            let all_data = seek(&file, SeekFrom::Data(place.min(MAX)));
            let hole = seek(&file, SeekFrom::Hole(place.min(MAX)));
            let hole = hole.map(|found| found.min(place + 3));
            (written, read, bytes, size, (end, behind, all_data, hole))
        })
    });
}

#[test]
fn appending_ends_where_files_end() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        let file = read_write(&path);
        ftruncate(&file, MAX - 3).unwrap();
        let flags = OFlags::WRONLY | OFlags::APPEND;
        let append = open(&path, flags, Mode::empty()).unwrap();
        let written = [(); 3].map(|()| rustix::io::write(&append, b"ab"));
        (written, seen(&path).size)
    });
}

#[test]
fn a_sparse_file_takes_room_where_bytes_are() {
    same_as_tmpfs(|root| {
        let file = read_write(&root.join("file"));
        let takes = |file: &File| rustix::fs::fstat(file).unwrap().st_blocks * 512;
        let few = |bytes: i64| bytes > 0 && bytes <= 64 << 10;
        let empty = takes(&file);
        ftruncate(&file, 1 << 50).unwrap();
        let hole = takes(&file);
        pwrite(&file, b"x", 1 << 40).unwrap();
        let one = few(takes(&file));
        pwrite(&file, &[1; 1 << 20], 1 << 30).unwrap();
        let large = takes(&file) >= 1 << 20 && takes(&file) <= (1 << 20) + (2 << 16);
        ftruncate(&file, 1 << 30).unwrap();
        (empty, hole, one, large, takes(&file))
    });
}

#[test]
fn allocation_is_granted_and_refused() {
    same_as_tmpfs(|root| {
        let file = read_write(&root.join("file"));
        let (keep, none) = (FallocateFlags::KEEP_SIZE, FallocateFlags::empty());
        let punch = FallocateFlags::PUNCH_HOLE;
        pwrite(&file, &[7; 300_000], 0).unwrap();
        let steps = [
            (none, 0, 0),
            (none, 0, 400_000),
            (none, 299_999, 100),
            (keep, 0, 1_000_000),
            (keep, 900_000, 100),
            (punch, 0, 100),
            (punch | keep, 100, 200_000),
            (punch | keep, 65_536, 65_536),
            (punch | keep, 1 << 40, 1 << 40),
            (punch | keep, 1, MAX - 1),
            (none, 0, MAX),
            (none, 1, MAX),
            (none, 1 << 62, 1 << 62),
            (keep, 0, 1 << 62),
            (none, MAX, 1),
            (none, MAX + 1, 1),
            (none, 1, u64::MAX),
            (punch | keep, 0, 0),
            (FallocateFlags::COLLAPSE_RANGE, 0, 4096),
            (FallocateFlags::INSERT_RANGE, 0, 4096),
            (FallocateFlags::UNSHARE_RANGE, 0, 4096),
            (FallocateFlags::COLLAPSE_RANGE | keep, 0, 4096),
        ];
        let done = steps.map(|(mode, from, length)| {
            let done = fallocate(&file, mode, from, length);
            (done, forced(root.join("file")).size)
        });
        let content = std::fs::read(root.join("file")).unwrap();
        let read_only = File::open(root.join("file")).unwrap();
        fifo(&root.join("fifo"), 0o600).unwrap();
        let others = [
            fallocate(&read_only, none, 0, 1),
            fallocate(File::open(root).unwrap(), none, 0, 1),
            fallocate(read_write(&root.join("fifo")), none, 0, 1),
        ];
        (done, content == [7; 1], content.len(), others)
    });
}

#[test]
fn a_huge_allocation_that_is_refused_takes_nothing() {
    same_as_tmpfs(|root| {
        let file = read_write(&root.join("file"));
        pwrite(&file, b"content", 0).unwrap();
        let free = statfs(root).unwrap().f_bfree;
        let refused = fallocate(&file, FallocateFlags::empty(), 0, 1 << 50);
        let left = statfs(root).unwrap().f_bfree;
        (
            refused,
            free == left,
            std::fs::read(root.join("file")).unwrap(),
        )
    });
}

#[test]
fn holes_are_zeros_however_they_came_about() {
    same_as_tmpfs(|root| {
        let file = read_write(&root.join("file"));
        pwrite(&file, &[9; 200_000], 0).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for (from, length) in [(10, 5), (4096, 4096), (65_530, 70_000), (199_999, 10_000)] {
            fallocate(&file, punch, from, length).unwrap();
        }
        ftruncate(&file, 150_000).unwrap();
        ftruncate(&file, 250_000).unwrap();
        pwrite(&file, b"end", 260_000).unwrap();
        std::fs::read(root.join("file")).unwrap()
    });
}

/// The status of a shell command, or the signal that ended it.
fn ended(root: &Path, script: &str) -> (Option<i32>, Option<i32>) {
    let status = attempt(root, "sh", &["-c", script]).status;
    (status.code(), status.signal())
}

#[test]
fn the_limit_of_a_process_ends_what_it_writes() {
    same_as_tmpfs(|root| {
        let limited = "ulimit -f 8; ulimit -c 0;";
        let write = "exec dd if=/dev/zero of=written bs=3000 count=9";
        let scripts = [
            format!("{limited} {write} status=none"),
            format!("{limited} exec truncate -s 4097 cut"),
            format!("{limited} exec truncate -s 4096 cut"),
            format!("{limited} exec fallocate -l 4097 allocated"),
            format!("{limited} trap '' XFSZ; {write} status=none 2>/dev/null"),
            format!("{limited} trap '' XFSZ; exec truncate -s 1T cut"),
        ];
        scripts.map(|script| {
            let ended = ended(root, &script);
            let sizes = ["written", "cut", "allocated"].map(|name| {
                std::fs::metadata(root.join(name))
                    .map(|file| file.len())
                    .ok()
            });
            (ended, sizes)
        })
    });
}

#[test]
fn a_map_ends_with_its_file() {
    let script = r#"
import mmap, os, sys
file = os.open("mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 5 * 4096)
memory = mmap.mmap(file, 5 * 4096)
memory[4 * 4096] = 1
os.ftruncate(file, 4096 + 1)
assert memory[4096] == 0 and memory[2 * 4096 - 1] == 0
memory[2 * 4096 - 1] = 7
os.ftruncate(file, 3 * 4096)
assert memory[2 * 4096 - 1] == 0, "a byte behind the end came back"
os.ftruncate(file, 4096 + 1)
memory[int(sys.argv[1]) * 4096]
"#;
    same_as_tmpfs(|root| {
        [0, 1, 2, 4].map(|page| {
            let arguments = ["-c", script, &page.to_string()];
            let status = attempt(root, "python3", &arguments).status;
            (status.code(), status.signal())
        })
    });
}

#[test]
fn a_map_of_the_far_end_is_the_file() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        let file = read_write(&path);
        ftruncate(&file, (1 << 50) + 4096).unwrap();
        pwrite(&file, b"far away", (1 << 50) + 4).unwrap();
        let (map, _) = Map::with_options()
            .offset(1 << 50)
            .len(4096)
            .open(&path)
            .unwrap();
        map[..16].to_vec()
    });
}

#[test]
fn memory_of_what_was_removed_goes_back_to_the_system() {
    let mount = Daemon::with(&["-o", "allow_other"]);
    let before = mount.resident();
    let piece = vec![1; 1 << 20];
    for n in 0..192 {
        std::fs::write(mount.path(n.to_string()), &piece).unwrap();
    }
    assert!(mount.resident() - before >= 192 << 20);
    for n in 0..192 {
        std::fs::remove_file(mount.path(n.to_string())).unwrap();
    }
    let left = || mount.resident().saturating_sub(before);
    assert!(wait_until(|| left() < 64 << 20), "{} MiB", left() >> 20);
}

/// The process may keep some of it, but it keeps no more for being used again.
#[test]
fn memory_of_what_is_cut_punched_or_removed_is_used_again() {
    const SIZE: u64 = 64 << 20;
    let mount = Daemon::with(&["-o", "allow_other"]);
    let used = || {
        let statfs = statfs(mount.root()).unwrap();
        (statfs.f_blocks - statfs.f_bfree) * statfs.f_bsize as u64
    };
    let path = mount.path("file");
    let fill = || {
        let file = read_write(&path);
        let piece = vec![1; 1 << 20];
        (0..SIZE >> 20).for_each(|n| _ = pwrite(&file, &piece, n << 20).unwrap());
        file
    };
    let ways: [&dyn Fn(); 3] = [
        &|| ftruncate(fill(), 4096).unwrap(),
        &|| {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(fill(), punch, 0, SIZE).unwrap();
        },
        &|| {
            drop(fill());
            std::fs::remove_file(&path).unwrap();
        },
    ];
    let before = mount.resident();
    for round in 0..12 {
        ways[round % ways.len()]();
        assert!(wait_until(|| used() <= 64 << 10), "{} used", used());
        let grown = mount.resident().saturating_sub(before);
        // Each of the serving threads allocates in a part of its own.
        assert!(grown < 4 * SIZE, "round {round}: {} MiB", grown >> 20);
    }
}

#[test]
fn only_the_far_end_of_a_huge_file_is_held() {
    let mount = Daemon::start();
    sh(
        mount.root(),
        "truncate -s 4E huge; printf end | dd of=huge bs=1 seek=4611686018427387904 conv=notrunc status=none",
    );
    assert_eq!(seen(mount.path("huge")).size, (1 << 62) + 3);
    let mut end = [1; 6];
    let file = rustix::fs::openat(CWD, mount.path("huge"), OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(pread(&file, &mut end, (1 << 62) - 3), Ok(6));
    assert_eq!(&end, b"\0\0\0end");
    assert_eq!(pread(&file, &mut end, (1 << 62) + 3).outcome(), Ok(()));
    assert_eq!(pread(&file, &mut end, u64::MAX), Err(Errno::INVAL));
}
