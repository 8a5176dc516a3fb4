//! Mounts in user namespaces, and callers of others.

use mount_tests::posix::as_user;
use mount_tests::programs::{attempt, run};
use mount_tests::transport::{arguments, each};
use mount_tests::{
    Daemon, NOBODY, Scratch, Tmpfs, fails, norefs_as_nobody, same_as_tmpfs, text, wait_until,
};
use rustix::fs::lstat;
use rustix::io::Errno;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A place that `nobody` may use, with the binary in it.
fn place() -> Scratch {
    let scratch = Scratch::new();
    drop(norefs_as_nobody(&scratch));
    for name in ["mount", "run"] {
        let dir = scratch.dir(name);
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    scratch
}

/// `nobody` as root of namespaces of its own, running a shell script.
fn in_namespaces(place: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-U", "--map-root-user", "--mount", "sh", "-ec", script]);
    command
        .current_dir(place)
        .env("XDG_RUNTIME_DIR", place.join("run"));
    command.uid(NOBODY).gid(NOBODY);
    command
}

fn report(place: &Path, mount: &str, unmount: &str) -> String {
    let inside = include_str!("inside.sh");
    let script = format!("{mount}\n(set -- mount; {inside})\n{unmount}");
    let output = in_namespaces(place, &script).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn the_user_who_is_mapped_has_a_mount_like_a_tmpfs() {
    let tmpfs = report(
        &place(),
        "mount -t tmpfs -o mode=755 none mount",
        "umount mount",
    );
    for transport in each() {
        let asked = arguments(transport).join(" ");
        for options in ["allow_other", "cache=none"] {
            let mount = format!("./norefs mount {asked} -o {options} mount");
            let norefs = report(&place(), &mount, "./norefs umount mount");
            assert_eq!(norefs, tmpfs, "{transport:?}, {options}");
        }
    }
}

/// A mount in a namespace that lasts until its standard input is closed.
fn lasting(place: &Path) -> Child {
    let script = "./norefs mount -o allow_other mount; echo in >mount/file; chmod 666 mount/file
        touch run/ready; read done || ./norefs umount mount";
    let mut command = in_namespaces(place, script);
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    assert!(wait_until(|| place.join("run/ready").exists()));
    child
}

#[test]
fn callers_outside_of_the_namespace_are_refused() {
    let place = place();
    let mut child = lasting(&place);
    let seen = Path::new("/proc").join(child.id().to_string()).join("root");
    let file = seen.join(place.join("mount/file").strip_prefix("/").unwrap());
    fails(Errno::ACCESS, lstat(&file));
    fails(Errno::ACCESS, std::fs::read(&file));
    fails(Errno::ACCESS, std::fs::write(&file, ""));
    fails(Errno::ACCESS, std::fs::read_dir(file.parent().unwrap()));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn callers_of_namespaces_below_are_the_users_they_are_outside() {
    same_as_tmpfs(|root| {
        rustix::fs::chmod(root, 0o777.into()).unwrap();
        let touched = as_user(1000, 1000, &[], || {
            let script =
                "echo content >file; mkdir dir; stat -c '%u %g' file dir; cat file; chown 0 file";
            let output = attempt(
                root,
                "unshare",
                &["-U", "--map-root-user", "sh", "-c", script],
            );
            (text(&output.stdout), output.status.code())
        });
        let stat = ["file", "dir"].map(|name| {
            let stat = lstat(root.join(name)).unwrap();
            (stat.st_uid, stat.st_gid)
        });
        let unmapped = attempt(
            root,
            "unshare",
            &["-U", "sh", "-c", "echo >new; stat -c '%u' new dir"],
        );
        (
            touched,
            stat,
            text(&unmapped.stdout),
            lstat(root.join("new")).map(|stat| stat.st_uid),
        )
    });
}

#[test]
fn owners_are_not_mapped_to_others() {
    let tried = |root: &Path| {
        let script = include_str!("idmap.py");
        run(root, "python3", &["-c", script, root.to_str().unwrap()])
    };
    for options in ["allow_other", "allow_other,cache=none"] {
        let mount = Daemon::with(&["-o", options]);
        assert_eq!(tried(mount.root()), "EINVAL\n");
    }
    assert_eq!(tried(&Tmpfs::new()), "mapped\n");
}
