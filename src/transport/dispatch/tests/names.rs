//! Names are found, made, moved, removed and forgotten.

use super::*;

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
