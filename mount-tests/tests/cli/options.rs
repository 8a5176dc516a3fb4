//! Mount options: those that save requests, and who decides about permissions.

use mount_tests::{Daemon, Scratch, is_mounted, norefs, refused};
use norefs::fs::{Config, Fs, Permissions};
use norefs::transport::{MountError, Options, mount};
use norefs::tree::{Attr, Kind, Time};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use std::sync::Arc;

#[test]
fn without_extended_attributes_there_are_none_and_nobody_asks() {
    let mount = Daemon::with(&["-o", "noxattr"]);
    let file = mount.path("f");
    std::fs::write(&file, "content").unwrap();
    let set = setxattr(&file, "user.name", b"value", XattrFlags::empty());
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    assert_eq!(
        getxattr(&file, "user.name", &mut [0; 9]),
        Err(Errno::OPNOTSUPP)
    );
    for turn in 0..9 {
        std::fs::write(mount.path(format!("{turn}")), "content").unwrap();
    }
    // The first one tells the kernel.
    assert!(mount.stats().count("getxattr") <= 2);
}

#[test]
fn devices_are_refused_where_norefs_decides_about_permissions() {
    let scratch = Scratch::new();
    let place = scratch.dir("mount");
    for options in ["dev,permissions=daemon", "permissions=daemon,dev"] {
        let mut command = norefs();
        let output = command.args(["mount", "-o", options]).arg(&place).output();
        refused(&output.unwrap());
        assert!(!is_mounted(&place));
    }
    let attr = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
    let config = Config {
        max_bytes: 1 << 20,
        max_inodes: 100,
        read_only: false,
    };
    let fs = Fs::new(config, attr)
        .unwrap()
        .with_permissions(Permissions::Daemon);
    let options = Options {
        dev: true,
        ..Options::default()
    };
    let mounted = mount(Arc::new(fs), &place, &options);
    assert!(matches!(mounted, Err(MountError::Devices)));
    assert!(!is_mounted(&place));
}

#[test]
fn who_decides_is_to_be_seen() {
    let shown = |mount: &Daemon| {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let place = mount.root().to_str().unwrap();
        let line = mounts.lines().find(|line| line.contains(place)).unwrap();
        line.contains("default_permissions")
    };
    assert!(shown(&Daemon::with(&["-o", "permissions=kernel"])));
    assert!(shown(&Daemon::with(&["-o", "allow_other"])));
    assert!(!shown(&Daemon::with(&["-o", "permissions=daemon"])));
    assert!(shown(&Daemon::with(&[
        "-o",
        "permissions=daemon,permissions=kernel"
    ])));
}
