//! The mount option.

use super::NAMING;
use mount_tests::acl::{ACCESS, DEFAULT, rights, set};
use mount_tests::posix::as_user;
use mount_tests::{Daemon, NOBODY, Scratch, fails, is_mounted, norefs, refused, text};
use norefs::fs::{Config, Fs};
use norefs::transport::{MountError, Options, mount};
use norefs::tree::{Attr, Kind, Time};
use rustix::io::Errno;
use std::sync::Arc;

#[test]
fn lists_are_off_unless_asked_for_last() {
    for (options, kept) in [("rw", false), ("acl,noacl", false), ("noacl,acl", true)] {
        let mount = Daemon::with(&["-o", options]);
        let dir = mount.path("dir");
        std::fs::create_dir(&dir).unwrap();
        for name in [ACCESS, DEFAULT] {
            match kept {
                true => set(&dir, name, NAMING).unwrap(),
                false => fails(Errno::OPNOTSUPP, set(&dir, name, NAMING)),
            }
        }
        assert_eq!(rights(&dir).names.unwrap().is_empty(), !kept, "{options}");
    }
}

#[test]
fn an_ordinary_user_may_have_lists() {
    let mount = Daemon::as_nobody(&["-o", "acl"]);
    let file = mount.path("file");
    let (done, shown) = as_user(NOBODY, NOBODY, &[], || {
        std::fs::write(&file, "").unwrap();
        (set(&file, ACCESS, NAMING), rights(&file))
    });
    assert_eq!((done, shown.mode & 0o777), (Ok(()), 0o660));
    assert_eq!(shown.access, Ok(mount_tests::acl::list(NAMING)));
}

#[test]
fn lists_without_extended_attributes_are_refused() {
    let scratch = Scratch::new();
    let at = scratch.dir("mount");
    let output = norefs()
        .args(["mount", "-o", "acl,noxattr"])
        .arg(&at)
        .output()
        .unwrap();
    refused(&output);
    let said = text(&output.stderr);
    assert!(said.contains("mount option acl needs xattr"), "{said}");
    assert!(!is_mounted(&at));
}

#[test]
fn filesystem_and_mount_have_to_agree() {
    let scratch = Scratch::new();
    let at = scratch.dir("mount");
    let fs = || {
        let config = Config {
            max_bytes: 1 << 20,
            max_inodes: 100,
            read_only: false,
        };
        Fs::new(config, Attr::new(Kind::Directory, 0o755, 0, 0, Time::now())).unwrap()
    };
    let with = |acl, xattr| Options {
        acl,
        xattr,
        ..Options::default()
    };
    let refused = [
        (fs(), with(true, true)),
        (fs().with_acls(), with(false, true)),
        (fs().with_acls(), with(true, false)),
    ];
    for (fs, options) in refused {
        let error = mount(Arc::new(fs), &at, &options).err();
        assert!(matches!(error, Some(MountError::Acl(_))), "{error:?}");
        assert!(!is_mounted(&at));
    }
    let mounted = mount(Arc::new(fs().with_acls()), &at, &with(true, true)).unwrap();
    assert!(mounted.fs().keeps_acls());
}

#[test]
fn a_read_only_mount_tells_lists_and_changes_none() {
    let source = mount_tests::Tmpfs::new();
    let file = source.join("file");
    std::fs::write(&file, "").unwrap();
    set(&file, ACCESS, NAMING).unwrap();
    let mount = Daemon::with(&["-o", "acl,ro", source.to_str().unwrap()]);
    assert_eq!(rights(&mount.path("file")), rights(&file));
    fails(Errno::ROFS, set(&mount.path("file"), ACCESS, NAMING));
}
