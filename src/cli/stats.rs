//! `norefs stats`

use super::fail::Failure;
use super::{Outcome, out, report};
use anyhow::{Context, anyhow};
use norefs::control;
use norefs::transport::session::place::Place;
use norefs::transport::session::table::MountEntry;
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

/// The norefs mount at `path`, and where that leads.
pub fn mount_at(path: &Path) -> Result<(Place, MountEntry), Failure> {
    let shown = path.display();
    let place = Place::find(path).with_context(|| shown.to_string())?;
    let entry = place.mounted()?.filter(MountEntry::is_norefs);
    let entry = entry.ok_or_else(|| anyhow!("{shown} is not a norefs mount"))?;
    Ok((place, entry))
}

pub fn run(args: Args) -> Outcome {
    let shown = args.mountpoint.display();
    let (_, entry) = mount_at(&args.mountpoint)?;
    let stats = control::stats(&entry).with_context(|| shown.to_string())?;
    let text = if args.json {
        serde_json::to_string(&stats)? + "\n"
    } else {
        format!(
            "{} from {}, pid {}, up {}, {} invalidations sent, {} files of the source stale
{}
{}
{}{}",
            stats.mountpoint,
            stats.source,
            stats.pid,
            report::age(&stats),
            stats.notifications,
            stats.stale,
            report::usage(&stats),
            report::carriage(&stats),
            report::warm(&stats),
            report::text(&stats.requests, &stats.outcomes, &stats.lookups),
        )
    };
    out::print(text)?;
    Ok(ExitCode::SUCCESS)
}
