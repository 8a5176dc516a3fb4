//! `norefs stats`

use super::fail::Failure;
use super::{Outcome, out, report};
use anyhow::{Context, anyhow};
use norefs::control;
use norefs::transport::table::{self, MountEntry};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show the counters of a live mount
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The norefs mount at `path`.
pub fn mount_at(path: &Path) -> Result<MountEntry, Failure> {
    let shown = path.display();
    let path = table::absolute(path).with_context(|| shown.to_string())?;
    let entry = table::top_at(&path)?.filter(|entry| entry.is_norefs());
    Ok(entry.ok_or_else(|| anyhow!("{shown} is not a norefs mount"))?)
}

pub fn run(args: Args) -> Outcome {
    let shown = args.mountpoint.display();
    let entry = mount_at(&args.mountpoint)?;
    let stats = control::stats(&entry).with_context(|| shown.to_string())?;
    let text = if args.json {
        serde_json::to_string(&stats)? + "\n"
    } else {
        format!(
            "{} from {}, pid {}, up {}, {} invalidations sent, {} files of the source stale
{}
{}
{}",
            stats.mountpoint,
            stats.source,
            stats.pid,
            report::age(&stats),
            stats.notifications,
            stats.stale,
            report::usage(&stats),
            report::carriage(&stats),
            report::text(&stats.requests, &stats.outcomes),
        )
    };
    out::print(text)?;
    Ok(ExitCode::SUCCESS)
}
