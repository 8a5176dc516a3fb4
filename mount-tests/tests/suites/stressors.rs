//! stress-ng, made to find what a filesystem does wrong. Nothing it says of a mount may be worse than what it says of tmpfs.
//!
//! Ten seconds for each stressor by itself: `cargo test --release -p mount-tests --test suites stressors:: -- --ignored`.

use mount_tests::programs::{attempt, run};
use mount_tests::{Daemon, Tmpfs, report};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

/// How long each stressor has. `MOUNT_TESTS_STRESS_SECONDS` says another time.
fn seconds() -> usize {
    std::env::var("MOUNT_TESTS_STRESS_SECONDS")
        .map_or(10, |n| n.parse().expect("a number of seconds"))
}

/// Stressors of names and attributes.
const NAMES: &[&str] = &[
    "access", "chdir", "chmod", "chown", "chroot", "dentry", "dir", "dirdeep", "dirmany", "fifo",
    "filename", "fstat", "getdent", "inotify", "link", "mknod", "open", "rename", "symlink",
    "touch", "utime", "xattr",
];

/// Stressors of contents, descriptors and locks.
const CONTENTS: &[&str] = &[
    "aio",
    "aiol",
    "copy-file",
    "dup",
    "fallocate",
    "fcntl",
    "flock",
    "fpunch",
    "fsize",
    "hdd",
    "iomix",
    "locka",
    "lockf",
    "lockofd",
    "mmap",
    "msync",
    "msyncmany",
    "revio",
    "seek",
    "sendfile",
    "sync-file",
];

/// Those that ask for what a filesystem may leave out: what tmpfs says of them is good enough.
const OPTIONAL: &[&str] = &[
    "chattr",
    "dnotify",
    "fanotify",
    "fiemap",
    "file-ioctl",
    "handle",
    "inode-flags",
    "io-uring",
    "landlock",
    "lease",
    "readahead",
    "verity",
];

/// Those that only newer releases of stress-ng have.
const NEWER: &[&str] = &[
    "acl", "filerace", "flipflop", "lockmix", "metamix", "unlink",
];

/// What keeps the stressors within the memory of a small machine, and makes maps ones of files.
const BOUNDS: &[&str] = &[
    "--copy-file-bytes=128M",
    "--dirdeep-inodes=2000",
    "--fallocate-bytes=32M",
    "--hdd-bytes=32M",
    "--iomix-bytes=32M",
    "--mmap-bytes=16M",
    "--mmap-file",
    "--msync-bytes=8M",
    "--readahead-bytes=32M",
    "--sync-file-bytes=16M",
];

/// What stress-ng ends with if a stressor cannot run here.
const NOT_HERE: &[i32] = &[3, 4];

/// Runs `workers` of each of the stressors at once for so many seconds.
fn stress(root: &Path, stressors: &[&str], workers: usize, seconds: usize) -> Output {
    let root = root.to_str().unwrap();
    let timeout = format!("{seconds}s");
    let workers = workers.to_string();
    let options: Vec<String> = stressors.iter().map(|name| format!("--{name}")).collect();
    let mut arguments = vec!["--verify", "--temp-path", root, "--timeout", &timeout];
    arguments.extend(BOUNDS);
    for option in &options {
        arguments.extend([option, workers.as_str()]);
    }
    attempt(Path::new("/"), "stress-ng", &arguments)
}

/// What stress-ng complains about, if anything.
fn complaints(output: &Output) -> Option<String> {
    let said = [&output.stdout[..], &output.stderr].concat();
    (!output.status.success())
        .then(|| format!("{}\n{}", output.status, String::from_utf8_lossy(&said)))
}

#[track_caller]
fn all_at_once(stressors: &[&str]) {
    let mount = Daemon::start();
    if let Some(complaints) = complaints(&stress(mount.root(), stressors, 1, 5)) {
        panic!("{complaints}");
    }
    assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 0);
    report::parts(&report::target(), [stressors.len() as u64, 0, 0]);
}

#[test]
fn names_under_stress() {
    all_at_once(NAMES);
}

#[test]
fn contents_under_stress() {
    all_at_once(CONTENTS);
}

#[test]
#[ignore = "takes ten minutes"]
fn each_stressor_by_itself() {
    let known = run(Path::new("/"), "stress-ng", &["--stressors"]);
    let known: BTreeSet<&str> = known.split_whitespace().collect();
    let [mut passed, mut failed, mut skipped] = [0, 0, 0];
    let mut worse = Vec::new();
    for name in [NAMES, CONTENTS, OPTIONAL, NEWER].concat() {
        if !known.contains(name) {
            assert!(NEWER.contains(&name), "stress-ng has no {name}");
            skipped += 1;
            continue;
        }
        let mount = Daemon::start();
        let here = stress(mount.root(), &[name], 2, seconds());
        let Some(complaints) = complaints(&here) else {
            passed += 1;
            continue;
        };
        let on_tmpfs = stress(&Tmpfs::new(), &[name], 2, seconds());
        eprintln!("{name}: {complaints}\non tmpfs: {}", on_tmpfs.status);
        match here.status.code() {
            Some(status) if NOT_HERE.contains(&status) => skipped += 1,
            _ => failed += 1,
        }
        if here.status != on_tmpfs.status {
            worse.push(name);
        }
    }
    report::parts(&report::target(), [passed, failed, skipped]);
    assert!(worse.is_empty(), "worse than on tmpfs: {worse:?}");
}
