//! The command of a run, watched by a process that does nothing else.
//!
//! The command is in the process group it would be in without norefs, and so is the watching process: what a terminal sends
//! reaches both. What is sent to the watching process alone is passed on. When the command stops it stops too, so that a shell
//! sees a stopped job; when it goes on so does the command. Serving is for another process, which no terminal stops.

use super::child::{self, NotStarted, Program};
use super::namespace::cure;
use super::view::View;
use crate::cli::entry;
use crate::cli::fail::{Failure, say};
use anyhow::anyhow;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, getpid, kill_process, wait,
};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
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
/// And those that ask to end.
const ENDING: [NixSignal; 4] = [
    NixSignal::SIGHUP,
    NixSignal::SIGINT,
    NixSignal::SIGQUIT,
    NixSignal::SIGTERM,
];
/// `SI_KERNEL`: nobody sent it.
const BY_KERNEL: i32 = 0x80;

/// Starts `command` in `view`, with `environment` beside ours. If nothing is to be run that is the user's shell.
pub fn start(
    command: &[OsString],
    environment: &[(String, String)],
    view: &View,
    signals: &Signals,
) -> Result<Pid, NotStarted> {
    let shell = [shell()];
    let (name, arguments) = match command.split_first() {
        Some((name, arguments)) => (name, arguments),
        None => (&shell[0], [].as_slice()),
    };
    let mut more = vec![("NOREFS_MOUNT", view.mount.as_os_str())];
    let given = environment.iter();
    more.extend(given.map(|(name, value)| (name.as_str(), OsStr::new(value))));
    if !view.stays {
        more.push(("PWD", view.start.as_os_str()));
    }
    let program = Program::new(name, arguments, &more).map_err(NotStarted::Program)?;
    child::start(&program, view, &signals.before)
}

/// How `norefs run` fails whose command is not started.
pub fn not_started(command: &[OsString], reason: NotStarted) -> Failure {
    match reason {
        NotStarted::Program(error) => {
            let status = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            let name = command.first().cloned().unwrap_or_else(shell);
            Failure::with_status(status, format!("{}: {error}", name.display()))
        }
        NotStarted::Process(error) => error.into(),
        NotStarted::NoView(reason) => anyhow!(reason).into(),
        NotStarted::Refused(error) => {
            let why = cure(&error);
            anyhow!("no namespace is to be had here ({error}); {why}").into()
        }
    }
}

fn shell() -> OsString {
    std::env::var_os("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".into())
}

/// The signals that are for the command, and those that were blocked before.
pub struct Signals {
    caught: SignalFd,
    before: SigSet,
}

/// Catches what is for the command, and news of children. It stays blocked: what is left to be done then is to clean up.
pub fn catch() -> io::Result<Signals> {
    // Ignored, children would leave no status.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::<AtomicBool>::default())?;
    let before = SigSet::thread_get_mask()?;
    let ours = PASSED_ON
        .into_iter()
        // The command ignores or blocks it as well.
        .filter(|signal| !entry::ignored(*signal) && !before.contains(*signal));
    let ours: SigSet = ours.chain([NixSignal::SIGCHLD]).collect();
    ours.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let caught = SignalFd::with_flags(&ours, SfdFlags::SFD_CLOEXEC)?;
    Ok(Signals { caught, before })
}

impl Signals {
    /// Waits until there is something to be read from `input`, or a signal has come that asks to end: false then.
    pub fn let_read(&self, input: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::new(&self.caught, PollFlags::IN),
                PollFd::from_borrowed_fd(input, PollFlags::IN),
            ];
            retry_on_intr(|| poll(&mut fds, None))?;
            let [signalled, answered] = [&fds[0], &fds[1]].map(|fd| !fd.revents().is_empty());
            if signalled && self.next()?.is_some_and(|sent| ends(&sent)) {
                return Ok(false);
            }
            if answered {
                return Ok(true);
            }
        }
    }

    /// Forgets those that have come.
    pub fn forget(&self) -> io::Result<()> {
        loop {
            let mut caught = [PollFd::new(&self.caught, PollFlags::IN)];
            match retry_on_intr(|| poll(&mut caught, Some(&Timespec::default())))? {
                0 => return Ok(()),
                _ => self.next()?,
            };
        }
    }

    /// Waits for the next one. `None` if there was none after all.
    fn next(&self) -> io::Result<Option<siginfo>> {
        self.caught.read_signal().or_else(unless_interrupted)
    }
}

/// Whether a signal asks to end.
fn ends(sent: &siginfo) -> bool {
    ENDING
        .iter()
        .any(|signal| u32::try_from(*signal as i32) == Ok(sent.ssi_signo))
}

/// A command that runs, and the processes that serve its copies.
pub struct Watched {
    pub command: Pid,
    pub servers: Vec<Pid>,
    pub signals: Signals,
}

impl Watched {
    /// Returns the status that the command ended with as a shell tells it.
    pub fn wait(&self) -> io::Result<u8> {
        loop {
            // Before anything is waited for: it may have ended already.
            if let Some(status) = self.children()? {
                return Ok(status);
            }
            let Some(sent) = self.signals.next()? else {
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
                Ok(Some((pid, status))) if self.servers.contains(&pid) && !status.stopped() => {
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
fn exit_code(status: WaitStatus) -> u8 {
    let by_signal = || status.terminating_signal().map(|signal| BY_SIGNAL + signal);
    let code = status.exit_status().or_else(by_signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
