//! Extended attributes.

use mount_tests::posix::{Make, as_user};
use mount_tests::programs::run;
use mount_tests::{Daemon, fails, same_as_tmpfs, same_whoever_decides};
use rustix::fs::{
    XattrFlags, chmod, lgetxattr, listxattr, llistxattr, lremovexattr, lsetxattr, removexattr,
    setxattr,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let len = lgetxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

fn list(path: &Path) -> BTreeSet<String> {
    let mut names = vec![0; 65_536];
    let len = llistxattr(path, &mut names[..]).unwrap();
    let names = String::from_utf8(names[..len].to_vec()).unwrap();
    names.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn values_are_kept_replaced_and_removed() {
    let mount = Daemon::start();
    for kind in [Make::File, Make::EmptyDir] {
        let path = mount.path(format!("{kind:?}"));
        kind.at(&path);
        assert_eq!(list(&path), BTreeSet::new());
        set(&path, "user.one", b"1").unwrap();
        set(&path, "user.two", b"\0\xff binary").unwrap();
        set(&path, "user.empty", b"").unwrap();
        assert_eq!(get(&path, "user.one").unwrap(), b"1");
        assert_eq!(get(&path, "user.two").unwrap(), b"\0\xff binary");
        assert_eq!(get(&path, "user.empty").unwrap(), b"");
        assert_eq!(
            list(&path),
            ["user.one", "user.two", "user.empty"]
                .map(Into::into)
                .into()
        );
        set(&path, "user.one", b"another, longer value").unwrap();
        assert_eq!(get(&path, "user.one").unwrap(), b"another, longer value");
        removexattr(&path, "user.two").unwrap();
        fails(Errno::NODATA, get(&path, "user.two"));
        assert_eq!(
            list(&path),
            ["user.one", "user.empty"].map(Into::into).into()
        );
    }
}

#[test]
fn create_and_replace_insist() {
    let mount = Daemon::start();
    let file = mount.path("file");
    std::fs::write(&file, "").unwrap();
    fails(
        Errno::NODATA,
        setxattr(&file, "user.x", b"1", XattrFlags::REPLACE),
    );
    setxattr(&file, "user.x", b"2", XattrFlags::CREATE).unwrap();
    fails(
        Errno::EXIST,
        setxattr(&file, "user.x", b"3", XattrFlags::CREATE),
    );
    assert_eq!(get(&file, "user.x").unwrap(), b"2");
    setxattr(&file, "user.x", b"4", XattrFlags::REPLACE).unwrap();
    assert_eq!(get(&file, "user.x").unwrap(), b"4");
}

#[test]
fn missing_attributes_and_short_buffers() {
    same_as_tmpfs(|root| {
        let file = root.join("file");
        std::fs::write(&file, "").unwrap();
        set(&file, "user.name", b"0123456789").unwrap();
        let mut short = [0; 5];
        vec![
            get(&file, "user.missing").map(drop),
            lremovexattr(&file, "user.missing"),
            lgetxattr(&file, "user.name", &mut short).map(drop),
            listxattr(&file, &mut short).map(drop),
            get(&root.join("missing"), "user.name").map(drop),
            set(&file, "unknown.name", b""),
            set(&file, "user.", b""),
            get(&file, "unknown.name").map(drop),
        ]
    });
}

#[test]
fn sizes_up_to_the_kernels_limits() {
    let mount = Daemon::start();
    let file = mount.path("file");
    std::fs::write(&file, "").unwrap();
    let (name, long) = ("user.".to_owned() + &"n".repeat(250), vec![b'v'; 65_536]);
    set(&file, &name, &long).unwrap();
    assert!(get(&file, &name).unwrap() == long);
    assert_eq!(rustix::fs::getxattr_query(&file, &*name).unwrap(), 65_536);
    fails(Errno::RANGE, set(&file, &(name.clone() + "n"), b""));
    fails(Errno::TOOBIG, set(&file, &name, &vec![0; 65_537]));
}

#[test]
fn each_namespace_on_each_kind() {
    same_as_tmpfs(|root| {
        let mut report = Vec::new();
        for kind in [Make::File, Make::EmptyDir, Make::Symlink, Make::Fifo] {
            let path = root.join(format!("{kind:?}"));
            kind.at(&path);
            for name in ["user.x", "trusted.x", "security.x"] {
                let value = set(&path, name, b"value").and_then(|()| get(&path, name));
                report.push((kind, name, value));
            }
        }
        report
    });
}

#[test]
fn ordinary_users_change_only_what_they_may() {
    same_whoever_decides(|root| {
        let file = root.join("file");
        std::fs::write(&file, "").unwrap();
        set(&file, "user.x", b"root's").unwrap();
        set(&file, "trusted.x", b"root's").unwrap();
        [0o600, 0o604, 0o606].map(|mode| {
            chmod(&file, mode.into()).unwrap();
            as_user(1000, 1000, &[], || {
                (
                    get(&file, "user.x"),
                    set(&file, "user.y", b"user's"),
                    get(&file, "trusted.x"),
                    set(&file, "trusted.y", b"user's"),
                    list(&file).contains("user.x"),
                )
            })
        })
    });
}

#[test]
fn a_sticky_directory_keeps_its_attributes_to_its_owner() {
    same_whoever_decides(|root| {
        [0o777, 0o1777, 0o1755, 0o755].map(|mode| {
            let dir = root.join(format!("{mode:o}"));
            std::fs::create_dir(&dir).unwrap();
            rustix::fs::chown(&dir, Some(rustix::fs::Uid::from_raw(1000)), None).unwrap();
            chmod(&dir, mode.into()).unwrap();
            [0, 1000, 1001].map(|uid| {
                as_user(uid, uid, &[], || {
                    (
                        set(&dir, "user.x", b"value"),
                        get(&dir, "user.x"),
                        lremovexattr(&dir, "user.x"),
                        set(&dir, "security.x", b"value"),
                        lremovexattr(&dir, "trusted.x"),
                    )
                })
            })
        })
    });
}

#[test]
fn attributes_follow_a_rename_and_end_with_the_file() {
    let mount = Daemon::start();
    let (a, b) = (mount.path("a"), mount.path("b"));
    std::fs::write(&a, "").unwrap();
    set(&a, "user.x", b"moved").unwrap();
    std::fs::rename(&a, &b).unwrap();
    assert_eq!(get(&b, "user.x").unwrap(), b"moved");
    std::fs::write(&a, "").unwrap();
    fails(Errno::NODATA, get(&a, "user.x"));
}

#[test]
fn getfattr_and_setfattr_work() {
    let mount = Daemon::start();
    std::fs::write(mount.path("file"), "").unwrap();
    run(
        mount.root(),
        "setfattr",
        &["-n", "user.comment", "-v", "said", "file"],
    );
    let shown = run(mount.root(), "getfattr", &["-d", "file"]);
    assert!(shown.contains("user.comment=\"said\""), "{shown}");
}
