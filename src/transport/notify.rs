//! Telling the kernel that attributes it holds are stale.

use crate::transport::channel::Channel;
use crate::tree::NodeId;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Sends attribute-only invalidations. It does not keep the connection alive.
#[derive(Default)]
pub(crate) struct Invalidator {
    channel: OnceLock<Weak<Channel>>,
    sent: AtomicU64,
}

impl Invalidator {
    /// Gives the channel. Only the first one is kept.
    pub(crate) fn connect(&self, channel: &Arc<Channel>) {
        self.channel.get_or_init(|| Arc::downgrade(channel));
    }

    /// Makes the kernel drop the attributes of `id` and refuse older replies still on their way.
    ///
    /// Called after the change is committed and before its reply is written. A failure is
    /// harmless: the kernel does not hold the inode, or the mount has ended.
    pub(crate) fn attributes(&self, id: NodeId) {
        let Some(channel) = self.channel.get().and_then(Weak::upgrade) else {
            return;
        };
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = channel.invalidate(id) {
            tracing::debug!(node = id.raw(), %error, "attributes could not be invalidated");
        }
    }

    /// Makes the kernel write back and drop what it holds of `ranges` of `id`, and says whether it could be told.
    ///
    /// This waits for requests that others answer, so it needs a thread that nobody waits for.
    pub(crate) fn write_back(&self, id: NodeId, ranges: &[Range<u64>]) -> bool {
        let Some(channel) = self.channel.get().and_then(Weak::upgrade) else {
            return true;
        };
        ranges.iter().all(|range| {
            self.sent.fetch_add(1, Ordering::Relaxed);
            match channel.write_back(id, range) {
                // An inode that the kernel does not know has nothing to be written back.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(node = id.raw(), %error, "nothing could be written back");
                    false
                }
                _ => true,
            }
        })
    }

    /// Makes the kernel forget where a name leads. It waits for calls in the directory, whose requests others answer: for a thread
    /// that nobody waits for.
    pub(crate) fn name(&self, directory: NodeId, name: &[u8]) {
        let Some(channel) = self.channel.get().and_then(Weak::upgrade) else {
            return;
        };
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = channel.forget_name(directory, name)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(node = directory.raw(), %error, "a name could not be invalidated");
        }
    }

    /// How many invalidations were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
