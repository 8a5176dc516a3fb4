//! `norefs mount --resume` and `norefs run --resume`: going on with what was kept.

use super::{shown, verb};
use mount_tests::posix::same_trees;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, text};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SOURCE: &str = "mkdir d d/sub e r same; for f in d/a d/b d/sub/c e/x e/y f g mode gone r/in t two; do echo $f > $f; done;
    ln f f2; ln two e/two; ln -s f link; setfattr -n user.old -v 1 g; touch -d @1000000000.123456789 d/a d/b e/x r/in same; chmod 750 e";

const CHANGES: &str = "mv d moved; echo more >> moved/sub/c; rm gone f2; ln f third; echo new > new; ln new e/new2; chmod 600 mode;
    setfattr -n user.x -v '0saAo9Cg==' g; setfattr -x user.old g; mkfifo e/pipe; ln -sfn elsewhere link; rm moved/a; touch moved;
    rm -r r; mkdir r; echo other > r/other; rm t; mkdir t; mv e/x x; mv e/y e/x; mv x e/y; echo two >> two; mknod e/null c 1 3;
    truncate -s 3M sparse; printf x >> sparse; touch -d @-5.000000001 new; touch -d @1234567890.123456789 moved/sub/c e;
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; mkdir -p deep/er/est; chmod 0 deep/er/est;
    echo in > same/in; touch -d @1000000000.123456789 same";

/// A source, and a directory for what is kept.
struct Ground {
    source: Scratch,
    place: Scratch,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground {
            source: Scratch::new(),
            place: Scratch::new(),
        };
        sh(&ground.source, SOURCE);
        ground
    }

    fn file(&self) -> PathBuf {
        self.place.join("kept.tar")
    }

    fn mount(&self) -> Daemon {
        let mount = Daemon::with(&[shown(&self.source)]);
        mount.stats();
        mount
    }

    fn resumed(&self) -> Daemon {
        let mount = Daemon::with(&["--resume", shown(&self.file())]);
        mount.stats();
        mount
    }

    /// Keeps what `changes` make of a mount, and what `look` prints there before.
    fn kept(&self, changes: &str, look: impl Fn(&Daemon) -> String) -> String {
        let mount = self.mount();
        sh(mount.root(), changes);
        let seen = look(&mount);
        let keep = format!("--keep={}", shown(&self.file()));
        let kept = verb("umount", &[&keep, shown(mount.root())]);
        assert!(kept.status.success(), "{kept:?}");
        seen
    }
}

