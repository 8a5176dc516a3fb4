//! Requests of every kind as the kernel would send them, and as it never would.

mod deciding;
mod lists;
mod refusals;

use crate::fs::Config;
use crate::transport::channel::exchange::{Answer, Patience, Serve};
use crate::transport::passthrough::Passthrough;
use crate::transport::testing::offline::{
    self, Asked, Layout, Offline, PAYLOAD, SLOW, SLOW_CONTENT,
};
use crate::transport::wire::{self, *};
use crate::transport::{Cache, Permissions, RequestKind};
use crate::tree::{Errno, Time};
use Opcode::*;
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const ROOT: u64 = 1;
const UNIQUE: u64 = 77;
type Asking<'a> = (Opcode, u64, &'a [u8], &'a [u8]);

fn raw(opcode: Opcode) -> u32 {
    let known = Opcode::ALL.iter().find(|(one, _)| *one == opcode);
    known.expect("every opcode is in the list").1
}

fn asked<'a>((opcode, nodeid, args, rest): Asking<'a>) -> Asked<'a> {
    Asked {
        header: InHeader {
            opcode: raw(opcode),
            nodeid,
            unique: UNIQUE,
            ..InHeader::new_zeroed()
        },
        args,
        rest,
        layout: Layout::Device,
        patience: Patience::Any,
    }
}

/// The bytes of the answer, which are the same in both layouts.
fn ask(offline: &mut Offline, asking: Asking<'_>) -> Result<Vec<u8>, Errno> {
    match offline.ask(&asked(asking)) {
        Answer::Bytes(count) => Ok(offline.buffer[..count].to_vec()),
        Answer::Error(errno) => Err(errno),
        other => panic!("{asking:?}: {other:?}"),
    }
}

fn entry(offline: &mut Offline, asking: Asking<'_>) -> EntryOut {
    let bytes = ask(offline, asking).expect("an entry");
    EntryOut::read_from_bytes(&bytes).expect("an entry alone")
}

fn attr(offline: &mut Offline, nodeid: u64) -> wire::AttrOut {
    let bytes = ask(offline, (Getattr, nodeid, &[0; 16], b"")).expect("known");
    AttrOut::read_from_bytes(&bytes).expect("attributes")
}

fn args<T: FromZeros>(fill: impl FnOnce(&mut T)) -> T {
    let mut args = T::new_zeroed();
    fill(&mut args);
    args
}

fn bytes(value: &(impl IntoBytes + Immutable)) -> &[u8] {
    value.as_bytes()
}

fn file(offline: &mut Offline, name: &[u8]) -> u64 {
    let mknod = args(|mknod: &mut MknodIn| mknod.mode = libc::S_IFREG | 0o4755);
    entry(offline, (Mknod, ROOT, bytes(&mknod), name)).nodeid
}

fn reading(offset: u64, size: u32) -> ReadIn {
    args(|read: &mut ReadIn| (read.offset, read.size) = (offset, size))
}

