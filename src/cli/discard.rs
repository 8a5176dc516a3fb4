//! `norefs discard`

use super::stats::mount_at;
use super::{Outcome, umount};
use anyhow::{Context, anyhow};
use norefs::apply::Kept;
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
    let shown = args.kept.display().to_string();
    match Kept::read(&args.kept).with_context(|| shown.clone())? {
        Some(_) => Kept::discard(&args.kept).with_context(|| shown)?,
        None => return Err(anyhow!("{shown}: nothing was kept there").into()),
    }
    Ok(ExitCode::SUCCESS)
}
