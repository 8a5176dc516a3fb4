//! Loading a directory, beside `find` that prints the same fields.
//!
//! ```text
//! cargo bench --bench load                                 1,000,000 files below the temporary directory
//! cargo bench --bench load -- --files N --dir DIR --keep   elsewhere, and leave the tree for the next run
//! cargo bench --bench load -- --files 10000000 --synthetic without a directory: memory alone
//! cargo bench --bench load -- --quick                      a smoke run
//! ```
//!
//! `find` and the load take turns, each in a process of its own, after one run of each that does not
//! count. Warm: the kernel has all names and attributes. Cold (root only): it was made to drop them
//! and everything else it had read, before every run. `find` prints to `/dev/null`; it does not ask for
//! extended attributes and creation times, which the load reads as well.
//!
//! With `--synthetic` no directory is read: the entries of the same tree are handed to the filesystem
//! through the interface the source uses, a directory at a time, as fast as they can be made up.

mod contest;
mod disk;
mod report;
mod shape;
mod synthetic;

use clap::Parser;
use report::{Race, Report};
use std::path::{Path, PathBuf};

#[derive(Parser)]
struct Options {
    /// Files of the tree; directories come on top, one for each hundred
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,
    /// Where to make the tree, on the filesystem that is to be measured
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Runs of each, warm and cold
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Threads of the load; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Leave the tree for the next run
    #[arg(long)]
    keep: bool,
    /// Hand made-up entries to the filesystem instead of reading a directory
    #[arg(long)]
    synthetic: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Few files, few runs: checks that everything works
    #[arg(long)]
    quick: bool,
    /// Load a directory once and say what that took: what the runs of the load are
    #[arg(long, hide = true)]
    measure: Option<PathBuf>,
    /// What cargo bench adds; without it (cargo test) the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    options.quick |= !options.bench;
    if options.quick {
        (options.files, options.rounds) = (5_000, 1);
    }
    if let Some(tree) = &options.measure {
        return contest::measure(tree, options.threads);
    }
    let report = match options.synthetic {
        true => Report::Synthetic(synthetic::run(options.files)?),
        false => on_disk(&options)?,
    };
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => report.print(),
    }
    Ok(())
}

fn on_disk(options: &Options) -> Fallible<Report> {
    let place = disk::place(&options.dir, options.files);
    disk::make(&place, options.files)?;
    let tree = disk::tree(&place);
    let warm = race(&tree, options, || Ok(()));
    let filesystem = report::filesystem(&options.dir);
    // What tmpfs holds is nowhere else.
    let can_be_cold = !options.quick && filesystem != "tmpfs" && forget().is_ok();
    let cold = can_be_cold.then(|| race(&tree, options, forget));
    if !options.keep {
        disk::remove(&place)?;
    }
    Ok(Report::Disk {
        filesystem,
        warm: warm?,
        cold: cold.transpose()?,
    })
}

/// Runs both in turn, after one run of each that does not count.
fn race(
    tree: &Path,
    options: &Options,
    prepare: impl Fn() -> std::io::Result<()>,
) -> Fallible<Race> {
    contest::find(tree)?;
    contest::load_apart(tree, options.threads)?;
    let mut race = Race::default();
    for _ in 0..options.rounds {
        prepare()?;
        race.find.push(contest::find(tree)?);
        prepare()?;
        race.load.push(contest::load_apart(tree, options.threads)?);
    }
    Ok(race)
}

/// Makes the kernel drop all that it has read and could read again. Only root may.
fn forget() -> std::io::Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
