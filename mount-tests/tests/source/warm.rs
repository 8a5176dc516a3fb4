//! Mounts whose names and attributes the kernel is given before anybody asks.

use mount_tests::{
    Background, Daemon, Scratch, is_mounted, norefs, norefs_as_nobody, refused, text, wait_until,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const DIRECTORIES: usize = 40;
const FILES: usize = 200;

/// A source of [`DIRECTORIES`] with [`FILES`] each, one of them hidden, and one large directory.
fn source() -> Scratch {
    let source = Scratch::new();
    for directory in 0..DIRECTORIES {
        let name = match directory {
            0 => ".hidden".to_owned(),
            _ => format!("d{directory}"),
        };
        let directory = source.dir(&name);
        (0..FILES).for_each(|file| std::fs::write(directory.join(file.to_string()), "x").unwrap());
    }
    let large = source.dir("large");
    (0..3000).for_each(|file| std::fs::write(large.join(file.to_string()), "").unwrap());
    source
}

const NAMES: usize = DIRECTORIES * (FILES + 1) + 3001;

fn state(stats: &serde_json::Value) -> (String, u64) {
    let warm = &stats["warm"];
    let state = warm["state"].as_str().unwrap_or_default().to_owned();
    (state, warm["entries"].as_u64().unwrap_or_default())
}

fn requests(stats: &serde_json::Value, kind: &str) -> u64 {
    stats["requests"][kind]["count"].as_u64().unwrap_or(0)
}

/// What `norefs stats --json` shows of a mount in the background once warming has ended.
fn when_warm(mount: &Background) -> serde_json::Value {
    assert!(wait_until(|| state(&mount.stats()).0 != "running"));
    mount.stats()
}

/// Looks at everything below, as `find -ls` does.
fn look(root: &Path) -> usize {
    let listed = std::fs::read_dir(root).unwrap();
    let below = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        1 + if metadata.is_dir() {
            look(&entry.path())
        } else {
            0
        }
    };
    listed.map(below).sum()
}

fn background(source: &Path) -> Background {
    Background::new(&["--warm", source.to_str().unwrap()])
}

#[test]
fn everything_is_in_the_kernel_s_caches_afterwards() {
    let source = source();
    let mount = background(&source);
    let before = when_warm(&mount);
    assert_eq!(state(&before), ("done".to_owned(), NAMES as u64));
    assert_eq!(before["warm"]["total"].as_u64(), Some(NAMES as u64));
    assert_eq!(look(&mount.mountpoint), NAMES);
    let after = mount.stats();
    for kind in ["lookup", "readdirplus", "readdir"] {
        let more = requests(&after, kind) - requests(&before, kind);
        assert_eq!(more, 0, "{kind}: {before:#} {after:#}");
    }
    assert!(requests(&after, "lookup") <= 3 + DIRECTORIES as u64);
    let said = text(&mount.norefs("stats", &[]).stdout);
    let line = format!("warming: {NAMES} of {NAMES} names, done");
    assert!(said.contains(&line), "{said}");
}

#[test]
fn without_the_option_nothing_is_asked_for() {
    let source = source();
    let mount = Background::new(&["--no-warm", source.to_str().unwrap()]);
    let stats = mount.stats();
    assert!(stats["warm"].is_null(), "{stats}");
    assert_eq!(requests(&stats, "readdirplus"), 0);
}

#[test]
fn the_mount_can_be_unmounted_at_any_time_meanwhile() {
    let source = source();
    for round in 0..6u64 {
        let mount = background(&source);
        let pid = mount.pid();
        std::thread::sleep(std::time::Duration::from_millis(round * 17 % 60));
        let mut umount = match round % 3 {
            0 => {
                let mut umount = norefs();
                umount.arg("umount");
                umount
            }
            _ => Command::new("umount"),
        };
        let done = umount.arg(&mount.mountpoint).output().unwrap();
        assert!(
            done.status.success(),
            "round {round}: {}",
            text(&done.stderr)
        );
        assert!(!is_mounted(&mount.mountpoint));
        assert!(
            wait_until(|| is_gone(pid)),
            "the daemon ends with its mount"
        );
    }
}

/// A mount that is being warmed, and the process that does it.
fn being_warmed(source: &Path) -> (Background, Pid) {
    for _ in 0..20 {
        let mount = background(source);
        let daemon = mount.pid().as_raw_nonzero();
        let mut warmer = None;
        wait_until(|| {
            let children = format!("/proc/{daemon}/task/{daemon}/children");
            let children = std::fs::read_to_string(children).unwrap();
            warmer = children.trim().parse().ok().and_then(Pid::from_raw);
            let name = warmer
                .map(|pid| std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())));
            name.is_none_or(|name| name.is_ok_and(|name| name == "norefs-warm\n"))
        });
        if let Some(warmer) = warmer {
            return (mount, warmer);
        }
    }
    panic!("no mount was seen while it was warmed");
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

#[test]
fn a_killed_daemon_takes_the_warming_process_along() {
    let source = source();
    for stopped in [false, true, false] {
        let (mount, warmer) = being_warmed(&source);
        let daemon = mount.pid();
        if stopped {
            kill_process(warmer, Signal::STOP).unwrap();
        }
        kill_process(daemon, Signal::KILL).unwrap();
        assert!(wait_until(|| is_gone(daemon) && is_gone(warmer)));
    }
}

