//! The command line: one file for each verb. Parsing, wiring and printing; no logic.

mod apply;
mod bench;
mod changes;
mod checkpoint;
mod completions;
mod diff;
mod discard;
mod doctor;
mod entry;
mod fail;
mod fork;
mod fsmonitor;
mod helper;
mod journal;
mod kept;
mod last_words;
mod log;
mod ls;
mod man;
mod mount;
mod mount_options;
mod near;
mod out;
mod private;
mod progress;
mod prompt;
mod prune;
mod quantity;
mod remount;
mod report;
mod run;
mod serve;
mod set;
mod signals;
mod spawn;
mod stats;
mod sync;
mod systemd;
mod tree;
mod umount;
mod usage;
mod users;
mod warm;
mod watch;

use clap::{Parser, Subcommand};
use fail::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

const AFTERWARDS: &str = "\
Examples:
  norefs run --from . -- make          a command on a copy of this directory, at its own path
  norefs mount /mnt/scratch            an empty tree, until `norefs umount /mnt/scratch`
  norefs SOURCE MOUNTPOINT -o LIST     what mount(8) calls for the type fuse.norefs

Environment:
  NOREFS_LOG  what is logged: error, warn (default), info, debug, trace, a list of directives, or @FILE
              that holds one, which a mount reads anew at SIGHUP

Exit status: 0, 1 for a failure, 2 for a command line that makes no sense; of `run`, the command's.";

/// A directory tree in memory whose metadata is read without a lock or a reference.
#[derive(Parser)]
#[command(
    name = "norefs",
    version,
    arg_required_else_help = true,
    after_help = AFTERWARDS
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Mount(mount::Args),
    #[command(visible_alias = "unmount")]
    Umount(umount::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Stats(stats::Args),
    Set(set::Args),
    Sync(sync::Args),
    Refresh(sync::RefreshArgs),
    Fork(fork::Args),
    Diff(diff::Args),
    Discard(discard::Args),
    Checkpoint(checkpoint::Args),
    Prune(prune::Args),
    Apply(apply::Args),
    Doctor(doctor::Args),
    Changes(changes::Args),
    Fsmonitor(fsmonitor::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Warm(warm::Args),
    Man(man::Args),
}

pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let outcome = fsmonitor::quickly(&arguments).unwrap_or_else(|| {
        norefs::host::spare_addresses();
        last_words::on_panic();
        match helper::is_called(&arguments) {
            true => helper::run(&arguments),
            false => run(&arguments),
        }
    });
    outcome.unwrap_or_else(|failure| failure.print())
}

fn run(arguments: &[OsString]) -> Outcome {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            log::start()?;
            match cli.verb {
                Verb::Run(args) => run::run(args),
                Verb::Mount(args) => mount::run(args),
                Verb::Umount(args) => umount::run(args),
                Verb::Ls(args) => ls::run(args),
                Verb::Stats(args) => stats::run(args),
                Verb::Set(args) => set::run(args),
                Verb::Sync(args) => sync::run(args),
                Verb::Refresh(args) => sync::refresh(args),
                Verb::Fork(args) => fork::run(args),
                Verb::Diff(args) => diff::run(args),
                Verb::Discard(args) => discard::run(args),
                Verb::Checkpoint(args) => checkpoint::run(args),
                Verb::Prune(args) => prune::run(args),
                Verb::Apply(args) => apply::run(args),
                Verb::Doctor(args) => doctor::run(args),
                Verb::Changes(args) => changes::run(args),
                Verb::Fsmonitor(args) => fsmonitor::run(args),
                Verb::Bench(args) => bench::run(args),
                Verb::Completions(args) => completions::run(args),
                Verb::Warm(args) => warm::run(args),
                Verb::Man(args) => man::run(args),
            }
        }
        Err(error) => usage::on_parse(&error, arguments),
    }
}

type Outcome = Result<ExitCode, Failure>;

/// What is said where the system has no more threads for this user, or no memory for one.
const NO_THREAD: &str = "cannot start a thread";
