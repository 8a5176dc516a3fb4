//! fusermount3, which mounts and unmounts for ordinary users.

use crate::host::descriptor;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "fusermount3";
/// Says which one to use.
const VARIABLE: &str = "FUSERMOUNT_PATH";
/// Looked at after those that `PATH` names.
const USUAL: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
const SET_USER_ID: u32 = 0o4000;

/// A program of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fusermount {
    /// Where it was found.
    pub path: PathBuf,
    /// Whether it is root's and its set-user-id bit counts where it lies. Without that it mounts nothing for an ordinary user.
    pub gets_rights: bool,
}

/// All that there are, in the order in which they are looked for; one that is found by several paths counts once.
pub fn all() -> Vec<Fusermount> {
    let named = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&named).chain(USUAL.map(PathBuf::from));
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for path in directories.map(|directory| directory.join(NAME)) {
        let Ok(file) = std::fs::metadata(&path) else {
            continue;
        };
        let number = (file.dev(), file.ino());
        if !file.is_file() || seen.contains(&number) {
            continue;
        }
        seen.push(number);
        let counts =
            statvfs(&path).is_ok_and(|there| !there.f_flag.contains(StatVfsMountFlags::NOSUID));
        found.push(Fusermount {
            gets_rights: file.uid() == 0 && file.mode() & SET_USER_ID != 0 && counts,
            path,
        });
    }
    found
}

/// The one that is used: the first that gets root's rights. Another one of the name may come before it in `PATH`.
pub fn chosen() -> Option<Fusermount> {
    let mut all = all();
    let best = all.iter().position(|one| one.gets_rights).unwrap_or(0);
    (best < all.len()).then(|| all.swap_remove(best))
}

/// Whether this process may gain rights by a program at all, as it may not under `no_new_privs`.
pub fn may_gain_rights() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    !status.lines().any(|line| line == "NoNewPrivs:\t1")
}

/// Whether an ordinary user has somebody to mount.
pub fn works() -> bool {
    // In a user namespace without root its owner is nobody.
    may_gain_rights() && chosen().is_some_and(|one| one.gets_rights)
}

/// The one that is used, or what it is called. Whoever names one in `FUSERMOUNT_PATH` has chosen.
fn program() -> PathBuf {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let found = || chosen().map_or(PathBuf::from(NAME), |one| one.path);
    named.unwrap_or_else(found)
}

/// Mounts at `mount_point` with `options`, a comma list, and gives the descriptor through which the mount is to be served.
pub(crate) fn mount(mount_point: &Path, options: &str) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(program())
        .args(["-o", options, "--"])
        .arg(mount_point)
        .env("LC_ALL", "C")
        // The socket is its standard input.
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let device = descriptor::receive(&ours);
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => device,
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
    }
}

/// Unmounts `mount_point`; `lazily` takes it out of the tree now. `EBUSY` if it is in use.
pub(crate) fn fusermount(mount_point: &Path, lazily: bool) -> io::Result<()> {
    let output = Command::new(program())
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
