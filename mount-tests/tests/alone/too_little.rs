//! Commands that find too little memory or too few processes work, or are refused in words, and leave nothing.

use mount_tests::{
    NOBODY, is_mounted, norefs, norefs_as_ordinary_user, text, transport, wait_until,
};
use std::fs::{Permissions, create_dir, read_to_string, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The status of a process that panicked.
const PANICKED: i32 = 101;
/// Of a shell that finds no way to start a program.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// A directory that everybody may enter, with a source and a mount point.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let place = Place { directory };
        create_dir(place.source()).unwrap();
        create_dir(place.mount_point()).unwrap();
        set_permissions(place.mount_point(), Permissions::from_mode(0o777)).unwrap();
        write(place.source().join("file"), "content").unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    fn mount_point(&self) -> PathBuf {
        self.path().join("mount")
    }

    /// Nothing is mounted below it, nor did a private directory stay, and no process names it.
    fn is_left(&self, what: &str) {
        let path = self.path().to_str().unwrap();
        let mounts = read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(path), "{what}: still mounted");
        let names = std::fs::read_dir(path).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let private: Vec<_> = names.filter(|name| name.starts_with("norefs-")).collect();
        assert!(private.is_empty(), "{what}: {private:?} stay");
        assert!(wait_until(|| !is_served(path)), "{what}: still served");
    }
}

fn is_served(path: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(path))
}

/// `command` with the arguments so far, as a shell starts it behind `limit`.
fn behind(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("{limit} && exec \"$@\""), "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

/// Whether it worked. If not it has said why, and has not come to grief.
fn worked(output: &Output, what: &str) -> bool {
    let said = text(&output.stderr);
    let what = format!("{what}: {}\n{said}", output.status);
    for cry in ["panicked", "memory allocation", "RUST_BACKTRACE"] {
        assert!(!said.contains(cry), "{what}");
    }
    let code = output.status.code();
    assert!(code.is_some_and(|code| code != PANICKED), "{what}");
    let reasons = said.lines().filter(|line| line.starts_with("norefs: "));
    match code {
        Some(0) => true,
        // Then it was not our program that failed.
        Some(code) if NO_PROGRAM.contains(&code) => false,
        _ => {
            assert_eq!(reasons.count(), 1, "{what}");
            false
        }
    }
}

/// Every command under each of `limits`, of which the last lets all of them work.
fn each_works_or_is_refused(
    limits: &[String],
    place: &Place,
    start: impl Fn(&str, &Command) -> Output,
) {
    for transport in transport::each() {
        let transport = transport::arguments(transport);
        let mut last = [false; 2];
        // Below that the system cannot start a program of this size, or it cannot read its command line.
        let start_of =
            |limit: &&String| start(limit, Command::new("norefs").args(["run", "--help"]));
        for limit in limits
            .iter()
            .filter(|limit| start_of(limit).status.success())
        {
            let what = |verb: &str| format!("{limit}, {transport:?}, {verb}");
            let mut run = Command::new("norefs");
            run.arg("run").args(&transport).arg("--from");
            run.arg(place.source()).args(["--", "cat", "file"]);
            let output = start(limit, &run);
            let ran = worked(&output, &what("run"));
            assert_eq!(ran, output.stdout == b"content", "{}", what("run"));
            place.is_left(&what("run"));

            let mut mount = Command::new("norefs");
            mount.arg("mount").args(&transport);
            mount.args([place.source(), place.mount_point()]);
            let output = start(limit, &mount);
            let mounted = worked(&output, &what("mount"));
            assert_eq!(
                mounted,
                is_mounted(&place.mount_point()),
                "{}",
                what("mount")
            );
            if mounted {
                for verb in ["stats", "umount"] {
                    // What the server may have no room for is told by others.
                    let asked = start(
                        "true",
                        Command::new("norefs").arg(verb).arg(place.mount_point()),
                    );
                    let answered = worked(&asked, &what(verb));
                    let gone = text(&asked.stderr).contains("gone");
                    assert!(
                        answered || verb == "stats" && !gone,
                        "{}: {asked:?}",
                        what(verb)
                    );
                }
            }
            place.is_left(&what("mount"));
            last = [ran, mounted];
        }
        assert_eq!(last, [true; 2], "{transport:?}: the last limit is too low");
    }
}

/// As root, whose processes nothing but memory limits here.
fn as_root(place: &Place, limit: &str, command: &Command) -> Output {
    let mut real = norefs();
    real.args(command.get_args());
    let mut limited = behind(limit, &real);
    limited.env("TMPDIR", place.path()).output().unwrap()
}

#[test]
fn memory() {
    let place = Place::new();
    let limits = (8..160).step_by(2).chain((160..360).step_by(16));
    let limits = limits.chain([8 << 10]);
    let limits: Vec<_> = limits
        .map(|mib| format!("ulimit -v {}", mib << 10))
        .collect();
    each_works_or_is_refused(&limits, &place, |limit, command| {
        as_root(&place, limit, command)
    });
}

/// For an ordinary user: root has as many as there are.
#[test]
fn processes() {
    let place = Place::new();
    let limits = (0..14).chain([200]);
    let limits: Vec<_> = limits
        .map(|most| format!("prlimit --pid $$ --nproc={most}:{most}"))
        .collect();
    each_works_or_is_refused(&limits, &place, |limit, command| {
        let mut real = norefs_as_ordinary_user(place.path());
        real.args(command.get_args());
        let mut limited = behind(limit, &real);
        limited.uid(NOBODY).gid(NOBODY);
        limited.env("TMPDIR", place.path());
        limited
            .env("XDG_RUNTIME_DIR", place.path())
            .output()
            .unwrap()
    });
}
