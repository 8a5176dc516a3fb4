//! `norefs bench`.

mod commands;
mod page;
mod refusals;

use mount_tests::{
    Background, NOBODY, Scratch, Tmpfs, norefs, norefs_as_nobody, refused, text, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// What every report has.
const OPERATIONS: [(&str, &str, &str); 20] = [
    ("warm", "stat-1", "stat, depth 1"),
    ("warm", "stat-5", "stat, depth 5"),
    ("warm", "stat-missing", "stat of nothing, depth 5"),
    ("warm", "access", "access, depth 5"),
    ("warm", "readlink", "readlink, depth 5"),
    ("warm", "open", "open + close"),
    ("warm", "read", "open + read 4 KiB + close"),
    ("warm", "readdir", "open + list 20 names + close"),
    ("warm", "walk", "tree walk, per name"),
    ("forced", "statx-forced", "statx, forced"),
    ("changes", "create", "create + close + unlink"),
    ("changes", "mkdir", "mkdir + rmdir"),
    ("changes", "rename", "rename"),
    ("changes", "symlink", "symlink + unlink"),
    ("changes", "chmod", "chmod"),
    ("changes", "write", "create + write 4 KiB + close + unlink"),
    ("cold", "cold-stat", "stat, depth 5, random order"),
    (
        "cold",
        "cold-read",
        "open + read 4 KiB + close, random order",
    ),
    (
        "cold",
        "cold-readdir",
        "open + list 20 names + close, random order",
    ),
    ("cold", "cold-walk", "tree walk, per name"),
];

/// A short run with up to two clients.
fn short(mut command: Command) -> Command {
    command.arg("bench");
    command.args(["--entries", "20", "--rounds", "1", "--clients", "2"]);
    command
}

/// The report of a run that must succeed.
#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}

/// The values of a field in the rows.
fn all<'a>(report: &'a Value, field: &str) -> Vec<&'a Value> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|row| &row[field]).collect()
}

/// Expects all times to be there, for `directories` and from one round.
#[track_caller]
fn timed(report: &Value, directories: usize) {
    assert_eq!(report["schema"], 1);
    assert_eq!(report["directories"].as_array().unwrap().len(), directories);
    for row in report["rows"].as_array().unwrap() {
        let figures = row["figures"].as_array().unwrap();
        assert_eq!(figures.len(), directories, "{row}");
        assert_eq!(figures[0]["ratio"], 1.0, "{row}");
        for figure in figures {
            let median = figure["median_ns"].as_f64().unwrap();
            assert!(median > 0.0, "{row}");
            assert_eq!(figure["samples_ns"], serde_json::json!([median]), "{row}");
        }
    }
}

/// Expects every operation, with one and with two clients, pinned and not, in two directories.
#[track_caller]
fn complete(report: &Value, cold: bool) {
    timed(report, 2);
    let rows = report["rows"].as_array().unwrap();
    let expected = OPERATIONS
        .iter()
        .filter(|(group, ..)| cold || *group != "cold");
    let mut known = 0;
    for &(group, name, label) in expected {
        let of = |row: &&Value| row["group"] == group && row["name"] == name;
        let found: Vec<_> = rows.iter().filter(of).collect();
        assert!(found.iter().all(|row| row["label"] == label), "{name}");
        let load = |row: &&Value| (row["clients"].as_u64(), row["pinned"].as_bool());
        let loads: Vec<_> = found.iter().map(load).collect();
        let each = |clients| [true, false].map(|pinned| (Some(clients), Some(pinned)));
        assert_eq!(loads, [each(1), each(2)].concat(), "{name}: {report}");
        known += found.len();
    }
    assert_eq!(rows.len(), known, "{report}");
    assert_eq!(
        report["left_out"].as_array().unwrap().is_empty(),
        cold,
        "{report}"
    );
}

/// Interrupts a run as soon as `begun`, and expects it to say so and nothing else.
#[track_caller]
fn interrupt(mut child: Child, signal: Signal, begun: impl Fn() -> bool) {
    assert!(wait_until(begun), "it does not begin");
    kill_process(Pid::from_child(&child), signal).unwrap();
    if !wait_until(|| child.try_wait().unwrap().is_some()) {
        child.kill().unwrap();
        panic!("{signal:?} does not end it");
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "norefs: interrupted\n");
    assert_eq!(output.status.code(), Some(130));
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
    let report = report(&command.output().unwrap());
    complete(&report, true);
    let filesystems = serde_json::json!(["fuse.norefs", "tmpfs"]);
    assert_eq!(report["filesystems"], filesystems);
    empty(&mount.mountpoint);
    empty(&tmpfs);
}

/// How many requests of `kinds` a mount got for a run with `arguments`.
fn requests(arguments: &[&str], kinds: &[&str]) -> u64 {
    let mount = Background::new(&[]);
    let mut command = norefs();
    command.args([
        "bench",
        "--entries",
        "20",
        "--rounds",
        "5",
        "--clients",
        "1",
    ]);
    let output = command.args(arguments).arg(&mount.mountpoint).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stats = mount.stats();
    let count = |kind| stats["requests"][kind]["count"].as_u64().unwrap_or(0);
    kinds.iter().map(|kind| count(*kind)).sum()
}

