//! Starting other processes with what they are to have of this one, and nothing else.

use super::{Outcome, entry};
use anyhow::anyhow;
use nix::spawn::{
    PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn, posix_spawnp,
};
use nix::sys::signal::{SigSet, Signal};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

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

/// Runs `program` in the working directory with our descriptors, with `mask` as the signals it has blocked, and with those ignored that
/// were ignored when this process began. `more` is added to the environment.
pub fn command(
    program: &OsStr,
    arguments: &[OsString],
    more: &[(&str, &OsStr)],
    mask: &SigSet,
) -> io::Result<Pid> {
    let mut how = PosixSpawnAttr::init()?;
    how.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    how.set_sigmask(mask)?;
    // The one that the runtime of this program ignores.
    let ours = Some(Signal::SIGPIPE).filter(|signal| !entry::ignored(*signal));
    how.set_sigdefault(&ours.into_iter().collect())?;
    let files = PosixSpawnFileActions::init()?;
    let inherited = std::env::vars_os().filter(|(name, _)| more.iter().all(|(new, _)| name != new));
    let added = more.iter().map(|(name, value)| (name.into(), value.into()));
    let environment = strings(inherited.chain(added).map(variable))?;
    let all = [program.to_owned()]
        .into_iter()
        .chain(arguments.iter().cloned());
    let name = CString::new(program.as_bytes())?;
    pid(posix_spawnp(
        &name,
        &files,
        &how,
        &strings(all)?,
        &environment,
    )?)
}

/// How a serving process ended that has not begun to serve. It has said itself why, unless it was killed.
pub fn failed(server: Pid) -> Outcome {
    let ended = retry_on_intr(|| waitpid(Some(server), WaitOptions::empty()))?;
    let code = ended.and_then(|(_, status)| status.exit_status());
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code != 0 => Ok(ExitCode::from(code)),
        _ => Err(anyhow!("the serving process ended before the mount was ready").into()),
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

fn variable((name, value): (OsString, OsString)) -> OsString {
    let mut both = name;
    both.push("=");
    both.push(value);
    both
}

fn strings(all: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    all.map(|one| Ok(CString::new(one.into_vec())?)).collect()
}

fn pid(started: nix::unistd::Pid) -> io::Result<Pid> {
    Pid::from_raw(started.as_raw()).ok_or_else(|| io::Error::other("no process was started"))
}
