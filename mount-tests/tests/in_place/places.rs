//! Where the copy is, and where the command begins.

use super::{Ground, User, each_user};
use mount_tests::{Tmpfs, text, wait_until};
use serde_json::Value;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_command_sees_the_copy_and_everybody_else_the_original() {
    each_user(|ground| {
        let script = format!(
            "echo new > {from}/file; cat file; rm sub/inner; mkdir {from}/made; ls; touch {told}; \
             while ! test -e {go}; do sleep 0.01; done; cat {from}/file",
            from = ground.from(),
            told = ground.path("told").display(),
            go = ground.path("go").display(),
        );
        let mut command = ground.command(&ground.source, &["--from", "."], &script);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(wait_until(|| ground.path("told").exists()));
        assert_eq!(
            std::fs::read(ground.source.join("file")).unwrap(),
            b"content\n"
        );
        assert!(ground.source.join("sub/inner").exists() && !ground.source.join("made").exists());
        std::fs::write(ground.path("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout), "new\nfile\nmade\nsub\nnew\n");
        ground.is_untouched();
    });
}

#[test]
fn what_belongs_to_others_is_as_in_the_original() {
    let ground = Ground::new(User::Ordinary);
    let of_root = ground.source.join("of_root");
    std::fs::write(&of_root, "").unwrap();
    rustix::fs::chmod(&of_root, 0o666.into()).unwrap();
    let script = "echo written > of_root; cat of_root; rm of_root; ls";
    let told = ground.said(&ground.source, &["--from", "."], script);
    assert_eq!(told, "written\nfile\nsub\n");
    assert_eq!(std::fs::read(&of_root).unwrap(), b"");
    std::fs::remove_file(of_root).unwrap();
    ground.is_untouched();
}

#[test]
fn a_directory_may_be_called_by_any_of_its_names() {
    each_user(|ground| {
        symlink("source", ground.path("link")).unwrap();
        let slash = format!("{}/", ground.from());
        let (above, inside) = (&*ground.scratch, &ground.source.join("sub"));
        for (standing, name, start) in [
            (above, "source", ground.source.as_path()),
            (above, "./link", &ground.source),
            (above, "link/", &ground.source),
            (above, &slash, &ground.source),
            (above, "source/sub/..", &ground.source),
            (&ground.source, ".", &ground.source),
            (&ground.source, "../link", &ground.source),
            (inside, "..", inside),
            (inside, ground.from(), inside),
        ] {
            let script = format!(
                "pwd -P; echo $NOREFS_MOUNT; echo new > {}/file",
                ground.from()
            );
            let told = ground.said(standing, &["--from", name], &script);
            let expected = format!("{}\n{}\n", start.display(), ground.from());
            assert_eq!(told, expected, "{name} in {}", standing.display());
            ground.is_untouched();
        }
    });
}

#[test]
fn who_stands_in_the_directory_stays_there_under_the_name_that_was_used() {
    each_user(|ground| {
        let link = ground.path("link");
        symlink("source", &link).unwrap();
        let begins = |standing: &Path| {
            ground.said(standing, &["--from", ground.from()], "echo $PWD; pwd -P")
        };
        let both =
            |logical: &Path, real: &Path| format!("{}\n{}\n", logical.display(), real.display());
        let inside = ground.source.join("sub");
        assert_eq!(begins(&link.join("sub")), both(&link.join("sub"), &inside));
        assert_eq!(begins(&inside), both(&inside, &inside));
        assert_eq!(
            begins(&ground.scratch),
            both(&ground.source, &ground.source)
        );
        assert_eq!(begins(Path::new("/")), both(&ground.source, &ground.source));
        ground.is_untouched();
    });
}

#[test]
fn mounts_are_copied_as_they_are_without_a_place_of_their_own() {
    each_user(|ground| {
        let source = Tmpfs::at(ground.source.clone());
        std::fs::create_dir(source.join("below")).unwrap();
        ground.hand_over();
        let below = Tmpfs::at(source.join("below"));
        std::fs::create_dir(below.join("deep")).unwrap();
        std::fs::write(below.join("deep/file"), "").unwrap();
        ground.hand_over();
        let script = "pwd -P; find . | sort; touch below/new";
        let run = |standing: &Path, options: &[&str]| {
            let output = ground.run(
                standing,
                &[&["--from", ground.from()], options].concat(),
                script,
            );
            assert!(output.status.success(), "{output:?}");
            text(&output.stdout)
        };
        let from = ground.from();
        assert_eq!(run(&ground.source, &[]), format!("{from}\n.\n./below\n"));
        // There is no such place in the copy.
        assert_eq!(
            run(&below.join("deep"), &[]),
            format!("{from}\n.\n./below\n")
        );
        let all = format!("{from}\n.\n./below\n./below/deep\n./below/deep/file\n");
        assert_eq!(run(&ground.source, &["--cross-mounts"]), all);
        assert_eq!(super::names(&below), ["deep"]);
        drop(below);
        drop(source);
        ground.is_untouched();
    });
}

#[test]
fn the_copy_is_elsewhere_if_that_is_asked_for() {
    each_user(|ground| {
        let elsewhere = ground.scratch.dir("elsewhere");
        let at = elsewhere.to_str().unwrap();
        let script = format!(
            "echo $NOREFS_MOUNT; pwd -P; echo new > file; cat {}/file",
            ground.from()
        );
        let told = ground.said(
            &ground.source,
            &["--from", ".", "--at", "../elsewhere"],
            &script,
        );
        assert_eq!(told, format!("{at}\n{at}\ncontent\n"));
        let told = ground.said(&ground.source, &["--from", ".", "--at", "private"], &script);
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0] == lines[1] && lines[2] == "content", "{told}");
        assert!(
            lines[0].starts_with(ground.path("tmp").to_str().unwrap()),
            "{told}"
        );
        let empty = ground.said(&elsewhere, &["--at", at], "pwd; ls; echo > file");
        assert_eq!(empty, format!("{at}\n"));
        assert_eq!(super::names(&elsewhere), [""; 0]);
        ground.is_untouched();
    });
}

