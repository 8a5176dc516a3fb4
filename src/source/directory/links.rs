//! Hard links: which inodes of the source that have several names are loaded already.

use super::names::Place;
use crate::tree::NodeId;
use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::Statx;
use std::collections::HashMap;

/// Names an inode of the source: device and inode number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    device: (u32, u32),
    inode: u64,
}

impl Key {
    pub(super) fn of(stat: &Statx) -> Key {
        Key {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
        }
    }
}

/// One part of the map: which inode was loaded, and where the name stands that it was loaded by.
pub(super) type Shard = HashMap<Key, (NodeId, Place), RandomState>;

/// Source inode to loaded inode, for inodes with more than one name.
pub(super) struct Links(Box<[Mutex<Shard>]>);

impl Links {
    const SHARDS: u64 = 64;

    pub(super) fn new() -> Links {
        Links((0..Links::SHARDS).map(|_| Mutex::default()).collect())
    }

    /// The part that holds `key`, locked: whoever finds an inode missing loads it and enters it
    /// before another thread can look.
    pub(super) fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        self.0[(key.inode % Links::SHARDS) as usize].lock()
    }
}
