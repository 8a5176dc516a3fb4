//! `norefs bench`.

use mount_tests::{
    Background, NOBODY, Scratch, Tmpfs, norefs, norefs_as_nobody, refused, text, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What every report has, cold walks apart.
const OPERATIONS: [(&str, &str); 16] = [
    ("warm", "stat, depth 1"),
    ("warm", "stat, depth 5"),
    ("warm", "stat of nothing, depth 5"),
    ("warm", "access, depth 5"),
    ("warm", "readlink, depth 5"),
    ("warm", "open + close"),
    ("warm", "open + read 4 KiB + close"),
    ("warm", "open + list 20 names + close"),
    ("warm", "tree walk, per name"),
    ("forced", "statx, forced"),
    ("changes", "create + close + unlink"),
    ("changes", "mkdir + rmdir"),
    ("changes", "rename"),
    ("changes", "symlink + unlink"),
    ("changes", "chmod"),
    ("changes", "create + write 4 KiB + close + unlink"),
];

/// A short run with up to two clients.
fn short(mut command: Command) -> Command {
    command.arg("bench");
    command.args(["--entries", "200", "--rounds", "1", "--clients", "2"]);
    command
}

/// The report of a run that must succeed.
#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}

/// Expects every operation, with one and with two clients, with a time for two directories.
#[track_caller]
fn complete(report: &Value) {
    assert_eq!(report["directories"].as_array().unwrap().len(), 2);
    let rows = report["rows"].as_array().unwrap();
    for (group, operation) in OPERATIONS {
        let found = rows
            .iter()
            .filter(|row| row["group"] == group && row["operation"] == operation);
        let clients: Vec<_> = found.map(|row| row["clients"].as_u64()).collect();
        assert_eq!(clients, [Some(1), Some(2)], "{operation}: {report}");
    }
    for row in rows {
        let figures = row["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 2, "{row}");
        assert_eq!(figures[0]["ratio"], 1.0, "{row}");
        let timed = |figure: &Value| figure["median_ns"].as_f64().is_some_and(|ns| ns > 0.0);
        assert!(figures.iter().all(timed), "{row}");
    }
    let cold = rows.iter().any(|row| row["group"] == "cold");
    let left_out = report["left_out"].as_array().unwrap();
    assert_eq!(cold, left_out.is_empty(), "{report}");
}

#[track_caller]
fn empty(directory: &Path) {
    let left: BTreeSet<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{}: {left:?}", directory.display());
}

/// Expects no mount at or below `directory`.
#[track_caller]
fn unmounted(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");
}

#[test]
fn bench_compares_the_directories_it_is_given_and_leaves_nothing_in_them() {
    let (mount, tmpfs) = (Background::new(&[]), Tmpfs::new());
    let mut command = short(norefs());
    command.arg("--json").args([&mount.mountpoint, &*tmpfs]);
    complete(&report(&command.output().unwrap()));
    empty(&mount.mountpoint);
    empty(&tmpfs);
}

#[test]
fn bench_without_a_directory_mounts_its_own_and_takes_them_away() {
    let place = Scratch::new();
    let mut command = short(norefs());
    command.arg("--json").env("TMPDIR", &*place);
    let report = report(&command.output().unwrap());
    complete(&report);
    assert_eq!(report["directories"][0], "tmpfs");
    assert_eq!(report["directories"][1], "norefs");
    unmounted(&place);
    empty(&place);
}

#[test]
fn bench_works_as_an_ordinary_user() {
    let (scratch, place) = (Scratch::new(), Scratch::new());
    std::os::unix::fs::chown(&*place, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = short(norefs_as_nobody(&scratch));
    command.arg("--json").env("TMPDIR", &*place);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let built = format!("/dev/shm/norefs-bench-{}-0", child.id());
    let report = report(&child.wait_with_output().unwrap());
    complete(&report);
    assert_eq!(report["directories"][0], "/dev/shm");
    assert!(!Path::new(&built).exists(), "{built} is left");
    let reason = report["left_out"][0].as_str().unwrap();
    assert!(reason.starts_with("cold: "), "{reason}");
    unmounted(&place);
    empty(&place);
}

#[test]
fn bench_prints_a_table_for_each_group() {
    let tmpfs = Tmpfs::new();
    let output = short(norefs()).arg(&*tmpfs).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (_, operation) in OPERATIONS {
        assert!(said.contains(&format!("\n| {operation} | 2 | ")), "{said}");
    }
    for title in ["\n### Warm: ", "\n### Forced: ", "\n### Changes\n"] {
        assert!(said.contains(title), "{title}: {said}");
    }
}

#[test]
fn bench_refuses_what_is_no_directory_before_it_touches_the_others() {
    let scratch = Scratch::new();
    let (good, file) = (scratch.dir("good"), scratch.join("file"));
    std::fs::write(&file, "").unwrap();
    for wrong in [file, scratch.join("missing")] {
        let output = short(norefs()).arg(&good).arg(&wrong).output().unwrap();
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(wrong.to_str().unwrap()), "{said}");
        assert_eq!(text(&output.stdout), "");
        empty(&good);
    }
    for wrong in ["--entries=0", "--rounds=0", "--clients=0"] {
        refused(&norefs().arg("bench").arg(wrong).output().unwrap());
    }
}

#[test]
fn bench_that_fails_says_where_and_cleans_up() {
    let (mount, tmpfs) = (Background::new(&["-o", "nr_inodes=100"]), Tmpfs::new());
    let mut command = short(norefs());
    let output = command.args([&*tmpfs, &mount.mountpoint]).output().unwrap();
    refused(&output);
    let said = text(&output.stderr);
    assert!(said.contains(mount.mountpoint.to_str().unwrap()), "{said}");
    assert!(said.contains("No space left"), "{said}");
    empty(&mount.mountpoint);
    empty(&tmpfs);
}

#[test]
fn bench_that_is_interrupted_cleans_up() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (place, tmpfs) = (Scratch::new(), Tmpfs::new());
        let mut command = norefs();
        command.args(["bench", "--rounds", "1000"]).arg(&*tmpfs);
        command.arg(&*place).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let begun = || std::fs::read_dir(&*place).unwrap().next().is_some();
        assert!(wait_until(begun), "it builds nothing");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert!(wait_until(|| child.try_wait().unwrap().is_some()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(text(&output.stderr), "norefs: interrupted\n");
        empty(&place);
        empty(&tmpfs);
    }
}
