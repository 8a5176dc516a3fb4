//! Taking a mount away: directly where allowed, through fusermount3 otherwise. What is mounted is never asked.

use crate::transport::session::lease::{self, Lease};
use crate::transport::session::mount_point::{Identity, MountPoint};
use crate::transport::session::table::{self, MountEntry};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::io;

/// Unmounts the mount that `entry` tells of, and no other: `ENOENT` or `ELOOP` if it is not to be seen where the table had it.
/// `lazily` and other errors are as of [`MountPoint::unmount`].
pub fn unmount(entry: &MountEntry, lazily: bool) -> io::Result<()> {
    place_of(entry)?.unmount(lazily)
}

/// Where `entry` is to be seen.
fn place_of(entry: &MountEntry) -> io::Result<MountPoint> {
    let place = MountPoint::exact(&entry.mount_point)?;
    let seen = place.mounted()?;
    match seen.is_some_and(|seen| seen.id == entry.id && seen.device == entry.device) {
        true => Ok(place),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Ends the connection of the norefs mount with the number `device`: whoever waits for an answer, or asks from now on, gets
/// an error. Needs the kernel's directory of connections (fusectl), or root.
pub(crate) fn abort((major, minor): (u32, u32)) -> io::Result<()> {
    // Devices without a major number, as those of FUSE mounts are, are named by their minor.
    let switch = format!("/sys/fs/fuse/connections/{}/abort", major << 20 | minor);
    if std::fs::write(switch, "1").is_ok() {
        return Ok(());
    }
    let mounts = table::read()?;
    let ours = |entry: &&MountEntry| entry.is_norefs() && entry.device == (major, minor);
    let entry = mounts.iter().rfind(ours).ok_or(io::ErrorKind::NotFound)?;
    // Ends the connection (`fuse_umount_begin`) before it finds the mount in use.
    match place_of(entry)?.unmount_with(UnmountFlags::FORCE) {
        Err(Errno::BUSY) => Ok(()),
        result => Ok(result?),
    }
}

/// Takes away dead norefs mounts at `place`. Returns whether there was one.
pub fn remove_dead(place: &MountPoint) -> io::Result<bool> {
    let mut found = false;
    while let Some(entry) = place.mounted()?
        && entry.is_norefs()
        && lease::is_over(&entry, place.identity(&entry))
    {
        place.unmount(true)?;
        found = true;
    }
    Ok(found)
}

/// What is left of a mount whose connection has ended: everything with its number, as long as the mount itself is still to be
/// seen. A connection that was aborted leaves it behind.
pub(crate) fn remove_remains(
    device: (u32, u32),
    identity: Identity,
    lease: Option<&Lease>,
) -> io::Result<()> {
    // A later mount may have all of our numbers where the kernel tells no unique one.
    if identity.unique.is_none() && !lease.is_some_and(Lease::is_current) {
        return Ok(());
    }
    let mounts = table::read()?;
    let same = |entry: &&MountEntry| entry.is_norefs() && entry.device == device;
    // Of this process's own mount the kernel tells all that it told before. If it tells less, that is the mount of another user,
    // who does not let this one in, and who was given our numbers once they were free.
    let itself =
        |entry: &MountEntry| place_of(entry).is_ok_and(|place| place.identity(entry) == identity);
    if !mounts.iter().filter(same).any(itself) {
        return Ok(());
    }
    mounts
        .iter()
        .rev()
        .filter(same)
        .try_for_each(|entry| unmount(entry, true))
}
