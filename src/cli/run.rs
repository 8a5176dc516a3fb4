//! `norefs run`

use super::fail::{Failure, say};
use super::mount_options::MountOptions;
use super::private::{self, Private};
use super::serve::ServeArgs;
use super::tree::{self, LoadArgs, checked_source};
use super::{NO_THREAD, Outcome, command, mount, report, serve, spawn, warm};
use anyhow::Context;
use norefs::control::{self, ServerProcess};
use norefs::transport::{self, MountHandle};
use norefs::warm::Warmer;
use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long the serving process may need to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ends the path that the serving process tells.
const END: u8 = 0;
/// What the serving process is told when the command has run and ended.
const ENDED: &[u8] = b"ended";

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
    /// Serve until standard input ends, and say on stdout where the mount is
    #[arg(long, hide = true)]
    serve: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    serving: ServeArgs,
}

pub fn run(args: Args) -> Outcome {
    if args.serve {
        return serve(args);
    }
    let (their_input, input) = io::pipe()?;
    let (output, their_output) = io::pipe()?;
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Behind the verb.
    arguments.insert(2, "--serve".into());
    let server = spawn::server(&arguments, their_input.as_fd(), their_output.as_fd())
        .context("cannot start the serving process")?;
    drop((their_input, their_output));
    let Some(mountpoint) = told(output)? else {
        let failed = spawn::failed(server);
        // Where it found no process to unmount with, there is one now.
        private::sweep();
        return failed;
    };
    let ended = command::run(&args.command, &mountpoint, server);
    finish(input, server, ended.is_ok())?;
    Ok(ExitCode::from(ended?))
}

/// Where the mount is, once it is served.
fn told(output: PipeReader) -> io::Result<Option<PathBuf>> {
    let mut path = Vec::new();
    BufReader::new(output).read_until(END, &mut path)?;
    let whole = path.pop() == Some(END);
    Ok(whole.then(|| OsString::from_vec(path).into()))
}

/// Lets the serving process unmount and report, and waits until it has, for a while. Signals wait meanwhile.
fn finish(mut input: PipeWriter, server: Pid, well: bool) -> io::Result<()> {
    let process = ServerProcess::open(server);
    if well {
        // Fails if it has ended already.
        input.write_all(ENDED).unwrap_or_default();
    }
    drop(input);
    if let Ok(process) = process
        && !process.ends_within(PATIENCE)?
    {
        say(format_args!(
            "process {} that serves the mount does not end",
            process.pid()
        ));
        return Ok(());
    }
    match waitpid(Some(server), WaitOptions::empty()) {
        Ok(Some((_, status))) if !status.signaled() => {}
        // It was killed, and has left everything.
        _ => private::sweep(),
    }
    Ok(())
}

/// The process that serves, in a session of its own: no terminal stops or ends it. Its standard input says when to end.
fn serve(args: Args) -> Outcome {
    rustix::process::setsid().unwrap_or_else(|_| getpid());
    let until = Until::watch().context(NO_THREAD)?;
    let source = args.from.as_deref().map(checked_source).transpose()?;
    let mut asked = MountOptions::parse(&args.options, tree::memory())?;
    check(&asked, source.as_deref())?;
    let cache = asked.cache.unwrap_or(args.serving.cache);
    let warm = warm::wanted(args.serving.warm(), source.is_some(), &asked, cache)?;
    let tree::Built { fs, loaded } = tree::build(source.as_deref(), &args.load, &asked)?;
    for option in mount::narrow(&mut asked, loaded.as_ref()) {
        say(mount::nothing_comes_of(option));
    }
    let options = mount::options(&args.serving, &asked, source.as_deref());
    private::sweep();
    until.keep_going().context(NO_THREAD)?;
    let private = Private::new().context("cannot make a private directory")?;
    let handle = transport::mount(fs, &private.mount_point(), &options)?;
    let warmer = warm.then(|| warm::start(&handle, false)).flatten();
    let progress = warmer.as_ref().map(Warmer::progress);
    let server = serve::answer_questions(&handle, options, asked.fixed, progress);
    std::env::set_current_dir("/")?;
    let started = Instant::now();
    let well = tell(handle.mountpoint()).is_ok() && until.over();
    let elapsed = started.elapsed();
    drop(server);
    drop(warmer);
    end(&handle);
    if !args.no_report && well {
        let requests = handle.requests();
        let reading = handle.fs().reading();
        say(report::of_run(loaded, reading, requests.total(), elapsed));
        if args.report {
            let fs = handle.fs();
            let text = report::text(&control::by_kind(&requests), &fs.outcomes(), &fs.lookups());
            text.lines().for_each(say);
        }
    }
    Ok(ExitCode::SUCCESS)
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
        let thread = std::thread::Builder::new().name("norefs-until".to_owned());
        thread.spawn(move || {
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
        let thread = std::thread::Builder::new().name("norefs-signals".to_owned());
        thread.spawn(move || {
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
