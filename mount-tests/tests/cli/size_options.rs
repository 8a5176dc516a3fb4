//! The options of size, of the number of inodes and of the root, as tmpfs reads them, and what statfs(2) then tells.

use mount_tests::{Background, Tmpfs, norefs, text};
use rustix::fs::{StatVfs, stat, statfs, statvfs};
use std::path::Path;

/// What both take, or neither.
const SAME: &[&str] = &[
    "size=0",
    "size=1",
    "size=4096",
    "size=4097",
    "size=1k",
    "size=1M",
    "size=1g",
    "size=1t",
    "size=1P",
    "size=1e",
    "size=15e",
    "size=0x10000",
    "size=0X1000k",
    "size=010000",
    "size=00001",
    "size=08",
    "size=0x",
    "size=+1m",
    "size=-1",
    "size=1.5g",
    "size=",
    "size",
    "size=50%",
    "size=1k%",
    "size=0%",
    "size=200%",
    "size=1%%",
    "size=1kk",
    "size=1kb",
    "size=1KiB",
    "size=é",
    "size=1g,size=2g",
    "size=1g,nr_blocks=3",
    "nr_blocks=3,size=1g",
    "nr_blocks=0",
    "nr_blocks=0x1k",
    "nr_blocks=5%",
    "nr_blocks=-1",
    "nr_blocks=",
    "nr_blocks=9223372036854775808",
    "nr_inodes=0",
    "nr_inodes=1",
    "nr_inodes=1k",
    "nr_inodes=0x10",
    "nr_inodes=010",
    "nr_inodes=10p",
    "nr_inodes=5%",
    "nr_inodes=-1",
    "nr_inodes=+1",
    "nr_inodes=18014398509481983",
    "nr_inodes=18014398509481984",
    "nr_inodes",
    "mode=0",
    "mode=1777",
    "mode=+755",
    "mode=10755",
    "mode=17777777777",
    "mode=77777777777",
    "mode=0x1ed",
    "mode=8",
    "mode=-1",
    "mode=u+x",
    "mode=",
    "uid=7,gid=8",
    "uid=+5",
    "uid=0x10",
    "uid=010",
    "uid=08",
    "uid=-1",
    "uid=4294967294",
    "uid=4294967295",
    "uid=4294967296",
    "gid=1k",
    "gid=",
    "gid=4294967295",
    "wobble",
    "wobble=5",
];

/// What tmpfs takes by accident: no number for 0, and what is left of a number in 64 bits.
const ONLY_TMPFS: &[&str] = &[
    "size=k",
    "size=%",
    "nr_inodes=m",
    "size=16e",
    "size=99999999999999999999",
    "size=18446744073709551615",
    "size=100000000000%",
    "nr_blocks=9223372036854775807",
];

/// What differs in no option that is compared.
const ALWAYS: &str = "mode=755,size=1m,nr_inodes=100";

fn tmpfs(options: &str) -> Option<String> {
    Tmpfs::with(&format!("{ALWAYS},{options}"))
        .ok()
        .map(|mount| told(&mount))
}

/// All that statfs(2) tells of a limit, and what the root is.
fn told(root: &Path) -> String {
    let StatVfs {
        f_bsize,
        f_frsize,
        f_blocks,
        f_bfree,
        f_bavail,
        f_files,
        f_ffree,
        f_favail,
        f_namemax,
        ..
    } = statvfs(root).unwrap();
    let root = stat(root)
        .map(|root| (root.st_mode, root.st_uid, root.st_gid))
        .unwrap();
    format!(
        "block {f_bsize} {f_frsize}, blocks {f_blocks} {f_bfree} {f_bavail}, inodes {f_files} {f_ffree} {f_favail}, \
         names {f_namemax}, root {root:?}"
    )
}

#[test]
fn options_are_read_and_shown_as_by_tmpfs() {
    let mut wrong = Vec::new();
    for options in SAME {
        let norefs = Background::attempt(&["-o", &format!("{ALWAYS},{options}")]);
        let (norefs, expected) = (
            norefs.ok().map(|mount| told(&mount.mountpoint)),
            tmpfs(options),
        );
        if norefs != expected {
            wrong.push(format!("{options}: {norefs:?}, tmpfs: {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    for options in ONLY_TMPFS {
        assert!(
            tmpfs(options).is_some(),
            "tmpfs has learned about {options}"
        );
        let refused = Background::attempt(&["-o", options]).err();
        assert!(
            refused.is_some_and(|why| why.starts_with("norefs: option ")),
            "{options}"
        );
    }
}

#[test]
fn the_default_is_half_of_memory() {
    let (tmpfs, norefs) = (Tmpfs::new(), Background::new(&[]));
    let [tmpfs, norefs] = [&*tmpfs, &norefs.mountpoint].map(|root| statfs(root).unwrap());
    assert_eq!(
        (norefs.f_blocks, norefs.f_bfree),
        (tmpfs.f_blocks, tmpfs.f_blocks)
    );
    assert_eq!(
        (norefs.f_bsize, norefs.f_namelen),
        (tmpfs.f_bsize, tmpfs.f_namelen)
    );
}

#[test]
fn a_command_is_run_with_the_options_that_make_sense() {
    let run = |options: &str| {
        let mut command = norefs();
        let command = command.args(["run", "--no-report", "-o", options, "--"]);
        command
            .args([
                "sh",
                "-c",
                "stat -c %a .; df --output=size,itotal . | tail -1",
            ])
            .output()
            .unwrap()
    };
    let output = run("size=1m,nr_inodes=9,mode=700,noxattr");
    assert_eq!(
        text(&output.stdout).split_whitespace().collect::<Vec<_>>(),
        ["700", "1024", "9"]
    );
    for options in [
        "remount",
        "user",
        "nofail",
        "x-systemd.automount",
        "wobble",
        "size=x",
        "passthrough",
    ] {
        let output = run(options);
        assert_eq!(
            (output.status.code(), text(&output.stdout).as_str()),
            (Some(2), ""),
            "{options}"
        );
    }
}
