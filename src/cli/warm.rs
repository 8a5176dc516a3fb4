//! Warming a mount: the option of `run` and `mount`, and the verb that does it in a process of its own.

use super::Outcome;
use super::fail::Failure;
use super::mount_options::MountOptions;
use norefs::transport::{Cache, MountHandle, Permissions};
use norefs::warm::{self, Warmer};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The verb, which people do not call.
const VERB: &str = "warm";

/// Fill the kernel's caches with what is in a mount
#[derive(clap::Args)]
pub struct Args {
    /// Its major device number
    major: u32,
    /// Its minor device number
    minor: u32,
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Only if unmounting succeeds meanwhile
    #[arg(long)]
    privately: bool,
}

pub fn run(args: Args) -> Outcome {
    let device = (args.major, args.minor);
    warm::run(&args.mountpoint, device, args.privately)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether to warm the mount: `asked` by an option of its own, or by a mount option, else `by_default` where it is of use.
pub fn wanted(
    asked: Option<bool>,
    by_default: bool,
    options: &MountOptions,
    cache: Cache,
) -> Result<bool, Failure> {
    let asked = asked.or(options.warm);
    let useless = match options.permissions {
        _ if cache.is_none() => "the kernel keeps nothing with cache none",
        Permissions::Daemon => "the kernel keeps no names with permissions=daemon",
        Permissions::Kernel => return Ok(asked.unwrap_or(by_default)),
    };
    match asked {
        Some(true) => Err(Failure::usage(format!("warming is of no use: {useless}"))),
        Some(false) | None => Ok(false),
    }
}

/// Begins to warm the mount. That it cannot be done is no failure. `privately`: others may unmount it.
pub fn start(handle: &MountHandle, privately: bool) -> Option<Warmer> {
    let (major, minor) = handle.device();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(VERB)
        .args(privately.then_some("--privately"))
        .args([major, minor].map(|number| number.to_string()))
        .arg(handle.mountpoint());
    match Warmer::start(command, (major, minor)) {
        Ok(warmer) => Some(warmer),
        Err(error) => {
            tracing::warn!(%error, "the mount is not warmed");
            None
        }
    }
}