#[test]
fn names_are_made_found_moved_and_removed() {
    let mut offline = Offline::new(Cache::Forever);
    let o = &mut offline;
    let mkdir = args(|mkdir: &mut MkdirIn| mkdir.mode = 0o750);
    let dir = entry(o, (Mkdir, ROOT, bytes(&mkdir), b"dir\0"));
    assert_eq!((dir.attr.mode, dir.attr.nlink), (libc::S_IFDIR | 0o750, 2));
    let link = entry(o, (Symlink, dir.nodeid, b"", b"link\0to/there\0"));
    assert_eq!(
        ask(o, (Readlink, link.nodeid, b"", b"")),
        Ok(b"to/there".to_vec())
    );
    let device = args(|args: &mut MknodIn| (args.mode, args.rdev) = (libc::S_IFCHR | 0o600, 0x105));
    let device = entry(o, (Mknod, ROOT, bytes(&device), b"null\0"));
    assert_eq!(
        (device.attr.mode, device.attr.rdev),
        (libc::S_IFCHR | 0o600, 0x105)
    );
    let again = LinkIn {
        oldnodeid: device.nodeid,
    };
    let again = entry(o, (Link, dir.nodeid, bytes(&again), b"again\0"));
    assert_eq!((again.nodeid, again.attr.nlink), (device.nodeid, 2));

    let to_dir = RenameIn { newdir: dir.nodeid };
    assert_eq!(
        ask(o, (Rename, ROOT, bytes(&to_dir), b"null\0moved\0")),
        Ok(vec![])
    );
    let exchange = args(|args: &mut Rename2In| (args.newdir, args.flags) = (dir.nodeid, 2));
    let swap = (Rename2, dir.nodeid, bytes(&exchange), &b"link\0moved\0"[..]);
    assert_eq!(ask(o, swap), Ok(vec![]));
    assert_eq!(
        entry(o, (Lookup, dir.nodeid, b"", b"moved\0")).nodeid,
        link.nodeid
    );
    let missing = entry(o, (Lookup, ROOT, b"", b"null\0"));
    assert_eq!(
        (missing.nodeid, missing.entry_valid),
        (0, Cache::Forever.ttl().as_secs())
    );

    assert_eq!(ask(o, (Rmdir, ROOT, b"", b"dir\0")), Err(Errno::NOTEMPTY));
    for name in [&b"link\0"[..], b"moved\0", b"again\0"] {
        assert_eq!(
            ask(o, (Unlink, dir.nodeid, b"", name)),
            Ok(vec![]),
            "{name:?}"
        );
    }
    assert_eq!(ask(o, (Rmdir, ROOT, b"", b"dir\0")), Ok(vec![]));
    offline.check();
}

#[test]
fn without_a_cache_a_missing_name_is_an_error_and_files_are_opened() {
    let o = &mut Offline::new(Cache::None);
    assert_eq!(ask(o, (Lookup, ROOT, b"", b"x\0")), Err(Errno::NOENT));
    let create = args(|create: &mut CreateIn| create.mode = 0o640);
    let made = ask(o, (Create, ROOT, bytes(&create), b"x\0")).unwrap();
    let (made, open) = EntryOut::read_from_prefix(&made).unwrap();
    assert_eq!((made.attr.mode, open.len()), (libc::S_IFREG | 0o640, 16));
    assert_eq!(ask(o, (Open, made.nodeid, &[0; 8], b"")), Ok(vec![0; 16]));
    assert_eq!(ask(o, (Opendir, ROOT, &[0; 8], b"")), Ok(vec![0; 16]));
    let o = &mut Offline::new(Cache::Forever);
    for opcode in [Open, Opendir] {
        assert_eq!(ask(o, (opcode, ROOT, &[0; 8], b"")), Err(Errno::NOSYS));
    }
    assert_eq!(
        ask(o, (Create, ROOT, bytes(&create), b"x\0")),
        Err(Errno::NOSYS)
    );
}

#[test]
fn a_file_without_a_name_can_be_linked_or_forgotten() {
    let mut offline = Offline::new(Cache::Forever);
    let o = &mut offline;
    let create = args(|create: &mut CreateIn| create.mode = libc::S_IFREG | 0o600);
    let make = |o: &mut Offline| {
        let made = ask(o, (Tmpfile, ROOT, bytes(&create), b"/\0")).unwrap();
        let (made, open) = EntryOut::read_from_prefix(&made).unwrap();
        assert_eq!((made.attr.nlink, open.len()), (0, 16));
        made.nodeid
    };
    let link = LinkIn { oldnodeid: make(o) };
    assert_eq!(
        entry(o, (Link, ROOT, bytes(&link), b"named\0")).attr.nlink,
        1
    );
    make(o);
    offline.check();
}

