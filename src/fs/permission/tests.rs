use super::*;
use crate::fs::SetTime;
use crate::fs::testing::{Bed, ROOT, USER, stale, value};
use crate::tree::Time;

const NO: Option<Errno> = Some(Errno::ACCESS);
const NOT_YOURS: Option<Errno> = Some(Errno::PERM);
const OTHER: Caller = Caller {
    uid: 2000,
    gid: 200,
    ..USER
};
const SAME_GROUP: Caller = Caller { uid: 3000, ..USER };
const PAST: SetTime = SetTime::At(Time { sec: 1, nsec: 0 });

fn deciding() -> Bed {
    let Bed { fs } = Bed::new();
    let fs = fs.with_permissions(Permissions::Daemon);
    own(&fs, NodeId::ROOT, 0o755);
    Bed { fs }
}

/// Gives an inode to [`USER`], with a mode.
fn own(fs: &Fs, id: NodeId, perm: u16) -> NodeId {
    let inode = fs.tree().get(id).unwrap();
    let owned = inode.update(|attr| {
        (attr.uid, attr.gid, attr.perm) = (USER.uid, USER.gid, perm);
        Ok(())
    });
    owned.unwrap();
    id
}

fn dir(bed: &Bed, name: &str, perm: u16) -> NodeId {
    own(&bed.fs, bed.dir(name), perm)
}

fn file(bed: &Bed, dir: NodeId, name: &str, perm: u16) -> NodeId {
    own(&bed.fs, bed.file_in(dir, name), perm)
}

#[test]
fn nothing_is_decided_where_the_kernel_does() {
    let bed = Bed::new();
    let closed = dir(&bed, "d", 0);
    let inside = file(&bed, closed, "f", 0);
    let (fs, c) = (&bed.fs, &OTHER);
    assert_eq!(fs.permissions(), Permissions::Kernel);
    assert!(fs.lookup(c, closed, b"f").is_ok());
    assert_eq!(fs.open(c, inside, libc::O_RDWR), Ok(()));
    assert_eq!(fs.opendir(c, closed), Ok(()));
    let change = SetAttr {
        perm: Some(0o6777),
        uid: Some(1),
        ..SetAttr::default()
    };
    assert_eq!(stale(fs.setattr(c, inside, &change)).0.attr.perm, 0o6777);
    stale(fs.setxattr(c, inside, b"user.a", b"", 0, false));
    assert!(fs.getxattr(c, inside, b"user.a").is_ok());
    stale(fs.link(c, inside, closed, b"g"));
    stale(fs.rename(c, (closed, b"g"), (closed, b"h"), 0));
    stale(fs.unlink(c, closed, b"f"));
    assert_eq!(fs.access(c, closed, 4), Err(Errno::ACCESS));
}

#[test]
fn a_step_of_a_path_takes_search_permission_of_the_directory() {
    let bed = deciding();
    let closed = dir(&bed, "d", 0o710);
    file(&bed, closed, "f", 0);
    let lookup =
        |c: &Caller, name: &[u8]| bed.fs.lookup(c, closed, name).map(|found| found.is_some());
    for (caller, expected) in [
        (USER, Ok(true)),
        (SAME_GROUP, Ok(true)),
        (ROOT, Ok(true)),
        (OTHER, Err(Errno::ACCESS)),
    ] {
        assert_eq!(lookup(&caller, b"f"), expected);
        assert_eq!(lookup(&caller, b"none"), expected.map(|_| false));
        assert_eq!(lookup(&caller, b"."), Ok(true), "of a file handle");
        assert_eq!(lookup(&caller, b".."), Ok(true));
    }
}

#[test]
fn a_new_name_takes_writing_and_searching() {
    let bed = deciding();
    let linked = file(&bed, bed.root(), "f", 0o666);
    for (perm, allowed) in [
        (0o700, true),
        (0o200, false),
        (0o100, false),
        (0o577, false),
    ] {
        let at = dir(&bed, &format!("{perm:o}"), perm);
        let (fs, c) = (&bed.fs, &USER);
        let expected = if allowed { None } else { NO };
        assert_eq!(fs.mknod(c, at, b"a", 0o600, 0).err(), expected, "{perm:o}");
        assert_eq!(fs.mkdir(c, at, b"b", 0o700).err(), expected);
        assert_eq!(fs.symlink(c, at, b"c", b"t").err(), expected);
        assert_eq!(fs.tmpfile(c, at, 0o600).err(), expected);
        assert_eq!(fs.link(c, linked, at, b"d").err(), expected);
        assert!(fs.mknod(&ROOT, at, b"e", 0o600, 0).is_ok());
    }
}

