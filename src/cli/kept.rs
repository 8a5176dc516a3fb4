//! Where differences are kept, and throwing them away: `norefs discard`

use super::Outcome;
use super::fail::Failure;
use anyhow::{Context, anyhow};
use norefs::apply::Kept;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Throw away what was kept of a run
#[derive(clap::Args)]
pub struct Args {
    /// Where it was kept
    kept: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let shown = args.kept.display().to_string();
    match Kept::read(&args.kept).with_context(|| shown.clone())? {
        Some(_) => Kept::discard(&args.kept).with_context(|| shown)?,
        None => return Err(anyhow!("{shown}: nothing was kept there").into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// A new place for what differs from the directory `source`, among this user's state.
pub fn place(source: &Path) -> Result<PathBuf, Failure> {
    let state = dirs::state_dir().ok_or_else(|| anyhow!("there is no home to keep it in"))?;
    let kept = state.join("norefs/kept");
    std::fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
    let name = source.file_name().unwrap_or_default();
    let new = |number: u32| {
        let mut name = name.to_owned();
        name.push(format!("-{number}"));
        kept.join(name)
    };
    let free = (1..).map(new).find(|place| !place.exists());
    free.ok_or_else(|| anyhow!("{} is full", kept.display()).into())
}
