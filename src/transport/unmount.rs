//! Taking a mount away: directly where allowed, through fusermount3 otherwise.

use crate::transport::table::{self, MountEntry};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Unmounts what is mounted at `mount_point`; `lazily`: takes it out of the tree now, it ends
/// when its last user has left. `EBUSY` if it is in use and not `lazily`.
pub fn unmount(mount_point: &Path, lazily: bool) -> io::Result<()> {
    let flags = match lazily {
        true => UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        false => UnmountFlags::NOFOLLOW,
    };
    match rustix::mount::unmount(mount_point, flags) {
        Err(Errno::PERM) => fusermount(mount_point, lazily),
        result => Ok(result?),
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
    let flags = UnmountFlags::FORCE | UnmountFlags::NOFOLLOW;
    match rustix::mount::unmount(&entry.mount_point, flags) {
        Err(Errno::BUSY) => Ok(()),
        result => Ok(result?),
    }
}

fn fusermount(mount_point: &Path, lazily: bool) -> io::Result<()> {
    let output = Command::new("fusermount3")
        .arg(if lazily { "-uz" } else { "-u" })
        .arg("--")
        .arg(mount_point)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    match text.contains("busy") {
        true => Err(Errno::BUSY.into()),
        false => Err(io::Error::other(one_line(&text))),
    }
}

/// Whether `entry` is a norefs mount whose server is gone.
pub fn is_dead(entry: &MountEntry) -> bool {
    // The kernel may still hold the root's attributes: it is made to ask.
    let asked = || {
        let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::SYMLINK_NOFOLLOW;
        statx(CWD, &entry.mount_point, flags, StatxFlags::BASIC_STATS)
    };
    // Aborted: the connection ended while it was asked.
    let ended = |errno| matches!(errno, Errno::NOTCONN | Errno::CONNABORTED);
    entry.is_norefs() && asked().is_err_and(ended)
}

/// Takes away dead norefs mounts at `mount_point`, an absolute path. Returns whether there was one.
pub fn remove_dead(mount_point: &Path) -> io::Result<bool> {
    let mut found = false;
    while let Some(entry) = table::top_at(mount_point)?
        && is_dead(&entry)
    {
        unmount(mount_point, true)?;
        found = true;
    }
    Ok(found)
}

/// The last line of a helper's error text, without the helper's name.
pub(crate) fn one_line(text: &str) -> String {
    let last = text.trim().lines().next_back().unwrap_or_default();
    let plain = last.split_once(": ").map_or(last, |(_, rest)| rest);
    plain.to_owned()
}
