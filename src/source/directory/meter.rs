//! How much was read of a source, and how long that took.

use crate::fs::Reading;
use rustix::io::Result;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Meter {
    bytes: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// Counts the bytes that `read` says it has read.
    pub(super) fn measure(&self, read: impl FnOnce() -> Result<usize>) -> Result<usize> {
        let began = Instant::now();
        let read = read();
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(took, Relaxed);
        self.bytes
            .fetch_add(*read.as_ref().unwrap_or(&0) as u64, Relaxed);
        read
    }

    pub(super) fn total(&self) -> Reading {
        Reading {
            bytes: self.bytes.load(Relaxed),
            nanos: self.nanos.load(Relaxed),
        }
    }
}
