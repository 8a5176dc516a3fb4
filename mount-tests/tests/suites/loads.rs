//! Programs that load a filesystem as servers do, and look whether it kept what they gave it: fio, dbench, postmark.
//!
//! For longer: `cargo test --release -p mount-tests --test suites loads:: -- --ignored`.

use mount_tests::programs::{run, run_with_input};
use mount_tests::{Daemon, posix, report};
use std::path::Path;

/// Lets two processes write `size` and read it again, in each way that fio knows.
fn fio(size: &str) {
    let ways = [
        &["--ioengine=psync", "--fallocate=posix"][..],
        &["--ioengine=mmap"],
        &["--ioengine=libaio", "--iodepth=16", "--direct=1"],
        &["--ioengine=io_uring", "--iodepth=16"],
    ];
    let patterns = ["--rw=randwrite", "--rw=randrw", "--rw=write"];
    for way in ways {
        let mount = Daemon::start();
        for pattern in patterns {
            let common = [
                "--name=verify",
                size,
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
            let place = [directory.as_str()];
            run(mount.outside(), "fio", &[&common[..], &place, way].concat());
        }
    }
    let runs = (ways.len() * patterns.len()) as u64;
    report::parts(&report::target(), [runs, 0, 0]);
}

/// Lets four clients do for `seconds` what clients of a file server do, with extended attributes and without.
fn dbench(seconds: u32) {
    for xattrs in [&[][..], &["--xattr"]] {
        let mount = Daemon::start();
        let directory = format!("--directory={}", mount.root().display());
        let time = format!("--timelimit={seconds}");
        let common = [directory.as_str(), time.as_str()];
        let arguments = [&common[..], xattrs, &["4"]].concat();
        let said = run(mount.outside(), "dbench", &arguments);
        let good = !said.contains("ERROR") && said.contains("Throughput");
        assert!(good, "{said}");
        report::parts(&report::target(), [1, 0, 0]);
    }
}

/// Makes, reads, extends and removes files as a mail server does. Without its times, its report must be that of tmpfs.
fn postmark(files: u32, transactions: u32) {
    posix::same_as_tmpfs(|root| {
        let script = format!(
            "set location {}\nset number {files}\nset transactions {transactions}\nset subdirectories 20\n\
             set size 500 70000\nset read 4096\nset write 4096\nset buffering false\nset seed 7\nrun\nquit\n",
            root.display()
        );
        let said = run_with_input(Path::new("/"), "postmark", &script);
        assert!(!said.contains("Error"), "{said}");
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 0);
        let without_rate = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
        let counts: Vec<String> = said
            .lines()
            .filter(|line| line.contains("per second"))
            .map(without_rate)
            .filter(|line| !line.contains("seconds"))
            .collect();
        assert!(counts.len() > 5, "{said}");
        counts
    });
    report::operations(&report::target(), u64::from(transactions));
}

#[test]
fn fio_reads_what_it_wrote() {
    fio("--size=4m");
}

#[test]
fn dbench_goes_through() {
    dbench(2);
}

#[test]
fn postmark_counts_what_it_counts_on_tmpfs() {
    postmark(300, 1_000);
}

#[test]
#[ignore = "takes a minute"]
fn fio_reads_what_it_wrote_for_long() {
    fio("--size=64m");
}

#[test]
#[ignore = "takes half a minute"]
fn dbench_goes_through_for_long() {
    dbench(15);
}

#[test]
#[ignore = "takes a minute"]
fn postmark_counts_what_it_counts_on_tmpfs_for_long() {
    postmark(5_000, 50_000);
}
