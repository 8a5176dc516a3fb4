//! `norefs set`

use super::stats::asked_at;
use super::{Outcome, quantity, tree};
use anyhow::Context;
use norefs::control::{self, Change};
use norefs::transport::Cache;
use std::path::PathBuf;
use std::process::ExitCode;

/// Change limits of a live mount, and what the kernel keeps of it
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Bytes of file data at most, such as 512m, 4g or 50% of memory; 0: no limit
    #[arg(long, value_name = "SIZE", value_parser = size, group = "change")]
    size: Option<u64>,
    /// Inodes at most, such as 1000000 or 10m; 0: no limit
    #[arg(long, value_name = "N", value_parser = count, group = "change")]
    inodes: Option<u64>,
    /// Refuse every change
    #[arg(long, group = "change", conflicts_with = "read_write")]
    read_only: bool,
    /// Allow changes again
    #[arg(long, group = "change")]
    read_write: bool,
    /// How long the kernel keeps what it is told from now on: forever, none, or a duration such as 1s
    #[arg(long, group = "change")]
    cache: Option<Cache>,
}

fn size(text: &str) -> Result<u64, &'static str> {
    quantity::size(text, tree::memory()).ok_or("expected a size such as 512m, 4g or 50%")
}

fn count(text: &str) -> Result<u64, &'static str> {
    quantity::inodes(text).ok_or("expected a number such as 1000000 or 10m")
}

pub fn run(args: Args) -> Outcome {
    let entry = asked_at(&args.mountpoint)?;
    let change = Change {
        max_bytes: args.size,
        max_inodes: args.inodes,
        read_only: (args.read_only || args.read_write).then_some(args.read_only),
        cache: args.cache,
        ..Change::default()
    };
    control::set(&entry, change).with_context(|| args.mountpoint.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