#[test]
fn what_was_forgotten_as_often_as_it_was_told_is_gone() {
    let o = &mut Offline::new(Cache::Forever);
    let files = [file(o, b"a\0"), file(o, b"b\0")];
    for name in [b"a\0", b"b\0"] {
        entry(o, (Lookup, ROOT, b"", name));
        ask(o, (Unlink, ROOT, b"", name)).unwrap();
    }
    let once = ForgetIn { nlookup: 1 };
    for (file, errno) in files
        .into_iter()
        .flat_map(|f| [(f, None), (f, Some(Errno::STALE))])
    {
        let forget = asked((Forget, file, bytes(&once), b""));
        assert_eq!(o.ask(&forget), Answer::Nothing);
        assert_eq!(ask(o, (Getattr, file, &[0; 16], b"")).err(), errno);
    }
    let files = [file(o, b"a\0"), file(o, b"b\0"), file(o, b"c\0")];
    let all = files.map(|nodeid| ForgetOne { nodeid, nlookup: 1 });
    let batch = BatchForgetIn {
        count: 2,
        _dummy: 0,
    };
    for name in [b"a\0", b"b\0", b"c\0"] {
        ask(o, (Unlink, ROOT, b"", name)).unwrap();
    }
    let forget = asked((BatchForget, 0, bytes(&batch), all.as_bytes()));
    assert_eq!(o.ask(&forget), Answer::Nothing);
    let left = files.map(|file| ask(o, (Getattr, file, &[0; 16], b"")).is_ok());
    assert_eq!(left, [false, false, true]);
}

#[test]
fn bytes_go_where_they_are_to_be() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"file\0");
    let write = args(|write: &mut WriteIn| (write.offset, write.size) = (3, 5));
    let written = ask(o, (Write, file, bytes(&write), b"hello, and more")).unwrap();
    assert_eq!(WriteOut::read_from_bytes(&written).unwrap().size, 5);
    assert_eq!(
        ask(o, (Read, file, bytes(&reading(0, 100)), b"")),
        Ok(b"\0\0\0hello".to_vec())
    );
    assert_eq!(
        ask(o, (Read, file, bytes(&reading(4, 2)), b"")),
        Ok(b"el".to_vec())
    );
    assert_eq!(ask(o, (Read, file, bytes(&reading(8, 2)), b"")), Ok(vec![]));
    let too_large = reading(0, PAYLOAD as u32 + 1);
    assert_eq!(
        ask(o, (Read, file, bytes(&too_large), b"")),
        Err(Errno::INVAL)
    );
    let fallocate = args(|args: &mut FallocateIn| args.length = 20);
    assert_eq!(
        ask(o, (Fallocate, file, bytes(&fallocate), b"")),
        Ok(vec![])
    );
    assert_eq!(attr(o, file).attr.size, 20);
    let seek = args(|args: &mut LseekIn| args.whence = libc::SEEK_HOLE as u32);
    let found = ask(o, (Lseek, file, bytes(&seek), b"")).unwrap();
    assert_eq!(LseekOut::read_from_bytes(&found).unwrap().offset, 20);
}

#[test]
fn privileges_go_when_the_kernel_says_so_and_no_sooner() {
    let o = &mut Offline::new(Cache::None);
    let file = file(o, b"file\0");
    let mode = |o: &mut Offline| attr(o, file).attr.mode & 0o7777;
    let reset = args(|set: &mut SetattrIn| (set.valid, set.mode) = (fattr::MODE, 0o4755));
    let write = args(|write: &mut WriteIn| write.size = 1);
    let kill = WriteIn {
        write_flags: WRITE_KILL_SUIDGID,
        ..write
    };
    let size = args(|set: &mut SetattrIn| set.valid = fattr::SIZE);
    let cut = SetattrIn {
        valid: fattr::SIZE | fattr::KILL_SUIDGID,
        ..size
    };
    let open = OpenIn {
        flags: libc::O_WRONLY as u32,
        open_flags: 0,
    };
    let truncating = OpenIn {
        open_flags: OPEN_KILL_SUIDGID,
        ..open
    };
    let cases: [(Opcode, &[u8], &[u8]); 3] = [
        (Write, bytes(&write), bytes(&kill)),
        (Setattr, bytes(&size), bytes(&cut)),
        (Open, bytes(&open), bytes(&truncating)),
    ];
    for (opcode, keep, kill) in cases {
        ask(o, (Setattr, file, bytes(&reset), b"")).unwrap();
        ask(o, (opcode, file, keep, b"x")).unwrap();
        assert_eq!(mode(o), 0o4755, "{opcode:?}");
        ask(o, (opcode, file, kill, b"x")).unwrap();
        assert_eq!(mode(o), 0o755, "{opcode:?}");
    }
}

