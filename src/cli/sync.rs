//! `norefs sync` and `norefs refresh`

use super::Outcome;
use super::diff::below;
use super::stats::asked_at;
use anyhow::Context;
use norefs::control;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Wait until a mount shows what its source has now (-o follow)
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Look at this again as well, seen from the mount, whatever the system told of it
    path: Option<PathBuf>,
}

/// Look again at what a mount's source has, and wait until it is seen in the mount (-o follow)
#[derive(clap::Args)]
pub struct RefreshArgs {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// What to look at, with all below it, seen from the mount
    path: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    sync(&args.mountpoint, args.path.as_deref())
}

pub fn refresh(args: RefreshArgs) -> Outcome {
    sync(&args.mountpoint, Some(&args.path))
}

fn sync(at: &Path, path: Option<&Path>) -> Outcome {
    let entry = asked_at(at)?;
    let look = path.map(|path| below(at, path)).transpose()?;
    control::sync(&entry, look).with_context(|| at.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
