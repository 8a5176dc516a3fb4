//! What a mount tells whoever runs it as a service, and what it leaves when it dies.

use mount_tests::posix::as_user;
use mount_tests::{
    Daemon, NOBODY, Scratch, is_mounted, norefs, report, text, transport, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    scratch: Scratch,
}

impl Manager {
    fn new() -> Manager {
        let scratch = Scratch::new();
        let socket = UnixDatagram::bind(scratch.join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Manager { socket, scratch }
    }

    fn norefs(&self) -> Command {
        let mut command = norefs();
        command.env("NOTIFY_SOCKET", self.scratch.join("notify"));
        command
    }

    /// What is told until `last` is, with that.
    fn hears(&self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut bytes = [0; 4096];
        while !heard.iter().any(|line: &String| line == last) {
            let length = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|error| panic!("{last} is not told ({error}), but {heard:?}"));
            heard.extend(text(&bytes[..length]).lines().map(str::to_owned));
        }
        heard
    }
}

#[test]
fn a_service_manager_is_told_of_loading_of_readiness_and_of_the_end() {
    let manager = Manager::new();
    let source = manager.scratch.dir("source");
    std::fs::write(source.join("file"), "content").unwrap();
    let mut mount = Daemon::by_with(manager.norefs(), &[&source]);
    let heard = manager.hears("READY=1");
    let loading = format!("STATUS=loading {}", source.display());
    assert!(
        heard.iter().any(|line| line.starts_with(&loading)),
        "{heard:?}"
    );
    // It answers by then.
    assert_eq!(std::fs::read(mount.path("file")).unwrap(), b"content");
    kill_process(mount.pid(), Signal::TERM).unwrap();
    manager.hears("STOPPING=1");
    assert!(wait_until(|| mount.ended().is_some()));
}

#[test]
fn a_service_manager_is_told_that_the_mount_answers_if_it_wants_to_know() {
    let manager = Manager::new();
    let mut command = manager.norefs();
    command.env("WATCHDOG_USEC", "200000");
    let _mount = Daemon::by_with(command, &[""; 0]);
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
}

#[test]
fn only_a_mount_in_the_foreground_is_a_service() {
    let manager = Manager::new();
    let place = manager.scratch.dir("place");
    let mut mount = manager.norefs();
    assert!(mount.arg("mount").arg(&place).status().unwrap().success());
    assert!(
        norefs()
            .arg("umount")
            .arg(&place)
            .status()
            .unwrap()
            .success()
    );
    let mut run = manager.norefs();
    assert!(run.args(["run", "--", "true"]).status().unwrap().success());
    manager.socket.set_nonblocking(true).unwrap();
    assert!(
        manager.socket.recv(&mut [0; 10]).is_err(),
        "something was told"
    );
}

#[test]
fn a_signal_has_the_figures_told() {
    let mut mount = Daemon::start();
    std::fs::create_dir(mount.path("dir")).unwrap();
    // It answers a moment before its figures are to be had.
    let told = wait_until(|| {
        kill_process(mount.pid(), Signal::USR1).unwrap();
        mount.log().contains("lookups: ")
    });
    let log = mount.log();
    assert!(told, "{log}");
    assert!(
        log.lines().all(|line| line.starts_with("norefs: ")),
        "{log}"
    );
    assert!(log.contains("norefs: mkdir "), "{log}");
    assert!(mount.ended().is_none() && is_mounted(mount.root()));
}

#[test]
fn a_signal_has_the_file_read_anew_that_says_what_is_logged() {
    let scratch = Scratch::new();
    let file = scratch.join("log");
    let mut command = norefs();
    command.env("NOREFS_LOG", format!("@{}", file.display()));
    let mut mount = Daemon::by(command, transport::asked());
    let mut says = |asked: &str, words: &str| {
        std::fs::write(&file, asked).unwrap();
        kill_process(mount.pid(), Signal::HUP).unwrap();
        assert!(
            wait_until(|| mount.log().contains(words)),
            "{asked}: {}",
            mount.log()
        );
        assert!(mount.ended().is_none());
    };
    says("nonsense", "norefs: NOREFS_LOG: nonsense is not understood");
    says("info\n", "INFO");
    assert!(is_mounted(mount.root()));
}

