//! `--protect`: the command may change nothing but its copies and what is named.

use super::{Ground, User, each_user, each_user_of_several};
use mount_tests::programs::run;
use mount_tests::text;
use std::os::unix::fs::chown;

/// A directory that is not in /tmp, which may always be written to.
fn outside(ground: &Ground) -> tempfile::TempDir {
    let directory = tempfile::Builder::new()
        .prefix("norefs-test-")
        .tempdir_in("/var/tmp")
        .unwrap();
    for name in ["kept", "allowed"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("file"), "").unwrap();
    if ground.user != User::Root {
        run(directory.path(), "chown", &["-R", "65534:65534", "."]);
        chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    }
    directory
}

#[test]
fn the_rest_of_the_machine_is_read_only() {
    each_user(|ground| {
        let outside = outside(&ground);
        let at = outside.path().to_str().unwrap();
        let script = format!(
            "echo new > file; echo > {0}/temporary; rm {0}/temporary; echo > /dev/null; echo 0 > /proc/self/oom_score_adj
             for place in {at}/kept {at}/allowed; do (echo > $place/new) 2>/dev/null && echo $place; done
             (echo new > {at}/file) 2>/dev/null && echo file; rmdir {at}/kept 2>/dev/null && echo rmdir; true",
            ground.scratch.display()
        );
        let from = ["--from", ".", "--protect"];
        assert_eq!(ground.said(&ground.source, &from, &script), "");
        let (allowed, file) = (format!("{at}/allowed"), format!("{at}/file"));
        let options = [&from[..], &["--allow", &allowed, "--allow", &file]].concat();
        let told = ground.said(&ground.source, &options, &script);
        assert_eq!(told, format!("{allowed}\nfile\n"));
        assert_eq!(super::names(&outside.path().join("allowed")), ["new"]);
        assert_eq!(super::names(&outside.path().join("kept")), [""; 0]);
        let private = ground.said(&ground.source, &["--protect", "--at", "private"], &script);
        assert_eq!(private, "");
        // And without it can all be written to.
        let told = ground.said(&ground.source, &["--from", "."], &script);
        assert_eq!(told, format!("{at}/kept\n{allowed}\nfile\n"));
        ground.is_untouched();
    });
}

#[test]
fn the_copies_can_be_written_to_wherever_they_are() {
    each_user_of_several(|ground| {
        let outside = outside(&ground);
        let at = outside.path().to_str().unwrap();
        let script = format!(
            "pwd; echo new > file; echo new > {}/file; cat file",
            ground.from()
        );
        for also in [ground.from(), at] {
            let from = if also == at { ground.from() } else { at };
            let options = ["--from", from, "--also", also, "--protect"];
            let told = ground.said(std::path::Path::new("/"), &options, &script);
            assert_eq!(told, format!("{from}\nnew\n"));
        }
        assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"");
        // What is allowed inside of a copy is the copy's.
        let options = ["--from", at, "--protect", "--allow", &format!("{at}/kept")];
        ground.said(&ground.source, &options, &format!("echo > {at}/kept/new"));
        assert_eq!(super::names(&outside.path().join("kept")), [""; 0]);
        ground.is_untouched();
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    each_user(|ground| {
        let from = ground.from();
        for (options, word) in [
            (&["--from", from, "--allow", "/mnt"][..], "--protect"),
            (&["--from", from, "--protect", "--allow", "/"], "/"),
            (&["--also", from], "--from"),
            (&["--from", from, "--also", from], "copied already"),
            (&["--from", from, "--also", "sub"], "copied already"),
            (&["--from", "sub", "--also", "."], "copied already"),
        ] {
            let output = ground.run(&ground.source, options, "true");
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
            assert!(said.contains(word) && said.lines().count() == 1, "{said}");
        }
        ground.is_untouched();
    });
}

#[test]
fn who_may_have_one_copy_alone_is_told_so() {
    let ground = Ground::new(User::Alone);
    ground.scratch.dir("beside");
    let output = ground.run(
        &ground.source,
        &["--from", ".", "--also", "../beside"],
        "true",
    );
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("fusermount3") && said.lines().count() == 1,
        "{said}"
    );
    ground.is_untouched();
}