#[test]
fn times_before_1970_come_and_go_unchanged() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"file\0");
    for (sec, nsec) in [
        (0, 0),
        (7, 5),
        (-1, 999_999_999),
        (-2, 1),
        (-3, 0),
        (i64::MIN, 0),
    ] {
        let set = args(|set: &mut SetattrIn| {
            set.valid = fattr::ATIME | fattr::MTIME;
            (set.atime, set.atimensec) = (sec, nsec);
            (set.mtime, set.mtimensec) = (sec, nsec);
        });
        let set = ask(o, (Setattr, file, bytes(&set), b"")).unwrap();
        let set = AttrOut::read_from_bytes(&set).unwrap().attr;
        assert_eq!((set.atime, set.atimensec), (sec, nsec));
        assert_eq!((set.mtime, set.mtimensec), (sec, nsec));
        assert_eq!(attr(o, file).attr.mtime, sec);
    }
}

#[test]
fn statx_tells_when_a_file_was_made() {
    let o = &mut Offline::new(Cache::Forever);
    let before = Time::now();
    let file = file(o, b"file\0");
    let set = args(|set: &mut SetattrIn| (set.valid, set.mtime) = (fattr::MTIME, 1));
    ask(o, (Setattr, file, bytes(&set), b"")).unwrap();
    let out = ask(o, (Statx, file, &[0; 24], b"")).unwrap();
    let out = StatxOut::read_from_bytes(&out).unwrap();
    assert!(
        Time {
            sec: out.btime.sec,
            nsec: out.btime.nsec
        } >= before
    );
    assert_eq!((out.mask, out.ino, out.mtime.sec), (0xfff, file, 1));
    assert_eq!(u32::from(out.mode), libc::S_IFREG | 0o4755);
}

#[test]
fn attributes_of_any_length_are_told_of_or_handed_over() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"file\0");
    let set = SetxattrIn { size: 5, flags: 0 };
    assert_eq!(
        ask(o, (Setxattr, file, bytes(&set), b"user.a\0value")),
        Ok(vec![])
    );
    let get = |o: &mut Offline, opcode, size, name| {
        ask(
            o,
            (opcode, file, bytes(&GetxattrIn { size, _padding: 0 }), name),
        )
    };
    let length = |n: u32| {
        Ok(bytes(&GetxattrOut {
            size: n,
            padding: 0,
        })
        .to_vec())
    };
    assert_eq!(get(o, Getxattr, 0, b"user.a\0"), length(5));
    assert_eq!(get(o, Getxattr, 4, b"user.a\0"), Err(Errno::RANGE));
    assert_eq!(get(o, Getxattr, 5, b"user.a\0"), Ok(b"value".to_vec()));
    assert_eq!(get(o, Getxattr, 9, b"user.b\0"), Err(Errno::NODATA));
    assert_eq!(get(o, Listxattr, 0, b""), length(7));
    assert_eq!(get(o, Listxattr, 6, b""), Err(Errno::RANGE));
    assert_eq!(get(o, Listxattr, 7, b""), Ok(b"user.a\0".to_vec()));
    assert_eq!(ask(o, (Removexattr, file, b"", b"user.a\0")), Ok(vec![]));
    let short = SetxattrIn { size: 6, flags: 0 };
    let short = (Setxattr, file, bytes(&short), &b"user.a\0value"[..]);
    assert_eq!(ask(o, short), Err(Errno::INVAL));
}

