//! Starting other processes with what they are to have of this one, and nothing else.

use super::fail::Failure;
use anyhow::anyhow;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

/// This program, whatever became of its name.
const THIS: &str = "/proc/self/exe";
/// Standard input, output and errors are below this descriptor.
const FIRST_OTHER: RawFd = 3;

/// Runs this program again, to serve: with the standard input and output given and our standard errors. Of what else the
/// caller has left open it keeps nothing, and signals do what they do by default.
pub fn server(
    arguments: &[OsString],
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> io::Result<Pid> {
    let mut files = PosixSpawnFileActions::init()?;
    files.add_dup2(input.as_raw_fd(), 0)?;
    files.add_dup2(output.as_raw_fd(), 1)?;
    for number in open_descriptors()? {
        files.add_close(number)?;
    }
    let mut how = PosixSpawnAttr::init()?;
    how.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    how.set_sigmask(&SigSet::empty())?;
    how.set_sigdefault(&Signal::iterator().filter(can_be_set).collect())?;
    let arguments = strings(arguments.iter().cloned())?;
    let environment = strings(std::env::vars_os().map(variable))?;
    pid(posix_spawn(THIS, &files, &how, &arguments, &environment)?)
}

/// How a serving process ended that has not begun to serve. It has said itself why, unless it was killed.
pub fn failed(server: Pid) -> Failure {
    let ended = match retry_on_intr(|| waitpid(Some(server), WaitOptions::empty())) {
        Ok(ended) => ended,
        Err(errno) => return errno.into(),
    };
    let code = ended.and_then(|(_, status)| status.exit_status());
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code != 0 => Failure::said(code),
        _ => anyhow!("the serving process ended before the mount was ready").into(),
    }
}

fn can_be_set(signal: &Signal) -> bool {
    !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)
}

/// Those that whoever started us may have left open, and ours.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let numbers = std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (number >= FIRST_OTHER).then_some(number)
    });
    Ok(numbers.collect())
}

/// `NAME=VALUE`.
pub fn variable((name, value): (OsString, OsString)) -> OsString {
    let mut both = name;
    both.push("=");
    both.push(value);
    both
}

/// As the system takes them.
pub fn strings(all: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    all.map(|one| Ok(CString::new(one.into_vec())?)).collect()
}

fn pid(started: nix::unistd::Pid) -> io::Result<Pid> {
    Pid::from_raw(started.as_raw()).ok_or_else(|| io::Error::other("no process was started"))
}
