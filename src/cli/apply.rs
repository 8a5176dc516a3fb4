//! `norefs apply`

use super::fail::{Failure, say};
use super::{Outcome, diff, out};
use anyhow::{Context, anyhow};
use norefs::apply::{Job, OnConflict, Report, Root, applied, prepare};
use norefs::control;
use norefs::delta::{Change, Delta, PathBytes};
use norefs::transport::session::table::MountEntry;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write what differs in a mount to the source it was loaded from
#[derive(clap::Args)]
#[command(after_help = CONFLICTS)]
pub struct Args {
    /// Where it is mounted, or what was kept of it
    mountpoint: PathBuf,
    /// Only what is at or below these, seen from the mount
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write to this copy of the source instead
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Say what would be written, and what would be in the way
    #[arg(long)]
    dry_run: bool,
    /// What to do about entries that were changed in the source since it was loaded
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_conflict: Conflicts,
}

const CONFLICTS: &str = "\
Everything is looked at before anything is written. An apply that is cut off, by a crash or a full disk, goes on where it was \
when it is started again. Exit status: 1 if it failed or conflicts kept it from being written.";

/// What to do about conflicts.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
pub enum Conflicts {
    /// Write nothing
    #[default]
    Stop,
    /// Leave those alone, and write the rest
    Skip,
    /// Write over what is there
    Overwrite,
}

impl From<Conflicts> for OnConflict {
    fn from(conflicts: Conflicts) -> OnConflict {
        match conflicts {
            Conflicts::Stop => OnConflict::Stop,
            Conflicts::Skip => OnConflict::Skip,
            Conflicts::Overwrite => OnConflict::Overwrite,
        }
    }
}

pub fn run(args: Args) -> Outcome {
    let told = diff::whole(&args.mountpoint)?;
    let only = args.paths.iter().map(|path| diff::below(&told.at, path));
    let only = only.collect::<Result<Vec<PathBytes>, _>>()?;
    let target = match &args.to {
        Some(to) => Root::open(to).with_context(|| to.display().to_string())?,
        None => source(&told.delta)?,
    };
    let name = match &told.mount {
        Some(mount) => name(mount),
        None => told.at.display().to_string(),
    };
    let job = Job {
        delta: &told.delta,
        mount: &*told.tree,
        target: &target,
        name: &name,
        only: &only,
        on_conflict: args.on_conflict.into(),
        elsewhere: args.to.is_some(),
    };
    if args.dry_run {
        let prepared = prepare(&job)?;
        out::print(diff::lines(&made(&told.delta, &prepared.report)))?;
        return clash(&prepared.report, prepared.is_refused(), "would be");
    }
    write(&job, told.mount.as_ref())
}

/// Writes it, says how that went, and tells whoever serves `mount`.
pub fn write(job: &Job<'_>, mount: Option<&MountEntry>) -> Outcome {
    let prepared = prepare(job)?;
    let refused = prepared.is_refused();
    let report = prepared.run(&mut ())?;
    if !refused {
        let made = made(job.delta, &report);
        say(format_args!("applied: {}", diff::counted(&made).trim_end()));
        if let Some(mount) = mount.filter(|_| !job.elsewhere) {
            let told = applied(job, &report)
                .map_err(anyhow::Error::from)
                .and_then(|applied| Ok(control::rebase(mount, applied)?));
            if let Err(error) = told {
                say(format_args!(
                    "the mount counts it as different still: {error:#}"
                ));
            }
        }
    }
    clash(&report, refused, "was")
}

/// Names what is applied, for an apply that goes on later.
pub fn name(entry: &MountEntry) -> String {
    let (major, minor) = entry.device;
    format!("{} (device {major}:{minor})", entry.mount_point.display())
}

/// The directory that everything was loaded from, if it is where it was.
pub fn source(delta: &Delta) -> Result<Root, Failure> {
    let path = delta.source.path.as_path();
    let root = Root::open(path).with_context(|| delta.source.path.to_string())?;
    let found = root.itself()?;
    match (found.dev, found.ino) == (delta.source.dev, delta.source.ino) {
        true => Ok(root),
        false => Err(anyhow!("{} is another directory now", delta.source.path).into()),
    }
}

fn made(delta: &Delta, report: &Report) -> Vec<Change> {
    let made = report.made.iter().map(|at| delta.changes[*at].clone());
    diff::worth_telling(&made.collect::<Vec<_>>())
}

/// Says what was in the way.
fn clash(report: &Report, refused: bool, was: &str) -> Outcome {
    for conflict in &report.conflicts {
        say(format_args!(
            "conflict: {}: {}",
            conflict.path, conflict.clash
        ));
    }
    match report.conflicts.len() {
        0 => Ok(ExitCode::SUCCESS),
        count if refused => Err(anyhow!(
            "nothing {was} written: {count} {} (--on-conflict skip|overwrite)",
            if count == 1 { "conflict" } else { "conflicts" }
        )
        .into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
