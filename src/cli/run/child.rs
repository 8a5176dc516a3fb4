//! The process that becomes the command: a copy of this one, which has one thread. It sees what it is to see before the program of
//! the command begins.

use super::view::{Obstacle, View};
use crate::cli::entry;
use crate::cli::spawn::{strings, variable};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, execvpe, fork};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;

/// What runs, and how.
pub struct Program {
    name: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// `name` with `arguments`, and an environment like ours with `more` in it.
    pub fn new(
        name: &OsStr,
        arguments: &[OsString],
        more: &[(&str, &OsStr)],
    ) -> io::Result<Program> {
        let inherited =
            std::env::vars_os().filter(|(name, _)| more.iter().all(|(new, _)| name != new));
        let added = more.iter().map(|(name, value)| (name.into(), value.into()));
        let all = [name.to_owned()]
            .into_iter()
            .chain(arguments.iter().cloned());
        Ok(Program {
            name: CString::new(name.as_bytes())?,
            arguments: strings(all)?,
            environment: strings(inherited.chain(added).map(variable))?,
        })
    }

    fn execute(&self, mask: &SigSet) -> io::Error {
        let prepared = prepare_signals(mask);
        let executed =
            prepared.and_then(|()| execvpe(&self.name, &self.arguments, &self.environment));
        match executed {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        }
    }
}

/// Signals as they were when this process began.
fn prepare_signals(mask: &SigSet) -> nix::Result<()> {
    // The one that the runtime of this program ignores.
    if !entry::ignored(Signal::SIGPIPE) {
        // SAFETY: no handler is set.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    }
    mask.thread_set_mask()
}

/// Why a program does not run.
pub enum NotStarted {
    /// This user may not have the view of the machine that was wanted.
    Refused(io::Error),
    /// That view is not to be had.
    NoView(String),
    /// The program itself cannot be run.
    Program(io::Error),
    /// There is no process for it.
    Process(io::Error),
}

const REFUSED: u8 = b'r';
const NO_VIEW: u8 = b'v';
const PROGRAM: u8 = b'p';

/// Runs `program` in `view`, with our descriptors, with `mask` as the signals it has blocked, and with those ignored that were ignored
/// when this process began.
pub fn start(program: &Program, view: &View, mask: &SigSet) -> Result<Pid, NotStarted> {
    let (mut told, tell) = io::pipe().map_err(NotStarted::Process)?;
    // SAFETY: this process has one thread, so the other may do whatever this one may.
    let forked = unsafe { fork() }.map_err(|errno| NotStarted::Process(errno.into()))?;
    let ForkResult::Parent { child } = forked else {
        become_program(program, view, mask, tell)
    };
    drop(tell);
    let mut obstacle = Vec::new();
    // The end of the pipe is closed when the program begins.
    let read = told.read_to_end(&mut obstacle);
    let child = Pid::from_raw(child.as_raw());
    let child =
        child.ok_or_else(|| NotStarted::Process(io::Error::other("no process was started")))?;
    let (Ok(_), Some((kind, reason))) = (read, obstacle.split_first()) else {
        return Ok(child);
    };
    // It has nothing more to do.
    rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty())).unwrap_or_default();
    Err(match *kind {
        NO_VIEW => NotStarted::NoView(String::from_utf8_lossy(reason).into_owned()),
        kind => {
            let number = reason.try_into().map_or(libc::EIO, i32::from_ne_bytes);
            let error = io::Error::from_raw_os_error(number);
            match kind {
                REFUSED => NotStarted::Refused(error),
                _ => NotStarted::Program(error),
            }
        }
    })
}

/// Never comes back: it is another program then, or has told why not.
fn become_program(program: &Program, view: &View, mask: &SigSet, mut tell: PipeWriter) -> ! {
    let number = |error: io::Error| {
        error
            .raw_os_error()
            .unwrap_or(libc::EIO)
            .to_ne_bytes()
            .to_vec()
    };
    let (kind, reason) = match view.enter() {
        Ok(()) => (PROGRAM, number(program.execute(mask))),
        Err(Obstacle::Refused(error)) => (REFUSED, number(error)),
        Err(Obstacle::Other(reason)) => (NO_VIEW, reason.into_bytes()),
    };
    // If nobody hears it nobody waits.
    tell.write_all(&[&[kind], &*reason].concat())
        .unwrap_or_default();
    // SAFETY: ends this process; what its parent is to do at its end is none of its business.
    unsafe { libc::_exit(1) }
}
