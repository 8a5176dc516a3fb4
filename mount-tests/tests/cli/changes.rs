//! `norefs changes`: which paths changed since a token.

use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, norefs_as_nobody, text, transport, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use vmap::MapMut;

fn asked(mut norefs: Command, directory: &Path, arguments: &[&str]) -> Output {
    let command = norefs.arg("changes").arg(directory).args(arguments);
    command.output().unwrap()
}

/// The token, and what else is told.
fn told(directory: &Path, arguments: &[&str]) -> (String, Vec<String>) {
    let output = asked(norefs(), directory, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut lines = text(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    (lines.remove(0), lines)
}

fn token(directory: &Path) -> String {
    let (token, paths) = told(directory, &[]);
    assert_eq!(paths, ["/"], "nobody knows what came before");
    token
}

fn since(directory: &Path, token: &str) -> Vec<String> {
    told(directory, &["--since", token]).1
}

/// What is told after `script`, and before.
#[track_caller]
fn expect(root: &Path, script: &str, paths: &[&str]) {
    let token = token(root);
    assert_eq!(since(root, &token), [""; 0]);
    sh(root, script);
    assert_eq!(since(root, &token), paths, "{script}");
}

const TREE: &str = "mkdir -p d/sub e; echo 1 > f; echo 2 > d/sub/g; ln f d/link; ln -s f symlink";

#[test]
fn each_change_is_told_by_the_paths_it_concerns() {
    for transport in transport::each() {
        let mount = Daemon::on(transport, &["-o", "allow_other"]);
        mount.stats();
        let root = mount.root();
        sh(root, TREE);
        expect(
            root,
            "cat f d/sub/g > /dev/null; ls -lR > /dev/null; du -s . > /dev/null; sync",
            &[],
        );
        expect(root, "echo 3 >> d/sub/g", &["d/sub/g"]);
        expect(root, "echo 3 >> f", &["d/link", "f"]);
        expect(root, "chmod 600 d/link; chmod 700 d", &["d", "d/link", "f"]);
        expect(
            root,
            "truncate -s 9 d/sub/g; touch e/h; fallocate -l 99 e/h; touch -a f",
            &["d/link", "d/sub/g", "e/h", "f"],
        );
        expect(root, "mkdir n; echo > n/f; rm n/f; rmdir n", &["n/"]);
        expect(
            root,
            "mv d/sub/g e/g; rm symlink; ln -s e symlink",
            &["d/sub/g", "e/g", "symlink"],
        );
        expect(root, "rm d/link", &["d/link", "f"]);
        expect(
            root,
            "echo 4 >> e/g; mv d e/d; echo > e/d/sub/new",
            &["d/", "e/d/", "e/d/sub/new", "e/g"],
        );
        expect(root, "echo 5 > t; mv t f; mknod p p", &["f", "p", "t"]);
        expect(
            root,
            "setfattr -n user.x -v y f; cp --reflink=never f f2",
            &["f", "f2"],
        );
    }
}

#[test]
fn what_was_stored_through_a_map_is_told_before_anybody_wrote_it_back() {
    for transport in transport::each() {
        let mount = Daemon::on(transport, &["-o", "allow_other"]);
        mount.stats();
        let path = mount.path("file");
        std::fs::write(&path, [0; 8192]).unwrap();
        let mut map = MapMut::with_options()
            .write()
            .len(8192)
            .open(&path)
            .unwrap()
            .0;
        let mut token = token(mount.root());
        for round in 0..3 {
            map[4096 * (round % 2)] += 1;
            let (next, paths) = told(mount.root(), &["--since", &token]);
            assert_eq!(paths, ["file"], "round {round}");
            token = next;
        }
    }
}

#[test]
fn only_the_directory_that_was_asked_about_counts() {
    let mount = Daemon::start();
    mount.stats();
    let root = mount.root();
    sh(root, TREE);
    let d = root.join("d");
    let (of_d, of_root) = (token(&d), token(root));
    sh(root, "echo > e/x; echo > d/sub/x; mv d e/d");
    let d = root.join("e/d");
    assert_eq!(since(&d, &of_d), ["sub/x"]);
    assert_eq!(since(&d, &of_root), ["/"]);
    assert_eq!(since(root, &of_d), ["/"]);
}

#[test]
fn a_token_of_another_mount_may_stand_for_any_change() {
    let (one, other) = (Daemon::start(), Daemon::start());
    one.stats();
    other.stats();
    let (first, second) = (token(one.root()), token(other.root()));
    assert_eq!(since(one.root(), &second), ["/"]);
    assert_eq!(since(other.root(), &first), ["/"]);
    assert_eq!(since(one.root(), &first), [""; 0]);
    let (head, number) = first.rsplit_once(':').unwrap();
    let later = number.parse::<u64>().unwrap() + 1;
    assert_eq!(since(one.root(), &format!("{head}:{later}")), ["/"]);
}

#[test]
fn names_of_any_bytes_come_through() {
    let mount = Daemon::start();
    mount.stats();
    let token = token(mount.root());
    sh(
        mount.root(),
        "touch \"$(printf 'a\\nb')\" \"$(printf 'c\\377')\"; mkdir d; mv d e",
    );
    let arguments = ["--since", &token, "-0"];
    let output = asked(norefs(), mount.root(), &arguments);
    let parts: Vec<_> = output.stdout.split(|byte| *byte == 0).skip(1).collect();
    assert_eq!(parts, [&b"a\nb"[..], b"c\xff", b"d/", b"e/", b""]);
    let output = asked(norefs(), mount.root(), &["--since", &token, "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["all"], false);
    assert_eq!(json["paths"][0]["path"], "a\nb");
    assert_eq!(json["paths"][1]["path"]["base64"], "Y/8=");
    let e = &json["paths"][3];
    assert_eq!(
        (&e["path"], &e["directory"], &e["below"]),
        (&"e".into(), &true.into(), &true.into())
    );
    let lines = since(mount.root(), &token);
    assert_eq!(lines, ["a\\nb", "c\\xff", "d/", "e/"]);
}

#[test]
fn whoever_waits_is_told_of_what_comes() {
    let mount = Daemon::start();
    mount.stats();
    let path = mount.path("mapped");
    std::fs::write(&path, [0; 4096]).unwrap();
    let mut map = MapMut::with_options()
        .write()
        .len(4096)
        .open(&path)
        .unwrap()
        .0;
    let wait = |since: &[&str]| {
        let mut command = norefs();
        command
            .args(["changes", "--wait"])
            .args(since)
            .arg(mount.root());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let lines = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        text(&output.stdout)
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let token = token(mount.root());
    let mut waiting = wait(&["--since", &token]);
    assert_eq!(waiting.try_wait().unwrap(), None);
    sh(mount.root(), "echo > new");
    assert_eq!(lines(waiting), ["new"]);
    // From when it was called on: it is, once another change does not end it.
    let mut waiting = wait(&[]);
    let mut round = 0;
    let ended = wait_until(|| {
        round += 1;
        map[0] = round;
        waiting.try_wait().unwrap().is_some()
    });
    assert!(
        ended,
        "what is stored through a map is looked for again and again"
    );
    assert_eq!(lines(waiting), ["mapped"]);
}

#[test]
fn an_ordinary_user_asks_about_a_mount_of_his_own_and_no_other() {
    let mount = Daemon::as_nobody(&[""; 0]);
    let mine = || {
        let mut command = norefs_as_nobody(mount.outside());
        command.env("XDG_RUNTIME_DIR", mount.outside().join("run"));
        command
    };
    let ask = |arguments: &[&str]| asked(mine(), mount.root(), arguments);
    assert!(wait_until(|| ask(&[]).status.success()));
    let first = text(&ask(&[]).stdout);
    let token = first.lines().next().unwrap();
    let made = mine()
        .args(["run", "--from"])
        .arg(mount.root())
        .args(["--", "true"])
        .output();
    made.unwrap();
    let script = format!("echo > {}/f", mount.root().display());
    mount_tests::posix::as_user(mount_tests::NOBODY, mount_tests::NOBODY, &[], || {
        std::fs::write(mount.path("f"), script).unwrap();
    });
    let said = text(&ask(&["--since", token]).stdout);
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), ["f"]);

    let of_root = Daemon::start();
    of_root.stats();
    let refused = asked(norefs_as_nobody(of_root.outside()), of_root.root(), &[]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_command_of_a_run_asks_about_the_copy_it_sees() {
    let source = Scratch::new();
    sh(&source, TREE);
    let program = norefs().get_program().to_str().unwrap().to_owned();
    let script = format!(
        "token=$({program} changes . | head -n 1); echo > d/new; mv e moved; {program} changes --since $token ."
    );
    let mut command = norefs();
    command.args(["run", "--no-report", "--from"]).arg(&*source);
    let output = command
        .args(["--", "sh", "-euc", &script])
        .current_dir(&*source)
        .output()
        .unwrap();
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(lines, ["d/new", "e/", "moved/"], "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_asked_is_refused_in_words() {
    let mount = Daemon::start();
    mount.stats();
    std::fs::write(mount.path("file"), "").unwrap();
    let elsewhere = Scratch::new();
    let refusals = [
        (elsewhere.to_path_buf(), vec![], 1, "is in no norefs mount"),
        (mount.path("file"), vec![], 1, "Not a directory"),
        (mount.path("none"), vec![], 1, "No such file"),
        (
            mount.root().to_owned(),
            vec!["--since", "builtin:1"],
            2,
            "no token",
        ),
        (mount.root().to_owned(), vec!["-0", "--json"], 2, "--json"),
    ];
    for (directory, arguments, status, reason) in refusals {
        let output = asked(norefs(), &directory, &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}
