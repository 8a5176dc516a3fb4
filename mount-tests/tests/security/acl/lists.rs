//! Lists that are set, told, removed, and kept in step with the mode.

use super::{NAMING, inhabit};
use mount_tests::acl::{ACCESS, DEFAULT, Rights, get, list, names, remove, rights, set};
use mount_tests::posix::{age, as_user, seen};
use mount_tests::{Daemon, fails, same_as_tmpfs_with};
use rustix::fs::{Gid, Uid, XattrFlags, chmod, chown, setxattr, symlink};
use rustix::io::Errno;
use std::path::Path;

type Change<'a> = &'a dyn Fn() -> Result<(), Errno>;
type Report = Vec<(&'static str, Result<(), Errno>, Rights)>;

fn note(report: &mut Report, what: &'static str, path: &Path, result: Result<(), Errno>) {
    report.push((what, result, rights(path)));
}

#[test]
fn set_told_replaced_and_removed() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Report::new();
        for path in inhabit(root) {
            for name in [ACCESS, DEFAULT] {
                let report = &mut report;
                note(report, "none", &path, Ok(()));
                note(report, "set", &path, set(&path, name, NAMING));
                let other = "u::r-x,u:7:rwx,u:8:r--,g::---,m::r--,o::r--";
                note(report, "replaced", &path, set(&path, name, other));
                let masked = "u::r-x,g::-wx,m::r--,o::r--";
                note(report, "a mask alone", &path, set(&path, name, masked));
                note(report, "removed", &path, remove(&path, name));
                note(report, "removed again", &path, remove(&path, name));
                let plain = "u::rw-,g::r--,o::--x";
                note(report, "the mode", &path, set(&path, name, plain));
                note(report, "set", &path, set(&path, name, NAMING));
                note(report, "the mode", &path, set(&path, name, plain));
                note(report, "set", &path, set(&path, name, NAMING));
                note(report, "no entries", &path, set(&path, name, ""));
            }
            set(&path, ACCESS, NAMING).unwrap();
            note(&mut report, "both", &path, set(&path, DEFAULT, NAMING));
        }
        report
    });
}

#[test]
fn flags_and_lengths_of_extended_attributes() {
    same_as_tmpfs_with("acl", |root| {
        let [file, ..] = inhabit(root);
        let flagged = |flags| setxattr(&file, ACCESS, &list(NAMING), flags);
        let mut short = [0; 20];
        let mut report = vec![
            flagged(XattrFlags::REPLACE),
            flagged(XattrFlags::CREATE),
            setxattr(&file, ACCESS, b"", XattrFlags::empty()),
            rustix::fs::getxattr(&file, ACCESS, &mut short).map(drop),
            flagged(XattrFlags::empty()),
            rustix::fs::getxattr(&file, ACCESS, &mut short).map(drop),
            rustix::fs::listxattr(&file, &mut short).map(drop),
        ];
        report.push(setxattr(&file, "system.other", b"x", XattrFlags::empty()));
        let length = rustix::fs::getxattr(&file, ACCESS, &mut [0; 0]);
        (report, length, get(&file, ACCESS))
    });
}

#[test]
fn what_is_no_list_is_refused() {
    same_as_tmpfs_with("acl", |root| {
        let [file, dir, _] = inhabit(root);
        set(&file, ACCESS, NAMING).unwrap();
        let value = |text| list(text);
        let mut long = value(NAMING);
        long.push(0);
        let mut version = value(NAMING);
        version[0] = 1;
        let mut bits = value(NAMING);
        bits[6] = 8;
        let mut tag = value(NAMING);
        tag[4] = 64;
        let bad = [
            long,
            version,
            bits,
            tag,
            vec![2, 0, 0],
            vec![2],
            value("u::rwx"),
            value("u::rwx,g::rwx"),
            value("g::rwx,o::rwx"),
            value("u::rwx,o::rwx,g::rwx"),
            value("g::rwx,u::rwx,o::rwx"),
            value("u::rwx,u:5:rwx,g::rwx,o::rwx"),
            value("u::rwx,g::rwx,g:5:rwx,o::rwx"),
            value("u::rwx,g::rwx,u:5:rwx,m::rwx,o::rwx"),
            value("u::rwx,g::rwx,m::rwx,m::rwx,o::rwx"),
            value("u::rwx,u::rwx,g::rwx,o::rwx"),
            value("u::rwx,u:4294967295:rwx,g::rwx,m::rwx,o::rwx"),
            value("u::rwx,g::rwx,g:4294967295:rwx,m::rwx,o::rwx"),
            value("u::rwx,g::rwx,o::rwx,m::rwx"),
        ];
        let set = |path, name, value: &[u8]| setxattr(path, name, value, XattrFlags::empty());
        let refusals: Vec<_> = bad
            .iter()
            .map(|value| (set(&file, ACCESS, value), set(&dir, DEFAULT, value)))
            .collect();
        assert!(
            refusals
                .iter()
                .all(|(file, dir)| file.is_err() && dir.is_err())
        );
        (refusals, rights(&file), rights(&dir))
    });
}

