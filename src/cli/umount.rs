//! `norefs umount`

use super::Outcome;
use super::fail::Failure;
use anyhow::Context;
use norefs::transport::{place::Place, unmount};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Unmount a norefs mount, served or dead
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Detach it even if it is in use; it ends when its last user has left
    #[arg(short, long)]
    lazy: bool,
}

pub fn run(args: Args) -> Outcome {
    let shown = args.mountpoint.display();
    let place = Place::find(&args.mountpoint).with_context(|| shown.to_string())?;
    let entry = place.mounted()?;
    if !entry.is_some_and(|entry| entry.is_norefs()) {
        return Err(Failure::from(anyhow::anyhow!(
            "{shown} is not a norefs mount"
        )));
    }
    if !unmount::remove_dead(&place)? {
        place
            .unmount(args.lazy)
            .map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => {
                    anyhow::anyhow!("{shown} is in use (--lazy detaches it all the same)")
                }
                _ => anyhow::anyhow!("cannot unmount {shown}: {error}"),
            })?;
    }
    Ok(ExitCode::SUCCESS)
}
