//! Telling the kernel that attributes it holds are stale.

use crate::transport::wire;
use crate::tree::NodeId;
use fuser::Notifier;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Offset that says: attributes only, no page is dropped and no inode lock is taken.
const ATTRIBUTES_ONLY: i64 = -1;

/// Sends attribute-only invalidations. It has a channel once the session has been made.
#[derive(Default)]
pub(crate) struct Invalidator {
    notifier: OnceLock<Notifier>,
    sent: AtomicU64,
}

impl Invalidator {
    /// Gives the channel. Only the first one is kept.
    pub(crate) fn connect(&self, notifier: Notifier) {
        self.notifier.get_or_init(|| notifier);
    }

    /// Makes the kernel drop the attributes of `id` and refuse older replies still on their way.
    ///
    /// Called after the change is committed and before its reply is written. A failure is
    /// harmless: the kernel does not hold the inode, or the mount has ended.
    pub(crate) fn attributes(&self, id: NodeId) {
        let Some(notifier) = self.notifier.get() else {
            return;
        };
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = notifier.inval_inode(wire::ino(id), ATTRIBUTES_ONLY, 0) {
            tracing::debug!(node = id.raw(), %error, "attributes could not be invalidated");
        }
    }

    /// How many invalidations were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