#[test]
fn a_listing_in_replies_of_any_size_is_complete_and_counts_what_it_told() {
    let mut offline = Offline::new(Cache::Forever);
    for n in 0..40 {
        file(&mut offline, format!("{}\0", "x".repeat(n + 1)).as_bytes());
    }
    for size in (200..2000).step_by(23) {
        for opcode in [Readdir, Readdirplus] {
            let (mut names, mut from) = (0, 0);
            loop {
                let list = reading(from, size);
                let listed = ask(&mut offline, (opcode, ROOT, bytes(&list), b"")).unwrap();
                let mut rest = listed.as_slice();
                if rest.is_empty() {
                    break;
                }
                while !rest.is_empty() {
                    let plus = if opcode == Readdirplus { 128 } else { 0 };
                    let (dirent, _) = Dirent::read_from_prefix(&rest[plus..]).unwrap();
                    let length = plus + 24 + dirent.namelen as usize;
                    rest = &rest[length.next_multiple_of(8)..];
                    (names, from) = (names + 1, dirent.off);
                }
            }
            assert_eq!(names, 43, "{size}");
        }
    }
    let small = reading(0, 16);
    assert_eq!(
        ask(&mut offline, (Readdir, ROOT, bytes(&small), b"")),
        Err(Errno::INVAL)
    );
    for n in 0..40 {
        let name = format!("{}\0", "x".repeat(n + 1));
        ask(&mut offline, (Unlink, ROOT, b"", name.as_bytes())).unwrap();
    }
    offline.check();
}

#[test]
fn a_copy_goes_from_one_file_to_another() {
    let o = &mut Offline::new(Cache::Forever);
    let (from, to) = (file(o, b"from\0"), file(o, b"to\0"));
    let write = args(|write: &mut WriteIn| write.size = 5);
    ask(o, (Write, from, bytes(&write), b"bytes")).unwrap();
    let copy = args(|copy: &mut CopyFileRangeIn| {
        (copy.off_in, copy.nodeid_out) = (1, to);
        (copy.off_out, copy.len) = (2, 99);
    });
    let copied = ask(o, (CopyFileRange, from, bytes(&copy), b"")).unwrap();
    assert_eq!(copied[..4], 4u32.to_ne_bytes());
    let read = ask(o, (Read, to, bytes(&reading(0, 99)), b"")).unwrap();
    assert_eq!(read, b"\0\0ytes");
    let copied = ask(o, (CopyFileRange64, from, bytes(&copy), b"")).unwrap();
    assert_eq!(copied, 4u64.to_ne_bytes());
    let unknown = CopyFileRangeIn { flags: 1, ..copy };
    let refused = ask(o, (CopyFileRange, from, bytes(&unknown), b""));
    assert_eq!(refused, Err(Errno::INVAL));
}

