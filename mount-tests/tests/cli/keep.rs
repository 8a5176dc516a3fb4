//! `norefs umount` of a mount that differs from its source, and `norefs discard`.

use mount_tests::programs::sh;
use mount_tests::{Scratch, is_mounted, norefs, text};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A source, a mount of it in the background, and a home for what is kept.
struct Ground {
    source: Scratch,
    mount: Scratch,
    home: Scratch,
}

impl Ground {
    fn new(changes: &str) -> Ground {
        let ground = Ground {
            source: Scratch::new(),
            mount: Scratch::new(),
            home: Scratch::new(),
        };
        sh(&ground.source, "mkdir d; echo a > a; echo b > d/b");
        let (source, mount) = (ground.source.to_str(), ground.mount.to_str());
        let mounted = ground.norefs("mount", &[source.unwrap(), mount.unwrap()]);
        assert!(mounted.status.success(), "{mounted:?}");
        sh(&ground.mount, changes);
        ground
    }

    fn norefs(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = norefs();
        command.arg(verb).args(arguments).env("HOME", &*self.home);
        command.env_remove("XDG_STATE_HOME").output().unwrap()
    }

    /// What a verb says of the mount, which ends.
    #[track_caller]
    fn ended(&self, verb: &str, arguments: &[&str]) -> String {
        let arguments = [&[self.mount.to_str().unwrap()], arguments].concat();
        let output = self.norefs(verb, &arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(!is_mounted(&self.mount));
        text(&output.stderr)
    }

    fn kept(&self) -> Vec<PathBuf> {
        let kept = self.home.join(".local/state/norefs/kept");
        let entries = std::fs::read_dir(kept).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

const CHANGES: &str = "echo new > new; echo more >> d/b; rm a";

#[test]
fn what_is_thrown_away_with_a_mount_is_told() {
    let ground = Ground::new(CHANGES);
    let said = ground.ended("umount", &[]);
    assert!(
        said.contains("1 added, 1 removed, 1 with other content"),
        "{said}"
    );
    assert!(said.contains("thrown away"), "{said}");
    assert_eq!(ground.kept(), Vec::<PathBuf>::new());
    assert_eq!(content(&ground.source.join("a")), "a\n");
}

#[test]
fn nothing_is_said_of_a_mount_that_differs_in_nothing_or_on_request() {
    assert_eq!(
        Ground::new("cat a d/b > /dev/null").ended("umount", &[]),
        ""
    );
    assert_eq!(Ground::new(CHANGES).ended("umount", &["--discard"]), "");
    assert_eq!(Ground::new(CHANGES).ended("discard", &[]), "");
}

#[test]
fn what_is_kept_of_a_mount_can_be_applied_when_it_is_gone() {
    let ground = Ground::new(CHANGES);
    ground.ended("umount", &["--keep"]);
    assert_eq!(content(&ground.source.join("a")), "a\n");
    let kept = ground.kept();
    let listed = text(&ground.norefs("ls", &[]).stdout);
    let line = listed
        .lines()
        .find(|line| line.starts_with(kept[0].to_str().unwrap()));
    let line = line.unwrap_or_else(|| panic!("{listed}"));
    assert!(
        line.contains(ground.source.to_str().unwrap()) && line.contains("kept"),
        "{line}"
    );
    let applied = ground.norefs("apply", &[kept[0].to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    assert!(!ground.source.join("a").exists());
    assert_eq!(content(&ground.source.join("new")), "new\n");
    assert_eq!(content(&ground.source.join("d/b")), "b\nmore\n");
}

#[test]
fn what_cannot_be_kept_keeps_the_mount() {
    let ground = Ground::new(CHANGES);
    std::fs::write(ground.home.join(".local"), "in the way").unwrap();
    let output = ground.norefs("umount", &["--keep", ground.mount.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(is_mounted(&ground.mount));
    assert_eq!(content(&ground.mount.join("new")), "new\n");
    ground.ended("discard", &[]);
}
