//! What the threads that serve a mount share.

use crate::fs::{self, Changed, Committed, Fs, Result};
use crate::transport::notify::Invalidator;
use crate::transport::passthrough::Passthrough;
use crate::transport::requests::RequestMetrics;
use crate::transport::wire::{Agreed, EntryOut};
use crate::transport::{Cache, Options, Permissions};
use crate::tree::{Attr, Entry, NodeId};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the threads that serve a mount share.
pub(crate) struct Shared {
    pub(crate) fs: Arc<Fs>,
    /// For how many nanoseconds the kernel may keep what it is told; see [`Shared::set_cache`].
    lifetime: AtomicU64,
    /// Whether there are extended attributes.
    pub(crate) xattr: bool,
    /// Whether the time of birth is told.
    pub(crate) btime: bool,
    /// Tells file handles of this mount from those of others.
    generation: u32,
    pub(crate) agreed: Agreed,
    pub(crate) metrics: RequestMetrics,
    pub(crate) invalidator: Invalidator,
    /// How many writes failed, or took less than all.
    failed_writes: AtomicU64,
    /// Files the kernel reads by itself, if any may be.
    pub(crate) passthrough: Option<Passthrough>,
    #[cfg(feature = "failpoints")]
    pub(crate) failpoints: Arc<crate::transport::failpoint::Failpoints>,
}

/// The lifetime of [`Cache::Forever`], the longest there is, is less than half of what fits.
fn nanos(cache: Cache) -> u64 {
    u64::try_from(cache.ttl().as_nanos()).unwrap_or(u64::MAX)
}

impl Shared {
    pub(crate) fn new(fs: Arc<Fs>, options: &Options, agreed: Agreed) -> Shared {
        Shared {
            fs,
            lifetime: AtomicU64::new(nanos(options.cache)),
            xattr: options.xattr,
            btime: options.btime,
            generation: fastrand::u32(1..),
            agreed,
            metrics: RequestMetrics::default(),
            invalidator: Invalidator::default(),
            failed_writes: AtomicU64::new(0),
            passthrough: agreed.passthrough.then(Passthrough::default),
            #[cfg(feature = "failpoints")]
            failpoints: Arc::default(),
        }
    }

    /// What the kernel is told of a name that leads somewhere.
    pub(crate) fn entry(&self, entry: &Entry) -> EntryOut {
        let ttl = self.attr_ttl(&entry.attr);
        EntryOut::new(entry, self.name_ttl(), ttl, self.generation)
    }

    /// Says how long the kernel may keep what it is told from now on. What it was told before it keeps as long as it was told.
    pub(crate) fn set_cache(&self, cache: Cache) {
        self.lifetime.store(nanos(cache), Ordering::Relaxed);
    }

    /// How long the kernel may keep what it is told now.
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_nanos(self.lifetime.load(Ordering::Relaxed))
    }

    /// How long it may keep names. Where the filesystem decides about permissions it keeps none: it would follow them
    /// for anybody.
    pub(crate) fn name_ttl(&self) -> Duration {
        match self.fs.permissions() {
            Permissions::Kernel => self.ttl(),
            Permissions::Daemon => Duration::ZERO,
        }
    }

    /// How long the kernel may keep these attributes.
    pub(crate) fn attr_ttl(&self, attr: &Attr) -> Duration {
        match attr.unsettled {
            true => Duration::ZERO,
            false => self.ttl(),
        }
    }

    /// Has the kernel write back what it holds of `ranges` of `node`, and says whether all of that is here now. The
    /// calling thread is one that no request waits for.
    pub(crate) fn write_back(&self, node: NodeId, ranges: &[Range<u64>]) -> bool {
        debug_assert!(!crossbeam_epoch::is_pinned());
        let failed = self.failed_writes.load(Ordering::Relaxed);
        self.invalidator.write_back(node, ranges)
            && self.failed_writes.load(Ordering::Relaxed) == failed
    }

    /// Notes that the kernel may keep what `node` was to be written.
    pub(crate) fn write_failed(&self, node: NodeId) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        self.deliver(self.fs.unsettle(node));
    }

    /// Tells the kernel which attributes a committed change made stale, and gives what to reply.
    pub(crate) fn deliver<T>(&self, committed: Committed<T>) -> T {
        committed.deliver(|node| self.invalidate(node))
    }

    /// The same of a change that may have failed halfway.
    pub(crate) fn deliver_any<T>(&self, change: Changed<T>) -> Result<T> {
        fs::deliver(change, |node| self.invalidate(node))
    }

    /// Tells the kernel that the attributes of `node` are stale.
    fn invalidate(&self, node: NodeId) {
        debug_assert!(!crossbeam_epoch::is_pinned());
        #[cfg(feature = "failpoints")]
        if !self.failpoints.notifications() {
            return;
        }
        self.invalidator.attributes(node);
    }
}