#[test]
fn nothing_takes_the_place_of_the_root() {
    each_user(|ground| {
        for options in [
            &["--from", "/"][..],
            &["--from", ground.from(), "--at", "/"],
        ] {
            let output = ground.run(&ground.source, options, "true");
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(
                said.contains("place of /") && said.lines().count() == 1,
                "{said}"
            );
        }
        ground.is_untouched();
    });
}

#[test]
fn programs_are_those_of_the_copy_and_fail_as_without() {
    each_user(|ground| {
        let program = ground.source.join("program");
        std::fs::copy("/bin/true", &program).unwrap();
        let run = |program: &str| {
            let mut command = ground.norefs(&ground.source);
            command.args(["run", "--no-report", "--from", ".", "--", program]);
            command.env("PATH", "/usr/bin:/bin");
            command.output().unwrap().status.code()
        };
        assert_eq!(run("./program"), Some(0));
        assert_eq!(run("./file"), Some(126));
        assert_eq!(run("./missing"), Some(127));
        assert_eq!(run("no-such-program"), Some(127));
        std::fs::remove_file(program).unwrap();
        ground.is_untouched();
    });
}

#[test]
fn the_mount_is_found_from_inside_and_outside() {
    each_user(|ground| {
        let norefs = ground.norefs(&ground.source);
        let norefs = norefs.get_program().to_str().unwrap();
        let script = format!(
            "{norefs} set --size 2m .; {norefs} stats --json {}; echo >{}; while ! test -e {}; do sleep 0.01; done",
            ground.from(),
            ground.path("told").display(),
            ground.path("go").display()
        );
        let mut command = ground.command(&ground.source, &["--from", "."], &script);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        assert!(wait_until(|| ground.path("told").exists()));
        let listed = ground
            .norefs(Path::new("/"))
            .args(["ls", "--json"])
            .output()
            .unwrap();
        // Where fusermount3 mounts, it is to be seen at a private directory.
        let outside = (ground.user != User::Ordinary).then(|| {
            let mut command = ground.norefs(Path::new("/"));
            command.args(["stats", "--json", ground.from()]);
            command.output().unwrap().stdout
        });
        std::fs::write(ground.path("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        if let Some(outside) = outside {
            let stats: Value = serde_json::from_slice(&outside).unwrap();
            assert_eq!(
                (&stats["max_bytes"], &stats["mountpoint"]),
                (&(2 << 20).into(), &ground.from().into())
            );
        }
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&stats["max_bytes"], &stats["inodes"]),
            (&(2 << 20).into(), &4.into())
        );
        let rows: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        let row = rows.iter().find(|row| row["source"] == ground.from());
        let row = row.unwrap_or_else(|| panic!("{rows:?}"));
        assert_eq!(
            (&row["state"], &row["pid"]),
            (&"served".into(), &stats["pid"])
        );
        ground.is_untouched();
    });
}

#[test]
fn a_run_in_a_run_has_a_copy_of_the_copy() {
    each_user(|ground| {
        let norefs = ground.norefs(&ground.source);
        let norefs = norefs.get_program().to_str().unwrap();
        for at in ["", "--at private"] {
            let script = format!(
                "echo outer > file; {norefs} run --no-report --from . {at} -- sh -euc 'cat file; echo inner > file; cat file'; cat file"
            );
            let told = ground.said(&ground.source, &["--from", "."], &script);
            assert_eq!(told, "outer\ninner\nouter\n", "{at}");
        }
        ground.is_untouched();
    });
}

#[test]
fn nobody_else_sees_a_mount_where_no_fusermount_takes_part() {
    for user in [User::Root, User::Alone] {
        let ground = Ground::new(user);
        let script = format!(
            "touch {}; while ! test -e {}; do sleep 0.01; done",
            ground.path("told").display(),
            ground.path("go").display()
        );
        let mut child = ground
            .command(&ground.source, &["--from", "."], &script)
            .spawn()
            .unwrap();
        assert!(wait_until(|| ground.path("told").exists()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        std::fs::write(ground.path("go"), "").unwrap();
        assert!(!mounts.contains(ground.from()), "{mounts}");
        assert!(child.wait().unwrap().success());
        ground.is_untouched();
    }
}

#[test]
fn where_mounts_are_shared_those_of_others_are_seen_and_none_is_shown_to_them() {
    let ground = Ground::new(User::Root);
    let beside = ground.scratch.dir("beside");
    let norefs = ground.norefs(&ground.source);
    let norefs = norefs.get_program().to_str().unwrap();
    let script = format!(
        "mount --make-rshared /; wait_for() {{ while ! test -e $1; do sleep 0.01; done; }}
        {norefs} run --no-report --from . -- sh -euc 'echo new > file; touch ../told; while ! test -e {0}/seen; do sleep 0.01; done' &
        wait_for ../told; cat file; grep -c {1} /proc/self/mountinfo || true
        mount -t tmpfs none {0}; touch {0}/seen; wait; cat file",
        beside.display(),
        ground.from()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc", &script])
        .current_dir(&ground.source)
        .env("TMPDIR", ground.path("tmp"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "content\n0\ncontent\n");
    ground.is_untouched();
}
