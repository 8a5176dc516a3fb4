//! Flags of a mount that are set after it was made: what makes it knows nothing of them.

use crate::transport::{Options, table};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_remount};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// How the kernel's table shows [`MountFlags::NOSYMFOLLOW`].
const NOSYMFOLLOW: &str = "nosymfollow";

/// Lets nobody follow symbolic links in the mount with the number `device` at `mount_point`, which was made with `options`
/// and is not served yet, so that nobody has followed one. Asks nothing of the mount.
pub(crate) fn forbid_links(
    mount_point: &Path,
    device: (u32, u32),
    options: &Options,
) -> io::Result<()> {
    // Whoever may rename a directory above could put another mount in this place.
    let held = openat(
        CWD,
        mount_point,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let cached = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let seen = statx(&held, c"", cached, StatxFlags::empty())?;
    if (seen.stx_dev_major, seen.stx_dev_minor) != device {
        return Err(Errno::STALE.into());
    }
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    mount_remount(&*path, MountFlags::BIND | flags(options), c"")?;
    let mounts = table::read()?;
    let ours = mounts.iter().rfind(|entry| entry.device == device);
    // Older kernels take the flag and do nothing about it.
    match ours.is_some_and(|entry| entry.flags.split(',').any(|flag| flag == NOSYMFOLLOW)) {
        true => Ok(()),
        false => Err(io::Error::other("nosymfollow takes Linux 5.10")),
    }
}

/// All flags of the mount: a remount clears those it does not name.
fn flags(options: &Options) -> MountFlags {
    [
        (options.read_only, MountFlags::RDONLY),
        (!options.suid, MountFlags::NOSUID),
        (!options.dev, MountFlags::NODEV),
        (options.noexec, MountFlags::NOEXEC),
        (true, MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .collect()
}
