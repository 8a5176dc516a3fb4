//! `norefs fork`
//!
//! The mount is made here, as this user and in this process's mount namespace, and sync(2)ed is what the kernel holds of the one that is
//! forked. Then the process that serves that one is given the descriptor, and copies itself (`serve/fork.rs`).

use super::Outcome;
use super::fail::{Failure, not_mounted};
use super::stats::mount_at;
use anyhow::{Context, anyhow};
use norefs::control;
use norefs::transport::session::mount_point::MountPoint;
use norefs::transport::session::table::MountEntry;
use norefs::transport::session::{self, Unserved};
use rustix::fs::{Mode, OFlags, open, syncfs};
use rustix::process::geteuid;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a further mount that begins with all that is in another one, and goes its own way from there
#[derive(clap::Args)]
#[command(after_help = DETAILS)]
pub struct Args {
    /// Where the other one is mounted
    mountpoint: PathBuf,
    /// Where to mount the fork
    new: PathBuf,
}

const DETAILS: &str = "\
The fork has the state of one instant, with what differs from the source (norefs diff, norefs apply), and the options of the \
mount. A process of its own serves it; both share memory until one of them changes something.";

pub fn run(args: Args) -> Outcome {
    let place = session::prepare(&args.new)?;
    make(&args.mountpoint, place, None)?;
    Ok(ExitCode::SUCCESS)
}

/// Forks the mount at `path`, to `place`. The fork is to be seen at `shown`, if not there.
pub fn make(path: &Path, place: MountPoint, shown: Option<&Path>) -> Result<MountEntry, Failure> {
    let (_, entry) = mount_at(path)?;
    let context = || path.display().to_string();
    if entry.owner.unwrap_or(0) != geteuid().as_raw() {
        return Err(anyhow!("{}: only its owner can fork it", context()).into());
    }
    let (fork, like) = control::fork(&entry).with_context(context)?;
    let mount = session::make(place, &like.options, like.permissions).map_err(not_mounted)?;
    let served = sync(path)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(fork.serve(&mount, shown)?));
    match served {
        Ok(()) => Ok(mount.entry().clone()),
        Err(error) => {
            Unserved::take_back(mount);
            Err(error.context(context()).into())
        }
    }
}

/// Has the kernel write back what was stored through memory maps.
fn sync(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(syncfs(open(path, flags, Mode::empty())?)?)
}
