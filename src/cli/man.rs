//! `norefs man`

use super::{Cli, Outcome};
use anyhow::Context;
use clap::CommandFactory;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the manual pages into a directory
#[derive(clap::Args)]
pub struct Args {
    /// Where they go; it must exist
    directory: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let shown = args.directory.display();
    clap_mangen::generate_to(Cli::command(), &args.directory).with_context(|| shown.to_string())?;
    Ok(ExitCode::SUCCESS)
}
