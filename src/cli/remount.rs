//! `-o remount`: changing a live mount as mount(8) does.
//!
//! The flags are the kernel's, the limits the server's. Either all is changed or nothing.

use super::Outcome;
use super::fail::Failure;
use super::mount_options::MountOptions;
use super::stats::mount_at;
use anyhow::{Context, anyhow};
use norefs::control::{self, Change, Stats};
use norefs::transport::session::table::MountEntry;
use rustix::mount::MountFlags;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Changes the mount at `path` to what `asked` says.
pub fn run(path: &Path, asked: &MountOptions) -> Outcome {
    let shown = path.display();
    let (place, entry) = mount_at(path)?;
    let stats = control::stats(&entry).with_context(|| shown.to_string())?;
    check_fixed(asked, &stats)?;
    let limits = Change {
        max_bytes: asked.size,
        max_inodes: asked.inodes,
        // Only the kernel knows whether a file is open for writing.
        read_only: (!asked.read_only).then_some(false),
        ..Change::default()
    };
    control::set(&entry, limits).with_context(|| shown.to_string())?;
    if let Err(error) = place.remount(&entry, flags(asked, &stats)) {
        restore(&entry, &stats);
        return Err(anyhow!("cannot remount {shown}: {}", explained(&error)).into());
    }
    if asked.read_only {
        let change = Change {
            read_only: Some(true),
            ..Change::default()
        };
        control::set(&entry, change).with_context(|| shown.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_fixed(asked: &MountOptions, stats: &Stats) -> Result<(), Failure> {
    let mut fixed = asked.fixed.iter();
    match fixed.find(|option| !stats.options.contains(option)) {
        None => Ok(()),
        Some(option) => Err(Failure::usage(format!(
            "mount option {option} cannot be changed by a remount"
        ))),
    }
}

/// All flags of the mount: as tmpfs does, a remount clears those it does not name.
fn flags(asked: &MountOptions, stats: &Stats) -> MountFlags {
    // Its source may forbid what is the default, or asked for.
    let forbids = |flag: &str| stats.options.iter().any(|option| option == flag);

    [
        (asked.read_only, MountFlags::RDONLY),
        (!asked.suid || forbids("nosuid"), MountFlags::NOSUID),
        (!asked.dev || forbids("nodev"), MountFlags::NODEV),
        (asked.noexec, MountFlags::NOEXEC),
        (asked.nosymfollow, MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .collect()
}

fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ResourceBusy => {
            "a file is open for writing, or was removed and is open".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Gives the server back the limits it had.
fn restore(entry: &MountEntry, before: &Stats) {
    let change = Change {
        max_bytes: Some(before.max_bytes),
        max_inodes: Some(before.max_inodes),
        read_only: Some(before.read_only),
        ..Change::default()
    };
    if let Err(error) = control::set(entry, change) {
        tracing::warn!(%error, "the limits of before are not in force");
    }
}
