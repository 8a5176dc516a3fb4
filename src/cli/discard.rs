//! `norefs discard`

use super::stats::mount_at;
use super::{Outcome, kept, umount};
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;

/// Throw away what was kept, or end a mount with all that differs there
#[derive(clap::Args)]
pub struct Args {
    /// Where it was kept, or is mounted
    kept: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    if mount_at(&args.kept).is_ok() {
        return umount::run(umount::Args::discarding(args.kept));
    }
    let (at, _) = kept::read(&args.kept)?;
    std::fs::remove_file(&at).with_context(|| at.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
