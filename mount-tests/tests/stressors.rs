//! Programs made to find what a filesystem does wrong. Nothing they say of a mount may be worse
//! than what they say of tmpfs.
//!
//! Ten seconds for each stressor, one after the other, and the other programs:
//! `cargo test --release -p mount-tests --test stressors -- --ignored --test-threads=1`.

use mount_tests::programs::{attempt, is_installed, run};
use mount_tests::{Daemon, Tmpfs};
use std::path::Path;
use std::process::Output;

/// How long each stressor has. `MOUNT_TESTS_STRESS_SECONDS` says another time.
fn seconds() -> usize {
    std::env::var("MOUNT_TESTS_STRESS_SECONDS")
        .map_or(10, |n| n.parse().expect("a number of seconds"))
}

/// Stressors of names and attributes.
const NAMES: &[&str] = &[
    "access", "chdir", "chmod", "chown", "dentry", "dir", "dirdeep", "dirmany", "filename",
    "fstat", "getdent", "inotify", "link", "mknod", "open", "rename", "symlink", "touch", "utime",
    "xattr",
];

/// Stressors of contents, descriptors and locks.
const CONTENTS: &[&str] = &[
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
    "msync",
    "revio",
    "seek",
    "sendfile",
    "sync-file",
];

/// Those that ask for what a filesystem may leave out: what tmpfs says of them is good enough.
const OPTIONAL: &[&str] = &[
    "chattr",
    "dnotify",
    "fiemap",
    "file-ioctl",
    "handle",
    "inode-flags",
    "io-uring",
    "lease",
    "readahead",
    "verity",
];

/// What keeps the stressors within the memory of a small machine.
const BOUNDS: &[&str] = &[
    "--copy-file-bytes=128M",
    "--dirdeep-inodes=2000",
    "--fallocate-bytes=32M",
    "--hdd-bytes=32M",
    "--iomix-bytes=32M",
    "--msync-bytes=8M",
    "--readahead-bytes=32M",
    "--sync-file-bytes=16M",
];

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
#[ignore = "takes eight minutes"]
fn each_stressor_by_itself() {
    let mut worse = Vec::new();
    for name in [NAMES, CONTENTS, OPTIONAL].concat() {
        let mount = Daemon::start();
        let here = stress(mount.root(), &[name], 2, seconds());
        let Some(complaints) = complaints(&here) else {
            continue;
        };
        let on_tmpfs = stress(&Tmpfs::new(), &[name], 2, seconds());
        eprintln!("{name}: {complaints}\non tmpfs: {}", on_tmpfs.status);
        if here.status != on_tmpfs.status {
            worse.push(name);
        }
    }
    assert!(worse.is_empty(), "worse than on tmpfs: {worse:?}");
}

#[test]
#[ignore = "takes a minute"]
fn fio_reads_what_it_wrote() {
    if !is_installed("fio") {
        return;
    }
    for engine in [
        &["--ioengine=psync", "--fallocate=posix"][..],
        &["--ioengine=mmap"],
        &["--ioengine=libaio", "--iodepth=16", "--direct=1"],
        &["--ioengine=io_uring", "--iodepth=16"],
    ] {
        let mount = Daemon::start();
        for pattern in ["--rw=randwrite", "--rw=randrw", "--rw=write"] {
            let common = [
                "--name=verify",
                "--size=64m",
                "--bsrange=4k-256k",
                "--blockalign=4k",
                "--numjobs=2",
                "--nrfiles=4",
                "--verify=crc32c",
                "--verify_fatal=1",
                "--group_reporting",
                pattern,
            ];
            let directory = format!("--directory={}", mount.root().display());
            run(
                mount.outside(),
                "fio",
                &[&common[..], &[directory.as_str()], engine].concat(),
            );
        }
    }
}

#[test]
#[ignore = "takes twenty seconds"]
fn dbench_goes_through() {
    if !is_installed("dbench") {
        return;
    }
    for xattrs in [&[][..], &["--xattr"]] {
        let mount = Daemon::start();
        let directory = format!("--directory={}", mount.root().display());
        let said = run(
            mount.outside(),
            "dbench",
            &[&[directory.as_str(), "--timelimit=10"], xattrs, &["4"]].concat(),
        );
        assert!(
            !said.contains("ERROR") && said.contains("Throughput"),
            "{said}"
        );
    }
}