#[test]
fn a_copy_of_what_has_to_be_waited_for_is_made_later() {
    let o = &mut Offline::new(Cache::Forever);
    let slow = entry(o, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    let file = file(o, b"file\0");
    let copy = args(|copy: &mut CopyFileRangeIn| (copy.nodeid_out, copy.len) = (file, 7));
    let asking = (CopyFileRange, slow, bytes(&copy), &b""[..]);
    let hurried = Asked {
        patience: Patience::None,
        ..asked(asking)
    };
    assert_eq!(o.ask(&hurried), Answer::Later);
    ask(o, asking).unwrap();
    let read = ask(o, (Read, file, bytes(&reading(0, 99)), b"")).unwrap();
    assert_eq!(read, SLOW_CONTENT[..7]);
}

#[test]
fn holes_that_were_read_are_written_back_before_anything_is_said_of_them() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"f\0");
    let grow = args(|set: &mut SetattrIn| (set.valid, set.size) = (fattr::SIZE, 1 << 20));
    ask(o, (Setattr, file, bytes(&grow), b"")).unwrap();
    let data = args(|seek: &mut LseekIn| seek.whence = libc::SEEK_DATA as u32);
    let hole = args(|seek: &mut LseekIn| seek.whence = libc::SEEK_HOLE as u32);
    let answers = |o: &mut Offline, patience| {
        [
            (Lseek, bytes(&data)),
            (Lseek, bytes(&hole)),
            (Getattr, &[0; 16]),
        ]
        .map(|(opcode, args)| {
            o.ask(&Asked {
                patience,
                ..asked((opcode, file, args, b""))
            })
        })
    };
    let none = Answer::Error(Errno::NXIO);
    let [found, hole, attributes] = [none, Answer::Bytes(8), Answer::Bytes(104)];
    assert_eq!(answers(o, Patience::None), [found, hole, attributes]);
    assert_ne!(attr(o, file).attr_valid, 0);

    ask(o, (Read, file, bytes(&reading(4096, 4096)), b"")).unwrap();
    assert_eq!(answers(o, Patience::None), [Answer::AfterWriteback; 3]);
    // Nobody can wait: all of it counts as data.
    assert_eq!(
        answers(o, Patience::Spent),
        [Answer::Bytes(8), hole, attributes]
    );
    let told = AttrOut::read_from_bytes(&o.buffer[..104]).unwrap();
    assert_eq!((told.attr_valid, told.attr.blocks), (0, 8));
    let found = entry(o, (Lookup, ROOT, b"", b"f\0"));
    assert_eq!((found.attr_valid, found.attr.blocks), (0, 0));

    // Attributes settle it until the next is read, and what is seldom asked for does not.
    assert_eq!(answers(o, Patience::Any), [none, hole, attributes]);
    assert_eq!(answers(o, Patience::None), [none, hole, attributes]);
    assert_ne!(attr(o, file).attr_valid, 0);
}

#[test]
fn what_has_to_be_waited_for_is_answered_later() {
    let mut name = SLOW.to_vec();
    name.push(0);
    let read = reading(0, 100);
    let write = args(|write: &mut WriteIn| write.size = 1);
    let seek = args(|args: &mut LseekIn| args.whence = libc::SEEK_DATA as u32);
    let allocate = args(|args: &mut FallocateIn| args.length = 1);
    let cases: [(Opcode, &[u8]); 4] = [
        (Read, bytes(&read)),
        (Write, bytes(&write)),
        (Lseek, bytes(&seek)),
        (Fallocate, bytes(&allocate)),
    ];
    for (opcode, args) in cases {
        let o = &mut Offline::new(Cache::Forever);
        let slow = entry(o, (Lookup, ROOT, b"", &name)).nodeid;
        let hurried = Asked {
            patience: Patience::None,
            ..asked((opcode, slow, args, b"x"))
        };
        let expected = match opcode {
            // The same threads wait for what the kernel writes back.
            Lseek => Answer::AfterWriteback,
            _ => Answer::Later,
        };
        assert_eq!(o.ask(&hurried), expected, "{opcode:?}");
        let waited = ask(o, (opcode, slow, args, b"x")).unwrap();
        if opcode == Read {
            assert_eq!(waited, SLOW_CONTENT);
        }
        let chmod = asked((Setattr, slow, &[0; 88], b""));
        let chmod = Asked {
            patience: Patience::None,
            ..chmod
        };
        assert!(matches!(o.ask(&chmod), Answer::Bytes(_)), "{opcode:?}");
    }
}

#[test]
fn a_cut_waits_for_no_content() {
    let mut name = SLOW.to_vec();
    name.push(0);
    for size in [0, 3, 1 << 30] {
        let o = &mut Offline::new(Cache::Forever);
        let slow = entry(o, (Lookup, ROOT, b"", &name)).nodeid;
        let cut = args(|set: &mut SetattrIn| (set.valid, set.size) = (fattr::SIZE, size));
        let hurried = Asked {
            patience: Patience::None,
            ..asked((Setattr, slow, bytes(&cut), b""))
        };
        assert!(matches!(o.ask(&hurried), Answer::Bytes(_)), "{size}");
    }
}