#[test]
fn cold_turns_ask_the_filesystem_each_time() {
    // Five rounds of a pinned and of a free client, 19 files in a directory of 20 names.
    let operation = |name, kinds| requests(&["--operation", name], kinds);
    assert!(operation("cold-stat", &["lookup"]) >= 10 * 19);
    let read = operation("cold-read", &["lookup", "read"]);
    assert!(read >= 10 * (4 + 2), "{read}");
    let listings = &["readdir", "readdirplus"];
    assert!(operation("cold-readdir", listings) >= 10);
    assert!(operation("cold-walk", listings) >= 10);
    // Five runs in a tree of five directories with the root, each listed with its end.
    assert!(requests(&["--workload", "find"], listings) >= 5 * 4 * 2);
}

#[test]
fn bench_without_a_directory_mounts_its_own_and_takes_them_away() {
    let place = Scratch::new();
    let mut command = short(norefs());
    command.arg("--json").env("TMPDIR", &*place);
    command.args(["--operation", "stat-5", "--workload", "du"]);
    let report = report(&command.output().unwrap());
    timed(&report, 2);
    assert_eq!(
        report["directories"],
        serde_json::json!(["tmpfs", "norefs"])
    );
    let filesystems = serde_json::json!(["tmpfs", "fuse.norefs"]);
    assert_eq!(report["filesystems"], filesystems);
    unmounted(&place);
    empty(&place);
}

#[test]
fn bench_works_as_an_ordinary_user_without_cold_figures() {
    let (scratch, place) = (Scratch::new(), Scratch::new());
    std::os::unix::fs::chown(&*place, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = short(norefs_as_nobody(&scratch));
    command.arg("--json").env("TMPDIR", &*place);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let built = format!("/dev/shm/norefs-bench-{}-0", child.id());
    let report = report(&child.wait_with_output().unwrap());
    complete(&report, false);
    assert_eq!(report["directories"][0], "/dev/shm");
    assert!(!Path::new(&built).exists(), "{built} is left");
    let reason = report["left_out"][0].as_str().unwrap();
    assert!(reason.starts_with("cold: "), "{reason}");
    unmounted(&place);
    empty(&place);

    let mut command = short(norefs_as_nobody(&scratch));
    command.args(["--operation", "cold-walk"]).arg(&*place);
    let output = command.output().unwrap();
    refused(&output);
    let said = text(&output.stderr);
    assert!(said.contains("nothing to measure: cold: "), "{said}");
}

#[test]
fn bench_prints_a_table_for_each_group() {
    let tmpfs = Tmpfs::new();
    let mut command = short(norefs());
    let output = command.args(["--workload", "find", "--operation"]);
    let output = output.args(["stat-1,statx-forced", "--operation", "chmod,cold-stat"]);
    let output = output.arg(&*tmpfs).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let tables: Vec<_> = said.split("\n### ").skip(1).collect();
    let expected = [
        ("Warm, nanoseconds\n", "\n| stat, depth 1 | 2 pinned | "),
        ("Forced, nanoseconds\n", "\n| statx, forced | 1 free | "),
        ("Changes, nanoseconds\n", "\n| chmod | 1 pinned | "),
        (
            "Cold, nanoseconds\n",
            "\n| stat, depth 5, random order | 2 free | ",
        ),
        ("Commands, milliseconds\n", "\n| find . -type f -size +1 | "),
    ];
    assert_eq!(tables.len(), expected.len(), "{said}");
    for (table, (title, row)) in tables.iter().zip(expected) {
        assert!(table.starts_with(title) && table.contains(row), "{said}");
    }
}

#[test]
fn bench_measures_by_the_baseline_that_is_named() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.dir("one"), scratch.dir("two"));
    let run = |baseline: &Path| {
        let mut command = short(norefs());
        command.args(["--json", "--operation", "access", "--baseline"]);
        command.arg(baseline).args([&one, &two]).output().unwrap()
    };
    let report = report(&run(&two));
    assert_eq!(report["baseline"], 1);
    assert!(
        all(&report, "figures")
            .iter()
            .all(|figures| figures[1]["ratio"] == 1.0)
    );
    let output = run(&scratch.join("three"));
    refused(&output);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("three") && said.contains(two.to_str().unwrap()),
        "{said}"
    );
    empty(&one);
}

#[test]
fn bench_that_is_interrupted_cleans_up() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (place, tmpfs, pages) = (Scratch::new(), Tmpfs::new(), Scratch::new());
        let mut command = norefs();
        command.args(["bench", "--rounds", "1000", "--html"]);
        command
            .arg(pages.join("page.html"))
            .arg(&*tmpfs)
            .arg(&*place);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let begun = || std::fs::read_dir(&*place).unwrap().next().is_some();
        interrupt(child, signal, begun);
        for directory in [&*place, &*tmpfs, &*pages] {
            empty(directory);
        }
    }
}
