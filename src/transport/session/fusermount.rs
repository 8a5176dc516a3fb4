//! fusermount3, which mounts and unmounts for ordinary users.

use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Unmounts `mount_point`; `lazily` takes it out of the tree now. `EBUSY` if it is in use.
pub(crate) fn fusermount(mount_point: &Path, lazily: bool) -> io::Result<()> {
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

/// The last line of a helper's error text, without the helper's name.
pub(crate) fn one_line(text: &str) -> String {
    let last = text.trim().lines().next_back().unwrap_or_default();
    let plain = last.split_once(": ").map_or(last, |(_, rest)| rest);
    plain.to_owned()
}
