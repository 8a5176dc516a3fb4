//! What an inode is, and its extended attributes.

use super::*;

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
