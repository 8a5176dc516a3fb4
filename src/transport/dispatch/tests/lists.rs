//! Access control lists, and what is different on the wire where there are some.

use super::*;
use crate::fs::Acl;

/// user::rwx user:1000:r-x group::--- mask::rwx other::---
const LIST: [u8; 44] = {
    let entries = [
        (1, 7, 0xff),
        (2, 5, 0),
        (4, 0, 0xff),
        (16, 7, 0xff),
        (32, 0, 0xff),
    ];
    let mut list = [0; 44];
    list[0] = 2;
    let mut i = 0;
    while i < entries.len() {
        let (tag, bits, id) = entries[i];
        let at = 4 + 8 * i;
        (list[at], list[at + 2]) = (tag, bits);
        [list[at + 4], list[at + 5], list[at + 6], list[at + 7]] = [id; 4];
        i += 1;
    }
    list
};

fn with_lists() -> Offline {
    Offline::with(Cache::Forever, Permissions::Kernel, true)
}

fn setting(setxattr_flags: u32) -> SetxattrExtIn {
    args(|args: &mut SetxattrExtIn| {
        (args.size, args.setxattr_flags) = (LIST.len() as u32, setxattr_flags)
    })
}

fn named(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"\0", value].concat()
}

#[test]
fn longer_arguments_tell_who_loses_set_group_id() {
    for (flags, mode) in [
        (0, 0o6770),
        (SETXATTR_ACL_KILL_SGID, 0o4770),
        (!SETXATTR_ACL_KILL_SGID, 0o6770),
    ] {
        for layout in [Layout::Device, Layout::Ring] {
            let o = &mut with_lists();
            let mknod = args(|mknod: &mut MknodIn| mknod.mode = libc::S_IFREG | 0o6755);
            let file = entry(o, (Mknod, ROOT, bytes(&mknod), b"file\0")).nodeid;
            let (setting, rest) = (setting(flags), named(Acl::ACCESS, &LIST));
            let mut set = asked((Setxattr, file, bytes(&setting), &rest));
            set.layout = layout;
            assert_eq!(o.ask(&set), Answer::Bytes(0));
            assert_eq!(attr(o, file).attr.mode, libc::S_IFREG | mode);
            let get = args(|get: &mut GetxattrIn| get.size = 4096);
            let told = ask(o, (Getxattr, file, bytes(&get), &named(Acl::ACCESS, b"")));
            assert_eq!(told, Ok(LIST.to_vec()));
            o.check();
        }
    }
}

#[test]
fn the_lengths_of_arguments_are_not_mixed_up() {
    let o = &mut with_lists();
    let rest = named(b"user.a", b"value");
    let short = args(|args: &mut SetxattrIn| args.size = 5);
    let refused = ask(o, (Setxattr, ROOT, bytes(&short), &rest));
    assert_eq!(refused, Err(Errno::INVAL), "half of the arguments");
    let o = &mut Offline::new(Cache::Forever);
    assert_eq!(ask(o, (Setxattr, ROOT, bytes(&short), &rest)), Ok(vec![]));
    let get = args(|get: &mut GetxattrIn| get.size = 4096);
    let told = ask(o, (Getxattr, ROOT, bytes(&get), b"user.a\0"));
    assert_eq!(told, Ok(b"value".to_vec()));
    let refused = ask(
        o,
        (Setxattr, ROOT, bytes(&short), &named(Acl::ACCESS, b"value")),
    );
    assert_eq!(refused, Err(Errno::OPNOTSUPP));
}

#[test]
fn whoever_makes_something_tells_the_umask() {
    let o = &mut Offline::with(Cache::None, Permissions::Kernel, true);
    let made = |o: &mut Offline, name: &[u8]| {
        let mknod =
            args(|args: &mut MknodIn| (args.mode, args.umask) = (libc::S_IFREG | 0o666, 0o027));
        let mkdir = args(|args: &mut MkdirIn| (args.mode, args.umask) = (0o777, 0o027));
        let create = args(|args: &mut CreateIn| (args.mode, args.umask) = (0o666, 0o027));
        let makes: [(Opcode, &[u8]); 4] = [
            (Mknod, bytes(&mknod)),
            (Mkdir, bytes(&mkdir)),
            (Create, bytes(&create)),
            (Tmpfile, bytes(&create)),
        ];
        makes.map(|(opcode, args)| {
            let name = [format!("{opcode:?}").as_bytes(), name].concat();
            let answer = ask(o, (opcode, ROOT, args, &name)).unwrap();
            let (entry, _) = EntryOut::read_from_prefix(&answer).unwrap();
            entry.attr.mode & 0o7777
        })
    };
    assert_eq!(made(o, b"\0"), [0o640, 0o750, 0o640, 0o640]);
    let (setting, rest) = (setting(0), named(Acl::DEFAULT, &LIST));
    assert_eq!(ask(o, (Setxattr, ROOT, bytes(&setting), &rest)), Ok(vec![]));
    assert_eq!(made(o, b" again\0"), [0o660, 0o770, 0o660, 0o660]);
    o.check();
}
