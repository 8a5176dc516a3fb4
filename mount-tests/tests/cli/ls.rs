//! `norefs ls`: which mounts there are, without asking any of them.

use mount_tests::{Background, Daemon, Scratch, norefs, norefs_as_nobody, text, wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What `norefs ls --json` run by `command` shows of the mount at `mountpoint`.
fn listed(mut command: Command, mountpoint: &Path) -> Option<Value> {
    let output = command.args(["ls", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let at = mountpoint.to_str().unwrap();
    rows.into_iter().find(|row| row["mountpoint"] == at)
}

/// The line of `norefs ls` for people on the mount at `mountpoint`.
fn line(verb: &str, mountpoint: &Path) -> String {
    let output = norefs().arg(verb).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.starts_with("MOUNT POINT"), "{table}");
    let at = mountpoint.to_str().unwrap();
    let line = table.lines().find(|line| line.starts_with(at));
    line.unwrap_or_else(|| panic!("{at} is missing: {table}"))
        .to_owned()
}

#[test]
fn a_mount_is_listed_with_what_serves_it() {
    let scratch = Scratch::new();
    let source = scratch.dir("a source\n");
    for name in ["a", "b", "c"] {
        std::fs::write(source.join(name), "content").unwrap();
    }
    let mount = Background::new(&[source.to_str().unwrap()]);
    std::fs::write(mount.mountpoint.join("new"), vec![1; 100_000]).unwrap();
    let row = listed(norefs(), &mount.mountpoint).unwrap();
    assert_eq!(row["state"], "served");
    assert_eq!(row["source"], source.to_str().unwrap());
    assert_eq!(row["pid"], mount.pid().as_raw_nonzero().get());
    assert_eq!((&row["inodes"], &row["owner"]), (&5.into(), &0.into()));
    assert!(row["bytes"].as_u64().unwrap() >= 100_000, "{row}");
    assert!(row["memory"].as_u64().unwrap() > 1 << 20, "{row}");
    assert!(row["uptime_seconds"].as_u64().unwrap() < 600, "{row}");
    for verb in ["ls", "list"] {
        let line = line(verb, &mount.mountpoint);
        let pid = mount.pid().as_raw_nonzero().to_string();
        assert!(
            line.contains(&pid) && line.contains("a source\\n"),
            "{line}"
        );
    }
    let mountpoint = mount.mountpoint.clone();
    drop(mount);
    assert!(listed(norefs(), &mountpoint).is_none());
}

#[test]
fn a_mount_whose_daemon_was_killed_is_dead() {
    let mount = Background::new(&[]);
    kill_process(mount.pid(), Signal::KILL).unwrap();
    let dead = || listed(norefs(), &mount.mountpoint).is_some_and(|row| row["state"] == "dead");
    assert!(wait_until(dead));
    assert!(line("ls", &mount.mountpoint).contains("dead"));
}

#[test]
fn a_stopped_daemon_keeps_nobody_waiting() {
    let mount = Background::new(&[]);
    let pid = mount.pid();
    kill_process(pid, Signal::STOP).unwrap();
    let began = Instant::now();
    let row = listed(norefs(), &mount.mountpoint).unwrap();
    let (line, took) = (line("ls", &mount.mountpoint), began.elapsed());
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(row["state"], "silent");
    assert!(line.contains("does not answer"), "{line}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let served = || listed(norefs(), &mount.mountpoint).unwrap()["state"] == "served";
    assert!(wait_until(served));
}

#[test]
fn an_ordinary_user_sees_mounts_of_his_own() {
    let of_root = Background::new(&["-o", "allow_other"]);
    let own = Daemon::as_nobody(&["-o", "size=1m"]);
    let as_nobody = || {
        let mut command = norefs_as_nobody(own.outside());
        command.env("XDG_RUNTIME_DIR", own.outside().join("run"));
        command
    };
    assert!(listed(as_nobody(), &of_root.mountpoint).is_none());
    let served = || listed(as_nobody(), own.root()).unwrap()["state"] == "served";
    assert!(wait_until(served));
    assert!(listed(norefs(), own.root()).is_some());
}

#[test]
fn counters_tell_what_is_in_use_and_of_what() {
    let mount = Background::new(&["-o", "size=1m,nr_inodes=50"]);
    let file = mount.mountpoint.join("file");
    std::fs::write(&file, vec![1; 100_000]).unwrap();
    std::fs::hard_link(&file, mount.mountpoint.join("link")).unwrap();
    let stats = mount.stats();
    let bytes = stats["bytes"].as_u64().unwrap();
    assert!((100_000..200_000).contains(&bytes), "{stats}");
    assert_eq!(
        (&stats["inodes"], &stats["further_names"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&stats["max_bytes"], &stats["max_inodes"]),
        (&(1 << 20).into(), &50.into())
    );
    let people = text(&mount.norefs("stats", &[]).stdout);
    assert!(
        people.contains(" of 1,048,576 bytes in use, 3 of 50 inodes"),
        "{people}"
    );
}
