//! Files of the source that are kept open between reads, and what was seen of them.

use super::identity::Device;
use super::names::Place;
use ahash::RandomState;
use parking_lot::Mutex;
use rustix::fs::Statx;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A file that was the recorded one when it was opened.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) changed: Changed,
}

/// What a file said of itself when its name was followed.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) device: Device,
    pub(super) size: u64,
    pub(super) changed: Changed,
}

impl OpenFile {
    pub(super) fn new(fd: Arc<OwnedFd>, stat: &Statx) -> OpenFile {
        OpenFile {
            fd,
            changed: Changed::of(stat),
        }
    }
}

/// When an inode changed last (ctime).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed(i64, u32);

impl Changed {
    pub(super) fn of(stat: &Statx) -> Changed {
        Changed(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
    }
}

/// What an open file turns out to be.
pub(super) enum Look {
    /// The recorded file.
    Same,
    /// The recorded file, but its inode changed since it was opened: its name may lead elsewhere now.
    Touched,
    /// One with other content.
    Other,
}

type Slot = Mutex<Option<(Place, OpenFile)>>;

/// Files kept open between reads: a fixed number of slots, each for the file read last of those it
/// may hold.
pub(super) struct OpenFiles {
    slots: Box<[Slot]>,
    key: RandomState,
}

impl OpenFiles {
    const MOST: u64 = 256;

    /// At most a quarter of the descriptors the process may have.
    pub(super) fn new() -> OpenFiles {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let slots = (limit.current.unwrap_or(u64::MAX) / 4).clamp(1, OpenFiles::MOST);
        OpenFiles {
            slots: (0..slots).map(|_| Mutex::default()).collect(),
            key: RandomState::new(),
        }
    }

    fn slot(&self, place: Place) -> &Slot {
        &self.slots[(self.key.hash_one(place) % self.slots.len() as u64) as usize]
    }

    pub(super) fn get(&self, place: Place) -> Option<OpenFile> {
        let slot = self.slot(place).lock();
        let (held, file) = slot.as_ref()?;
        (*held == place).then(|| file.clone())
    }

    pub(super) fn put(&self, place: Place, file: OpenFile) {
        let before = self.slot(place).lock().replace((place, file));
        drop(before);
    }

    pub(super) fn drop(&self, place: Place) {
        let before = self.slot(place).lock().take_if(|(held, _)| *held == place);
        drop(before);
    }
}
