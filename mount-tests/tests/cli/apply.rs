//! `norefs apply`: what differs between a mount and its source is written to the source.

use mount_tests::posix::same_trees;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, norefs_as_nobody, sample, text};
use std::fs;
use std::path::Path;
use std::process::Output;

/// A source, the mount of it, and a plain copy of it.
struct Loaded {
    mount: Daemon,
    source: Scratch,
    copy: Scratch,
}

impl Loaded {
    /// Of what `fill` makes in an empty directory.
    fn with(fill: impl FnOnce(&Path)) -> Loaded {
        let (source, copy) = (Scratch::new(), Scratch::new());
        fill(&source);
        sh(&copy, &format!("cp -a {}/. .", source.display()));
        let mount = Daemon::with(&["-o", "acl,allow_other", source.to_str().unwrap()]);
        mount.stats();
        Loaded {
            mount,
            source,
            copy,
        }
    }

    /// Of what `script` makes, after `changes` in the mount and in the copy.
    fn changed(script: &str, changes: &str) -> Loaded {
        let loaded = Loaded::with(|source| _ = sh(source, script));
        loaded.change(changes);
        loaded
    }

    fn change(&self, changes: &str) {
        sh(self.mount.root(), changes);
        sh(&self.copy, changes);
    }

    fn apply(&self, arguments: &[&str]) -> Output {
        let mut command = norefs();
        command.arg("apply").arg(self.mount.root()).args(arguments);
        command.output().unwrap()
    }

