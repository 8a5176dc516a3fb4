//! `norefs stats`

use super::fail::Failure;
use super::{Outcome, out, report, watch};
use anyhow::{Context, anyhow};
use norefs::control;
use norefs::transport::session::mount_point::MountPoint;
use norefs::transport::session::table::{self, MountEntry};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long each of several servers may take to say where its mount is to be seen.
const PATIENCE: Duration = Duration::from_secs(1);

/// Show the counters of a live mount
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print a line for each second, or each DURATION, with what came in it; with --json an object each
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(value_parser = watch::interval)]
    watch: Option<Duration>,
}

/// The norefs mount at `path`, and where that leads.
pub fn mount_at(path: &Path) -> Result<(MountPoint, MountEntry), Failure> {
    let shown = path.display();
    let place = MountPoint::find(path).with_context(|| shown.to_string())?;
    let entry = place.mounted()?.filter(MountEntry::is_norefs);
    let entry = entry.ok_or_else(|| anyhow!("{shown} is not a norefs mount"))?;
    Ok((place, entry))
}

/// The norefs mount at `path`, or the one that a run shows its command there.
pub fn asked_at(path: &Path) -> Result<MountEntry, Failure> {
    let failure = match mount_at(path) {
        Ok((_, entry)) => return Ok(entry),
        Err(failure) => failure,
    };
    let is_there = |entry: &MountEntry| {
        let stats = control::stats_within(entry, PATIENCE).ok();
        let path = path.canonicalize().ok();
        stats.is_some_and(|stats| path.as_deref() == Some(Path::new(&stats.mountpoint)))
    };
    let seen = table::read().unwrap_or_default();
    let elsewhere = control::elsewhere(&seen, geteuid().as_raw());
    elsewhere.into_iter().find(is_there).ok_or(failure)
}

pub fn run(args: Args) -> Outcome {
    let shown = args.mountpoint.display();
    let entry = asked_at(&args.mountpoint)?;
    if let Some(every) = args.watch {
        let watched = watch::watch(&entry, every, args.json);
        return watched.map(|()| ExitCode::SUCCESS);
    }
    let stats = control::stats(&entry).with_context(|| shown.to_string())?;
    let text = if args.json {
        serde_json::to_string(&stats)? + "\n"
    } else {
        report::whole(&stats)
    };
    out::print(text)?;
    Ok(ExitCode::SUCCESS)
}
