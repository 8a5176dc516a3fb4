//! `norefs run --fork MOUNT` shows its command a fork at the path of the mount, and nobody else anything.

use super::{Ground, User, each_user_of_several, names};
use mount_tests::{is_refusal, text};
use std::path::PathBuf;
use std::process::Output;

/// A mount of the source, with a change in it. Dropping it unmounts.
struct Mounted<'g> {
    ground: &'g Ground,
    at: PathBuf,
}

impl Mounted<'_> {
    fn new(ground: &Ground) -> Mounted<'_> {
        let at = ground.scratch.dir("mount");
        ground.hand_over();
        let mounted = Mounted { ground, at };
        mounted.verb(&["mount", ground.from(), mounted.path()]);
        mounted.within("echo changed > file");
        mounted
    }

    fn path(&self) -> &str {
        self.at.to_str().unwrap()
    }

    #[track_caller]
    fn verb(&self, arguments: &[&str]) -> String {
        let mut command = self.ground.norefs(&self.ground.scratch);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    /// What the user does in the mount itself.
    #[track_caller]
    fn within(&self, script: &str) -> String {
        let mut command = self.ground.norefs(&self.ground.scratch);
        command.args(["run", "--no-report", "--", "sh", "-euc"]);
        let script = format!("cd {}; {script}", self.path());
        let output = command.arg(script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    fn run(&self, options: &[&str], script: &str) -> Output {
        let mut command = self.ground.norefs(&self.ground.scratch);
        command.args(["run", "--fork", self.path()]).args(options);
        command.args(["--", "sh", "-euc", script]);
        command
            .env("HOME", self.ground.path("home"))
            .output()
            .unwrap()
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        use rustix::mount::{UnmountFlags, unmount};
        while unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH).is_ok() {}
    }
}

const CHANGES: &str = "pwd; cat file; echo new > added; rm sub/inner; exit 3";

#[test]
fn a_command_sees_a_fork_in_the_place_of_the_mount() {
    each_user_of_several(|ground| {
        let mounted = Mounted::new(&ground);
        let output = mounted.run(&[], CHANGES);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(
            text(&output.stdout),
            format!("{}\nchanged\n", mounted.path())
        );
        let said = text(&output.stderr);
        for words in [
            "norefs: D sub/inner\n",
            "1 added, 1 removed, 1 with other content",
            "thrown away",
            "requests in",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(
            mounted.within("ls; ls sub; cat file"),
            "file\nsub\ninner\nchanged\n"
        );
        assert_eq!(mounted.verb(&["diff", mounted.path()]), "M file\n");
        mounted.verb(&["umount", "--discard", mounted.path()]);
        drop(mounted);
        ground.is_untouched();
    });
}

#[test]
fn its_changes_are_applied_to_the_source_of_the_mount() {
    each_user_of_several(|ground| {
        let mounted = Mounted::new(&ground);
        let output = mounted.run(&["--then", "apply", "--no-report"], CHANGES);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(names(&ground.source), ["added", "file", "sub"]);
        assert_eq!(names(&ground.source.join("sub")), [""; 0]);
        assert_eq!(
            std::fs::read(ground.source.join("file")).unwrap(),
            b"changed\n"
        );
        assert_eq!(mounted.within("ls"), "file\nsub\n");
        mounted.verb(&["umount", "--discard", mounted.path()]);
        drop(mounted);
        ground.is_clean();
    });
}

#[test]
fn runs_of_several_forks_at_once_see_nothing_of_each_other() {
    let ground = Ground::new(User::Root);
    let mounted = Mounted::new(&ground);
    std::thread::scope(|scope| {
        let run = |number: usize| {
            let script = format!("echo {number} > file; mkdir d{number}; echo *; cat file");
            let output = mounted.run(&["--no-report"], &script);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(
                text(&output.stdout),
                format!("d{number} file sub\n{number}\n")
            );
        };
        for number in 0..6 {
            scope.spawn(move || run(number));
        }
    });
    assert_eq!(mounted.within("echo *; cat file"), "file sub\nchanged\n");
}

#[test]
fn what_is_no_mount_or_goes_with_no_fork_is_refused() {
    let ground = Ground::new(User::Root);
    let refused = |arguments: &[&str], words: &str| {
        let mut command = ground.norefs(&ground.scratch);
        command
            .args(["run", "--no-report"])
            .args(arguments)
            .args(["--", "true"]);
        let output = command.output().unwrap();
        assert!(is_refusal(&output), "{output:?}");
        assert!(text(&output.stderr).contains(words), "{output:?}");
    };
    refused(&["--fork", ground.from()], "is not a norefs mount");
    refused(&["--fork", "/missing"], "/missing");
    refused(
        &["--fork", ground.from(), "--from", ground.from()],
        "cannot be used with",
    );
    refused(
        &["--fork", ground.from(), "-o", "ro"],
        "cannot be used with",
    );
    ground.is_untouched();
}