    #[track_caller]
    fn is_applied(&self) {
        let output = self.apply(&[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        same_trees(&self.source, &self.copy);
        assert!(!self.source.join(".norefs-apply").exists());
    }
}

const SOURCE: &str = "mkdir d d/sub e; for f in d/a d/b d/sub/c f g mode; do echo $f > $f; done; ln f f2; ln -s f link";

#[test]
fn each_kind_of_change_arrives() {
    for changes in [
        "rm -r d; mkdir d; echo new > d/new",
        "mv d moved; echo more >> moved/sub/c; rm moved/a",
        "rm f; mkdir f; touch -d @5 f",
        "rm -r e; ln -s nowhere e",
        "rm g; mkfifo g",
        "echo secret > g; chmod 000 g",
        "echo both >> f",
        "ln d/a further; rm d/a",
        "echo saved > tmp; mv tmp f",
        "mv d/a tmp; mv d/b d/a; mv tmp d/b",
        "mv d/sub e/sub; mv e d; mv d/e/sub .",
        "chmod 700 d; touch -d @1000000000.123456789 mode; setfattr -n user.x -v y d/b",
        "setfacl -m u:65534:rwx d/a; setfacl -d -m u:65534:r d",
        "truncate -s 100M sparse; printf x | dd of=sparse bs=1 seek=50M conv=notrunc status=none",
        "ln -sf elsewhere link",
    ] {
        let changes = format!("{changes}; find . -exec touch -hd @1700000000 {{}} +");
        Loaded::changed(SOURCE, &changes).is_applied();
    }
}

#[test]
fn nothing_to_apply_writes_nothing() {
    let loaded = Loaded::with(sample::fill);
    loaded.is_applied();
}

#[test]
fn a_fifo_and_a_file_that_may_not_be_read_are_applied_for_an_ordinary_user_too() {
    let (source, at, place) = (Scratch::new(), Scratch::new(), Scratch::new());
    sh(&place, "chmod 755 .");
    for directory in [&source, &at] {
        sh(directory, "chown 65534:65534 .");
    }
    sh(&source, "echo f > f; chown 65534:65534 f");
    let run = |arguments: &[&str]| {
        let output = norefs_as_nobody(&place).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let (from, to) = (source.to_str().unwrap(), at.to_str().unwrap());
    run(&["mount", from, to]);
    let changes = "mkfifo p; echo secret > s; chmod 000 s; mkdir d; echo x > d/x; chmod 555 d";
    let mut shell = std::process::Command::new("setpriv");
    shell.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    shell.args(["sh", "-c", &format!("cd {to} && {changes}")]);
    assert!(shell.status().unwrap().success());
    run(&["apply", to]);
    run(&["umount", to]);
    assert_eq!(fs::read_to_string(source.join("s")).unwrap(), "secret\n");
    assert_eq!(fs::read_to_string(source.join("d/x")).unwrap(), "x\n");
    sh(
        &source,
        "test -p p; test \"$(stat -c %a s) $(stat -c %a d)\" = '0 555'",
    );
}

#[test]
fn conflicts_are_all_listed_and_nothing_is_written() {
    let loaded = Loaded::changed(SOURCE, "echo ours > f; echo ours > g; rm d/a; echo n > new");
    sh(&loaded.source, "echo theirs > g; echo theirs > d/a");
    let output = loaded.apply(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for path in ["conflict: g: ", "conflict: d/a: "] {
        assert!(said.contains(path), "{said}");
    }
    assert!(said.contains("nothing was written: 2 conflicts"), "{said}");
    assert!(!loaded.source.join("new").exists());
    let output = loaded.apply(&["--on-conflict", "skip"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    sh(
        &loaded.source,
        "test $(cat g) = theirs; test $(cat d/a) = theirs; test $(cat f) = ours; test -e new",
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let loaded = Loaded::changed(SOURCE, "rm -r d; echo n > new");
    let before = Scratch::new();
    sh(&before, &format!("cp -a {}/. .", loaded.source.display()));
    let output = loaded.apply(&["--dry-run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("D d/a\n"), "{output:?}");
    same_trees(&loaded.source, &before);
}

#[test]
fn a_copy_of_the_source_gets_the_changes_and_the_source_none() {
    let loaded = Loaded::changed(SOURCE, "rm -r d/sub; mv f renamed; echo n > new");
    let (to, before) = (Scratch::new(), Scratch::new());
    for copy in [&to, &before] {
        sh(copy, &format!("cp -a {}/. .", loaded.source.display()));
    }
    let output = loaded.apply(&["--to", to.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    same_trees(&loaded.source, &before);
    sh(&to, "test -e renamed; test ! -e d/sub; test -e new");
}

#[test]
fn an_apply_that_is_killed_goes_on() {
    let loaded = Loaded::with(|source| {
        sh(
            source,
            "for d in 1 2 3 4 5; do mkdir $d; for f in $(seq 200); do echo $f > $d/$f; done; done",
        );
    });
    loaded.change("mv 1 2/moved; rm -r 3; for f in $(seq 150); do echo new > 4/$f; done; cp -r 5 6; chmod 700 5");
    loaded.change("find . -exec touch -hd @1700000000 {} +");
    let mut killed = 0;
    for millis in 1..40 {
        let mut command = norefs();
        let mut apply = command
            .arg("apply")
            .arg(loaded.mount.root())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        let ended = apply.try_wait().unwrap();
        apply.kill().unwrap();
        apply.wait().unwrap();
        match ended {
            None => killed += 1,
            Some(_) => break,
        }
    }
    assert!(killed > 0, "it was too fast to be killed");
    loaded.is_applied();
}

#[test]
fn what_cannot_be_written_is_said() {
    let loaded = Loaded::changed(SOURCE, "echo n > new");
    sh(
        &loaded.source,
        "mount --bind . .; mount -o remount,bind,ro .",
    );
    let output = loaded.apply(&[]);
    sh(&loaded.copy, &format!("umount {}", loaded.source.display()));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("read-only"), "{output:?}");

    let empty = Daemon::with::<&str>(&[]);
    empty.stats();
    let output = norefs().arg("apply").arg(empty.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no source"), "{output:?}");
}

#[test]
fn a_full_disk_in_the_middle_loses_nothing() {
    let disk = Scratch::new();
    sh(
        &disk,
        "mkdir small; mount -t tmpfs -o size=4m,nr_inodes=300 tmpfs small; mkdir small/s; cd small/s; for f in $(seq 100); do echo $f > $f; done",
    );
    let small = disk.join("small/s");
    let mount = Daemon::with(&[small.to_str().unwrap()]);
    mount.stats();
    sh(
        mount.root(),
        "mkdir moved; mv 1 2 3 moved; for f in $(seq 1000 1400); do echo $f > $f; done",
    );
    let apply = || norefs().arg("apply").arg(mount.root()).output().unwrap();
    let output = apply();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("No space left"), "{output:?}");
    sh(&disk, "mount -o remount,nr_inodes=10000 small");
    let output = apply();
    assert!(output.status.success(), "{output:?}");
    sh(
        &small,
        "test $(cat moved/2) = 2; test $(cat 1399) = 1399; test ! -e .norefs-apply; test $(ls | wc -l) = 499",
    );
    drop(mount);
    sh(&disk, "umount small");
}

#[test]
fn afterwards_the_mount_differs_in_nothing_and_stays_usable() {
    let loaded = Loaded::changed(SOURCE, "mv d moved; touch -d @5 g; echo more >> f; rm -r e");
    loaded.is_applied();
    let diff = || {
        let mut command = norefs();
        let output = command
            .arg("diff")
            .arg(loaded.mount.root())
            .output()
            .unwrap();
        text(&output.stdout)
    };
    assert_eq!(diff(), "");
    // Nobody read these before.
    sh(
        loaded.mount.root(),
        "test $(cat moved/sub/c) = d/sub/c; test $(cat g) = g",
    );
    loaded.change("echo again >> f; mv moved/sub sub; echo g > g");
    assert_eq!(diff(), "M f\nM f2\nM g\nR moved/sub -> sub\n");
    loaded.is_applied();
    assert_eq!(diff(), "");
}
