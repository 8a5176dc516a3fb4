//! `norefs run --from DIR` shows its command the copy at the path of the original, and nobody else anything.

mod builds;
mod ends;
mod fork;
mod git;
mod places;
mod protect;
mod then;

use mount_tests::{NOBODY, Scratch, norefs, norefs_as_ordinary_user, text, transport};
use rustix::thread::set_no_new_privs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Who runs norefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
    /// An ordinary user for whom no fusermount3 mounts.
    Alone,
}

/// A directory with a source in it, `file` and `sub/inner`, and what norefs needs beside it.
struct Ground {
    scratch: Scratch,
    source: PathBuf,
    user: User,
}

impl Ground {
    fn new(user: User) -> Ground {
        let scratch = Scratch::new();
        let source = scratch.dir("source");
        std::fs::write(source.join("file"), "content\n").unwrap();
        std::fs::create_dir(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/inner"), "inner\n").unwrap();
        scratch.dir("tmp");
        let ground = Ground {
            scratch,
            source,
            user,
        };
        ground.hand_over();
        ground
    }

    /// Gives everything to the user.
    fn hand_over(&self) {
        if self.user != User::Root {
            mount_tests::programs::run(
                &self.scratch,
                "chown",
                &["-R", &format!("{NOBODY}:{NOBODY}"), "."],
            );
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn from(&self) -> &str {
        self.source.to_str().unwrap()
    }

    /// A command of the user's, who stands in `standing`. Everything temporary is in a directory of this ground.
    fn norefs(&self, standing: &Path) -> Command {
        let mut command = match self.user {
            User::Root => norefs(),
            User::Ordinary | User::Alone => norefs_as_ordinary_user(&self.scratch),
        };
        if self.user == User::Alone {
            // SAFETY: one call of the system.
            unsafe { command.pre_exec(|| Ok(set_no_new_privs(true)?)) };
        }
        command
            .current_dir(standing)
            .env("TMPDIR", self.path("tmp"))
            .env("PWD", standing)
            .stdin(Stdio::null());
        command
    }

    /// `norefs run` with `options`, of a shell that does what `script` says.
    fn command(&self, standing: &Path, options: &[&str], script: &str) -> Command {
        let mut command = self.norefs(standing);
        command
            .args(["run", "--no-report"])
            .args(transport::arguments(transport::asked()))
            .args(options)
            .args(["--", "sh", "-euc", script])
            .envs([("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1")]);
        command
    }

    fn run(&self, standing: &Path, options: &[&str], script: &str) -> Output {
        self.command(standing, options, script).output().unwrap()
    }

    /// What the script says, which must succeed, and norefs nothing.
    #[track_caller]
    fn said(&self, standing: &Path, options: &[&str], script: &str) -> String {
        let output = self.run(standing, options, script);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    }

    /// The source is as it was made, and nothing of a run is left.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(
            std::fs::read(self.source.join("file")).unwrap(),
            b"content\n"
        );
        assert_eq!(names(&self.source), ["file", "sub"]);
        assert_eq!(names(&self.source.join("sub")), ["inner"]);
        self.is_clean();
    }

    /// Nothing of a run is left.
    #[track_caller]
    fn is_clean(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.scratch.to_str().unwrap();
        let left: Vec<&str> = mounts
            .lines()
            .filter(|line| line.contains(here) && line.contains("fuse.norefs"))
            .collect();
        assert!(left.is_empty(), "{left:#?}");
        assert_eq!(names(&self.path("tmp")), [""; 0]);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Does the same as root, as an ordinary user, and as one without fusermount3.
fn each_user(test: impl Fn(Ground)) {
    for user in [User::Root, User::Ordinary, User::Alone] {
        test(Ground::new(user));
    }
}

/// Does the same as those users who may have several copies.
fn each_user_of_several(test: impl Fn(Ground)) {
    for user in [User::Root, User::Ordinary] {
        test(Ground::new(user));
    }
}