fn diff(of: &Path, how: &[&str]) -> String {
    let output = verb("diff", &[how, &[shown(of)]].concat());
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// All that can be seen of a tree, the inode numbers of what came from the source, and what differs.
fn all(mount: &Daemon) -> String {
    let mut told: serde_json::Value =
        serde_json::from_str(&diff(mount.root(), &["--json"])).unwrap();
    let mut lines = String::new();
    let mut of_source = Vec::new();
    for change in told["changes"].as_array_mut().unwrap() {
        if let Some(now) = change.get_mut("now") {
            let made = now.as_object_mut().unwrap();
            // Node ids, and numbers of what was made, are the mount's own.
            made.remove("node");
            made.remove("ino");
            if change.get("base").is_some() && change["replaced"] == false {
                of_source.push(change["now"]["path"].as_str().unwrap().to_owned());
            }
        }
        lines += &format!("{change}\n");
    }
    for path in of_source {
        let number = mount.root().join(&path).symlink_metadata().unwrap().ino();
        lines += &format!("{path} {number}\n");
    }
    lines
        + &sh(
            mount.root(),
            "find . -printf '%p %y %m %n %U %G %s %T@ %l\\n' | sort; find . -type f -exec md5sum {} + | sort; getfattr -R -d -m - . | sort",
        )
}

#[track_caller]
fn same_lines(one: &str, other: &str) {
    for (one, other) in one.lines().zip(other.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(one.lines().count(), other.lines().count());
}

#[test]
fn it_is_what_it_was_and_differs_as_it_did() {
    let ground = Ground::new();
    let was = ground.kept(CHANGES, all);
    same_lines(&all(&ground.resumed()), &was);
}

#[test]
fn kept_once_more_it_is_the_same() {
    let ground = Ground::new();
    let was = ground.kept(CHANGES, all);
    let again = ground.resumed();
    let keep = format!("--keep={}", shown(&ground.file()));
    let kept = verb("umount", &[&keep, shown(again.root())]);
    assert!(kept.status.success(), "{kept:?}");
    same_lines(&all(&ground.resumed()), &was);
}

#[test]
fn what_is_changed_further_is_applied_with_the_rest() {
    let ground = Ground::new();
    ground.kept(CHANGES, |_| String::new());
    let mount = ground.resumed();
    sh(
        mount.root(),
        "echo further >> new; mv moved back; rm -r deep; echo in >> mode; rm socket",
    );
    let copy = Scratch::new();
    sh(&copy, &format!("cp -a {}/. .", mount.root().display()));
    let applied = verb("apply", &[shown(mount.root())]);
    assert!(applied.status.success(), "{applied:?}");
    same_trees(&ground.source, &copy);
    let times = "find . -mindepth 1 -printf '%p %y %m %n %T@\\n' | sort";
    assert_eq!(sh(&ground.source, times), sh(&copy, times));
    assert_eq!(diff(mount.root(), &[]), "");
}

#[test]
fn contents_outlive_the_file_they_are_read_from() {
    let ground = Ground::new();
    ground.kept("seq 300000 > big; echo more >> f", |_| String::new());
    let mount = ground.resumed();
    std::fs::remove_file(ground.file()).unwrap();
    let sum = sh(
        mount.root(),
        "md5sum < big; cat f; echo x >> big; tail -n 1 big",
    );
    assert_eq!(
        sum,
        sh(
            &ground.place,
            "seq 300000 | md5sum; echo f; echo more; echo x"
        )
    );
}

#[test]
fn what_changed_in_the_source_is_told_and_what_was_kept_is_there_whole() {
    let ground = Ground::new();
    ground.kept(
        "echo kept >> f; chmod 600 mode; rm gone; mv g moved; mv d dd; echo k > dd/a; echo new > new; rm -r r; echo e >> e/x",
        |_| String::new(),
    );
    sh(
        &ground.source,
        "echo theirs > f; echo longer than before > mode; echo back >> gone; echo g2 >> g; echo theirs > new; echo more > r/more;
         rm -r e; rm d/a; mkdir d/a; echo d > d/a/d; echo beside > beside",
    );
    let mount = Daemon::with(&["--resume", shown(&ground.file())]);
    mount.stats();
    let seen = sh(
        mount.root(),
        "cat f mode moved dd/a new e/x beside; stat -c %a mode; ls -d gone g r 2>/dev/null || true",
    );
    assert_eq!(seen, "f\nkept\nmode\ng\nk\nnew\ne/x\ne\nbeside\n600\n");
    let before = sh(&ground.source, "find . -printf '%p %i %T@ %C@\\n' | sort");
    let applied = verb("apply", &[shown(mount.root())]);
    assert_eq!(applied.status.code(), Some(1), "{applied:?}");
    let said = text(&applied.stderr);
    for path in ["f", "mode", "gone", "moved", "dd/a", "new", "e/x"] {
        assert!(
            said.contains(&format!("conflict: {path}:")),
            "{path}: {said}"
        );
    }
    assert!(said.contains("conflict: r"), "{said}");
    assert_eq!(
        sh(&ground.source, "find . -printf '%p %i %T@ %C@\\n' | sort"),
        before
    );
    let log = sh(
        &ground.place,
        &format!(
            "norefs=$(mktemp -d); {} run --resume {} --then discard -- true 2>&1",
            norefs().get_program().display(),
            shown(&ground.file())
        ),
    );
    for path in ["f", "mode", "gone", "g", "d/a", "new", "e/x", "r/more"] {
        assert!(
            log.contains(&format!("conflict: {path}: ")),
            "{path}: {log}"
        );
    }
    assert!(!log.contains("beside"), "{log}");
}

#[test]
fn a_run_goes_on_with_a_run_also_of_an_ordinary_user() {
    let ground = Ground::new();
    sh(&ground.place, "chmod 777 .");
    sh(&ground.source, "chown -R 1000:1000 .");
    let (source, file) = (shown(&ground.source), ground.place.join("theirs.tar"));
    let run = |options: &[&str], command: &str| {
        let program = norefs().get_program().to_owned();
        let mut user = std::process::Command::new("setpriv");
        user.args(["--reuid=1000", "--regid=1000", "--clear-groups"])
            .arg(program);
        user.arg("run")
            .args(options)
            .args(["--", "sh", "-c", command]);
        user.env("XDG_STATE_HOME", ground.place.join("state"))
            .current_dir("/");
        let output = user.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let at = shown(&file);
    run(
        &["--from", source, "--keep", at],
        &format!("cd {source}; echo one > one; rm gone"),
    );
    let seen = run(
        &["--resume", at, "--keep", at],
        &format!("cd {source}; cat one; ls gone 2>/dev/null; echo two > two"),
    );
    assert_eq!(seen, "one\n");
    let seen = run(
        &["--resume", at, "--then", "apply"],
        &format!("cd {source}; cat one two"),
    );
    assert_eq!(seen, "one\ntwo\n");
    assert_eq!(
        sh(&ground.source, "cat one two; ls gone 2>/dev/null || true"),
        "one\ntwo\n"
    );
}

#[test]
fn it_is_found_by_its_name_and_refused_over_another_source() {
    let ground = Ground::new();
    let state = ground.place.join("state");
    let norefs = |arguments: &[&str]| {
        let mut command = norefs();
        command
            .args(arguments)
            .env("XDG_STATE_HOME", &state)
            .current_dir("/");
        command.output().unwrap()
    };
    let source = shown(&ground.source);
    let kept = norefs(&[
        "run",
        "--from",
        source,
        "--then",
        "keep",
        "--",
        "sh",
        "-c",
        &format!("echo new > {source}/new"),
    ]);
    assert!(kept.status.success(), "{kept:?}");
    let name = ground.source.file_name().unwrap().to_str().unwrap();
    let name = format!("{name}-1");
    let shown_by = |name: &str| {
        norefs(&[
            "run",
            "--resume",
            name,
            "--then",
            "discard",
            "--",
            "cat",
            &format!("{source}/new"),
        ])
    };
    for name in [name.clone(), format!("{name}.tar")] {
        assert_eq!(text(&shown_by(&name).stdout), "new\n");
    }
    let other = Scratch::new();
    let mount = Scratch::new();
    let refused = norefs(&["mount", "--resume", &name, shown(&other), shown(&mount)]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("is another directory"),
        "{refused:?}"
    );
    for (name, reason) in [("none-1", "No such file"), ("/etc/passwd", "has not kept")] {
        let refused = norefs(&["mount", "--resume", name, shown(&mount)]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused.stderr).contains(reason), "{refused:?}");
    }
}