#[test]
fn a_sticky_directory_keeps_what_others_own() {
    let bed = deciding();
    let at = dir(&bed, "d", 0o1777);
    for name in ["a", "b", "c"] {
        let id = file(&bed, at, name, 0o666);
        let inode = bed.fs.tree().get(id).unwrap();
        let given = inode.update(|attr| {
            attr.uid = if name == "c" {
                SAME_GROUP.uid
            } else {
                OTHER.uid
            };
            Ok(())
        });
        given.unwrap();
    }
    let sub = stale(bed.fs.mkdir(&OTHER, at, b"sub", 0o700)).0;
    bed.fs.forget(sub.id, 1);
    let (fs, c) = (&bed.fs, &SAME_GROUP);
    let rename = |from: &[u8], to: &[u8], flags| fs.rename(c, (at, from), (at, to), flags).err();
    assert_eq!(fs.unlink(c, at, b"a").err(), NOT_YOURS);
    assert_eq!(fs.rmdir(c, at, b"sub").err(), NOT_YOURS);
    assert_eq!(rename(b"a", b"x", 0), NOT_YOURS, "the old name");
    assert_eq!(rename(b"c", b"a", 0), NOT_YOURS, "the replaced one");
    assert_eq!(rename(b"c", b"a", 2), NOT_YOURS, "the exchanged one");
    assert_eq!(rename(b"a", b"c", 2), NOT_YOURS);
    assert_eq!(fs.unlink(c, at, b"none").err(), Some(Errno::NOENT));
    assert_eq!(rename(b"c", b"free", 0), None);
    stale(fs.unlink(c, at, b"free"));
    stale(fs.unlink(&OTHER, at, b"a"));
    stale(fs.unlink(&USER, at, b"b"));
    stale(fs.rmdir(&ROOT, at, b"sub"));
}

#[test]
fn a_name_goes_by_leave_of_its_directory_alone() {
    let bed = deciding();
    let at = dir(&bed, "d", 0o775);
    file(&bed, at, "a", 0);
    let (fs, root) = (&bed.fs, bed.root());
    assert_eq!(fs.unlink(&OTHER, at, b"a").err(), NO);
    assert_eq!(fs.rmdir(&OTHER, root, b"d").err(), NO);
    assert_eq!(
        fs.rename(&SAME_GROUP, (at, b"a"), (root, b"a"), 0).err(),
        NO
    );
    assert_eq!(fs.rename(&OTHER, (at, b"a"), (at, b"b"), 0).err(), NO);
    stale(fs.unlink(&SAME_GROUP, at, b"a"));
}

#[test]
fn a_directory_that_gets_another_parent_must_be_writable() {
    let bed = deciding();
    let (from, to) = (dir(&bed, "from", 0o777), dir(&bed, "to", 0o777));
    let (fs, c) = (&bed.fs, &OTHER);
    let made = |at, name: &[u8], perm| {
        let id = stale(fs.mkdir(&ROOT, at, name, 0o755)).0.id;
        own(fs, id, perm);
    };
    made(from, b"closed", 0o755);
    made(to, b"open", 0o777);
    let rename = |old: &[u8], new: &[u8], flags| fs.rename(c, (from, old), (to, new), flags).err();
    assert_eq!(rename(b"closed", b"x", 0), NO);
    assert_eq!(rename(b"closed", b"open", 2), NO);
    stale(fs.rename(c, (from, b"closed"), (from, b"still"), 0));
    made(from, b"open", 0o777);
    made(to, b"closed", 0o755);
    assert_eq!(rename(b"open", b"closed", 2), NO, "it would come back");
    assert_eq!(rename(b"open", b"closed", 0), None, "it goes away");
}

#[test]
fn what_a_hard_link_may_be_made_of() {
    let bed = deciding();
    let at = dir(&bed, "d", 0o777);
    let fifo = stale(bed.fs.mknod(&USER, at, b"p", libc::S_IFIFO | 0o666, 0));
    let cases = [
        (file(&bed, at, "a", 0o666), true),
        (file(&bed, at, "b", 0o644), false),
        (file(&bed, at, "c", 0o4666), false),
        (file(&bed, at, "d", 0o2676), false),
        (file(&bed, at, "e", 0o2666), true),
        (fifo.0.id, false),
    ];
    for (number, (id, harmless)) in cases.into_iter().enumerate() {
        let attr = bed.attr(id);
        assert_eq!(bed.fs.is_harmless_to_link(&OTHER, id, &attr), harmless);
        let expected = match harmless || !links_protected() {
            true => None,
            false => NOT_YOURS,
        };
        let name = |by: &str| format!("{number} {by}").into_bytes();
        let link = |c: &Caller, by| bed.fs.link(c, id, at, &name(by)).err();
        assert_eq!(link(&OTHER, "other"), expected);
        assert_eq!(link(&USER, "owner"), None);
        assert_eq!(link(&ROOT, "root"), None);
    }
}

