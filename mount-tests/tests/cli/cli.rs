//! `norefs mount` and `norefs stats`, and what is said to whoever uses any verb wrongly.

use mount_tests::posix::{as_user, seen};
use mount_tests::programs::attempt;
use mount_tests::{
    Background, Daemon, NOBODY, Scratch, fails, is_mounted, is_refusal, norefs, norefs_as_nobody,
    refused, text,
};
use rustix::fs::{lstat, major, minor};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

#[test]
fn mount_takes_a_relative_path() {
    let scratch = Scratch::new();
    let mountpoint = scratch.dir("mount");
    std::fs::write(scratch.dir("source").join("file"), "content").unwrap();
    let in_scratch = |arguments: &[&str]| {
        let mut command = norefs();
        command
            .args(arguments)
            .current_dir(&*scratch)
            .status()
            .unwrap()
            .success()
    };
    assert!(in_scratch(&["mount", "source", "mount"]));
    assert_eq!(std::fs::read(mountpoint.join("file")).unwrap(), b"content");
    assert!(in_scratch(&["stats", "mount"]));
    assert!(in_scratch(&["umount", "mount"]));
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn an_empty_mount_belongs_to_the_caller_and_shows_what_it_is() {
    let mount = Background::new(&[]);
    let root = seen(&mount.mountpoint);
    assert_eq!((root.uid, root.gid, root.nlink), (0, 0, 2));
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(mount.mountpoint.to_str().unwrap()))
        .unwrap();
    assert!(
        line.contains(" fuse.norefs ") && line.contains("default_permissions"),
        "{line}"
    );
}

#[test]
fn stats_are_shown_for_people_and_for_programs() {
    let mount = Background::new(&[]);
    std::fs::create_dir(mount.mountpoint.join("dir")).unwrap();
    let people = text(&mount.norefs("stats", &[]).stdout);
    assert!(
        people.contains("mkdir") && people.contains("fast"),
        "{people}"
    );
    let stats = mount.stats();
    assert_eq!(stats["requests"]["mkdir"]["count"], 1);
    assert_eq!(stats["mountpoint"], mount.mountpoint.to_str().unwrap());
    assert_eq!(stats["inodes"], 2);
}

#[test]
fn stats_are_for_the_owner_of_the_mount() {
    let mount = Background::new(&["-o", "allow_other"]);
    let mut command = norefs_as_nobody(&mount.scratch);
    let output = command
        .arg("stats")
        .arg(&mount.mountpoint)
        .output()
        .unwrap();
    refused(&output);
    assert_eq!(text(&output.stdout), "");
    let device = lstat(&mount.mountpoint).unwrap().st_dev;
    let socket = format!("/run/norefs/{}-{}.sock", major(device), minor(device));
    as_user(NOBODY, NOBODY, &[], || {
        fails(Errno::ACCESS, UnixStream::connect(&socket))
    });
    UnixStream::connect(&socket).unwrap();
}

#[test]
fn limits_change_while_the_mount_is_used() {
    let mount = Background::new(&[]);
    let set = |arguments: &[&str]| assert!(mount.norefs("set", arguments).status.success());
    let file = |name: &str| mount.mountpoint.join(name);
    std::fs::write(file("a"), vec![1; 100_000]).unwrap();
    set(&["--size", "150k"]);
    fails(Errno::NOSPC, std::fs::write(file("b"), vec![1; 100_000]));
    set(&["--size", "0", "--inodes", "3"]);
    std::fs::write(file("b"), vec![1; 100_000]).unwrap();
    fails(Errno::NOSPC, std::fs::write(file("c"), ""));
    assert_eq!(mount.stats()["max_inodes"], 3);
    set(&["--inodes", "10m", "--read-only"]);
    fails(Errno::ROFS, std::fs::write(file("c"), ""));
    fails(Errno::ROFS, std::fs::remove_file(file("a")));
    set(&["--read-write"]);
    std::fs::write(file("c"), "").unwrap();
    refused(&mount.norefs("set", &[]));
    refused(&mount.norefs("set", &["--size", "much"]));
    refused(&mount.norefs("set", &["--read-only", "--read-write"]));
}