#[test]
fn the_journal_gets_the_level_of_each_line_and_nobody_else() {
    for (journal, level) in [("/proc/self/fd/2", "<6>"), ("/dev/null", "INFO")] {
        let mut command = Command::new("sh");
        let script = "export JOURNAL_STREAM=$(stat -Lc %d:%i \"$1\"); shift; exec \"$@\"";
        command
            .args(["-c", script, "sh", journal])
            .arg(norefs().get_program());
        command.env("NOREFS_LOG", "info");
        let mut mount = Daemon::by(command, transport::asked());
        kill_process(mount.pid(), Signal::TERM).unwrap();
        assert!(wait_until(|| mount.ended().is_some()));
        let log = mount.log();
        let is_marked = |line: &str| line.starts_with(level) || line.contains(level);
        assert!(log.lines().all(is_marked), "{log}");
        assert_eq!(log.contains('<'), level.starts_with('<'), "{log}");
    }
}

/// A mount whose daemon, in the background without a log of its own, is ended by the signal `$3`, in a namespace where `/dev/log` is
/// `$2`; and the next mount there.
const DIES: &str = "
    mount -t tmpfs none /dev
    mknod -m 666 /dev/null c 1 3
    mknod -m 666 /dev/fuse c 10 229
    ln -s $2 /dev/log
    cd /
    $1 mount $4
    echo first >$4/file
    pid=$($1 stats --json $4 | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')
    kill -$3 $pid
    while [ -e /proc/$pid/task/$pid/fdinfo/1 ] || [ $(ls /proc/$pid/task 2>/dev/null | wc -l) -gt 1 ]; do sleep 0.01; done
    $1 mount $4
    echo second >$4/again
    ls $4
    $1 umount $4";

#[test]
fn a_daemon_that_dies_leaves_a_line_that_says_why_and_a_place_for_the_next() {
    for (signal, words) in [("ABRT", Some("norefs: ended by SIGABRT")), ("KILL", None)] {
        let scratch = Scratch::new();
        let (place, log) = (scratch.dir("place"), scratch.join("log"));
        let socket = UnixDatagram::bind(&log).unwrap();
        let mut command = Command::new("unshare");
        let program = norefs();
        command
            .args(["--mount", "sh", "-euc", DIES, "sh"])
            .arg(program.get_program());
        let output = command.arg(&log).arg(signal).arg(&place).output().unwrap();
        assert_eq!(text(&output.stdout), "again\n", "{}", text(&output.stderr));
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 1000];
        let said = socket
            .recv(&mut bytes)
            .ok()
            .map(|length| text(&bytes[..length]));
        let said = said.as_deref().map(|said| said.trim_end());
        assert_eq!(
            said.and_then(|said| said.strip_prefix("<27>")),
            words,
            "{signal}"
        );
    }
}

/// The flags of a thread that does not wait for devices when memory is short (`PF_MEMALLOC_NOIO`).
const WAITS_FOR_NONE: u64 = 0x8_0000;

fn score(pid: Pid) -> String {
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// `CAP_SYS_RESOURCE`.
const MAY_LOWER: u64 = 1 << 24;

/// Whether root may say here what the system is to do when memory runs out.
fn may_lower() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap() & MAY_LOWER != 0
}

#[test]
fn a_daemon_of_root_is_not_the_first_to_go_when_memory_runs_out() {
    if !may_lower() {
        return report::skipped("CAP_SYS_RESOURCE is missing");
    }
    let mount = Daemon::start();
    assert_eq!(score(mount.pid()), "-500");
    let tasks = format!("/proc/{}/task", mount.pid().as_raw_nonzero());
    let serving = std::fs::read_dir(tasks).unwrap().flatten();
    let stats = serving.map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap());
    let waits_for_none = stats.filter(|stat| {
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let flags: u64 = rest.split(' ').nth(6).unwrap().parse().unwrap();
        flags & WAITS_FOR_NONE != 0
    });
    assert!(waits_for_none.count() > 2, "those that serve");
}

#[test]
fn what_was_said_before_of_memory_running_out_stays() {
    let mut command = Command::new("sh");
    let script = "echo 123 >/proc/self/oom_score_adj; exec \"$@\"";
    command
        .args(["-c", script, "sh"])
        .arg(norefs().get_program());
    let told = Daemon::by(command, transport::asked());
    assert_eq!(score(told.pid()), "123");
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let nobody = Daemon::as_nobody(&[""; 0]);
    // Nobody else is answered once it is served.
    as_user(NOBODY, NOBODY, &[], || {
        std::fs::metadata(nobody.root()).unwrap()
    });
    assert_eq!(score(nobody.pid()), ours.trim());
}
