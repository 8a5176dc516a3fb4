//! `norefs run`.

use mount_tests::programs::{attempt, run};
use mount_tests::{Scratch, is_mounted, norefs, server_of, stop, text, transport, wait_until};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// `norefs run` on the transport asked for.
fn command() -> Command {
    let mut command = norefs();
    command
        .arg("run")
        .args(transport::arguments(transport::asked()));
    command
}

fn norefs_run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn shell(script: &str) -> Output {
    norefs_run(&["--", "sh", "-c", script])
}

#[test]
fn run_ends_with_the_status_of_the_command() {
    assert_eq!(shell("exit 0").status.code(), Some(0));
    assert_eq!(shell("exit 7").status.code(), Some(7));
    assert_eq!(shell("kill -KILL $$").status.code(), Some(128 + 9));
    assert_eq!(
        norefs_run(&["--", "no-such-program"]).status.code(),
        Some(127)
    );
    assert_eq!(norefs_run(&["--", "/etc/passwd"]).status.code(), Some(126));
}

#[test]
fn run_works_in_the_root_of_a_mount_of_its_own() {
    let output = shell(r#"test "$PWD" = "$NOREFS_MOUNT"; stat -f -c %T .; echo x > file; pwd; ls"#);
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(output.status.success() && lines.len() == 3, "{output:?}");
    assert!(lines[0].starts_with("fuse"), "{said}");
    assert_eq!(lines[2], "file");
    let mountpoint = Path::new(lines[1]);
    assert!(
        !is_mounted(mountpoint) && !mountpoint.exists(),
        "{said} is left"
    );
}

#[test]
fn run_passes_standard_input_and_arguments_on() {
    let mut command = command();
    command.args([
        "--",
        "sh",
        "-c",
        "cat > f; cat f; printf '<%s>' \"$@\"",
        "sh",
        "--json",
        "a b",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "typed\n<--json><a b>");
}

#[test]
fn run_reports_on_standard_error() {
    let script = "mkdir a b c; stat a > /dev/null";
    let report = text(&norefs_run(&["--report", "--", "sh", "-c", script]).stderr);
    assert!(
        report.lines().all(|line| line.starts_with("norefs:")),
        "{report}"
    );
    for word in ["mkdir", "fast", "again", "slow", "p50", "p99"] {
        assert!(report.contains(word), "{word} is missing: {report}");
    }
    let mkdir = report.lines().find(|line| line.contains("mkdir")).unwrap();
    assert!(mkdir.split_whitespace().any(|word| word == "3"), "{report}");
    let silent = norefs_run(&["--no-report", "--", "true"]);
    assert_eq!(text(&silent.stderr), "");
}

#[test]
fn run_tells_in_one_line_what_was_loaded_read_and_asked_for() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for name in ["a", "b"] {
        std::fs::write(source.join(name), vec![1; 50_000]).unwrap();
    }
    let from = ["--from", source.to_str().unwrap(), "--"];
    let line = |command: &[&str]| text(&norefs_run(&[&from[..], command].concat()).stderr);
    let said = line(&["cat", "a", "b"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("norefs: loaded 2 files in "), "{said}");
    assert!(
        said.contains(" s; read 100.00 kB from the source in "),
        "{said}"
    );
    assert!(said.contains(" requests in "), "{said}");
    let said = line(&["true"]);
    assert!(said.contains("; read nothing from the source; "), "{said}");
    let said = text(&shell("true").stderr);
    assert!(said.ends_with(" s\n") && !said.contains("source"), "{said}");
}

#[test]
fn run_without_a_command_starts_the_shell() {
    starts_the_shell("/bin/sh");
}

#[test]
fn run_takes_an_empty_shell_for_none() {
    starts_the_shell("");
}

fn starts_the_shell(shell: &str) {
    let mut command = command();
    command
        .env("SHELL", shell)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        b"echo it is $NOREFS_MOUNT; exit 3\n",
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("it is /"), "{output:?}");
}

/// A run of a command that sleeps, and where it is mounted.
fn sleeping_run() -> (Child, PathBuf) {
    let mut command = command();
    command
        .args(["--", "sh", "-c", "pwd; exec sleep 1000"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut first).unwrap();
    let mountpoint = PathBuf::from(first.trim_end());
    assert!(is_mounted(&mountpoint));
    (child, mountpoint)
}

#[test]
fn run_is_ended_by_sigterm_and_leaves_no_mount() {
    let (mut child, mountpoint) = sleeping_run();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(
        wait_until(|| child.try_wait().unwrap().is_some()),
        "it runs on"
    );
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn what_a_killed_run_left_behind_goes_at_the_next_start_and_nothing_else() {
    let (mut killed, dead) = sleeping_run();
    let (mut stopped, alive) = sleeping_run();
    let stopped_pid = Pid::from_child(&stopped);
    let left: Vec<Pid> = children(&killed);
    for pid in children(&stopped).into_iter().chain([stopped_pid]) {
        kill_process(pid, Signal::STOP).unwrap();
    }
    // Neither of the two that look after the mount can take it away.
    stop(Pid::from_child(&killed));
    let server = server_of(&dead);
    kill_process(server, Signal::KILL).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(is_mounted(&dead), "a killed run cannot unmount");
    assert!(shell("true").status.success());
    assert!(!is_mounted(&dead) && !dead.parent().unwrap().exists());
    assert!(is_mounted(&alive), "a run that is only stopped goes on");
    for pid in left.into_iter().filter(|pid| *pid != server) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    for pid in children(&stopped).into_iter().chain([stopped_pid]) {
        kill_process(pid, Signal::CONT).unwrap();
    }
    kill_process(stopped_pid, Signal::TERM).unwrap();
    assert!(wait_until(|| stopped.try_wait().unwrap().is_some()));
    assert!(!is_mounted(&alive));
}

/// The processes that `parent` started.
fn children(parent: &Child) -> Vec<Pid> {
    let pid = parent.id();
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids = listed.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.filter_map(Pid::from_raw).collect()
}

#[test]
fn run_removes_nothing_of_what_the_command_mounted_in_place_of_its_tree() {
    let scratch = Scratch::new();
    let kept = scratch.join("kept");
    std::fs::write(&kept, "").unwrap();
    let output = norefs_run(&[
        "--",
        "sh",
        "-c",
        r#"cd /; umount "$NOREFS_MOUNT"; mount --bind "$1" "$NOREFS_MOUNT"; echo "$NOREFS_MOUNT""#,
        "sh",
        scratch.to_str().unwrap(),
    ]);
    let mountpoint = text(&output.stdout).trim().to_owned();
    rustix::mount::unmount(&*mountpoint, UnmountFlags::empty()).unwrap();
    std::fs::remove_dir_all(Path::new(&mountpoint).parent().unwrap()).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(kept.exists());
}

#[test]
fn loading_shows_its_progress_on_a_terminal_only() {
    let (source, at) = (Scratch::new(), Scratch::new());
    for n in 0..500 {
        std::fs::write(source.join(n.to_string()), "").unwrap();
    }
    let program = norefs().get_program().to_str().unwrap().to_owned();
    let command = format!(
        "{program} run --no-report --from {} -- true",
        source.display()
    );
    assert_eq!(text(&attempt(&at, "sh", &["-c", &command]).stderr), "");
    let shown = run(
        &at,
        "script",
        &["--quiet", "--return", "--command", &command, "/dev/null"],
    );
    assert!(shown.contains("entries"), "{shown:?}");
}
