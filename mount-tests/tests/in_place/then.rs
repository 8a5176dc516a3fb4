//! What becomes of the changes when the command has ended.

use super::{Ground, User, each_user, names};
use mount_tests::{Terminal, text};
use std::fs::read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const CHANGES: &str = "echo new > added; rm sub/inner; echo more >> file; exit 3";

impl Ground {
    /// `norefs run --then` with what it says at the end, of a user whose home is beside the source.
    fn then(&self, then: &str, script: &str) -> Command {
        let mut command = self.norefs(&self.source);
        command.args(["run", "--from", "."]);
        if !then.is_empty() {
            command.args(["--then", then]);
        }
        command.args(["--", "sh", "-euc", script]);
        command
            .env("HOME", self.path("home"))
            .env_remove("XDG_STATE_HOME");
        command
    }

    fn settled(&self, then: &str, script: &str) -> Output {
        let output = self.then(then, script).output().unwrap();
        self.is_clean();
        output
    }

    /// The source is as the command left its copy.
    #[track_caller]
    fn is_changed(&self) {
        assert_eq!(read(self.source.join("file")).unwrap(), b"content\nmore\n");
        assert_eq!(read(self.source.join("added")).unwrap(), b"new\n");
        assert_eq!(names(&self.source), ["added", "file", "sub"]);
        assert_eq!(names(&self.source.join("sub")), [""; 0]);
    }

    fn kept(&self) -> Vec<PathBuf> {
        let at = self.path("home/.local/state/norefs/kept");
        match at.exists() {
            true => names(&at).into_iter().map(|name| at.join(name)).collect(),
            false => Vec::new(),
        }
    }

    /// What another verb says to the user.
    #[track_caller]
    fn verb(&self, verb: &str, at: &std::path::Path) -> String {
        let output = self
            .norefs(&self.source)
            .arg(verb)
            .arg(at)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }
}

#[test]
fn each_removal_is_told_and_the_rest_counted_and_thrown_away() {
    each_user(|ground| {
        for then in ["", "discard"] {
            let output = ground.settled(then, CHANGES);
            assert_eq!(output.status.code(), Some(3));
            let said = text(&output.stderr);
            for words in [
                "norefs: D sub/inner\n",
                "1 added, 1 removed, 1 with other content",
                "thrown away",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
            ground.is_untouched();
            assert!(ground.kept().is_empty());
        }
    });
}

#[test]
fn nothing_is_said_of_nothing_changed() {
    each_user(|ground| {
        let output = ground.settled(
            "apply",
            "cat file sub/inner > /dev/null; ls -lR > /dev/null",
        );
        assert!(output.status.success());
        assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
        ground.is_untouched();
    });
}

#[test]
fn applied_they_are_in_the_original() {
    each_user(|ground| {
        let inode = |name: &str| std::fs::metadata(ground.source.join(name)).unwrap().ino();
        let sub = inode("sub");
        let output = ground.settled("apply", CHANGES);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        ground.is_changed();
        assert_eq!(inode("sub"), sub);
    });
}

#[test]
fn what_cannot_be_applied_is_kept() {
    each_user(|ground| {
        let waits = "echo mine > file; echo; read line";
        let mut run = ground.then("apply", waits);
        let mut run = run
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        std::fs::write(ground.source.join("file"), "theirs, meanwhile\n").unwrap();
        run.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("conflict: file: "), "{said}");
        assert_eq!(
            read(ground.source.join("file")).unwrap(),
            b"theirs, meanwhile\n"
        );
        let kept = ground.kept();
        assert_eq!(kept.len(), 1, "{said}");
        assert_eq!(ground.verb("diff", &kept[0]), "M file\n");
        ground.is_clean();
    });
}

#[test]
fn kept_they_are_shown_applied_and_thrown_away_later() {
    each_user(|ground| {
        let output = ground.settled("keep", CHANGES);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        ground.is_untouched();
        let kept = ground.kept();
        assert!(
            text(&output.stderr).contains(kept[0].to_str().unwrap()),
            "{output:?}"
        );
        assert_eq!(std::fs::metadata(&kept[0]).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            ground.verb("diff", &kept[0]),
            "D sub/inner\nA added\nM file\n"
        );
        ground.verb("apply", &kept[0]);
        ground.is_changed();
        ground.verb("discard", &kept[0]);
        assert!(ground.kept().is_empty());
    });
}

#[test]
fn discard_removes_nothing_that_was_not_kept() {
    let ground = Ground::new(User::Root);
    let output = ground
        .norefs(&ground.source)
        .arg("discard")
        .arg(&ground.source)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("has not kept this"),
        "{output:?}"
    );
    ground.is_untouched();
}

/// A run that changes something, as a shell takes it.
fn typed(ground: &Ground) -> String {
    let plain = ground.then("", "echo new > added; rm sub/inner; echo more >> file");
    let words = std::iter::once(plain.get_program()).chain(plain.get_args());
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<_> = words.map(quoted).collect();
    words.join(" ")
}

/// What a terminal shows of a run at which `answers` are typed.
fn asked(ground: &Ground, answers: &str) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", &typed(ground), "/dev/null"]);
    script.current_dir(&ground.source).envs([
        ("HOME", ground.path("home")),
        ("TMPDIR", ground.path("tmp")),
    ]);
    let mut script = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    script
        .stdin
        .as_mut()
        .unwrap()
        .write_all(answers.as_bytes())
        .unwrap();
    let output = script.wait_with_output().unwrap();
    ground.is_clean();
    text(&output.stdout)
}

#[test]
fn on_a_terminal_they_are_asked_for() {
    let ground = Ground::new(User::Root);
    let shown = asked(&ground, "what\nd\nn\n");
    assert!(
        shown.contains("M file") && shown.contains("thrown away"),
        "{shown}"
    );
    ground.is_untouched();
    asked(&ground, "k\n");
    assert_eq!(ground.kept().len(), 1);
    ground.is_untouched();
    asked(&ground, "y\n");
    ground.is_changed();
}

#[test]
fn who_interrupts_the_question_keeps_them() {
    let ground = Ground::new(User::Root);
    let mut terminal = Terminal::new(&ground.source);
    let [home, tmp] = ["home", "tmp"].map(|dir| ground.path(dir));
    let (home, tmp) = (home.display(), tmp.display());
    terminal.types(&format!(
        "env -u XDG_STATE_HOME HOME={home} TMPDIR={tmp} {}\n",
        typed(&ground)
    ));
    terminal.shows("[y/n/d/k]");
    terminal.interrupts();
    assert_eq!(ground.kept().len(), 1);
    ground.is_untouched();
    ground.is_clean();
}
