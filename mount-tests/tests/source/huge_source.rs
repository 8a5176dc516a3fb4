//! Files of a source that are too large to be copied without a thought.

use mount_tests::posix::{forced, seen};
use mount_tests::transport::each;
use mount_tests::{Daemon, Tmpfs, fails};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek, statfs};
use rustix::io::{Errno, pread, pwrite};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

fn read_write(path: &Path) -> File {
    open(path, OFlags::RDWR, Mode::empty()).unwrap().into()
}

fn used(root: &Path) -> u64 {
    let statfs = statfs(root).unwrap();
    (statfs.f_blocks - statfs.f_bfree) * statfs.f_bsize as u64
}

/// A file of `mebibytes` that are not zero.
fn full(path: &Path, mebibytes: u64) {
    let (file, piece) = (File::create(path).unwrap(), vec![b'f'; MIB as usize]);
    (0..mebibytes).for_each(|n| file.write_all_at(&piece, n * MIB).unwrap());
}

#[test]
fn a_sparse_file_of_a_tebibyte_is_read_and_written_in_places() {
    let source = Tmpfs::new();
    let file = File::create(source.join("huge")).unwrap();
    file.set_len(TIB).unwrap();
    let places = [0, TIB / 3, TIB - 9];
    for place in places {
        file.write_all_at(b"something", place).unwrap();
    }
    for transport in each() {
        let mount = Daemon::on(transport, &["-o", "allow_other", source.to_str().unwrap()]);
        let before = mount.resident();
        let file = read_write(&mount.path("huge"));
        let check = |places: &[u64]| {
            for &place in places {
                let mut bytes = [0; 12];
                let read = pread(&file, &mut bytes, place).unwrap();
                assert_eq!(bytes[..9], *b"something");
                assert_eq!(read, if place + 9 == TIB { 9 } else { 12 });
            }
            let mut bytes = [1; 100_000];
            assert_eq!(pread(&file, &mut bytes, TIB / 2), Ok(100_000));
            assert_eq!(bytes, [0; 100_000]);
            assert_eq!(pread(&file, &mut bytes, TIB), Ok(0));
        };
        check(&places);
        assert_eq!(used(mount.root()), 0, "nothing was loaded");
        assert_eq!(
            seek(&file, SeekFrom::Data(4 * MIB)),
            Ok(TIB / 3 / 4096 * 4096)
        );
        pwrite(&file, b"something", 77 * MIB).unwrap();
        check(&[0, 77 * MIB, TIB / 3, TIB - 9]);
        assert_eq!(seen(mount.path("huge")).size, TIB);
        assert!(used(mount.root()) < MIB, "{} bytes", used(mount.root()));
        let grown = mount.resident().saturating_sub(before);
        assert!(grown < 32 * MIB, "{grown} bytes");
    }
}

#[test]
fn reading_a_large_file_keeps_nothing_of_it() {
    let source = Tmpfs::new();
    full(&source.join("large"), 200);
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let before = mount.resident();
    let mut file = File::open(mount.path("large")).unwrap();
    let copied = std::io::copy(&mut file, &mut std::io::sink()).unwrap();
    assert_eq!((copied, used(mount.root())), (200 * MIB, 0));
    let grown = mount.resident().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
}

/// What is asked of other files while one is copied, each past the kernel's cache.
fn ask_of_others(mount: &Daemon, round: u64) {
    let other = read_write(&mount.path("other"));
    other.write_all_at(&round.to_ne_bytes(), 0).unwrap();
    assert_eq!(forced(mount.path("other")).size, 2 * MIB);
    let untouched = File::open(mount.path("untouched")).unwrap();
    let mut bytes = [0; 4096];
    untouched
        .read_exact_at(&mut bytes, round % 512 * 4096)
        .unwrap();
    assert_eq!(bytes, [b'f'; 4096]);
    std::fs::write(mount.path("new"), round.to_string()).unwrap();
    std::fs::remove_file(mount.path("new")).unwrap();
    // Attributes of the file itself need nobody to wait either.
    assert_eq!(forced(mount.path("large")).nlink, 1);
}

#[test]
fn others_are_answered_while_a_gibibyte_is_copied_for_its_first_write() {
    let source = Tmpfs::new();
    full(&source.join("large"), 1024);
    full(&source.join("other"), 2);
    full(&source.join("untouched"), 2);
    for transport in each() {
        let options = "allow_other,size=4g,cache=none";
        let mount = &Daemon::on(transport, &["-o", options, source.to_str().unwrap()]);
        read_write(&mount.path("other"))
            .write_all_at(b"o", MIB)
            .unwrap();
        let file = &read_write(&mount.path("large"));
        let done = &AtomicBool::new(false);
        let rounds = std::thread::scope(|scope| {
            scope.spawn(move || {
                file.write_all_at(b"FIRST", 5).unwrap();
                done.store(true, Ordering::SeqCst);
            });
            // Some who have to wait.
            for n in 0..3 {
                scope.spawn(move || {
                    let mut bytes = [0; 5];
                    file.read_exact_at(&mut bytes, 500 * MIB + n).unwrap();
                    assert_eq!(&bytes, b"fffff");
                });
            }
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) {
                ask_of_others(mount, rounds);
                rounds += 1;
            }
            rounds
        });
        assert!(
            rounds > 20,
            "{transport:?}: {rounds} rounds while a file was copied"
        );
        let mut bytes = [0; 12];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"fffffFIRSTff");
    }
}

#[test]
fn what_does_not_fit_stays_as_it_was() {
    let source = Tmpfs::new();
    full(&source.join("large"), 80);
    for transport in each() {
        let options = "allow_other,size=64m";
        let mount = Daemon::on(transport, &["-o", options, source.to_str().unwrap()]);
        let file = read_write(&mount.path("large"));
        let before = seen(mount.path("large"));
        for _ in 0..2 {
            fails(Errno::NOSPC, pwrite(&file, b"x", 7));
            assert_eq!(used(mount.root()), 0, "what was copied is given back");
            let after = seen(mount.path("large"));
            assert_eq!((after.size, after.mtime), (before.size, before.mtime));
        }
        let read = std::fs::read(mount.path("large")).unwrap();
        assert!(read.len() as u64 == 80 * MIB && read.iter().all(|&byte| byte == b'f'));
        std::fs::write(mount.path("other"), vec![1; 10 << 20]).unwrap();
        std::fs::remove_file(mount.path("other")).unwrap();
        file.set_len(MIB).unwrap();
        pwrite(&file, b"x", 7).unwrap();
        assert_eq!(seen(mount.path("large")).size, MIB);
    }
}
