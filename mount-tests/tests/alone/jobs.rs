//! That `norefs run` is to be seen neither by the command nor by whoever looks after it: signals, jobs, descriptors, ends.

use mount_tests::{
    Scratch, Terminal, is_mounted, norefs, server_of, stop, text, transport, wait_until,
};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// `norefs run` as a line of a shell.
fn run() -> String {
    run_with("")
}

fn run_with(options: &str) -> String {
    let program = norefs().get_program().to_str().unwrap().to_owned();
    let transport = transport::arguments(transport::asked()).join(" ");
    format!("{program} run --no-report {transport} {options} --")
}

/// `norefs run` with a tree of its own, and with a copy that is shown in the place of its source.
fn each_run(scratch: &Scratch) -> [String; 2] {
    let from = format!("--from {}", scratch.dir("source").display());
    [run(), run_with(&from)]
}

/// What a shell says to a script in which `$RUN` is `norefs run`.
fn shell(script: &str) -> Output {
    shell_with(&run(), script)
}

/// The same where it is `run`.
fn shell_with(run: &str, script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("RUN", run);
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// A stat that the daemon must answer.
fn answers(path: &Path) -> bool {
    statx(
        CWD,
        path,
        AtFlags::STATX_FORCE_SYNC,
        StatxFlags::BASIC_STATS,
    )
    .is_ok()
}

fn gone(process: Pid) -> bool {
    wait_until(|| test_kill_process(process).is_err())
}

/// A field of `/proc/PID/stat` behind the name, the state being the first.
fn field(process: Pid, index: usize) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(index).unwrap().to_owned()
}
const GROUP: usize = 2;
const SESSION: usize = 3;
const TERMINAL: usize = 4;

/// A file that a command writes in one go, once it is there.
#[track_caller]
fn written(path: &Path) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    assert!(wait_until(|| read().ends_with('\n')), "{}", path.display());
    read().trim_end().to_owned()
}

/// A run of a command that tells its process id, and then does what `script` says. Where it is mounted, and that id.
fn started(scratch: &Scratch, script: &str) -> (Child, PathBuf, Pid) {
    let script = format!("echo $$ $PWD > {}/told; {script}", scratch.display());
    let mut command = norefs();
    command
        .args(["run", "--no-report"])
        .args(transport::arguments(transport::asked()))
        .args(["--", "bash", "-c", &script])
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let told = written(&scratch.join("told"));
    let (pid, mountpoint) = told.split_once(' ').unwrap();
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    (child, PathBuf::from(mountpoint), pid)
}

#[test]
fn a_terminal_stops_the_command_and_not_the_filesystem() {
    let source = Scratch::new();
    for run in each_run(&source) {
        let scratch = Scratch::new();
        let mut terminal = Terminal::new(&scratch);
        terminal.types(&format!(
            "{run} sh -c 'echo $$ > {0}/pid; pwd > {0}/at; exec sleep 1000'\n",
            scratch.display()
        ));
        let at = PathBuf::from(written(&scratch.join("at")));
        let command = written(&scratch.join("pid"));
        let seen = PathBuf::from(format!("/proc/{command}/cwd"));
        for again in ["fg", "bg"] {
            terminal.stops();
            assert!(answers(&seen), "before {again}");
            terminal.types(&format!("{again}\n"));
            terminal.shows("sleep");
        }
        terminal.types("jobs\n");
        terminal.shows("Running");
        terminal.types("fg\n");
        terminal.shows("sleep");
        terminal.interrupts();
        terminal.types("echo status $?\n");
        terminal.shows("status 130");
        assert!(!is_mounted(&at) && at.exists() == at.starts_with(&*source));
    }
}

#[test]
fn a_shell_in_a_run_has_jobs_of_its_own() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::new(&scratch);
    terminal.types(&format!("PS1='inner: ' {} bash --norc -i\n", run()));
    terminal.shows("inner: ");
    terminal.types("sleep 1000\n");
    terminal.stops();
    terminal.shows("inner: ");
    terminal.types("kill %1; suspend\n");
    terminal.shows("Stopped");
    terminal.types("echo ou''ter\n");
    terminal.shows("outer");
    terminal.types("fg\n");
    terminal.shows("bash");
    terminal.types("echo in''ner again\n");
    terminal.shows("inner again");
    terminal.types("exit 7\n");
    terminal.shows("$ ");
    terminal.types("echo status $?\n");
    terminal.shows("status 7");
}

#[test]
fn signals_that_were_ignored_or_blocked_stay_so() {
    let scratch = Scratch::new();
    let runs = each_run(&scratch);
    let grep = "grep -E '^Sig(Ign|Blk)' /proc/self/status";
    for how in [
        "--default-signal=PIPE",
        "--ignore-signal=HUP,INT,PIPE,USR1",
        "--ignore-signal=HUP,TERM --block-signal=USR2,QUIT",
        "--block-signal=CHLD,CONT,TSTP",
    ] {
        let without = said(&shell(&format!("env {how} {grep}")));
        for run in &runs {
            let with = said(&shell_with(run, &format!("env {how} $RUN {grep}")));
            assert_eq!(with, without, "{how}, {run}");
        }
    }
}

#[test]
fn a_command_that_a_hangup_leaves_alone_outlives_it() {
    let scratch = Scratch::new();
    let script = format!(
        "trap '' HUP; $RUN sh -c 'echo $PPID > {0}/waiter; while ! test -e {0}/go; do sleep 0.01; done; echo lives' & \
         while ! test -s {0}/waiter; do sleep 0.01; done; kill -HUP $! $(cat {0}/waiter); touch {0}/go; wait $!",
        scratch.display()
    );
    assert_eq!(said(&shell(&script)), "lives\n");
}

