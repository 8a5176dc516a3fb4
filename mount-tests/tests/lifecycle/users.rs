//! Ordinary users mount through fusermount3.

use mount_tests::posix::{as_user, seen};
use mount_tests::programs::{run, sh};
use mount_tests::{Daemon, NOBODY, Scratch, fails, is_mounted, norefs_as_nobody, text, wait_until};
use rustix::fs::lstat;
use rustix::io::Errno;
use std::path::Path;

#[test]
fn an_ordinary_user_mounts_through_fusermount3() {
    for options in [&[][..], &["-o", "permissions=daemon"]] {
        an_ordinary_user_mounts_with(options);
    }
}

fn an_ordinary_user_mounts_with(options: &[&str]) {
    let mut mount = Daemon::as_nobody(options);
    as_user(NOBODY, NOBODY, &[], || {
        std::fs::write(mount.path("file"), "content").unwrap();
        assert_eq!(std::fs::read(mount.path("file")).unwrap(), b"content");
        let file = seen(mount.path("file"));
        assert_eq!(
            (file.uid, file.gid, seen(mount.root()).uid),
            (NOBODY, NOBODY, NOBODY)
        );
        sh(mount.root(), "mkdir d; ln -s file s; mv file d/; ls -l d");
    });
    fails(Errno::ACCESS, lstat(mount.path("d")));
    fails(
        Errno::ACCESS,
        as_user(1001, 1001, &[], || lstat(mount.root())),
    );
    let root = mount.root().to_owned();
    as_user(NOBODY, NOBODY, &[], || {
        run(
            Path::new("/"),
            "fusermount3",
            &["-u", root.to_str().unwrap()],
        )
    });
    assert!(wait_until(|| mount.ended().is_some()));
    assert!(!is_mounted(&root));
}

#[test]
fn an_ordinary_user_has_every_verb() {
    let scratch = Scratch::new();
    let (mountpoint, runtime) = (scratch.dir("mount"), scratch.dir("run"));
    for dir in [&mountpoint, &runtime] {
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = norefs_as_nobody(&scratch);
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", &runtime)
            .output()
            .unwrap()
    };
    let at = mountpoint.to_str().unwrap();
    for arguments in [&["mount", at], &["stats", at], &["umount", at]] {
        let output = as_nobody(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(!is_mounted(&mountpoint));
    let output = as_nobody(&[
        "run",
        "--",
        "sh",
        "-c",
        "id -u; touch file; stat -c %u file",
    ]);
    assert_eq!(
        text(&output.stdout),
        "65534\n65534\n",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_ordinary_user_cannot_mount_where_another_owns() {
    let scratch = Scratch::new();
    let mountpoint = scratch.dir("mount");
    let output = norefs_as_nobody(&scratch)
        .arg("mount")
        .arg(&mountpoint)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!is_mounted(&mountpoint));
}
