//! Commands on generated trees.

use super::{OPERATIONS, all, empty, interrupt, report, short, timed, unmounted};
use mount_tests::programs::run;
use mount_tests::{Background, Scratch, Tmpfs, norefs, refused, text};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

/// A directory of programs, to be all of `PATH`.
fn programs(scratch: &Scratch, scripts: &[(&str, &str)]) -> PathBuf {
    let path = scratch.dir("bin");
    for (name, script) in scripts {
        let file = path.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
    path
}

#[test]
fn bench_runs_commands_warm_and_cold() {
    let (mount, tmpfs) = (Background::new(&[]), Tmpfs::new());
    let mut command = short(norefs());
    command.args(["--json", "--workload", "git-status,find"]);
    let output = command.args([&*tmpfs, &mount.mountpoint]).output();
    let report = report(&output.unwrap());
    timed(&report, 2);
    let groups = ["warm-commands", "cold-commands"];
    assert_eq!(all(&report, "group"), [groups, groups].concat());
    let names = ["git-status", "git-status", "find", "find"];
    assert_eq!(all(&report, "name"), names);
    empty(&mount.mountpoint);
    empty(&tmpfs);
}

#[test]
fn bench_knows_every_command_it_lists() {
    let list = text(&norefs().args(["bench", "--list"]).output().unwrap().stdout);
    for (_, name, label) in OPERATIONS {
        let line = format!("  {name:<14} {label}");
        assert!(list.lines().any(|known| known == line), "{line}: {list}");
    }
    let (_, workloads) = list.split_once("\nWorkloads:\n").unwrap();
    let name = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let names: BTreeSet<_> = workloads.lines().map(name).collect();
    assert_eq!(names.len(), 7, "{list}");

    let mount = Background::new(&[]);
    let mut command = short(norefs());
    command.arg("--json").arg(&mount.mountpoint);
    for name in &names {
        command.args(["--workload", name]);
    }
    let report = report(&command.output().unwrap());
    timed(&report, 1);
    let measured = all(&report, "name").into_iter();
    let mut found: BTreeSet<_> = measured
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    for reason in report["left_out"].as_array().unwrap() {
        let reason = reason.as_str().unwrap();
        assert!(reason.ends_with(" is not installed"), "{reason}");
        found.insert(reason.split(':').next().unwrap().to_owned());
    }
    assert_eq!(found, names);
    empty(&mount.mountpoint);
}

#[test]
fn bench_leaves_out_what_is_not_installed_unless_that_is_all() {
    let (scratch, tmpfs) = (Scratch::new(), Tmpfs::new());
    let path = programs(&scratch, &[("find", "exit 0")]);
    let run = |workloads| {
        let mut command = short(norefs());
        command
            .args(["--json", "--workload", workloads])
            .env("PATH", &path);
        command.arg(&*tmpfs).output().unwrap()
    };
    let some = report(&run("node-resolve,find"));
    let left_out = serde_json::json!(["node-resolve: `node` is not installed"]);
    assert_eq!(some["left_out"], left_out);
    assert_eq!(all(&some, "name"), ["find", "find"]);
    let none = run("node-resolve");
    refused(&none);
    let reason = "norefs: nothing to measure: node-resolve: `node` is not installed\n";
    assert_eq!(text(&none.stderr), reason);
    empty(&tmpfs);
}

#[test]
fn bench_expects_commands_to_succeed_and_gives_them_a_clean_environment() {
    let (scratch, tmpfs) = (Scratch::new(), Tmpfs::new());
    let seen = scratch.join("seen");
    let script = format!(
        "/usr/bin/env >{}\necho 'it is broken' >&2\nexit 3",
        seen.display()
    );
    let path = programs(&scratch, &[("find", &script)]);
    let mut command = short(norefs());
    command.args(["--workload", "find"]).arg(&*tmpfs);
    command.env("PATH", &path).env("GIT_DIR", "/elsewhere");
    let output = command.output().unwrap();
    refused(&output);
    let said = text(&output.stderr);
    let reason = ": find . -type f -size +1: exit status: 3 it is broken\n";
    assert!(said.ends_with(reason), "{said}");
    let seen = std::fs::read_to_string(seen).unwrap();
    for variable in ["LC_ALL=C", "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1"] {
        assert!(seen.lines().any(|line| line == variable), "{seen}");
    }
    assert!(!seen.contains("GIT_DIR"), "{seen}");
    empty(&tmpfs);
}

#[test]
fn bench_that_is_interrupted_in_a_command_ends_it_and_unmounts() {
    let (scratch, place) = (Scratch::new(), Scratch::new());
    let begun = scratch.join("begun");
    let script = format!(
        "[ $1 = . ] || exit 0\n: >{}\nexec /bin/sleep 1000",
        begun.display()
    );
    let path = programs(&scratch, &[("find", &script)]);
    let mut command = short(norefs());
    command.args(["--workload", "find"]).env("PATH", path);
    command.env("TMPDIR", &*place).stderr(Stdio::piped());
    interrupt(command.spawn().unwrap(), Signal::TERM, || begun.exists());
    unmounted(&place);
    empty(&place);
}

/// Each run of the command notes the type of the filesystem it runs on, and the number of one file.
#[test]
fn bench_builds_outside_what_its_own_mounts_load() {
    let (scratch, place) = (Scratch::new(), Scratch::new());
    let seen = scratch.join("seen");
    let look = "/usr/bin/stat -fc %T . | /usr/bin/tr '\\n' ' '; /usr/bin/stat -c %i src/p000/d00000/f000000.c";
    let script = format!("[ $1 = . ] || exit 0\n{{ {look}; }} >>{}", seen.display());
    let path = programs(&scratch, &[("find", &script)]);
    let mut command = short(norefs());
    command.args(["--json", "--workload", "find"]);
    command.env("PATH", path).env("TMPDIR", &*place);
    let report = report(&command.output().unwrap());
    timed(&report, 2);
    let rows = report["rows"].as_array().unwrap();
    let of = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        (text("group"), text("name"), row["source"].is_object())
    };
    let expected = [
        ("first-commands", "load", false),
        ("first-commands", "find", true),
        ("warm-commands", "find", true),
        ("cold-commands", "find", true),
    ];
    let expected = expected.map(|(group, name, source)| (group.into(), name.into(), source));
    assert_eq!(rows.iter().map(of).collect::<Vec<_>>(), expected);

    let seen = std::fs::read_to_string(seen).unwrap();
    let runs = seen.lines().map(|line| line.split_once(' ').unwrap());
    let mut numbers = BTreeMap::<_, BTreeSet<_>>::new();
    runs.for_each(|(filesystem, ino)| _ = numbers.entry(filesystem).or_default().insert(ino));
    let disk = run(&place, "stat", &["-fc", "%T", "."]);
    assert_eq!(numbers.len(), 3, "{seen}");
    assert_eq!(numbers[disk.trim()].len(), 1, "{seen}");
    assert_eq!(numbers["fuseblk"], numbers[disk.trim()], "{seen}");
    unmounted(&place);
    empty(&place);
}

#[test]
fn bench_hands_transports_on_to_the_mounts_it_makes() {
    let (scratch, place) = (Scratch::new(), Scratch::new());
    let seen = scratch.join("seen");
    let all = "/bin/cat /proc/[0-9]*/cmdline 2>/dev/null | /usr/bin/tr '\\0' ' '";
    let path = programs(&scratch, &[("find", &format!("{all} >{}", seen.display()))]);
    let mut command = short(norefs());
    command.args(["--json", "--workload", "find", "--transport", "device,auto"]);
    command.env("PATH", path).env("TMPDIR", &*place);
    let report = report(&command.output().unwrap());
    let labels = serde_json::json!(["tmpfs", "norefs-device", "norefs-auto"]);
    assert_eq!(report["directories"], labels);
    timed(&report, 3);
    let seen = std::fs::read_to_string(seen).unwrap();
    for transport in ["device", "auto"] {
        let served = format!("mount --serve --transport {transport} {}", place.display());
        assert!(seen.contains(&served), "{seen}");
    }
    unmounted(&place);
}
