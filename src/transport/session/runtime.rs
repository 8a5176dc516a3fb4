//! Where the sockets and locks of mounts live: a directory of their owner that nobody else can enter.

use crate::transport::session::table;
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use serde::Deserialize;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const SOCKET: &str = ".sock";
const LOCK: &str = ".lock";

/// What a lock may hold at most, in bytes.
pub(crate) const LENGTH_LIMIT: u64 = 256;

/// The directories in which a mount of `owner` may keep its socket, best first.
pub(crate) fn candidates(owner: u32) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let own = geteuid().as_raw() == owner;
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if own && owner != 0 && Path::new(&dir).is_absolute() => {
            dirs.push(Path::new(&dir).join("norefs"));
        }
        _ => {}
    }
    match owner {
        0 => dirs.push(PathBuf::from("/run/norefs")),
        _ => dirs.push(PathBuf::from(format!("/run/user/{owner}/norefs"))),
    }
    dirs.push(PathBuf::from(format!("/tmp/norefs-{owner}")));
    dirs
}

/// The file name of a mount's socket: the mount's device number, which no two mounts share.
pub(crate) fn socket_name((major, minor): (u32, u32)) -> String {
    format!("{major}-{minor}{SOCKET}")
}

/// The file name of a mount's lock.
pub(crate) fn lock_name((major, minor): (u32, u32)) -> String {
    format!("{major}-{minor}{LOCK}")
}

/// The device numbers of the mounts of `owner` that have a socket, whether or not anybody listens there.
pub(crate) fn devices(owner: u32) -> Vec<(u32, u32)> {
    let directories = candidates(owner).into_iter();
    let entries = directories.filter_map(|directory| fs::read_dir(directory).ok());
    let names = entries.flatten().flatten().map(|entry| entry.file_name());
    let devices = names.filter_map(|name| {
        let (major, minor) = name.to_str()?.strip_suffix(SOCKET)?.split_once('-')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    devices.collect()
}

/// Makes the first directory that can be had and is private to this user.
pub(crate) fn directory() -> io::Result<PathBuf> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for dir in candidates(geteuid().as_raw()) {
        match make_private(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn make_private(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(dir)?;
    let private = found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    match found.is_dir() && private {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a private directory of this user", dir.display()),
        )),
    }
}

/// The number of this process's mount namespace; `None` without `/proc`.
pub(crate) fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/mnt")
        .ok()
        .map(|file| file.ino())
}

/// What a lock says of where its mount is to be seen.
#[derive(Deserialize)]
struct Seen {
    namespace: Option<u64>,
}

/// Whether the mount of the lock at `path` may be seen in another mount namespace alone.
fn is_of_another_namespace(path: &Path) -> bool {
    let text = File::open(path).and_then(|file| io::read_to_string(file.take(LENGTH_LIMIT)));
    let seen = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    seen.is_some_and(|seen: Seen| seen.namespace.is_some() && seen.namespace != namespace())
}

/// Removes sockets and locks in `dir` whose mount is gone and that nobody listens on or holds. A lock of another mount
/// namespace stays: the dead mount that it tells of may be there still.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    let mounts = table::read()?;
    let names = |device| [socket_name(device), lock_name(device)];
    let live: Vec<String> = mounts.iter().flat_map(|m| names(m.device)).collect();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let ends_with = |suffix| name.to_str().is_some_and(|name| name.ends_with(suffix));
        let mounted = live.iter().any(|live| **live == *name);
        let left = || match (ends_with(SOCKET), ends_with(LOCK)) {
            (true, _) => UnixStream::connect(entry.path()).is_err(),
            (_, true) => File::open(entry.path())
                .is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockShared).is_ok()),
            _ => false,
        };
        if !mounted && left() && !(ends_with(LOCK) && is_of_another_namespace(&entry.path())) {
            fs::remove_file(entry.path()).or_else(ignore_missing)?;
        }
    }
    Ok(())
}

pub(crate) fn ignore_missing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make_private(&open).is_err());
        let link = dir.path().join("link");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        assert!(make_private(&link).is_err());
        assert!(make_private(&open).is_ok());
        assert!(make_private(&dir.path().join("new")).is_ok());
    }

    #[test]
    fn what_nobody_holds_is_swept_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join(socket_name((9_999, 1)));
        let _listener = std::os::unix::net::UnixListener::bind(&live).unwrap();
        let dead = dir.path().join(socket_name((9_999, 2)));
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        fs::write(dir.path().join("other"), "").unwrap();
        let held = dir.path().join(lock_name((9_999, 3)));
        let lock = File::create(&held).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let given_up = dir.path().join(lock_name((9_999, 4)));
        fs::write(&given_up, "").unwrap();
        let elsewhere = dir.path().join(lock_name((9_999, 5)));
        fs::write(&elsewhere, r#"{"id":7,"unique":null,"namespace":1}"#).unwrap();
        sweep(dir.path()).unwrap();
        assert!(live.exists() && held.exists() && elsewhere.exists());
        assert!(!dead.exists() && !given_up.exists());
        assert!(dir.path().join("other").exists());
    }
}
