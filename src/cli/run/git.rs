//! Where git would write that is asked to work in a copy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository of the working tree that `directory` is in, as git finds it. `None` without git, and where it finds none.
pub fn repository(directory: &Path) -> Option<PathBuf> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["rev-parse", "--git-common-dir"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let path = output.stdout.strip_suffix(b"\n")?;
    directory.join(OsStr::from_bytes(path)).canonicalize().ok()
}
