//! `norefs run`

use super::fail::{Failure, say};
use super::mount_options::MountOptions;
use super::private::{self, Private};
use super::serve::ServeArgs;
use super::tree::{self, LoadArgs, checked_source};
use super::{Outcome, mount, report, serve};
use anyhow::Context;
use norefs::control;
use norefs::transport::{self, MountHandle};
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Instant;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const BY_SIGNAL: i32 = 128;

/// Run a command in a tree that lives as long as the command
#[derive(clap::Args)]
pub struct Args {
    /// The directory to load (an empty tree without one)
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Mount options, separated by commas: those of `norefs mount`
    #[arg(short = 'o', value_name = "LIST")]
    options: Vec<String>,
    /// Print all counters at the end, not one line
    #[arg(long)]
    report: bool,
    /// Print nothing at the end
    #[arg(long, conflicts_with = "report")]
    no_report: bool,
    /// What to run (default: $SHELL)
    #[arg(last = true)]
    command: Vec<OsString>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    serving: ServeArgs,
}

pub fn run(args: Args) -> Outcome {
    let source = args.from.as_deref().map(checked_source).transpose()?;
    let asked = MountOptions::parse(&args.options, tree::memory())?;
    check(&asked, source.as_deref())?;
    let cache = asked.cache.unwrap_or(args.serving.cache);
    let tree::Built { fs, loaded } = tree::build(source.as_deref(), &args.load, &asked, cache)?;
    let options = mount::options(&args.serving, &asked, source.as_deref());
    private::sweep();
    // Until now a signal ends us; from here on it is for the command, and what we make is taken away.
    let signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    let private = Private::new().context("cannot make a private directory")?;
    let handle = transport::mount(fs, &private.mount_point(), &options)?;
    let server = serve::answer_questions(&handle, options, asked.fixed);
    let started = Instant::now();
    let ended = run_command(&args.command, handle.mountpoint(), signals);
    let elapsed = started.elapsed();
    drop(server);
    end(&handle);
    if !args.no_report && ended.is_ok() {
        let requests = handle.requests();
        let reading = handle.fs().reading();
        say(report::of_run(loaded, reading, requests.total(), elapsed));
        if args.report {
            let text = report::text(&control::by_kind(&requests), &handle.fs().outcomes());
            text.lines().for_each(say);
        }
    }
    ended.map(|status| ExitCode::from(exit_code(status)))
}

/// Refuses what only makes sense where a mount point is chosen and the mount outlives the command.
fn check(asked: &MountOptions, source: Option<&Path>) -> Result<(), Failure> {
    if asked.remount {
        return Err(Failure::usage("mount option remount is for a live mount"));
    }
    if let Some(option) = &asked.for_mount8 {
        let reason = format!("mount option {option} is for mount(8) and fstab(5)");
        return Err(Failure::usage(reason));
    }
    mount::check_options(asked, source)
}

/// Unmounts; what the command left running loses the mount.
fn end(handle: &MountHandle) {
    let ended = match handle.unmount() {
        Ok(()) if handle.ends_soon() => handle.wait(),
        gone => {
            tracing::warn!(
                "the mount is still in use, maybe in another mount namespace; it ends under its users"
            );
            gone.or_else(|_| handle.detach())
        }
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the mount did not end well");
    }
}

fn run_command(
    command: &[OsString],
    mountpoint: &Path,
    signals: Signals,
) -> Result<ExitStatus, Failure> {
    let shell = || {
        std::env::var_os("SHELL")
            .filter(|shell| !shell.is_empty())
            .unwrap_or_else(|| "/bin/sh".into())
    };
    let (program, arguments) = match command {
        [program, arguments @ ..] => (program.clone(), arguments),
        [] => (shell(), [].as_slice()),
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .current_dir(mountpoint)
        .env("NOREFS_MOUNT", mountpoint)
        .env("PWD", mountpoint)
        .spawn()
        .map_err(|error| cannot_start(&program, &error))?;
    let handle = signals.handle();
    let forwarding = forward(signals, &child)?;
    let status = child.wait();
    handle.close();
    forwarding.join().unwrap_or_default();
    Ok(status?)
}

fn cannot_start(program: &OsStr, error: &io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure::with_status(status, format!("{}: {error}", program.display()))
}

/// Passes signals on to the command until the signals are closed. What a terminal sends to its
/// whole foreground group has reached the command already.
fn forward(mut signals: Signals, child: &Child) -> io::Result<std::thread::JoinHandle<()>> {
    let child: OwnedFd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    Ok(std::thread::spawn(move || {
        for number in signals.forever() {
            let from_terminal = matches!(number, SIGINT | SIGQUIT) && in_foreground();
            if let Some(signal) = Signal::from_named_raw(number)
                && !from_terminal
            {
                // Fails only if the command has just ended.
                pidfd_send_signal(&child, signal).unwrap_or_default();
            }
        }
    }))
}

fn in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty").ok();
    let group = terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    group == Some(getpgrp())
}

fn exit_code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map(|signal| BY_SIGNAL + signal);
    let code = status.code().or_else(by_signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_s_status_is_ours() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