#[test]
fn lifetimes_change_while_the_mount_is_used() {
    let mount = Background::new(&[]);
    let file = |name: &str| mount.mountpoint.join(name);
    let keep = |cache: &str| {
        assert!(mount.norefs("set", &["--cache", cache]).status.success());
        assert_eq!(mount.stats()["cache"], cache);
    };
    let asked = |kind: &str, work: &dyn Fn()| {
        let count = || {
            mount.stats()["requests"][kind]["count"]
                .as_u64()
                .unwrap_or(0)
        };
        let before = count();
        (0..20).for_each(|_| work());
        count() - before
    };
    let look = |name: &str| _ = lstat(file(name)).unwrap();
    let miss = |name: &str| fails(Errno::NOENT, lstat(file(name)));
    let old = File::create(file("old")).unwrap();
    keep("none");
    let new = File::create(file("new")).unwrap();
    let attributes = |file: &File| _ = rustix::fs::fstat(file).unwrap();
    assert!(asked("lookup", &|| look("new")) >= 20);
    assert!(asked("lookup", &|| miss("missing")) >= 20);
    assert!(asked("getattr", &|| attributes(&new)) >= 20);
    assert_eq!(asked("lookup", &|| look("old")), 0, "told before");
    assert_eq!(asked("getattr", &|| attributes(&old)), 0, "told before");
    keep("forever");
    assert_eq!(asked("lookup", &|| look("new")), 1);
    assert_eq!(asked("lookup", &|| miss("missing")), 1);
    assert_eq!(
        asked("getattr", &|| attributes(&new)),
        0,
        "the entry brought them"
    );
    keep("1500ms");
    refused(&mount.norefs("set", &["--cache", "sometimes"]));
    refused(&mount.norefs("set", &["--cache", "none", "--size", "much"]));
    assert_eq!(mount.stats()["cache"], "1500ms");
}

/// The arguments in which `SOURCE`, `FILE`, `MOUNT`, `MISSING` and `INSIDE` stand for paths.
const REFUSED: &[&[&str]] = &[
    &["mount", "MISSING", "MOUNT"],
    &["mount", "FILE", "MOUNT"],
    &["mount", "MISSING"],
    &["mount", "FILE"],
    &["mount", "SOURCE", "MISSING"],
    &["mount", "SOURCE", "INSIDE"],
    &["mount", "SOURCE", "SOURCE"],
    &["mount", "INSIDE", "SOURCE"],
    &["mount", "SOURCE", "FILE"],
    &["mount", "-o", "size=much", "MOUNT"],
    &["mount", "-o", "size=-1", "MOUNT"],
    &["mount", "-o", "nr_inodes=x", "MOUNT"],
    &["mount", "-o", "mode=999", "MOUNT"],
    &["mount", "-o", "uid=root?", "MOUNT"],
    &["mount", "-o", "cache=sometimes", "MOUNT"],
    &["mount", "-o", "no_such_option", "MOUNT"],
    &["mount", "--cache", "sometimes", "MOUNT"],
    &["mount", "--threads", "0", "MOUNT"],
    &["umount", "MOUNT"],
    &["umount", "MISSING"],
    &["stats", "MOUNT"],
    &["run", "--from", "MISSING", "--", "true"],
    &["run", "--from", "FILE", "--", "true"],
    &["run", "--cache", "sometimes", "--", "true"],
];

