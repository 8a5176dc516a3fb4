//! The process that serves a fork: a copy of the one that serves the mount, made while no thread of that did anything. From what that one
//! has for its own kernel it lets go; then it serves as any other does.

use super::{Answering, Asked, Served, answer_questions, end_on_signal};
use crate::cli::NO_THREAD;
use anyhow::Context;
use norefs::control::{Asker, Forking};
use norefs::host::{Quiet, rest};
use norefs::transport::session;
use norefs::transport::{MountHandle, Options};
use rustix::fs::{FileType, Mode, fstat, major, minor};
use rustix::process::{Pid, WaitOptions, waitpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long requests may keep the process from coming to rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// A copy that does not serve after so many seconds never will.
const STARTING: u32 = 30;
/// Major and minor number of the FUSE device, which are the kernel's for good.
const FUSE_DEVICE: (u32, u32) = (10, 229);
/// Standard input, output and errors are below this descriptor.
const FIRST_OTHER: RawFd = 3;

/// Copies this process. See [`Asked::fork`](norefs::control::Asked::fork).
pub fn fork(
    served: &Served,
    device: OwnedFd,
    forking: Forking,
    asker: Asker,
) -> Result<(), (Asker, String)> {
    if !is_fuse(&device) {
        return Err((asker, "no FUSE device came with the mount".to_owned()));
    }
    let quiet = match Quiet::wait_for(PATIENCE) {
        Ok(quiet) => quiet,
        Err(error) => return Err((asker, restless(&error))),
    };
    // SAFETY: no other thread of this process does anything, so none holds a lock that the copy could need; what the libraries and the
    // allocator have is whole.
    match unsafe { nix::unistd::fork() } {
        Err(errno) => Err((asker, format!("there is no process for the fork: {errno}"))),
        Ok(nix::unistd::ForkResult::Parent { child }) => {
            drop(quiet);
            drop((device, asker));
            await_end(child.as_raw());
            Ok(())
        }
        Ok(nix::unistd::ForkResult::Child) => {
            quiet.begin_as_copy();
            let ended = catch_unwind(AssertUnwindSafe(|| live(served, device, forking, asker)));
            // SAFETY: ends this process; what the other one is to do at its end is none of its business.
            unsafe { libc::_exit(ended.unwrap_or(1)) }
        }
    }
}

fn is_fuse(device: &OwnedFd) -> bool {
    fstat(device).is_ok_and(|stat| {
        let number = (major(stat.st_rdev), minor(stat.st_rdev));
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && number == FUSE_DEVICE
    })
}

fn restless(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            "it does not come to rest: requests wait for the source; try again".to_owned()
        }
        _ => format!("nobody can tell whether it is at rest: {error}"),
    }
}

/// Nothing is left of a child that is waited for.
fn await_end(child: i32) {
    let Some(child) = Pid::from_raw(child) else {
        return;
    };
    tracing::info!(%child, "a fork is served by another process");
    let wait = || rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    rest(wait).unwrap_or_default();
}

/// The life of the copy. Gives the status to exit with.
fn live(served: &Served, device: OwnedFd, forking: Forking, asker: Asker) -> i32 {
    // SAFETY: asks the kernel for a signal, which ends this process as long as it is not taken back.
    unsafe { libc::alarm(STARTING) };
    let begun = begin(served, device, forking, &asker);
    // SAFETY: takes that back.
    unsafe { libc::alarm(0) };
    let (handle, answering) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            asker.tell(Err(format!("{failure:#}")));
            return 1;
        }
    };
    asker.tell(Ok(()));
    handle.fs().end_unknown();
    let ended = handle.wait();
    drop(answering);
    match ended {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the mount did not end well");
            1
        }
    }
}

fn begin(
    served: &Served,
    device: OwnedFd,
    forking: Forking,
    asker: &Asker,
) -> anyhow::Result<(Arc<MountHandle>, Answering)> {
    let kept = [device.as_fd().as_raw_fd(), asker.as_fd().as_raw_fd()];
    let_go(&kept).context("its descriptors")?;
    settle()?;
    let fs = served.share();
    fs.begin_as_copy()
        .context("it is a copy of a copy of too many")?;
    let options: Options = served.likeness().options;
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mounted = end_on_signal(signals).context(NO_THREAD)?;
    let handle = session::mount_made(fs, device, forking.made, &options)?;
    let handle = Arc::new(handle);
    mounted
        .send((Arc::downgrade(&handle), None))
        .unwrap_or_default();
    let shown = forking.shown.as_deref().map(Path::new);
    let asked = Asked {
        options,
        fixed: served.fixed.clone(),
        warm: None,
        shown,
        metrics: None,
        followed: None,
        keep: None,
    };
    let answering = answer_questions(&handle, asked);
    Ok((handle, answering))
}

/// What a process in the background is, whatever the other one was.
fn settle() -> io::Result<()> {
    std::env::set_current_dir("/")?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::setsid().unwrap_or_else(|_| rustix::process::getpid());
    rustix::thread::set_name(c"norefs")?;
    Ok(())
}

/// Lets go of what the other process has for its kernel and for those who ask it: the FUSE device and rings, sockets, pipes, locks. What
/// is left are files and directories, of the source, and a log. In place of each there is something that nobody hears: objects of threads
/// that are none of this process's, and handlers of signals, have the numbers still.
fn let_go(kept: &[RawFd]) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let numbers = fs::read_dir("/proc/self/fd")?.filter_map(|entry| {
        let number: Option<RawFd> = entry.ok()?.file_name().to_str()?.parse().ok();
        number.filter(|number| !kept.contains(number) && *number != null.as_raw_fd())
    });
    let numbers: Vec<RawFd> = numbers.collect();
    for number in numbers {
        if is_session(number) {
            let flags = match number < FIRST_OTHER {
                true => 0,
                false => libc::O_CLOEXEC,
            };
            // SAFETY: who has the number has no use for the file: it is of a thread that is not there.
            unsafe { libc::dup3(null.as_raw_fd(), number, flags) };
        }
    }
    Ok(())
}

/// Whether the descriptor is of what belongs to the mount of the other process, not to its tree.
fn is_session(number: RawFd) -> bool {
    let Ok(file) = fs::metadata(format!("/proc/self/fd/{number}")) else {
        // It was that of the list of them.
        return false;
    };
    let kind = file.file_type();
    let stays = kind.is_file() || kind.is_dir() || kind.is_symlink();
    !stays || number < 2 || is_locked(number)
}

/// Whether who has the file open has a lock on it, by which others know that it lives.
fn is_locked(number: RawFd) -> bool {
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    told.is_ok_and(|told| told.lines().any(|line| line.starts_with("lock:")))
}