#[test]
fn the_command_has_the_caller_s_descriptors_and_none_of_norefs() {
    let scratch = Scratch::new();
    let list = scratch.join("list");
    // All but what lists them, and the pipe that takes the list.
    let script =
        "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* -> \\)/\\1/p' | grep -v -e /proc/ -e pipe:";
    std::fs::write(&list, script).unwrap();
    let runs = each_run(&scratch);
    for extra in ["", "9>/dev/zero 5</dev/null"] {
        let listed = |before: &str| {
            let script = format!("exec {extra}; {before} sh {}", list.display());
            said(&shell(&script))
        };
        for run in &runs {
            assert_eq!(listed(run), listed(""), "{extra}, {run}");
        }
    }
}

#[test]
fn the_serving_process_keeps_nothing_of_the_caller() {
    let scratch = Scratch::new();
    let held = scratch.join("held");
    let script = format!(
        "exec 9>{0}; flock 9; $RUN sh -c 'exec 9>&-; pwd > {1}/at; while ! test -e {1}/go; do sleep 0.01; done' 9>&- & \
         exec 9>&-; while ! test -s {1}/at; do sleep 0.01; done; flock --nonblock {0} true; echo $?; touch {1}/go; wait $!",
        held.display(),
        scratch.display()
    );
    assert_eq!(said(&shell(&script)), "0\n");
    let (mut child, at, command) = started(&scratch, "exec sleep 1000");
    let server = server_of(&at);
    let waiter = Pid::from_child(&child);
    assert_eq!(field(command, GROUP), field(waiter, GROUP));
    assert_eq!(field(command, SESSION), field(waiter, SESSION));
    assert_eq!(field(server, SESSION), server.to_string());
    assert_eq!(field(server, TERMINAL), "0");
    let cwd = std::fs::read_link(format!("/proc/{server}/cwd")).unwrap();
    assert_eq!(cwd, Path::new("/"));
    kill_process(waiter, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert!(!is_mounted(&at) && gone(server));
}

#[test]
fn signals_sent_to_norefs_reach_the_command() {
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("CONT", Signal::CONT),
    ] {
        let scratch = Scratch::new();
        let script = format!(
            "trap 'exit 9' {name}; echo > {}/set; while :; do sleep 0.01; done",
            scratch.display()
        );
        let (mut child, at, _) = started(&scratch, &script);
        written_line(&scratch.join("set"));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert!(wait_until(|| child.try_wait().unwrap().is_some()), "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
        assert!(!is_mounted(&at), "{name}");
    }
}

#[track_caller]
fn written_line(path: &Path) {
    assert!(wait_until(|| path.exists()), "{}", path.display());
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command() {
    let output = shell("$RUN cat /dev/zero | head -c 1 | wc -c; echo ${PIPESTATUS[0]}");
    assert_eq!(said(&output), "1\n141\n");
}

#[test]
fn the_first_process_of_a_pid_namespace_looks_after_orphans_and_signals() {
    // An orphan that has ended and that nobody looks after stays as a zombie.
    let orphans =
        "(sleep 0.1 & sleep 0.1 &) ; sleep 1; cat /proc/[0-9]*/stat | grep -c ') Z' ; true";
    let forwarded = "trap 'exit 9' TERM; kill -TERM 1; while :; do sleep 0.01; done";
    for run in each_run(&Scratch::new()) {
        let output = shell_with(
            &run,
            &format!("unshare --fork --pid --mount-proc $RUN sh -c \"{orphans}\""),
        );
        assert_eq!(said(&output), "0\n");
        let output = shell_with(
            &run,
            &format!("unshare --fork --pid --mount-proc $RUN bash -c \"{forwarded}\""),
        );
        assert_eq!(output.status.code(), Some(9), "{output:?}");
    }
}

#[test]
fn a_killed_norefs_leaves_no_mount() {
    let scratch = Scratch::new();
    let (mut child, at, command) = started(&scratch, "exec sleep 1000");
    let server = server_of(&at);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(gone(server), "it serves on");
    assert!(!is_mounted(&at) && !at.parent().unwrap().exists());
    kill_process(command, Signal::KILL).unwrap();
}

#[test]
fn a_command_whose_server_was_killed_gets_errors_and_norefs_says_so() {
    let scratch = Scratch::new();
    let script = "while touch new$((n += 1)) 2> /dev/null; do sleep 0.01; done; exit 5";
    let (child, at, _) = started(&scratch, script);
    kill_process(server_of(&at), Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(text(&output.stderr).contains("has ended"), "{output:?}");
    assert!(!is_mounted(&at) && !at.parent().unwrap().exists());
}

#[test]
fn a_server_that_is_asked_to_end_takes_the_mount_away() {
    let scratch = Scratch::new();
    let script = "while touch new$((n += 1)) 2> /dev/null; do sleep 0.01; done; exit 5";
    let (mut child, at, _) = started(&scratch, script);
    kill_process(server_of(&at), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(!is_mounted(&at) && !at.parent().unwrap().exists());
}

#[test]
fn a_stopped_waiter_keeps_nobody_from_the_files() {
    let scratch = Scratch::new();
    let (mut child, at, command) = started(&scratch, "exec sleep 1000");
    let waiter = Pid::from_child(&child);
    stop(waiter);
    assert!(answers(&at));
    kill_process(waiter, Signal::CONT).unwrap();
    kill_process(command, Signal::KILL).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(128 + 9), None));
    assert!(!is_mounted(&at));
}
