//! The command of a run, watched by a process that does nothing else.
//!
//! The command is in the process group it would be in without norefs, and so is the watching process: what a terminal sends
//! reaches both. What is sent to the watching process alone is passed on. When the command stops it stops too, so that a shell
//! sees a stopped job; when it goes on so does the command. Serving is for another process, which no terminal stops.

use super::fail::{Failure, say};
use super::{entry, spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, getpid, kill_process, wait,
};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const BY_SIGNAL: i32 = 128;

/// Signals that are for the command.
const PASSED_ON: [NixSignal; 8] = [
    NixSignal::SIGHUP,
    NixSignal::SIGINT,
    NixSignal::SIGQUIT,
    NixSignal::SIGTERM,
    NixSignal::SIGUSR1,
    NixSignal::SIGUSR2,
    NixSignal::SIGTSTP,
    NixSignal::SIGCONT,
];
/// Of those the ones a terminal sends, to every process in its foreground.
const OF_TERMINAL: [NixSignal; 3] = [NixSignal::SIGINT, NixSignal::SIGQUIT, NixSignal::SIGTSTP];
/// `SI_KERNEL`: nobody sent it.
const BY_KERNEL: i32 = 0x80;

/// Runs `command` in `mountpoint`, which `server` serves, and returns the status it ended with as a shell tells it. Signals stay
/// blocked: what is left to be done is to clean up.
pub fn run(command: &[OsString], mountpoint: &Path, server: Pid) -> Result<u8, Failure> {
    let shell = [shell()];
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program, arguments),
        None => (&shell[0], [].as_slice()),
    };
    let (signals, before) = catch().map_err(anyhow::Error::from)?;
    start(program, arguments, mountpoint, &before).and_then(|command| {
        let watched = Watched {
            command,
            server,
            signals,
        };
        Ok(watched.wait()?)
    })
}

fn shell() -> OsString {
    std::env::var_os("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".into())
}

/// Catches what is for the command, and news of children. Also gives the signals that were blocked before.
fn catch() -> io::Result<(SignalFd, SigSet)> {
    // Ignored, children would leave no status.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::<AtomicBool>::default())?;
    let before = SigSet::thread_get_mask()?;
    let ours = PASSED_ON
        .into_iter()
        // The command ignores or blocks it as well.
        .filter(|signal| !entry::ignored(*signal) && !before.contains(*signal));
    let ours: SigSet = ours.chain([NixSignal::SIGCHLD]).collect();
    ours.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    Ok((SignalFd::with_flags(&ours, SfdFlags::SFD_CLOEXEC)?, before))
}

fn start(
    program: &OsStr,
    arguments: &[OsString],
    mountpoint: &Path,
    mask: &SigSet,
) -> Result<Pid, Failure> {
    std::env::set_current_dir(mountpoint).map_err(anyhow::Error::from)?;
    let more = [
        ("NOREFS_MOUNT", mountpoint.as_os_str()),
        ("PWD", mountpoint.as_os_str()),
    ];
    let started = spawn::command(program, arguments, &more, mask);
    std::env::set_current_dir("/").map_err(anyhow::Error::from)?;
    started.map_err(|error| cannot_start(program, &error))
}

fn cannot_start(program: &OsStr, error: &io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure::with_status(status, format!("{}: {error}", program.display()))
}

/// A command that runs, and the process that serves its mount.
struct Watched {
    command: Pid,
    server: Pid,
    signals: SignalFd,
}

impl Watched {
    fn wait(&self) -> io::Result<u8> {
        loop {
            // Before anything is waited for: it may have ended already.
            if let Some(status) = self.children()? {
                return Ok(status);
            }
            let Some(sent) = self.signals.read_signal().or_else(unless_interrupted)? else {
                continue;
            };
            let signal = i32::try_from(sent.ssi_signo).unwrap_or_default();
            let from_terminal = sent.ssi_code == BY_KERNEL
                && OF_TERMINAL.iter().any(|other| *other as i32 == signal);
            if let Some(signal) = Signal::from_named_raw(signal)
                && signal != Signal::CHILD
                && !from_terminal
            {
                self.pass_on(signal);
            }
        }
    }

    /// Looks after all processes that ended or stopped: the first process of a PID namespace gets those of others. Gives the status
    /// of the command once it has ended.
    fn children(&self) -> io::Result<Option<u8>> {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if pid == self.command => match status.stopping_signal() {
                    Some(signal) => self.stop(signal)?,
                    None => return Ok(Some(exit_code(status))),
                },
                Ok(Some((pid, status))) if pid == self.server && !status.stopped() => {
                    say(
                        "the process that served the mount has ended: the command has lost its files",
                    );
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Stops as the command did, until whoever looks after jobs lets us go on.
    fn stop(&self, signal: i32) -> io::Result<()> {
        let Ok(terminal) = File::open("/dev/tty") else {
            // Nobody looks after jobs: whoever stopped the command lets it go on.
            return Ok(());
        };
        tracing::debug!(signal, "the command has stopped");
        // A shell has a group of its own.
        let theirs = getpgid(Some(self.command)).ok();
        let in_front = tcgetpgrp(&terminal).ok();
        kill_process(getpid(), Signal::STOP)?;
        if let Some(theirs) = theirs
            && in_front == Some(theirs)
            && theirs != getpgrp()
            && tcgetpgrp(&terminal).ok() == Some(getpgrp())
        {
            tcsetpgrp(&terminal, theirs)?;
        }
        self.pass_on(Signal::CONT);
        Ok(())
    }

    fn pass_on(&self, signal: Signal) {
        // Fails only if it has just ended.
        kill_process(self.command, signal).unwrap_or_default();
    }
}

fn unless_interrupted<T>(errno: nix::errno::Errno) -> io::Result<Option<T>> {
    match errno {
        nix::errno::Errno::EINTR => Ok(None),
        errno => Err(errno.into()),
    }
}

/// What a shell tells of a process that ended with `status`.
pub fn exit_code(status: WaitStatus) -> u8 {
    let by_signal = || status.terminating_signal().map(|signal| BY_SIGNAL + signal);
    let code = status.exit_status().or_else(by_signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
