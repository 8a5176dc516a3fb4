//! The private directory a run mounts at, and what runs that were killed left behind.
//!
//! A run holds a lock on a file in its directory as long as it lives. So whoever gets that lock
//! knows that the run is dead, without asking the mount, which would hang if the run were only
//! stopped.

use norefs::transport::session::table::{self, MountEntry};
use norefs::transport::session::unmount::unmount;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "norefs-";
const LOCK: &str = "lock";
const UNFINISHED: &str = "lock.new";
const TREE: &str = "tree";
const MODE: u32 = 0o700;
/// The source of a tmpfs that is mounted at a private directory. Only root can have one.
pub const TMPFS: &str = "norefs-bench";

/// Where a private directory may be if fusermount3 may not mount where temporary files go: in the user's runtime directory.
pub fn instead() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|runtime| runtime.is_absolute() && *runtime != std::env::temp_dir())
}

/// A directory that only this user can enter. It is removed when this is dropped, unless something is in it:
/// the command may have mounted something else in place of its tree, whose files are not ours to delete.
#[derive(Debug)]
pub struct Private {
    directory: PathBuf,
    _lock: File,
}

impl Private {
    /// Makes one where temporary files go.
    pub fn new() -> io::Result<Private> {
        Private::below(&std::env::temp_dir())
    }

    /// Makes one in the directory `above`.
    pub fn below(above: &Path) -> io::Result<Private> {
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(above)?;
        // Whoever finds a lock that is not held removes it.
        let unfinished = directory.path().join(UNFINISHED);
        let lock = File::create_new(&unfinished)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::rename(unfinished, directory.path().join(LOCK))?;
        std::fs::create_dir(directory.path().join(TREE))?;
        Ok(Private {
            directory: directory.keep(),
            _lock: lock,
        })
    }

    /// Where to mount.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.join(TREE)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            let path = self.directory.display();
            tracing::warn!(%error, %path, "the private directory stays");
        }
    }
}

/// Removes a private directory at which nothing is mounted any more.
fn remove(directory: &Path) -> io::Result<()> {
    std::fs::remove_dir(directory.join(TREE))?;
    std::fs::remove_file(directory.join(LOCK))?;
    std::fs::remove_dir(directory)
}

/// Takes away the mounts of this user's runs that were killed, with their directories.
pub fn sweep() {
    let user = rustix::process::geteuid().as_raw();
    let mounts = table::read().unwrap_or_default();
    let ours = |entry: &&MountEntry| match entry.owner {
        Some(owner) => entry.is_norefs() && owner == user,
        None => entry.source == TMPFS && user == 0,
    };
    for entry in mounts.iter().filter(ours) {
        if let Some(directory) = left_behind(&entry.mount_point)
            && let Err(error) = unmount(entry, true).and_then(|()| remove(&directory))
        {
            let path = directory.display();
            tracing::warn!(%error, %path, "what a killed run left behind stays");
        }
    }
    if let Err(error) = sweep_directories() {
        tracing::debug!(%error, "a directory that a killed run left behind stays");
    }
}

/// Removes the directories of this user's runs that were killed and whose mounts went with their namespace.
fn sweep_directories() -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(std::env::temp_dir())?;
    let more = instead().map(std::fs::read_dir);
    for entry in entries
        .chain(more.into_iter().flatten().flatten())
        .flatten()
    {
        let found = entry.metadata();
        let private = found.is_ok_and(|found| {
            found.is_dir() && found.uid() == user && found.mode() & 0o7777 == MODE
        });
        if private
            && let Some(directory) = left_behind(&entry.path().join(TREE))
            && let Err(error) = remove(&directory)
        {
            let path = directory.display();
            tracing::debug!(%error, %path, "what a killed run left behind stays");
        }
    }
    Ok(())
}

/// The private directory of a run that is dead, if that is what is mounted here.
fn left_behind(mount_point: &Path) -> Option<PathBuf> {
    let directory = mount_point.parent()?;
    let name = directory.file_name()?.to_str()?;
    if mount_point.file_name()? != TREE || !name.starts_with(PREFIX) {
        return None;
    }
    let lock = File::open(directory.join(LOCK)).ok()?;
    let dead = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    dead.then(|| directory.to_owned())
}
