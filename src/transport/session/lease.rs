//! How others learn that a mount is served without asking it, which they could wait for for ever.
//!
//! As long as a mount is served a file in its owner's directory for such things is locked. Only where that file is found, tells
//! of this very mount and is not locked any more, the mount counts as dead: its server may also live where the file is not to
//! be seen. The lock goes with the process, however that ends.

use crate::transport::session::mount_point::Identity;
use crate::transport::session::runtime::{self, LENGTH_LIMIT, ignore_missing};
use crate::transport::session::table::MountEntry;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a lock holds.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    identity: Identity,
    /// The number of the mount namespace in which the mount was made.
    namespace: Option<u64>,
}

/// The locked file. It is removed when this is dropped, unless it is that of a later mount with the same number.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    file: File,
}

impl Lease {
    /// Says that the mount with this device number is served. Fails if no private directory can be had.
    pub(crate) fn take(device: (u32, u32), identity: Identity) -> io::Result<Lease> {
        let dir = runtime::directory()?;
        if let Err(error) = runtime::sweep(&dir) {
            tracing::debug!(%error, "files of mounts that have ended could not be swept");
        }
        Lease::take_in(&dir, device, identity)
    }

    fn take_in(dir: &Path, device: (u32, u32), identity: Identity) -> io::Result<Lease> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        let namespace = runtime::namespace();
        file.write_all(&serde_json::to_vec(&Told {
            identity,
            namespace,
        })?)?;
        // Before it can be found.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let path = dir.join(runtime::lock_name(device));
        let file = file.persist(&path)?;
        Ok(Lease { path, file })
    }

    /// Whether no later mount with the same number has put a file in place of this one.
    pub(crate) fn is_current(&self) -> bool {
        let mine = self.file.metadata().map(|file| (file.dev(), file.ino()));
        let there = std::fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        matches!((mine, there), (Ok(mine), Ok(there)) if mine == there)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_current()
            && let Err(error) = std::fs::remove_file(&self.path).or_else(ignore_missing)
        {
            tracing::debug!(%error, "the lock of the mount could not be removed");
        }
    }
}

/// Whether it is certain that nobody serves the norefs mount `entry`, which is `identity`, any more.
pub(crate) fn is_over(entry: &MountEntry, identity: Identity) -> bool {
    let owner = entry.owner.unwrap_or(0);
    let name = runtime::lock_name(entry.device);
    runtime::candidates(owner)
        .iter()
        .any(|dir| is_given_up(&dir.join(&name), owner, identity))
}

fn is_given_up(path: &Path, owner: u32, identity: Identity) -> bool {
    // Whatever is there may be what its owner likes.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()).map(File::from) else {
        return false;
    };
    let is_theirs = |file: &File| {
        let found = file.metadata();
        found.is_ok_and(|found| found.is_file() && found.uid() == owner)
    };
    let mut text = Vec::new();
    let read = |text: &mut Vec<u8>| (&file).take(LENGTH_LIMIT).read_to_end(text);
    if !is_theirs(&file) || read(&mut text).is_err() {
        return false;
    }
    let told: Option<Identity> = serde_json::from_slice(&text).ok();
    told.is_some_and(|told| told.is(identity))
        && flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: (u32, u32) = (9_999, 3);

    fn identity(unique: Option<u64>) -> Identity {
        Identity { id: 7, unique }
    }

    fn over(lock: &Path, identity: Identity) -> bool {
        is_given_up(lock, rustix::process::geteuid().as_raw(), identity)
    }

    #[test]
    fn only_a_lock_given_up_of_this_very_mount_tells_that_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join(runtime::lock_name(DEVICE));
        let mine = identity(Some(1 << 33));
        assert!(!over(&lock, mine), "nothing is known");
        let lease = Lease::take_in(dir.path(), DEVICE, mine).unwrap();
        assert!(!over(&lock, mine), "it is served");
        // As a process ends that is killed.
        let Lease { file, .. } = &lease;
        flock(file, FlockOperation::Unlock).unwrap();
        assert!(over(&lock, mine));
        assert!(over(&lock, identity(None)), "this kernel does not tell");
        assert!(!over(&lock, identity(Some(1))), "the number was used again");
        assert!(!over(
            &lock,
            Identity {
                id: 8,
                unique: None
            }
        ));
        assert!(!is_given_up(&lock, 12_345, mine), "somebody else wrote it");
    }

    #[test]
    fn nonsense_in_place_of_a_lock_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        for nonsense in ["", "{}", "null", "{\"id\":-1,\"unique\":null}", "[7,null"] {
            std::fs::write(&lock, nonsense).unwrap();
            assert!(!over(&lock, identity(None)), "{nonsense}");
        }
        std::fs::remove_file(&lock).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &lock,
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        assert!(!over(&lock, identity(None)));
    }

    #[test]
    fn a_lock_leaves_that_of_its_successor_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lease::take_in(dir.path(), DEVICE, identity(None)).unwrap();
        assert!(first.is_current());
        let second = Lease::take_in(dir.path(), DEVICE, identity(None)).unwrap();
        assert!(!first.is_current() && second.is_current());
        drop(first);
        assert!(second.is_current());
        drop(second);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
