//! norefs as it is installed, where mount(8) finds it.

use crate::Scratch;
use crate::daemon::binary;
use std::os::unix::fs::symlink;
use std::process::Command;

/// Lays the directory `$1` over that of the programs for root, and becomes the command that follows.
const SCRIPT: &str =
    "mount -t overlay -o lowerdir=\"$1\":/sbin overlay /sbin && shift && exec \"$@\"";

/// A command to be completed by a program and its arguments. They run in a mount namespace of their own, in which `/sbin`
/// has norefs by each of `names` as well. Mounts made before are there too; `scratch` must outlive the command.
///
/// mount(8) clears `PATH`, so that no other directory would do.
pub fn installed(names: &[&str], scratch: &Scratch) -> Command {
    let layer = scratch.join("sbin");
    if !layer.exists() {
        std::fs::create_dir(&layer).unwrap();
        for name in names {
            symlink(binary(), layer.join(name)).unwrap();
        }
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(layer);
    command
}