#[test]
fn opening_takes_what_will_be_done() {
    let bed = deciding();
    let open = |perm, flags| {
        let id = file(&bed, bed.root(), &format!("{perm:o} {flags:o}"), perm);
        bed.fs.open(&OTHER, id, flags).err()
    };
    let (read, write, both) = (libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR);
    assert_eq!([open(4, read), open(3, read)], [None, NO]);
    assert_eq!([open(2, write), open(5, write)], [None, NO]);
    assert_eq!(
        [open(6, both), open(4, both), open(2, both)],
        [None, NO, NO]
    );
    assert_eq!([open(6, 3), open(4, 3), open(2, 3)], [None, NO, NO]);
    let execute = FMODE_EXEC | read;
    assert_eq!([open(1, execute), open(6, execute)], [None, NO]);
    let listed = dir(&bed, "listed", 0o774);
    assert_eq!(bed.fs.opendir(&OTHER, listed), Ok(()));
    let closed = dir(&bed, "closed", 0o773);
    assert_eq!(bed.fs.opendir(&OTHER, closed), Err(Errno::ACCESS));
}

fn change(bed: &Bed, id: NodeId, caller: &Caller, change: SetAttr) -> Option<Errno> {
    bed.fs
        .setattr(caller, id, &change)
        .map(|done| done.deliver(drop))
        .err()
}

#[test]
fn mode_and_owner_are_for_the_owner() {
    let bed = deciding();
    let id = file(&bed, bed.root(), "f", 0o666);
    let set = |caller: &Caller, to| change(&bed, id, caller, to);
    let none = SetAttr::default();
    let perm = |perm| SetAttr {
        perm: Some(perm),
        ..none
    };
    assert_eq!(set(&OTHER, perm(0o777)), NOT_YOURS);
    assert_eq!(set(&SAME_GROUP, perm(0o777)), NOT_YOURS);
    assert_eq!(set(&USER, perm(0o640)), None);
    let owner = |uid| SetAttr {
        uid: Some(uid),
        ..none
    };
    assert_eq!(set(&USER, owner(OTHER.uid)), NOT_YOURS);
    assert_eq!(set(&OTHER, owner(OTHER.uid)), NOT_YOURS);
    assert_eq!(set(&OTHER, owner(USER.uid)), NOT_YOURS);
    assert_eq!(set(&USER, owner(USER.uid)), None);
    let group = |gid| SetAttr {
        gid: Some(gid),
        ..none
    };
    assert_eq!(set(&USER, group(OTHER.gid)), NOT_YOURS);
    assert_eq!(set(&OTHER, group(OTHER.gid)), NOT_YOURS);
    assert_eq!(set(&USER, group(USER.gid)), None);
    assert_eq!(
        set(
            &ROOT,
            SetAttr {
                gid: Some(7),
                ..owner(5)
            }
        ),
        None
    );
    assert_eq!(set(&USER, perm(0o600)), NOT_YOURS, "it was given away");
}

#[test]
fn set_group_id_is_for_members() {
    let bed = deciding();
    let stranger = Caller { gid: 999, ..USER };
    for kind in ["file", "dir"] {
        let id = match kind {
            "dir" => dir(&bed, "d", 0o755),
            _ => file(&bed, bed.root(), "f", 0o644),
        };
        let left = |caller: &Caller, gid| {
            let to = SetAttr {
                perm: Some(0o2751),
                gid,
                ..SetAttr::default()
            };
            stale(bed.fs.setattr(caller, id, &to)).0.attr.perm
        };
        assert_eq!(left(&USER, None), 0o2751, "{kind}");
        assert_eq!(left(&stranger, None), 0o751);
        assert_eq!(left(&ROOT, None), 0o2751);
        assert_eq!(left(&stranger, Some(999)), 0o2751, "the group it gets");
        assert_eq!(left(&USER, None), 0o751);
    }
}