#[test]
fn a_warming_process_that_is_stopped_keeps_no_mount() {
    let source = source();
    for way in ["umount", "norefs umount", "signal"] {
        let (mount, warmer) = being_warmed(&source);
        let daemon = mount.pid();
        kill_process(warmer, Signal::STOP).unwrap();
        let umount = || Command::new("umount").arg(&mount.mountpoint).output();
        let done = match way {
            "umount" => umount().unwrap().status.success(),
            "signal" => kill_process(daemon, Signal::TERM).is_ok(),
            _ => mount.norefs("umount", &[]).status.success(),
        };
        assert!(done, "{way}");
        assert!(wait_until(|| is_gone(daemon) && is_gone(warmer)), "{way}");
        assert!(!is_mounted(&mount.mountpoint), "{way}");
    }
}

#[test]
fn a_warming_process_that_is_killed_leaves_a_mount_as_good_as_any() {
    let source = source();
    let (mount, warmer) = being_warmed(&source);
    kill_process(warmer, Signal::KILL).unwrap();
    let stats = when_warm(&mount);
    assert!(wait_until(|| is_gone(warmer)), "it is waited for");
    assert_eq!(state(&stats).0, "stopped");
    assert_eq!(look(&mount.mountpoint), NAMES);
}

#[test]
fn a_signal_ends_the_mount_meanwhile() {
    let source = source();
    for _ in 0..4 {
        let mut mount = Daemon::with(&["--warm", source.to_str().unwrap()]);
        kill_process(mount.pid(), Signal::TERM).unwrap();
        assert!(wait_until(|| mount.ended().is_some()));
        assert!(!is_mounted(mount.root()));
    }
}

#[test]
fn a_run_ends_at_once_meanwhile() {
    let source = source();
    for command in [&["true"][..], &["find", ".", "-ls"]] {
        let mut run = norefs();
        run.args(["run", "--warm", "--no-report", "--from"]);
        let output = run.arg(&*source).arg("--").args(command).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        if command.len() > 1 {
            assert_eq!(text(&output.stdout).lines().count(), NAMES + 1);
        }
    }
}

#[test]
fn what_changes_meanwhile_shows_as_it_is() {
    let source = source();
    let mount = background(&source);
    let path = |name: &str| mount.mountpoint.join(name);
    for number in 1..DIRECTORIES {
        let at = |name: &str| path(&format!("d{number}/{name}"));
        std::fs::rename(at("1"), at("moved")).unwrap();
        std::fs::remove_file(at("2")).unwrap();
        std::fs::write(at("3"), "longer").unwrap();
        std::fs::write(at("new"), "new").unwrap();
    }
    assert_eq!(state(&when_warm(&mount)).0, "done");
    for number in 1..DIRECTORIES {
        let at = |name: &str| path(&format!("d{number}/{name}"));
        assert!(!at("1").exists() && !at("2").exists());
        assert_eq!(at("moved").metadata().unwrap().len(), 1);
        assert_eq!(at("3").metadata().unwrap().len(), 6);
        assert_eq!(at("new").metadata().unwrap().len(), 3);
        let names = std::fs::read_dir(path(&format!("d{number}"))).unwrap();
        assert_eq!(names.count(), FILES);
    }
    assert_eq!(
        path("large/7").metadata().unwrap().mode() & 0o170_000,
        0o100_000
    );
}

#[test]
fn an_ordinary_user_s_mount_is_warmed_as_far_as_it_may_be_read() {
    let source = source();
    let closed = source.join("d7");
    rustix::fs::chmod(&closed, 0o000.into()).unwrap();
    rustix::fs::chmod(&*source, 0o755.into()).unwrap();
    let mount = Daemon::as_nobody(&["--warm", source.to_str().unwrap()]);
    let stats = || {
        let mut command = norefs_as_nobody(mount.outside());
        command.args(["stats", "--json"]).arg(mount.root());
        let run = mount.outside().join("run");
        let output = command.env("XDG_RUNTIME_DIR", run).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let ended = |state: &str| state == "done" || state == "stopped";
    assert!(wait_until(|| ended(&state(&stats()).0)));
    let (state, names) = state(&stats());
    // Where users may have no namespace of their own it is not done: the mount must not be kept busy.
    match state.as_str() {
        "done" => assert_eq!(names as usize, NAMES - FILES),
        _ => assert!(
            mount.log().contains("keep the mount busy"),
            "{}",
            mount.log()
        ),
    }
}

#[test]
fn a_run_of_a_source_is_warmed_unless_that_is_of_no_use_or_unwanted() {
    let source = source();
    let from = ["--from", source.to_str().unwrap()];
    let warmed = |options: &[&str]| {
        let mut run = norefs();
        run.args(["run", "--no-report"]).args(options);
        let ask = ["sh", "-c", "\"$0\" stats --json \"$NOREFS_MOUNT\""];
        run.arg("--").args(ask).arg(norefs().get_program());
        let output = run.output().unwrap();
        assert_eq!(text(&output.stderr), "", "{options:?}");
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        !stats["warm"].is_null()
    };
    assert!(warmed(&from));
    assert!(warmed(&[&from[..], &["-o", "warm"]].concat()));
    for unwanted in [
        &["--no-warm"][..],
        &["-o", "nowarm"],
        &["--cache", "none"],
        &["-o", "permissions=daemon"],
    ] {
        let options = [&from[..], unwanted].concat();
        assert!(!warmed(&options), "{unwanted:?}");
    }
    assert!(!warmed(&[]), "there is nothing to be warmed");
}

#[test]
fn where_it_is_of_no_use_it_is_refused() {
    for options in [
        &["--warm", "--cache", "none"][..],
        &["--warm", "-o", "permissions=daemon"],
        &["-o", "warm,cache=none"],
    ] {
        let mut run = norefs();
        refused(
            &run.arg("run")
                .args(options)
                .args(["--", "true"])
                .output()
                .unwrap(),
        );
    }
    let mut run = norefs();
    let off = [
        "run",
        "--no-report",
        "--warm",
        "--no-warm",
        "--cache",
        "none",
    ];
    let output = run.args(off).args(["--", "true"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