#[test]
fn ids_in_any_order_twice_and_where_they_mean_nothing() {
    same_as_tmpfs_with("acl", |root| {
        let [file, ..] = inhabit(root);
        let odd = "u::rw-,u:2000:r--,u:1000:-w-,u:1000:r--,g::r--,g:9:r--,g:8:---,m::rwx,o::---";
        let mut value = list(odd);
        value[8..12].copy_from_slice(&[1, 2, 3, 4]);
        let set = setxattr(&file, ACCESS, &value, XattrFlags::empty());
        let as_1000 = as_user(1000, 1000, &[], || std::fs::read(&file).is_ok());
        (set, rights(&file), as_1000)
    });
}

#[test]
fn symbolic_links_have_none() {
    same_as_tmpfs_with("acl", |root| {
        symlink("nowhere", root.join("link")).unwrap();
        let link = root.join("link");
        let value = list(NAMING);
        let both = [ACCESS, DEFAULT].map(|name| {
            (
                rustix::fs::lsetxattr(&link, name, &value, XattrFlags::empty()),
                rustix::fs::lremovexattr(&link, name),
            )
        });
        (both, rights(&link))
    });
}

#[test]
fn chmod_and_lists() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Report::new();
        let lists = [
            NAMING,
            "u::rwx,g::rwx,m::---,o::rwx",
            "u::r-x,u:7:rwx,g::---,m::r--,o::r--",
            "u::rw-,g::r-x,o::--x",
        ];
        for path in inhabit(root) {
            for text in lists {
                set(&path, ACCESS, text).unwrap();
                for mode in [0o640, 0o7777, 0, 0o2604, 0o1070, 0o4711] {
                    note(&mut report, "chmod", &path, chmod(&path, mode.into()));
                }
            }
            remove(&path, ACCESS).unwrap();
            note(&mut report, "chmod", &path, chmod(&path, 0o751.into()));
        }
        report
    });
}

#[test]
fn who_may_change_a_list_and_what_becomes_of_set_group_id() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Report::new();
        let callers: [(u32, u32, &[u32]); 5] = [
            (0, 0, &[]),
            (1000, 1000, &[]),
            (1000, 1000, &[4242]),
            (1000, 4242, &[]),
            (1001, 4242, &[]),
        ];
        let plain = "u::rwx,g::r-x,o::---";
        for path in inhabit(root) {
            for (uid, gid, groups) in callers {
                for mode in [0o2755, 0o6745, 0o2644] {
                    for step in 0..5 {
                        let (owner, group) = (Uid::from_raw(1000), Gid::from_raw(4242));
                        chown(&path, Some(owner), Some(group)).unwrap();
                        remove(&path, ACCESS).unwrap();
                        chmod(&path, mode.into()).unwrap();
                        let change = || match step {
                            0 => set(&path, ACCESS, NAMING),
                            1 => set(&path, ACCESS, plain),
                            2 => remove(&path, ACCESS),
                            3 => set(&path, DEFAULT, NAMING),
                            _ => remove(&path, DEFAULT),
                        };
                        let done = as_user(uid, gid, groups, change);
                        note(&mut report, "changed", &path, done);
                    }
                }
            }
        }
        report
    });
}

