//! The process that serves a copy for a run, in a session of its own: no terminal stops or ends it. Its standard input says when
//! to end.

use super::{Args, END, ENDED, namespace};
use crate::cli::fail::{Failure, not_mounted, say};
use crate::cli::mount_options::MountOptions;
use crate::cli::private::{self, Private};
use crate::cli::tree::{self, checked_source};
use crate::cli::{NO_THREAD, Outcome, fork, kept, mount, report, serve, users, warm};
use anyhow::Context;
use norefs::control;
use norefs::follow::Follower;
use norefs::fs::{Fs, Reading};
use norefs::host;
use norefs::transport::session::table::MountEntry;
use norefs::transport::session::unmount::unmount;
use norefs::transport::{self, MountError, MountHandle, Options, session};
use norefs::warm::Warmer;
use parking_lot::Mutex;
use rustix::process::{geteuid, getpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long a fork may need to end that nobody uses.
const ENDING: Duration = Duration::from_millis(500);

/// Serves the copy with this number, of those that the run has.
pub fn serve(args: Args, number: usize) -> Outcome {
    rustix::process::setsid().unwrap_or_else(|_| getpid());
    // Before there is another thread.
    if let Err(error) = namespace::enter_to_serve(!args.is_shown()) {
        tracing::debug!(%error, "the mount is not in a namespace of its own");
    }
    let until = Until::watch().context(NO_THREAD)?;
    let source = args.sources().nth(number);
    let source = source.map(checked_source).transpose()?;
    let kept = match (&args.resume, number) {
        (Some(name), 0) => Some(kept::resume(name, source.as_deref())?.1),
        _ => None,
    };
    let shown = args.shown_at(number, source.as_deref());
    if let (Some(_), Some(mount)) = (&args.fork, &source) {
        return serve_fork(&args, mount, shown.as_deref(), &until);
    }
    let mut asked = MountOptions::parse(&args.options, tree::memory())?;
    check(&asked, source.as_deref())?;
    let metrics = args.serving.listen()?;
    mount::check_follow(&asked, &args.load, source.as_deref())?;
    let cache = asked.cache.unwrap_or(args.serving.cache);
    let warm = warm::wanted(args.serving.warm(), source.is_some(), &asked, cache)?;
    let tree::Built {
        fs,
        loaded,
        followed,
    } = tree::build(source.as_deref(), kept.as_ref(), &args.load, &asked)?;
    for option in mount::narrow(&mut asked, loaded.as_ref()) {
        say(mount::nothing_comes_of(option));
    }
    let options = mount::options(&args.serving, &asked, source.as_deref());
    private::sweep();
    until.keep_going().context(NO_THREAD)?;
    host::serve_others();
    let (_private, handle) = mount_privately(&fs, &options)?;
    let warmer = warm.then(|| warm::start(&handle, false)).flatten();
    let progress = warmer.as_ref().map(Warmer::progress);
    let follower = followed.and_then(|followed| followed.start(&handle));
    let server = serve::answer_questions(
        &handle,
        serve::Asked {
            options,
            fixed: asked.fixed,
            warm: progress,
            followed: follower.as_ref().map(Follower::handle),
            shown: shown.as_deref(),
            metrics,
            keep: None,
        },
    );
    std::env::set_current_dir("/")?;
    let started = Instant::now();
    let well = tell(handle.mountpoint()).is_ok() && until.over();
    let elapsed = started.elapsed();
    drop(server);
    drop(warmer);
    drop(follower);
    end(&handle);
    if !args.no_report && well {
        let requests = handle.requests();
        let reading = handle.fs().reading();
        let line = report::of_run(loaded, reading, requests.total(), elapsed);
        match source {
            Some(source) if !args.also.is_empty() => {
                say(format_args!("{}: {line}", source.display()))
            }
            _ => say(line),
        }
        if args.report {
            let fs = handle.fs();
            let text = report::text(&control::by_kind(&requests), &fs.outcomes(), &fs.lookups());
            text.lines().for_each(say);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has a fork of `mount` served by a process of its own, and stays with it to take it away.
fn serve_fork(args: &Args, mount: &Path, shown: Option<&Path>, until: &Until) -> Outcome {
    private::sweep();
    until.keep_going().context(NO_THREAD)?;
    let private = Private::new().context("cannot make a private directory")?;
    let place = session::prepare(&private.mount_point())?;
    let entry = fork::make(mount, place, shown)?;
    std::env::set_current_dir("/")?;
    let started = Instant::now();
    let well = tell(&entry.mount_point).is_ok() && until.over();
    let elapsed = started.elapsed();
    let stats = control::stats(&entry);
    end_fork(&entry);
    if let (false, true, Ok(stats)) = (args.no_report, well, stats) {
        let requests = stats.requests.values().map(|kind| kind.count).sum();
        say(report::of_run(None, Reading::default(), requests, elapsed));
        if args.report {
            let text = report::text(&stats.requests, &stats.outcomes, &stats.lookups);
            text.lines().for_each(say);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Unmounts, whereupon the process that serves it ends.
fn end_fork(entry: &MountEntry) {
    let server = control::server_of(entry);
    let ended = unmount(entry, false).or_else(|_| {
        tracing::warn!("the mount is still in use; it ends under its users");
        unmount(entry, true)
    });
    if let Err(error) = ended {
        tracing::error!(%error, "the mount did not end well");
    }
    let gone = server.is_none_or(|server| server.ends_within(ENDING).unwrap_or(true));
    if !gone && users::are_there(entry.device) {
        tracing::warn!("the mount is still in use, maybe in another mount namespace");
    }
}

/// Mounts at a private directory. Where fusermount3 is denied to mount in the directory of temporary files, as AppArmor may, it is in
/// the user's runtime directory.
fn mount_privately(fs: &Arc<Fs>, options: &Options) -> Result<(Private, MountHandle), Failure> {
    let try_at =
        |private: Private| match transport::mount(fs.clone(), &private.mount_point(), options) {
            Ok(handle) => Ok((private, handle)),
            Err(error) => Err(error),
        };
    let no_directory = "cannot make a private directory";
    match try_at(Private::new().context(no_directory)?) {
        Err(refused @ MountError::Refused(..)) if !geteuid().is_root() => {
            let instead = private::instead().and_then(|above| Private::below(&above).ok());
            let again = instead.and_then(|private| try_at(private).ok());
            again.ok_or_else(|| not_mounted(refused))
        }
        mounted => mounted.map_err(not_mounted),
    }
}

/// Says where the mount is, and no more.
fn tell(mountpoint: &Path) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(mountpoint.as_os_str().as_bytes())?;
    stdout.write_all(&[END])?;
    stdout.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// How long to serve: until whoever started us says that the command has ended, or is gone, or a signal comes. As long as there is
/// nothing to take away that just ends this process.
struct Until {
    keeps_going: Arc<Mutex<bool>>,
    tell: Sender<bool>,
    ended: Receiver<bool>,
}

impl Until {
    fn watch() -> io::Result<Until> {
        let (tell, ended) = mpsc::channel();
        let keeps_going = Arc::new(Mutex::new(false));
        let (seen, end) = (keeps_going.clone(), tell.clone());
        host::start_thread("norefs-until", move || {
            let mut said = Vec::new();
            let read = io::stdin().read_to_end(&mut said);
            match *seen.lock() {
                true => end.send(read.is_ok() && said == ENDED).unwrap_or_default(),
                false => std::process::exit(1),
            }
        })?;
        Ok(Until {
            keeps_going,
            tell,
            ended,
        })
    }

    /// From here on there will be something to take away.
    fn keep_going(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let end = self.tell.clone();
        host::start_thread("norefs-signals", move || {
            signals.forever().next();
            end.send(false).unwrap_or_default();
        })?;
        *self.keeps_going.lock() = true;
        Ok(())
    }

    /// Waits. Returns whether the command was run and has ended.
    fn over(&self) -> bool {
        self.ended.recv().unwrap_or_default()
    }
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

/// Unmounts; what the command left running loses the mount. A namespace that was made meanwhile, such as that of another run, may
/// still have it, where nobody uses it.
fn end(handle: &MountHandle) {
    let ended = match handle.unmount() {
        Ok(()) if handle.ends_soon() => handle.wait(),
        Ok(()) if !users::are_there(handle.device()) => Ok(()),
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
