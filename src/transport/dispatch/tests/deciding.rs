//! Where the filesystem decides about permissions it is asked about each step and each open.

use super::*;
use crate::transport::Permissions;

const STRANGER: u32 = 1000;
const DENIED: Answer = Answer::Error(Errno::ACCESS);
const NOT_YOURS: Answer = Answer::Error(Errno::PERM);

fn as_stranger(offline: &mut Offline, asking: Asking<'_>) -> Answer {
    let mut asked = asked(asking);
    (asked.header.uid, asked.header.gid) = (STRANGER, STRANGER);
    offline.ask(&asked)
}

fn closed_dir(offline: &mut Offline) -> u64 {
    let mkdir = args(|mkdir: &mut MkdirIn| mkdir.mode = 0o700);
    entry(offline, (Mkdir, ROOT, bytes(&mkdir), b"dir\0")).nodeid
}

#[test]
fn names_are_not_kept_and_attributes_are() {
    let o = &mut Offline::deciding(Cache::Forever, Permissions::Daemon);
    file(o, b"f\0");
    let found = entry(o, (Lookup, ROOT, b"", b"f\0"));
    assert_eq!((found.entry_valid, found.entry_valid_nsec), (0, 0));
    assert_eq!(found.attr_valid, Cache::Forever.ttl().as_secs());
    assert_eq!(ask(o, (Lookup, ROOT, b"", b"none\0")), Err(Errno::NOENT));
    let reading = reading(0, 4096);
    let listed = ask(o, (Readdirplus, ROOT, bytes(&reading), b"")).unwrap();
    let (youngest, _) = EntryOut::read_from_prefix(&listed[2 * 160..]).unwrap();
    assert_eq!((youngest.nodeid, youngest.entry_valid), (found.nodeid, 0));
}

#[test]
fn opening_is_asked_for_and_throws_nothing_away() {
    let open_flags = |o: &mut Offline, opcode, node| {
        let bytes = ask(o, (opcode, node, &[0; 8], b"")).unwrap();
        OpenOut::read_from_bytes(&bytes).unwrap().open_flags
    };
    for (cache, file_flags, dir_flags) in [
        (
            Cache::Forever,
            OPEN_KEEP_CACHE,
            OPEN_KEEP_CACHE | OPEN_CACHE_DIR,
        ),
        (Cache::None, 0, 0),
    ] {
        let o = &mut Offline::deciding(cache, Permissions::Daemon);
        let file = file(o, b"f\0");
        assert_eq!(open_flags(o, Open, file), file_flags);
        assert_eq!(open_flags(o, Opendir, ROOT), dir_flags);
        let create = args(|create: &mut CreateIn| create.mode = 0o640);
        assert!(ask(o, (Create, ROOT, bytes(&create), b"x\0")).is_ok());
    }
}

#[test]
fn what_the_kernel_lets_through_is_refused() {
    let o = &mut Offline::deciding(Cache::Forever, Permissions::Daemon);
    let (dir, file) = (closed_dir(o), file(o, b"f\0"));
    let create = args(|create: &mut CreateIn| create.mode = 0o640);
    let link = LinkIn { oldnodeid: file };
    let away = RenameIn { newdir: ROOT };
    let open = |flags| args(|open: &mut OpenIn| open.flags = flags);
    let write = open(libc::O_WRONLY as u32);
    let denied: [Asking<'_>; 12] = [
        (Lookup, dir, b"", b"x\0"),
        (Mknod, dir, &[0; 16], b"x\0"),
        (Mkdir, dir, &[0; 8], b"x\0"),
        (Symlink, dir, b"", b"x\0y\0"),
        (Create, dir, bytes(&create), b"x\0"),
        (Tmpfile, dir, bytes(&create), b"x\0"),
        (Link, dir, bytes(&link), b"x\0"),
        (Unlink, dir, b"", b"x\0"),
        (Rmdir, dir, b"", b"x\0"),
        (Rename, dir, bytes(&away), b"x\0y\0"),
        (Open, file, bytes(&write), b""),
        (Opendir, dir, &[0; 8], b""),
    ];
    for asking in denied {
        let answer = as_stranger(o, asking);
        let expected = match asking.0 {
            // Nobody links another's set-user-id file.
            Link => [DENIED, NOT_YOURS].contains(&answer),
            _ => answer == DENIED,
        };
        assert!(expected, "{asking:?}: {answer:?}");
    }
    let set = |valid| args(|set: &mut SetattrIn| set.valid = valid);
    let cut = set(fattr::SIZE);
    assert_eq!(as_stranger(o, (Setattr, file, bytes(&cut), b"")), DENIED);
    for valid in [fattr::MODE, fattr::UID, fattr::GID, fattr::ATIME] {
        let change = set(valid);
        let answer = as_stranger(o, (Setattr, file, bytes(&change), b""));
        assert_eq!(answer, NOT_YOURS, "{valid:#x}");
    }
    let opened = set(fattr::SIZE | fattr::FH);
    let answer = as_stranger(o, (Setattr, file, bytes(&opened), b""));
    assert!(matches!(answer, Answer::Bytes(_)), "{answer:?}");
    let setxattr = args(|args: &mut SetxattrIn| args.size = 1);
    let own: Asking<'_> = (Setxattr, file, bytes(&setxattr), b"user.a\0v");
    assert_eq!(as_stranger(o, own), DENIED);
    assert_eq!(
        as_stranger(o, (Removexattr, file, b"", b"user.a\0")),
        DENIED
    );
    let value: Asking<'_> = (Getxattr, dir, &[0; 8], b"user.a\0");
    assert_eq!(as_stranger(o, value), DENIED);
    let run = open(1 << 5);
    let answer = as_stranger(o, (Open, file, bytes(&run), b""));
    assert!(matches!(answer, Answer::Bytes(16)), "{answer:?}");
    assert_eq!(as_stranger(o, (Open, dir, bytes(&run), b"")), DENIED);
}
