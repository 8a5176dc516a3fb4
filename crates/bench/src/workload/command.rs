//! Running a command as it would run anywhere: a clean environment, nobody who reads.

use super::Workload;
use crate::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How long a run goes on after the caller asked to stop.
const BETWEEN_LOOKS: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// Nothing of the user's or the system's configuration has a say.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("LC_ALL", "C"),
    ("HOME", "/nonexistent"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
    ("GIT_OPTIONAL_LOCKS", "0"),
];

/// A workload whose program is there.
pub struct Command {
    pub workload: Workload,
    program: OsString,
}

impl Command {
    /// Looks for the program, and starts it once.
    pub fn find(workload: Workload) -> io::Result<Command> {
        let mut program = OsString::from(workload.program());
        if workload == Workload::PythonImport {
            // What is found first may be a script that looks for the interpreter.
            let mut asked = clean(&program);
            let said = asked
                .args(["-c", "import sys; print(sys.executable)"])
                .output();
            let said = said.map_err(|error| missing(workload, error))?;
            let path = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            if said.status.success() && !path.is_empty() {
                program = path.into();
            }
        }
        let command = Command { workload, program };
        command.start_idle()?;
        Ok(command)
    }

    /// Runs it to its end and tells how long that took. It must succeed.
    pub fn run(&self, directory: &Path, stop: Stop) -> io::Result<Duration> {
        let mut complaints = tempfile::tempfile()?;
        let mut command = clean(&self.program);
        command
            .args(self.workload.arguments())
            .current_dir(directory);
        command
            .stdout(Stdio::null())
            .stderr(complaints.try_clone()?);
        let started = Instant::now();
        let status = wait(command.spawn()?, stop)?;
        let took = started.elapsed();
        succeeded(status, &mut complaints)?;
        Ok(took)
    }

    /// Starts the program without anything to do.
    pub fn start_idle(&self) -> io::Result<()> {
        let mut command = clean(&self.program);
        command.args(self.workload.idle());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let ended = command.status();
        // That a program does not know `--version` makes no difference.
        ended
            .map(drop)
            .map_err(|error| missing(self.workload, error))
    }
}

fn missing(workload: Workload, error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound => {
            let reason = format!("`{}` is not installed", workload.program());
            io::Error::new(ErrorKind::NotFound, reason)
        }
        _ => error,
    }
}

/// A command without the caller's environment and input.
pub fn clean(program: impl AsRef<OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    command.env_clear().env("PATH", path).envs(ENVIRONMENT);
    command.stdin(Stdio::null());
    command
}

/// Fails with the last line of the complaints unless a command did.
pub fn succeeded(status: ExitStatus, complaints: &mut File) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    complaints.rewind()?;
    complaints.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    Err(io::Error::other(
        format!("{status} {last}").trim_end().to_owned(),
    ))
}

/// Waits for a command, or ends it if the caller asks to stop.
fn wait(mut child: Child, stop: Stop) -> io::Result<ExitStatus> {
    let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    loop {
        let mut ends = [PollFd::new(&end, PollFlags::IN)];
        match poll(&mut ends, Some(&BETWEEN_LOOKS)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            _ => return child.wait(),
        }
        if stop.asked() {
            child.kill()?;
        }
    }
}
