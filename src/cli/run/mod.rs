//! `norefs run`
//!
//! Three kinds of processes take part. The one that was called watches the command, and does nothing else while that runs
//! ([`command`]). For each directory that is copied another one serves ([`serving`]), at a private directory in a mount namespace of
//! its own where it may. The command begins as a copy of the watching process that makes itself a mount namespace, in which the
//! copies stand where their sources are ([`view`]); so everybody else goes on seeing the sources.

mod child;
mod command;
mod copy;
mod git;
pub mod namespace;
mod plan;
mod serving;
mod settle;
mod view;

use super::fail::{Failure, say};
use super::serve::ServeArgs;
use super::tree::LoadArgs;
use super::{Outcome, fsmonitor, kept};
use child::NotStarted;
use command::{Signals, Watched};
use copy::Copied;
use plan::Plan;
use settle::Then;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use view::View;

/// Says that the command is to see its tree at a directory of its own.
const PRIVATE: &str = "private";
/// Ends the path that a serving process tells.
const END: u8 = 0;
/// What a serving process is told when the command has run and ended.
const ENDED: &[u8] = b"ended";

/// What a fork has of the mount that is forked.
const OF_A_LOAD: [&str; 15] = [
    "from",
    "resume",
    "also",
    "options",
    "strict",
    "cross_mounts",
    "cache",
    "transport",
    "threads",
    "queue_depth",
    "max_io",
    "warm",
    "no_warm",
    "metrics",
    "metrics_public",
];

/// Run a command in a tree that lives as long as the command
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("copied").args(["from", "resume", "fork"]).multiple(true)))]
pub struct Args {
    /// The directory to load, which the command sees in place of the original (an empty tree without one)
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Go on with what was kept: its source is loaded, and it is put over that
    #[arg(long, value_name = "NAME|FILE")]
    resume: Option<PathBuf>,
    /// A mount of norefs, of which the command sees a fork in its place: all that is in it at this instant (see `norefs fork`)
    #[arg(long, value_name = "MOUNT", conflicts_with_all = OF_A_LOAD)]
    fork: Option<PathBuf>,
    /// Where the command sees the tree, if not at DIR: a directory, or the word private for one of its own
    #[arg(long, value_name = "PATH")]
    at: Option<PathBuf>,
    /// A further directory that the command gets a copy of, in its place (repeatable)
    #[arg(
        long,
        value_name = "DIR",
        requires = "copied",
        conflicts_with = "metrics"
    )]
    also: Vec<PathBuf>,
    /// The command may change nothing but its copies, and temporary files
    #[arg(long)]
    protect: bool,
    /// What it may change with --protect all the same (repeatable)
    #[arg(long, value_name = "PATH", requires = "protect")]
    allow: Vec<PathBuf>,
    /// What to do with the changes when the command has ended (default: ask on a terminal, else discard)
    #[arg(long, value_enum, value_name = "WHAT")]
    then: Option<Then>,
    /// Keep them as FILE (with --then also what is kept otherwise)
    #[arg(
        long,
        value_name = "FILE",
        requires = "copied",
        conflicts_with = "also"
    )]
    keep: Option<PathBuf>,
    /// Mount options, separated by commas: those of `norefs mount`
    #[arg(short = 'o', value_name = "LIST")]
    options: Vec<String>,
    /// Have git ask the mount what changed, in place of looking at every file
    #[arg(long)]
    fsmonitor: bool,
    /// Print all counters at the end, not one line
    #[arg(long)]
    report: bool,
    /// Print nothing at the end, of what is discarded neither
    #[arg(long, conflicts_with = "report")]
    no_report: bool,
    /// What to run (default: $SHELL)
    #[arg(last = true)]
    command: Vec<OsString>,
    /// Serve the copy with this number until standard input ends, and say on stdout where the mount is
    #[arg(long, value_name = "N", hide = true)]
    serve: Option<usize>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    serving: ServeArgs,
}

impl Args {
    /// The directories that are copied. Without any there is one empty tree.
    fn sources(&self) -> impl Iterator<Item = &Path> {
        let first = self.from.iter().chain(&self.fork);
        first.chain(&self.also).map(PathBuf::as_path)
    }

    /// What to do with the changes, if that was said.
    fn then(&self) -> Option<Then> {
        let kept = self.keep.as_ref().map(|_| Then::Keep);
        self.then.or(kept)
    }

    /// Whether a copy is to be seen in the place of a directory.
    fn is_shown(&self) -> bool {
        let elsewhere = self.at.as_deref().map(|at| at != Path::new(PRIVATE));
        elsewhere.unwrap_or(self.sources().next().is_some()) || !self.also.is_empty()
    }

    /// Where the copy with this number, of `source`, is to be seen, if not where it is mounted.
    fn shown_at(&self, number: usize, source: Option<&Path>) -> Option<PathBuf> {
        match &self.at {
            Some(at) if number == 0 && at == Path::new(PRIVATE) => None,
            Some(at) if number == 0 => at.canonicalize().ok(),
            _ => source.map(Path::to_owned),
        }
    }
}

pub fn run(mut args: Args) -> Outcome {
    if let Some(name) = &args.resume {
        let (source, _) = kept::resume(name, args.from.as_deref())?;
        // Under the name by which it was asked for.
        args.from.get_or_insert(source);
    }
    if let Some(number) = args.serve {
        return serving::serve(args, number);
    }
    let plan = Plan::of(&args)?;
    if let Some(at) = &args.keep {
        kept::check_place(at)?;
    }
    let begun = copy::begin(&plan.sources)?;
    let outside = plan.outside();
    let copies = copy::complete(begun)?;
    if let Some(line) = plan.warning(&outside) {
        say(line);
    }
    let status = watch(&args, &plan, &copies);
    let settled = match &status {
        Ok((_, signals)) => {
            let at = args.keep.as_deref();
            settle::settle(&copies, args.then(), at, args.no_report, signals)
        }
        Err(_) => Ok(()),
    };
    for copy in copies {
        copy.finish(status.is_ok())?;
    }
    settled?;
    Ok(ExitCode::from(status?.0))
}

/// Runs the command to its end. Gives its status, and the signals, which are caught still.
fn watch(args: &Args, plan: &Plan, copies: &[Copied]) -> Result<(u8, Signals), Failure> {
    let signals = command::catch().map_err(anyhow::Error::from)?;
    let environment = match args.fsmonitor {
        true => fsmonitor::environment()?,
        false => Vec::new(),
    };
    let start = |view: &View<'_>| command::start(&args.command, &environment, view, &signals);
    let private = || View::private(&copies[0].mount_point);
    let started = match plan.view(copies)? {
        None => start(&private()),
        Some(view) => match start(&view) {
            Err(NotStarted::Refused(why)) if plan.may_be_private(copies) => {
                say(plan.instead(&why, &copies[0].mount_point));
                start(&private())
            }
            started => started,
        },
    };
    let watched = Watched {
        command: started.map_err(|reason| command::not_started(&args.command, reason))?,
        servers: copies.iter().map(Copied::server).collect(),
        signals,
    };
    let status = watched.wait()?;
    Ok((status, watched.signals))
}