#[test]
fn ctime_alone_moves() {
    same_as_tmpfs_with("acl", |root| {
        let mut report = Vec::new();
        for path in inhabit(root) {
            let changes: [(&str, Change); 6] = [
                ("set", &|| set(&path, ACCESS, NAMING)),
                ("again", &|| set(&path, ACCESS, NAMING)),
                ("remove", &|| remove(&path, ACCESS)),
                ("remove again", &|| remove(&path, ACCESS)),
                ("set default", &|| set(&path, DEFAULT, NAMING)),
                ("remove default", &|| remove(&path, DEFAULT)),
            ];
            for (what, change) in changes {
                age(&path);
                let before = seen(&path);
                let done = change();
                let after = seen(&path);
                let moved = (after.mtime > before.mtime, after.ctime > before.ctime);
                report.push((what, done, moved));
            }
        }
        report
    });
}

#[test]
fn lists_follow_the_inode() {
    same_as_tmpfs_with("acl", |root| {
        let [file, dir, _] = inhabit(root);
        set(&file, ACCESS, NAMING).unwrap();
        set(&dir, ACCESS, NAMING).unwrap();
        set(&dir, DEFAULT, NAMING).unwrap();
        let (moved, linked) = (root.join("moved"), root.join("linked"));
        std::fs::hard_link(&file, &linked).unwrap();
        std::fs::rename(&file, &moved).unwrap();
        std::fs::rename(&dir, root.join("other")).unwrap();
        let first = [rights(&moved), rights(&linked), rights(&root.join("other"))];
        chmod(&linked, 0o600.into()).unwrap();
        std::fs::write(&file, "new").unwrap();
        let second = [rights(&moved), rights(&linked), rights(&file)];
        std::fs::rename(&file, &moved).unwrap();
        std::fs::remove_file(&linked).unwrap();
        chown(&moved, Some(Uid::from_raw(7)), Some(Gid::from_raw(8))).unwrap();
        (first, second, rights(&moved))
    });
}

#[test]
fn changes_of_owner_and_content_leave_lists_alone() {
    same_as_tmpfs_with("acl", |root| {
        let [file, ..] = inhabit(root);
        set(&file, ACCESS, "u::rwx,u:1000:rw-,g::r-x,m::rwx,o::---").unwrap();
        chmod(&file, 0o6777.into()).unwrap();
        let mut report = vec![rights(&file)];
        as_user(1000, 1000, &[], || std::fs::write(&file, "x").unwrap());
        report.push(rights(&file));
        chmod(&file, 0o6777.into()).unwrap();
        chown(&file, Some(Uid::from_raw(7)), None).unwrap();
        report.push(rights(&file));
        report
    });
}

#[test]
fn the_longest_list_and_one_that_is_longer() {
    let mount = Daemon::start_with("acl");
    let file = mount.path("file");
    std::fs::write(&file, "").unwrap();
    let naming = |users: u32| {
        let users: String = (0..users)
            .map(|id| format!("u:{}:r--,", 1000 + id))
            .collect();
        format!("u::rw-,{users}g::---,m::r--,o::---")
    };
    set(&file, ACCESS, &naming(507)).unwrap();
    assert_eq!(get(&file, ACCESS).unwrap(), list(&naming(507)));
    as_user(1506, 1506, &[], || std::fs::read(&file)).unwrap();
    fails(
        Errno::ACCESS,
        as_user(1507, 1507, &[], || std::fs::read(&file)),
    );
    if mount.root().ends_with("tmpfs") {
        return;
    }
    fails(Errno::TOOBIG, set(&file, ACCESS, &naming(508)));
    assert_eq!(get(&file, ACCESS).unwrap(), list(&naming(507)));
}

#[test]
fn without_room_nothing_is_half_done() {
    let mount = Daemon::with(&["-o", "acl,allow_other,size=8k"]);
    let [file, dir, _] = inhabit(mount.root());
    set(&dir, DEFAULT, NAMING).unwrap();
    std::fs::write(mount.path("filling"), vec![1; 16_384]).unwrap_err();
    // What fills is allocated in pieces: the last bytes are taken by attributes.
    let mut n = 0;
    while setxattr(&file, format!("user.{n}"), b"", XattrFlags::empty()).is_ok() {
        n += 1;
    }
    let before = rights(&file);
    fails(Errno::NOSPC, set(&file, ACCESS, NAMING));
    assert_eq!(rights(&file), before);
    let made = std::fs::write(dir.join("made"), "");
    fails(Errno::NOSPC, made);
    fails(Errno::NOENT, names(&dir.join("made")));
    std::fs::remove_file(mount.path("filling")).unwrap();
    set(&file, ACCESS, NAMING).unwrap();
    std::fs::write(dir.join("made"), "").unwrap();
}
