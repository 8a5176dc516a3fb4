//! `norefs prune`

use super::fail::say;
use super::{Outcome, kept, out};
use anyhow::Context;
use indicatif::BinaryBytes;
use norefs::layer::Kept;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Remove what was kept and is of no use: its source is gone, or it is old
#[derive(clap::Args)]
pub struct Args {
    /// Also what was kept longer ago than this, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = age)]
    older_than: Option<Duration>,
    /// Say what would be removed
    #[arg(long)]
    dry_run: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 12h or 30d".to_owned())
}

pub fn run(args: Args) -> Outcome {
    let mut failed = false;
    for (place, kept) in kept::all() {
        let Some(why) = why(&args, &kept) else {
            continue;
        };
        let removed = match args.dry_run {
            true => Ok(()),
            false => std::fs::remove_file(&place),
        };
        let shown = place.display();
        if let Err(error) = removed.with_context(|| shown.to_string()) {
            say(format_args!("{error:#}"));
            failed = true;
            continue;
        }
        let did = if args.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let bytes = BinaryBytes(kept.bytes().unwrap_or_default());
        out::print(format!("{did} {shown} ({bytes}): {why}\n"))?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Why it goes, if it does.
fn why(args: &Args, kept: &Kept) -> Option<String> {
    let source: PathBuf = kept.delta.source.path.as_path().to_owned();
    // What cannot be looked at may be there still.
    let gone = matches!(source.try_exists(), Ok(false));
    if gone {
        return Some(format!("{} is gone", kept.delta.source.path));
    }
    let old = args.older_than.filter(|most| kept::age(kept) > *most)?;
    let most = humantime::format_duration(old);
    Some(format!("kept longer ago than {most}"))
}
