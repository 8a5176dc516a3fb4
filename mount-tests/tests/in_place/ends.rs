//! How a run ends whose copy is at the path of its source, and that nothing is left of it.

use super::{Ground, each_user};
use mount_tests::{text, wait_until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::process::{Child, Command, Stdio};

/// A run whose command sleeps, and the process that is.
fn sleeping(ground: &Ground) -> (Child, Pid) {
    let script = format!(
        "echo $$ > {0}.part; mv {0}.part {0}; exec sleep 1000",
        ground.path("told").display()
    );
    let mut command = ground.command(&ground.source, &["--from", "."], &script);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    (child, told(ground))
}

/// The process id that was written.
fn told(ground: &Ground) -> Pid {
    assert!(wait_until(|| ground.path("told").exists()));
    let told = std::fs::read_to_string(ground.path("told")).unwrap();
    std::fs::remove_file(ground.path("told")).unwrap();
    Pid::from_raw(told.trim().parse().unwrap()).unwrap()
}

/// The processes that `run` started, without its command.
fn servers(run: &Child, command: Pid) -> Vec<Pid> {
    let pid = run.id();
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids = listed.split_whitespace().map(|pid| pid.parse().unwrap());
    let pids = pids.filter_map(Pid::from_raw);
    pids.filter(|pid| *pid != command).collect()
}

fn kill(process: Pid) {
    kill_process(process, Signal::KILL).unwrap();
}

#[track_caller]
fn is_gone(process: Pid) {
    assert!(wait_until(|| test_kill_process(process).is_err()));
}

#[test]
fn a_killed_run_leaves_nothing() {
    each_user(|ground| {
        let (mut run, command) = sleeping(&ground);
        let servers = servers(&run, command);
        assert_eq!(servers.len(), 1);
        run.kill().unwrap();
        run.wait().unwrap();
        is_gone(servers[0]);
        kill(command);
        is_gone(command);
        ground.is_untouched();
    });
}

#[test]
fn a_run_whose_server_was_killed_leaves_nothing() {
    each_user(|ground| {
        let (run, command) = sleeping(&ground);
        let server = servers(&run, command)[0];
        kill(server);
        is_gone(server);
        kill(command);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(128 + 9));
        assert!(text(&output.stderr).contains("has ended"), "{output:?}");
        ground.is_untouched();
    });
}

#[test]
fn what_is_left_where_both_were_killed_goes_at_the_next_start() {
    each_user(|ground| {
        let (mut run, command) = sleeping(&ground);
        let server = servers(&run, command)[0];
        // It cannot see that the other one goes.
        mount_tests::stop(server);
        run.kill().unwrap();
        run.wait().unwrap();
        kill(server);
        is_gone(server);
        kill(command);
        is_gone(command);
        ground.said(&ground.source, &["--from", "."], "true");
        ground.is_untouched();
    });
}

#[test]
fn what_outlives_the_command_loses_the_files_and_keeps_nobody() {
    each_user(|ground| {
        let script = format!(
            "sleep 1000 < file > /dev/null 2>&1 & echo $! > {0}.part; mv {0}.part {0}",
            ground.path("told").display()
        );
        let output = ground.run(&ground.source, &["--from", "."], &script);
        assert!(output.status.success(), "{output:?}");
        let left = told(&ground);
        let inside = |path: &str| {
            let path = format!("/proc/{left}/root{}/{path}", ground.from());
            std::fs::metadata(path)
        };
        assert!(inside("file").is_err(), "the copy is served on");
        assert_eq!(
            std::fs::read(ground.source.join("file")).unwrap(),
            b"content\n"
        );
        kill(left);
        is_gone(left);
        ground.is_untouched();
    });
}

#[test]
fn the_command_is_signalled_and_its_status_told() {
    each_user(|ground| {
        let script = format!(
            "trap 'exit 9' TERM; echo $$ > {0}.part; mv {0}.part {0}; while :; do sleep 0.01; done",
            ground.path("told").display()
        );
        let mut command = ground.command(&ground.source, &["--from", "."], &script);
        let mut run = command.spawn().unwrap();
        told(&ground);
        kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(9));
        ground.is_untouched();
    });
}

/// A shell in namespaces where no further ones may be made.
fn without_namespaces(ground: &Ground, arguments: &str) -> std::process::Output {
    let norefs = ground.norefs(&ground.source);
    let norefs = norefs.get_program().to_str().unwrap();
    let script = format!(
        "echo 0 > /proc/sys/user/max_mnt_namespaces; exec {norefs} run --no-report {arguments}"
    );
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-euc",
        &script,
    ]);
    command
        .current_dir(&ground.source)
        .env("TMPDIR", ground.path("tmp"));
    command.output().unwrap()
}

#[test]
fn where_no_namespace_is_to_be_had_the_copy_is_private_and_norefs_says_so() {
    let ground = Ground::new(super::User::Root);
    let output = without_namespaces(
        &ground,
        "--from . -- sh -c 'pwd; echo new > file; cat file'",
    );
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(
        told.starts_with(ground.path("tmp").to_str().unwrap()) && told.ends_with("\nnew\n"),
        "{told}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in [
        ground.from(),
        told.lines().next().unwrap(),
        "max_mnt_namespaces",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let private = without_namespaces(&ground, "--from . --at private -- true");
    assert_eq!(
        (private.status.code(), text(&private.stderr)),
        (Some(0), String::new())
    );
    ground.scratch.dir("beside");
    for asked in ["--protect", "--at /mnt", "--also ../beside"] {
        let output = without_namespaces(&ground, &format!("--from . {asked} -- true"));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{asked}: {said}");
        assert!(
            said.contains("namespace") && said.lines().count() == 1,
            "{said}"
        );
    }
    ground.is_untouched();
}
