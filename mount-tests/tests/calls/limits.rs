//! Full filesystems, as on tmpfs: which calls find no room, what they leave behind, and how room comes back.

use mount_tests::posix::{read_write, tree};
use mount_tests::programs::attempt;
use mount_tests::{Daemon, Scratch, Tmpfs, fails, wait_until};
use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, XattrFlags, copy_file_range,
    fallocate, link, mkdir, mknodat, openat, renameat_with, setxattr, statvfs, symlink,
};
use rustix::io::{Errno, Result, pwrite};
use std::fs::{File, read, remove_file, write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const BYTES: usize = 256 << 10;
const INODES: usize = 16;
const PAGE: usize = 4096;

/// Runs `steps` on a tmpfs and on norefs of the same limits, and expects the same report.
#[track_caller]
fn same(steps: impl Fn(&Path) -> Vec<String>) {
    let expected = steps(&Tmpfs::with("mode=755,size=256k,nr_inodes=16").unwrap());
    for cache in ["cache=forever", "cache=none"] {
        let mount = limited(&format!("allow_other,size=256k,nr_inodes=16,{cache}"));
        assert_eq!(steps(mount.root()), expected, "{cache}");
    }
}

fn limited(options: &str) -> Daemon {
    Daemon::with(&["-o", options])
}

/// What lies at byte `at` of a file written by [`pattern`].
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Fills what is left of the bytes but for `left` with a file called `kept`, by one write: norefs gives a file that grows
/// in small steps more room than it needs.
fn fill(root: &Path, left: usize) {
    let kept = read_write(&root.join("kept"));
    let at = kept.metadata().unwrap().len() as usize;
    let room = statvfs(root).unwrap().f_bfree as usize * PAGE - left;
    let bytes = pattern(at + room);
    assert_eq!(pwrite(&kept, &bytes[at..], at as u64), Ok(room));
    assert_eq!(statvfs(root).unwrap().f_bfree as usize * PAGE, left);
}

/// Makes files until there is room for `left` inodes more.
fn fill_inodes(root: &Path, left: usize) {
    let mut number = 0;
    while statvfs(root).unwrap().f_ffree as usize > left {
        write(root.join(format!("inode-{number}")), "").unwrap();
        number += 1;
    }
}

/// A call by its name.
type Call = (&'static str, fn(&Path) -> Result<usize>);

/// Makes each call on a full filesystem, on which it must change nothing if it fails, and then with room again.
fn report(root: &Path, calls: &[Call], room: impl Fn(&Path)) -> Vec<String> {
    let free = || {
        let usage = statvfs(root).unwrap();
        (usage.f_bfree, usage.f_ffree)
    };
    let (before, free_before) = (tree(root), free());
    let mut report: Vec<String> = Vec::new();
    for (name, call) in calls {
        let result = call(root);
        if result.is_err() {
            assert!(tree(root) == before, "{name} left something behind");
        }
        report.push(format!("{name}: {result:?}"));
        if result.is_ok() {
            break;
        }
    }
    if report.len() == refusals(&report) {
        // The room of a file without a name comes back a moment after it was closed.
        wait_until(|| free() == free_before);
    }
    let (blocks, inodes) = free();
    report.push(format!("{blocks} blocks and {inodes} inodes free"));
    room(root);
    report.extend(
        calls
            .iter()
            .map(|(name, call)| format!("{name}, with room: {:?}", call(root).is_ok())),
    );
    report
}

/// How many of the calls found no room.
fn refusals(report: &[String]) -> usize {
    let refusal = format!(": {:?}", Err::<usize, _>(Errno::NOSPC));
    report
        .iter()
        .filter(|line| line.ends_with(&refusal))
        .count()
}

fn put(root: &Path, name: &str, offset: usize, length: usize) -> Result<usize> {
    pwrite(
        read_write(&root.join(name)),
        &pattern(length),
        offset as u64,
    )
}

fn mknod(root: &Path, name: &str, kind: FileType) -> Result<usize> {
    mknodat(CWD, root.join(name), kind, Mode::from(0o644), 0).map(|()| 0)
}

fn tmpfile(root: &Path) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    openat(CWD, root, flags, Mode::from(0o600)).map(File::from)
}

/// Calls that need bytes.
const BYTE_CALLS: &[Call] = &[
    ("write to a new file", |root| put(root, "empty", 0, 1)),
    ("write into a hole", |root| put(root, "hole", 100_000, 5)),
    ("write without a name", |root| put_nameless(root)),
    ("fallocate", |root| {
        fallocate(
            read_write(&root.join("empty")),
            FallocateFlags::empty(),
            0,
            9,
        )
        .map(|()| 0)
    }),
    ("fallocate behind the size", |root| {
        fallocate(
            read_write(&root.join("empty")),
            FallocateFlags::KEEP_SIZE,
            0,
            BYTES as u64 / 8,
        )
        .map(|()| 0)
    }),
    ("copy", |root| {
        let (from, to) = (
            read_write(&root.join("kept")),
            read_write(&root.join("empty")),
        );
        copy_file_range(from, None, to, None, 9000)
    }),
    ("long symlink", |root| {
        symlink("x".repeat(2000), root.join("symlink")).map(|()| 0)
    }),
];

fn put_nameless(root: &Path) -> Result<usize> {
    pwrite(tmpfile(root)?, b"bytes", 0)
}

#[test]
fn calls_that_need_bytes_find_none_and_leave_nothing_behind() {
    same(|root| {
        write(root.join("empty"), "").unwrap();
        File::create(root.join("hole"))
            .unwrap()
            .set_len(200_000)
            .unwrap();
        fill(root, 0);
        let told = report(root, BYTE_CALLS, |root| {
            read_write(&root.join("kept")).set_len(PAGE as u64).unwrap();
        });
        assert_eq!(refusals(&told), BYTE_CALLS.len(), "{told:#?}");
        told
    });
}

#[test]
fn a_write_over_the_end_of_room_is_short_and_what_fitted_is_there() {
    same(|root| {
        let mut told = Vec::new();
        for (name, offset) in [
            ("aligned", 0),
            ("unaligned", 100),
            ("behind a hole", (64 << 10) + 100),
        ] {
            fill(root, 2 * PAGE);
            let file = read_write(&root.join(name));
            let written = pwrite(&file, &pattern(5 * PAGE), offset).unwrap();
            let again = pwrite(&file, b"x", offset + written as u64);
            let whole = read(root.join(name)).unwrap();
            assert!(whole[..offset as usize].iter().all(|&byte| byte == 0));
            assert_eq!(whole[offset as usize..], pattern(5 * PAGE)[..written]);
            told.push(format!("{name}: {written}, then {again:?}"));
            drop(file);
            remove_file(root.join(name)).unwrap();
            assert!(wait_until(|| statvfs(root).unwrap().f_bfree == 2));
        }
        let kept = read(root.join("kept")).unwrap();
        assert!(kept == pattern(kept.len()));
        told
    });
}

#[test]
fn what_needs_no_bytes_works_on_a_full_filesystem() {
    same(|root| {
        write(root.join("empty"), "").unwrap();
        fill(root, 0);
        let results = [
            put(root, "kept", 1000, 5000),
            read_write(&root.join("empty"))
                .set_len(1 << 40)
                .map(|()| 0)
                .map_err(|_| Errno::IO),
            mkdir(root.join("d"), Mode::from(0o755)).map(|()| 0),
            mknod(root, "fifo", FileType::Fifo),
            mknod(root, "file", FileType::RegularFile),
            symlink("short", root.join("symlink")).map(|()| 0),
            link(root.join("empty"), root.join("link")).map(|()| 0),
            tmpfile(root).map(|_| 0),
            renameat_with(
                CWD,
                root.join("fifo"),
                CWD,
                root.join("d/fifo"),
                RenameFlags::WHITEOUT,
            )
            .map(|()| 0),
            read_write(&root.join("kept"))
                .set_len(100_001)
                .map(|()| 0)
                .map_err(|_| Errno::IO),
            put(root, "file", 0, 100_000),
        ];
        assert_eq!(read(root.join("kept")).unwrap().len(), 100_001);
        results.iter().map(|result| format!("{result:?}")).collect()
    });
}

/// Calls that need an inode.
const INODE_CALLS: &[Call] = &[
    ("create", |root| {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        openat(CWD, root.join("new"), flags, Mode::from(0o644)).map(|_| 0)
    }),
    ("mkdir", |root| {
        mkdir(root.join("dir"), Mode::from(0o755)).map(|()| 0)
    }),
    ("symlink", |root| {
        symlink("short", root.join("short")).map(|()| 0)
    }),
    ("long symlink", |root| {
        symlink("x".repeat(2000), root.join("long")).map(|()| 0)
    }),
    ("fifo", |root| mknod(root, "fifo", FileType::Fifo)),
    ("socket", |root| mknod(root, "socket", FileType::Socket)),
    ("link", |root| {
        link(root.join("inode-0"), root.join("link")).map(|()| 0)
    }),
    ("no name", |root| tmpfile(root).map(|_| 0)),
    ("whiteout", |root| {
        let to = root.join("moved");
        renameat_with(CWD, root.join("inode-1"), CWD, to, RenameFlags::WHITEOUT).map(|()| 0)
    }),
];

#[test]
fn calls_that_need_an_inode_find_none_and_leave_nothing_behind() {
    same(|root| {
        fill_inodes(root, 0);
        let told = report(root, INODE_CALLS, |root| {
            for number in 3..INODES - 1 {
                remove_file(root.join(format!("inode-{number}"))).unwrap();
            }
        });
        assert_eq!(refusals(&told), INODE_CALLS.len(), "{told:#?}");
        told
    });
}

#[test]
fn a_removed_file_that_is_open_keeps_its_room_until_it_is_closed() {
    same(|root| {
        fill(root, 0);
        let kept = read_write(&root.join("kept"));
        remove_file(root.join("kept")).unwrap();
        let told = vec![
            format!("{:?}", put(root, "new", 0, 1)),
            format!("{}", statvfs(root).unwrap().f_bfree),
        ];
        drop(kept);
        // The kernel tells of a closed file a moment after close(2) has returned.
        assert!(wait_until(|| put(root, "new", 0, 200_000) == Ok(200_000)));
        remove_file(root.join("new")).unwrap();
        assert!(wait_until(
            || statvfs(root).unwrap().f_bfree as usize == BYTES / PAGE
        ));
        assert!(wait_until(
            || statvfs(root).unwrap().f_ffree as usize == INODES - 1
        ));
        told
    });
}

/// Maps `hole` and writes to it; then says what msync(2) did.
const MAP: &str = "import mmap\nwith open('hole', 'r+b') as f:\n m = mmap.mmap(f.fileno(), 8192)\n m[5000] = 7\n try:\n  m.flush(); print('kept')\n except OSError as e: print(e.errno)";

#[test]
fn a_memory_map_finds_no_room() {
    let prepare = |root: &Path| {
        File::create(root.join("hole"))
            .unwrap()
            .set_len(8192)
            .unwrap();
        fill(root, 0);
        attempt(root, "python3", &["-c", MAP])
    };
    let tmpfs = Tmpfs::with("mode=755,size=256k").unwrap();
    assert_eq!(prepare(&tmpfs).status.signal(), Some(7));
    // fuse_page_mkwrite asks nobody: only writing the page back finds that there is no room.
    let mount = limited("size=256k");
    let said = prepare(mount.root());
    assert_eq!(String::from_utf8_lossy(&said.stdout), "28\n", "{said:?}");
    File::create(mount.path("kept")).unwrap();
    let said = attempt(mount.root(), "python3", &["-c", MAP]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "kept\n", "{said:?}");
    assert_eq!(read(mount.path("hole")).unwrap()[5000], 7);
}

#[test]
fn extended_attributes_are_counted_as_bytes() {
    let set =
        |root: &Path, name: &str| setxattr(root.join("f"), name, &[1; 20_000], XattrFlags::empty());
    let mount = limited("size=64k");
    write(mount.path("f"), "").unwrap();
    assert_eq!(
        (set(mount.root(), "user.a"), set(mount.root(), "user.b")),
        (Ok(()), Ok(()))
    );
    write(mount.path("g"), [1; 16_000]).unwrap();
    fails(Errno::NOSPC, set(mount.root(), "user.c"));
    assert_eq!(
        rustix::fs::getxattr(mount.path("f"), "user.c", &mut [0; 9]),
        Err(Errno::NODATA)
    );
    remove_file(mount.path("g")).unwrap();
    assert_eq!(set(mount.root(), "user.c"), Ok(()));
}

#[test]
fn the_first_write_to_a_file_of_a_source_needs_room_for_all_of_it() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    write(source.join("f"), pattern(100_000)).unwrap();
    let mount = Daemon::with(&["-o".as_ref(), "size=64k".as_ref(), source.as_os_str()]);
    assert_eq!(put(mount.root(), "f", 0, 1), Err(Errno::NOSPC));
    assert_eq!(read(mount.path("f")).unwrap(), pattern(100_000));
    read_write(&mount.path("f")).set_len(1000).unwrap();
    assert_eq!(put(mount.root(), "f", 500, 1), Ok(1));
    let mut expected = pattern(1000);
    expected[500] = 0;
    assert_eq!(read(mount.path("f")).unwrap(), expected);
}