#[test]
fn what_moves_many_bytes_is_answered_later() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"f\0");
    let mut answer = |length| {
        let allocate = args(|args: &mut FallocateIn| args.length = length);
        let copy = args(|copy: &mut CopyFileRangeIn| (copy.nodeid_out, copy.len) = (file, length));
        [(Fallocate, bytes(&allocate)), (CopyFileRange, bytes(&copy))].map(|(opcode, args)| {
            o.ask(&Asked {
                patience: Patience::None,
                ..asked((opcode, file, args, b""))
            })
        })
    };
    assert_eq!(answer((1 << 20) + 1), [Answer::Later, Answer::Later]);
    assert!(answer(4).into_iter().all(|answer| answer != Answer::Later));
}

#[test]
fn with_passthrough_nobody_opens_for_writing_and_a_file_is_waited_for() {
    let o = &mut Offline::new(Cache::None);
    o.shared.passthrough = Some(Passthrough::default());
    let slow = entry(o, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    for flags in [libc::O_WRONLY, libc::O_RDWR | libc::O_APPEND] {
        let flags = flags as u32;
        let open = args(|open: &mut OpenIn| open.flags = flags);
        let opened = ask(o, (Open, slow, bytes(&open), b""));
        assert_eq!(opened, Err(Errno::ROFS));
    }
    let fs = &o.shared.fs;
    fs.set_config(Config {
        read_only: true,
        ..Config::clone(&fs.config())
    });
    let open = OpenIn::default();
    let open = asked((Open, slow, bytes(&open), b""));
    let hurried = Asked {
        patience: Patience::None,
        ..open.clone()
    };
    assert_eq!(o.ask(&hurried), Answer::Later);
    assert_eq!(o.ask(&open), Answer::Bytes(16));
    assert!(o.buffer[..16].iter().all(|byte| *byte == 0));
    let release = asked((Release, slow, &[0; 24], b""));
    assert_eq!(o.ask(&release), Answer::Bytes(0));
    assert_eq!(o.ask(&release), Answer::Bytes(0));
}

#[test]
fn a_request_is_counted_when_it_is_answered_and_failures_are_told_apart() {
    let mut offline = Offline::new(Cache::Forever);
    let slow = entry(&mut offline, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    let shared = offline.shared;
    let handle = |opcode: Opcode, args: &[u8], patience| {
        let node = if opcode == Read { slow } else { ROOT };
        let mut exchange = crate::transport::channel::exchange::Exchange {
            header: asked((opcode, node, b"", b"")).header,
            args,
            buffer: &mut [0; 4096],
            sent: 0,
        };
        shared.handle(&mut exchange, patience)
    };
    assert_eq!(
        handle(Getattr, &[0; 16], Patience::None),
        Answer::Bytes(104)
    );
    assert_eq!(handle(Forget, &[0; 8], Patience::Any), Answer::Nothing);
    assert_eq!(
        handle(Flush, &[0; 24], Patience::None),
        Answer::Error(Errno::NOSYS)
    );
    assert_eq!(
        handle(Setattr, &[0; 80], Patience::None),
        Answer::Error(Errno::INVAL)
    );
    let read = reading(0, 4);
    let later = handle(Read, bytes(&read), Patience::None);
    assert_eq!(later, Answer::Later);
    assert_eq!(shared.tally.sum().count(RequestKind::Read), 0);
    assert_eq!(handle(Read, bytes(&read), Patience::Any), Answer::Bytes(4));
    let sum = shared.tally.sum();
    let errors = |kind| sum.iter().find(|stats| stats.kind == kind).unwrap().errors;
    assert_eq!((sum.total(), sum.count(RequestKind::Forget)), (4, 1));
    assert_eq!(errors(RequestKind::Flush), 0);
    assert_eq!(errors(RequestKind::Setattr), 1);
}