#[test]
fn wrong_input_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let (source, mountpoint) = (scratch.dir("source"), scratch.dir("mount"));
    let inside = source.join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(scratch.join("file"), "").unwrap();
    let place = |word: &str| match word {
        "SOURCE" => source.clone(),
        "INSIDE" => inside.clone(),
        "MOUNT" => mountpoint.clone(),
        "FILE" => scratch.join("file"),
        "MISSING" => scratch.join("missing"),
        word => PathBuf::from(word),
    };
    let mut wrong = Vec::new();
    for arguments in REFUSED {
        for foreground in [false, true] {
            let mut command = norefs();
            command.args(arguments.iter().map(|word| place(word)));
            if foreground && arguments[0] == "mount" {
                command.arg("-f");
            }
            let output = command.output().unwrap();
            let fine = is_refusal(&output)
                && [&mountpoint, &source, &inside]
                    .iter()
                    .all(|path| !is_mounted(path));
            if !fine {
                wrong.push(format!("{arguments:?}: {output:?}"));
            }
            let _ = rustix::mount::unmount(&mountpoint, rustix::mount::UnmountFlags::DETACH);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_mount_point_in_use_is_refused() {
    let mount = Background::new(&[]);
    std::fs::write(mount.mountpoint.join("file"), "").unwrap();
    refused(&mount.norefs("mount", &[]));
    refused(&mount.norefs("mount", &["-f"]));
    assert!(lstat(mount.mountpoint.join("file")).is_ok());
    assert!(mount.norefs("umount", &[]).status.success());
    assert!(!is_mounted(&mount.mountpoint));
}

#[test]
fn help_and_version_are_there() {
    for verb in ["run", "mount", "umount", "stats", "bench"] {
        let output = norefs().args([verb, "--help"]).output().unwrap();
        assert!(
            output.status.success() && text(&output.stdout).contains("Usage"),
            "{verb}"
        );
    }
    let version = text(&norefs().arg("--version").output().unwrap().stdout);
    assert!(version.starts_with("norefs "), "{version}");
    assert_eq!(
        norefs().arg("no-such-verb").output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn options_of_the_root_and_of_the_mount() {
    let mount = Daemon::with(&["-o", "allow_other,mode=1770,uid=12,gid=34,noatime,nosuid"]);
    let root = seen(mount.root());
    assert_eq!((root.mode, root.uid, root.gid), (0o041770, 12, 34));
    let mount = Daemon::with(&["-o", "ro"]);
    fails(Errno::ROFS, std::fs::create_dir(mount.path("dir")));
    let mount = Daemon::with(&["-o", "noexec"]);
    std::fs::copy("/bin/true", mount.path("true")).unwrap();
    assert!(
        !attempt(mount.root(), "sh", &["-c", "./true"])
            .status
            .success()
    );
}

/// Runs `norefs` with `arguments` in a directory that has the directories `stat`, `moutn`, `source` and `mount`.
fn beside(arguments: &[&str]) -> (Output, bool) {
    let scratch = Scratch::new();
    let [.., mountpoint] = ["stat", "moutn", "source", "mount"].map(|name| scratch.dir(name));
    let mut command = norefs();
    let output = command.args(arguments).current_dir(&*scratch).output();
    let mounted = is_mounted(&mountpoint);
    if mounted {
        let mut umount = norefs();
        assert!(
            umount
                .arg("unmount")
                .arg(&mountpoint)
                .status()
                .unwrap()
                .success()
        );
    }
    (output.unwrap(), mounted)
}

#[test]
fn a_mistyped_verb_mounts_nothing() {
    for (line, meant) in [
        (&["stat", "mount"][..], "did you mean stats?"),
        (&["moutn", "source", "mount"], "did you mean mount?"),
        (&["moutn", "mount"], "did you mean mount?"),
        (&["source", "mount"], "unrecognized"),
        (
            &["moutn", "source", "mount", "-o", "ro"],
            "did you mean mount?",
        ),
        (&["moutn", "-o", "ro", "mount"], "did you mean mount?"),
        (
            &["mount", "--foregruond", "mount"],
            "did you mean --foreground?",
        ),
    ] {
        let (output, mounted) = beside(line);
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(meant) && !mounted, "{line:?}: {said}");
    }
}

#[test]
fn a_source_is_told_from_a_verb_by_its_path_its_name_or_the_options_that_follow() {
    for line in [
        &["./stat", "mount"][..],
        &["source", "mount", "-o", "ro"],
        &["none", "mount"],
        &["norefs", "-o", "size=1m", "mount"],
    ] {
        let (output, mounted) = beside(line);
        assert!(output.status.success() && mounted, "{line:?}: {output:?}");
    }
}

#[test]
fn a_command_without_separator_is_answered_with_the_line_that_was_meant() {
    for (line, meant) in [
        (&["run", "git", "status"][..], "norefs run -- git status"),
        (
            &["run", "--from", ".", "ls", "a b"],
            "norefs run --from . -- ls 'a b'",
        ),
    ] {
        let (output, _) = beside(line);
        refused(&output);
        let said = text(&output.stderr);
        let expected = format!("norefs: -- is missing before the command: {meant}\n");
        assert_eq!(said, expected);
    }
}

/// Runs `norefs` in a pipe of which the reader leaves at once, or after a line.
fn into_a_closed_pipe(line: &str, reader: &str) -> Output {
    let norefs = norefs();
    let script = format!(
        "set -o pipefail; '{}' {line} | {reader}",
        norefs.get_program().display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).output().unwrap()
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mount = Background::new(&[]);
    let stats = format!("stats {}", mount.mountpoint.display());
    for line in [
        "help",
        "help mount",
        "mount --help",
        "--version",
        "completions zsh",
        "bench --list",
        &stats,
    ] {
        for reader in ["head -1 >/dev/null", "true", "exec 0<&-"] {
            let output = into_a_closed_pipe(line, reader);
            let said = text(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{line} | {reader}: {output:?}"
            );
        }
    }
    let output = norefs()
        .arg("help")
        .stdout(File::create("/dev/full").unwrap())
        .output();
    refused(&output.unwrap());
}

#[test]
fn what_is_logged_is_asked_for_in_words_that_are_known() {
    let scratch = Scratch::new();
    let mountpoint = scratch.dir("mount");
    let logging = |asked: &str| {
        let mut command = norefs();
        let command = command.args(["run", "--no-report"]).args(["--", "true"]);
        command.env("NOREFS_LOG", asked).output().unwrap()
    };
    for (asked, meant) in [
        ("bogus", "expected error, warn"),
        ("debgu", "did you mean debug?"),
        ("norefs::sorce=debug", "did you mean norefs::source?"),
        ("norefs=dbug", "did you mean debug?"),
    ] {
        let output = logging(asked);
        refused(&output);
        assert!(text(&output.stderr).contains(meant), "{output:?}");
    }
    for asked in ["", "warn", "norefs::transport=error,off"] {
        let output = logging(asked);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{asked}: {output:?}"
        );
    }
    assert!(!text(&logging("trace").stderr).is_empty());
    let mut helper = norefs();
    let output = helper
        .args(["none"])
        .arg(&mountpoint)
        .env("NOREFS_LOG", "bogus")
        .output();
    refused(&output.unwrap());
    assert!(!is_mounted(&mountpoint));
}
