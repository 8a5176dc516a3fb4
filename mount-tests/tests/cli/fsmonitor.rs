//! `norefs fsmonitor`, and what has git ask it. That git is never told too little is tried by `alone/git_status`.

use mount_tests::programs::{attempt, sh};
use mount_tests::{Background, Daemon, Scratch, norefs, norefs_as_ordinary_user, text};
use std::path::Path;
use std::process::Command;

const FILES: usize = 60;

fn repository(at: &Path) {
    let script = format!(
        "git init -q .; mkdir -p d/e; for n in $(seq {FILES}); do echo $n > d/e/$n; done; git add .; \
         git -c user.name=a -c user.email=a@b commit -qm one; cp .git/config ../config"
    );
    sh(at, &script);
}

/// What git does twice, so that the index knows a token, then once while it tells what it asked and looked at.
const STATUS: &str = "git status > /dev/null; git status > /dev/null; echo more >> d/e/7; \
    GIT_TRACE2_PERF=$PWD/.git/trace git status --porcelain; cat .git/trace; cmp .git/config ../config";

/// git asked the mount, and looked at few files itself.
#[track_caller]
fn asked(said: &str) {
    assert!(said.starts_with(" M d/e/7\n"), "{said}");
    let after = |what: &str| {
        let (_, rest) = said
            .rsplit_once(what)
            .unwrap_or_else(|| panic!("no {what}: {said}"));
        let number = rest.split(|c: char| !c.is_ascii_digit()).next();
        number.unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(after("apply_count:"), 1, "{said}");
    assert!(after("refresh/sum_lstat:") < 5, "{said}");
}

#[test]
fn git_asks_the_copy_that_a_run_gives_it() {
    for ordinary in [false, true] {
        let scratch = Scratch::new();
        let tree = scratch.dir("tree");
        repository(&tree);
        if ordinary {
            sh(
                &scratch,
                &format!("chown -R {0}:{0} .", mount_tests::NOBODY),
            );
        }
        let mut command = match ordinary {
            true => norefs_as_ordinary_user(&scratch),
            false => norefs(),
        };
        // A setting that is there already stays.
        let given = [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "alias.st"),
            ("GIT_CONFIG_VALUE_0", "status"),
        ];
        let script = format!("git st > /dev/null; {STATUS}");
        command
            .current_dir(&tree)
            .envs(given)
            .env("HOME", "/nonexistent");
        command.args([
            "run",
            "--no-report",
            "--fsmonitor",
            "--from",
            ".",
            "--",
            "sh",
            "-euc",
            &script,
        ]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        asked(&text(&output.stdout));
    }
}

#[test]
fn mount_prints_what_a_shell_needs() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    repository(&tree);
    let mount = Background::new(&[tree.to_str().unwrap()]);
    drop(mount);
    let place = scratch.dir("mount");
    let program = norefs().get_program().to_str().unwrap().to_owned();
    let script = format!(
        "eval \"$({program} mount --fsmonitor ../tree .)\"; cd \"$PWD\"; {STATUS}; cd /; {program} umount {}",
        place.display()
    );
    let output = attempt(&place, "sh", &["-euc", &script]);
    assert!(output.status.success(), "{output:?}");
    asked(&text(&output.stdout));
    let refused = attempt(&place, &program, &["mount", "-f", "--fsmonitor", "."]);
    assert_eq!(refused.status.code(), Some(2));
}

fn answer(at: &Path, token: &str) -> Vec<u8> {
    let mut command = Command::new(norefs().get_program());
    let output = command
        .args(["fsmonitor", "2", token])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn split(answer: &[u8]) -> (String, Vec<String>) {
    let said = answer.strip_suffix(b"\0").expect("an end").to_vec();
    let said = String::from_utf8(said).unwrap();
    let mut parts = said.split('\0').map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

#[test]
fn whatever_token_git_brings_it_gets_an_answer() {
    let mount = Daemon::start();
    mount.stats();
    let outside = Scratch::new();
    for token in [
        "",
        "/",
        "1700000000000000000",
        "builtin:0.1:7",
        "norefs:1:2:3",
        "\u{fc}",
    ] {
        let (_, paths) = split(&answer(mount.root(), token));
        assert_eq!(paths, ["/"], "{token}");
        assert_eq!(split(&answer(&outside, token)).1, ["/"], "in no mount");
    }
    let mut command = Command::new(norefs().get_program());
    let old = command.args(["fsmonitor", "1", "1700000000000000000"]);
    assert_eq!(
        old.current_dir(mount.root()).status().unwrap().code(),
        Some(2)
    );
}

#[test]
fn git_is_told_what_is_below_a_moved_directory_and_nothing_of_its_own() {
    let mount = Daemon::start();
    mount.stats();
    let root = mount.root();
    sh(root, "mkdir -p .git a/b/c x/.git; touch a/b/f");
    let (token, _) = split(&answer(root, ""));
    sh(root, "touch .git/index x/.git/index; mv a z; mkdir new");
    let (_, mut paths) = split(&answer(root, &token));
    paths.sort();
    let expected = [
        "a",
        "new",
        "new/-",
        "x/.git/index",
        "z",
        "z/-",
        "z/b",
        "z/b/-",
        "z/b/c",
        "z/b/c/-",
        "z/b/f",
    ];
    assert_eq!(paths, expected);
    sh(root, "touch .");
    assert_eq!(
        split(&answer(root, &token)).1,
        ["/"],
        "the working tree itself"
    );
    let (token, _) = split(&answer(root, ""));
    sh(
        root,
        "mkdir many; cd many; seq 10001 | xargs touch; cd ..; mv many moved",
    );
    assert_eq!(split(&answer(root, &token)).1, ["/"], "too much to tell");
}