#[test]
fn times_that_are_given_are_for_the_owner() {
    let bed = deciding();
    let (open, closed) = (
        file(&bed, bed.root(), "open", 0o666),
        file(&bed, bed.root(), "closed", 0o644),
    );
    let none = SetAttr::default();
    let times = |atime, mtime| SetAttr {
        atime,
        mtime,
        ..none
    };
    let now = Some(SetTime::Now);
    for given in [
        times(now, None),
        times(None, now),
        times(Some(PAST), now),
        times(now, Some(PAST)),
        times(Some(PAST), Some(PAST)),
        SetAttr {
            ctime: Some(Time { sec: 1, nsec: 0 }),
            ..none
        },
    ] {
        assert_eq!(change(&bed, open, &OTHER, given), NOT_YOURS, "{given:?}");
        assert_eq!(change(&bed, closed, &USER, given), None);
    }
    let touch = times(now, now);
    assert_eq!(change(&bed, open, &OTHER, touch), None);
    assert_eq!(change(&bed, closed, &OTHER, touch), NO);
    assert_eq!(change(&bed, closed, &USER, touch), None);
    let unwritable = file(&bed, bed.root(), "unwritable", 0o444);
    assert_eq!(change(&bed, unwritable, &USER, touch), None);
    assert_eq!(change(&bed, unwritable, &ROOT, touch), None);
}

#[test]
fn a_size_takes_writing_unless_that_was_permitted_before() {
    let bed = deciding();
    let id = file(&bed, bed.root(), "f", 0o644);
    let cut = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    assert_eq!(change(&bed, id, &OTHER, cut), NO);
    let opened = SetAttr {
        by_descriptor: true,
        ..cut
    };
    assert_eq!(change(&bed, id, &OTHER, opened), None);
    assert_eq!(change(&bed, id, &USER, cut), None);
    own(&bed.fs, id, 0o444);
    assert_eq!(change(&bed, id, &USER, cut), NO, "the owner as well");
    let more = SetAttr {
        perm: Some(0o666),
        ..opened
    };
    assert_eq!(change(&bed, id, &OTHER, more), NOT_YOURS);
    let later = SetAttr {
        mtime: Some(PAST),
        ..opened
    };
    assert_eq!(change(&bed, id, &OTHER, later), NOT_YOURS);
}

#[test]
fn attributes_of_users_are_guarded_by_the_mode() {
    let bed = deciding();
    let id = file(&bed, bed.root(), "f", 0o604);
    let fs = &bed.fs;
    let set = |c: &Caller, id, name: &[u8]| fs.setxattr(c, id, name, b"v", 0, false).err();
    assert_eq!(set(&OTHER, id, b"user.a"), NO);
    assert_eq!(fs.removexattr(&OTHER, id, b"user.a").err(), NO);
    assert_eq!(set(&USER, id, b"user.a"), None);
    assert_eq!(fs.getxattr(&OTHER, id, b"user.a").unwrap(), b"v");
    assert_eq!(fs.getxattr(&SAME_GROUP, id, b"user.a").err(), NO);
    for name in [&b"user."[..], b"user.a\0b", b"other.a"] {
        assert_eq!(set(&OTHER, id, name), NO, "before the name is looked at");
        assert_eq!(fs.getxattr(&SAME_GROUP, id, name).err(), NO);
    }
    assert_eq!(
        set(&OTHER, id, b"security.a"),
        None,
        "for the kernel to say"
    );
    assert_eq!(set(&OTHER, id, b"trusted.a"), None);
    assert!(fs.getxattr(&SAME_GROUP, id, b"security.a").is_ok());
    own(fs, id, 0o602);
    assert_eq!(set(&OTHER, id, b"user.b"), None);
    assert_eq!(fs.getxattr(&OTHER, id, b"user.b").err(), NO);
    assert_eq!(fs.removexattr(&OTHER, id, b"user.b").err(), None);

    let at = dir(&bed, "d", 0o1777);
    assert_eq!(set(&OTHER, at, b"user.a"), NOT_YOURS);
    assert_eq!(set(&USER, at, b"user.a"), None);
    assert_eq!(set(&ROOT, at, b"user.b"), None);
    assert_eq!(fs.removexattr(&OTHER, at, b"user.b").err(), NOT_YOURS);
    own(fs, at, 0o777);
    assert_eq!(set(&OTHER, at, b"user.a"), None);
    own(fs, id, 0o1602);
    assert_eq!(set(&OTHER, id, b"user.a"), None, "of directories alone");
}

#[test]
fn what_is_done_through_a_descriptor_was_permitted() {
    let bed = deciding();
    let id = file(&bed, bed.root(), "f", 0);
    let (fs, c) = (&bed.fs, &OTHER);
    assert_eq!(value(fs.write(c, id, 0, b"abc", false)), Ok(3));
    assert_eq!(fs.read(id, 0, &mut [0; 3]), Ok(3));
    assert!(value(fs.fallocate(c, id, 0, 9, 0)).is_ok());
    assert_eq!(value(fs.copy_range(c, id, 0, id, 3, 3)), Ok(3));
    assert!(fs.lseek(id, 0, libc::SEEK_DATA).is_ok());
    assert_eq!(fs.getattr(id).unwrap().perm, 0);
}
