//! The bytes a filesystem holds: who takes them, who gives them back, and whether there are any.
//!
//! What grows, content, attributes and inodes, stops growing while the system still has [`HEADROOM`]. So the small
//! allocations that no call can refuse find memory, and a shortage is ENOSPC and not the end of the process.

use super::waste::Remover;
use crate::fs::Result;
use crate::host::is_memory_left;
use crate::tree::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Memory that has to be there before anything grows by another [`STRIDE`], bytes. All allocations that come with that growth
/// or with requests under way fit into it many times.
const HEADROOM: usize = 16 << 20;
const STRIDE: u64 = 1 << 20;
/// What comes beside each growth at worst: an allocator that has nothing left maps a page for each small piece.
const BESIDE: u64 = 8 << 10;

/// What keeps the content or the attributes of an inode, bytes; content in a source takes that much.
const OWNER_BYTES: u64 = 160;

/// Freeing so many bytes takes too long for who serves callers.
const LARGE: u64 = 1 << 20;

/// Less than this is kept for the next who writes, bytes.
const MUCH: u64 = 32 << 20;

/// Bytes in use by one filesystem.
#[derive(Debug)]
pub(super) struct Quota {
    used: AtomicU64,
    /// How many owners have a [`Charge`].
    owners: AtomicU64,
    /// Growth since the headroom was last found to be there.
    stride: AtomicU64,
    /// Shrinking since memory was last given back to the system.
    freed: AtomicU64,
    remover: Remover,
    /// How often there may be growth before memory is taken to be short.
    #[cfg(test)]
    pub(super) growths_left: AtomicU64,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            used: AtomicU64::new(0),
            owners: AtomicU64::new(0),
            stride: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            remover: Remover::default(),
            #[cfg(test)]
            growths_left: AtomicU64::new(u64::MAX),
        }
    }
}

impl Quota {
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// What the owners of charges take themselves, bytes.
    pub(super) fn owners(&self) -> u64 {
        self.owners.load(Relaxed) * OWNER_BYTES
    }

    /// Whether memory that was in use is about to be free.
    pub(super) fn is_freeing(&self) -> bool {
        self.remover.is_busy()
    }

    /// Notes that `bytes` are free. Once they are much, beside what is still in use, the system gets them back: the
    /// allocator keeps them otherwise.
    fn free(&self, bytes: u64) {
        let used = self.used.fetch_sub(bytes, Relaxed) - bytes;
        let freed = self.freed.fetch_add(bytes, Relaxed) + bytes;
        // Of several who come here at once one is first.
        if freed >= MUCH.max(used / 4) && self.freed.swap(0, Relaxed) >= MUCH {
            self.give_back();
        }
    }

    /// See [`Remover::begin_as_copy`].
    pub(super) fn begin_as_copy(&self) {
        self.remover.begin_as_copy();
    }

    fn give_back(&self) {
        if !self.remover.give_back() {
            // The next who frees tries again.
            self.freed.fetch_add(MUCH, Relaxed);
        }
    }

    /// Drops `content` that took `bytes`, and was charged for them. Whoever serves callers is not kept by that.
    pub(super) fn discard(&self, content: impl Send + 'static, bytes: u64) {
        match bytes >= LARGE {
            true => self.remover.discard(content),
            false => drop(content),
        }
    }

    /// Whether the system has the memory for growing by `bytes`.
    pub(super) fn may_grow(&self, bytes: u64) -> bool {
        #[cfg(test)]
        if self
            .growths_left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_err()
        {
            return false;
        }
        let bytes = bytes.saturating_add(BESIDE).min(STRIDE);
        if self.stride.fetch_add(bytes, Relaxed).saturating_add(bytes) < STRIDE {
            return true;
        }
        let there = is_memory_left(HEADROOM);
        if there {
            self.stride.store(0, Relaxed);
        }
        there
    }
}

/// The bytes one owner holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Charge {
    pub(super) fn new(quota: &Arc<Quota>) -> Charge {
        quota.owners.fetch_add(1, Relaxed);
        Charge {
            quota: Arc::clone(quota),
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Takes `bytes`, or nothing and ENOSPC if they do not fit below `max` or memory is short.
    pub(super) fn take(&mut self, bytes: u64, max: u64) -> Result<()> {
        if !self.quota.may_grow(bytes) {
            return Err(Errno::NOSPC);
        }
        self.quota
            .used
            .fetch_update(Relaxed, Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= max)
            })
            .map_err(|_| Errno::NOSPC)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes as many of `bytes` as fit below `max` and says how many; none if memory is short.
    pub(super) fn take_up_to(&mut self, bytes: u64, max: u64) -> u64 {
        if !self.quota.may_grow(bytes) {
            return 0;
        }
        let grant = |used: u64| bytes.min(max.saturating_sub(used));
        let before = self
            .quota
            .used
            .fetch_update(Relaxed, Relaxed, |used| Some(used + grant(used)));
        let granted = grant(before.unwrap_or(max));
        self.bytes += granted;
        granted
    }

    pub(super) fn give(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes);
        self.bytes -= bytes;
        self.quota.free(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give(self.bytes);
        self.quota.owners.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    struct Dropped(mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn much_is_freed_by_another_thread_and_little_at_once() {
        let quota = Quota::default();
        let (tell, told) = mpsc::channel();
        quota.discard(Dropped(tell.clone()), LARGE - 1);
        assert_eq!(told.try_recv(), Ok(thread::current().id()));
        quota.discard(Dropped(tell), LARGE);
        let by = told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_ne!(by, thread::current().id());
    }

    #[test]
    fn a_charge_is_given_back_when_dropped() {
        let quota = Arc::new(Quota::default());
        let mut one = Charge::new(&quota);
        let mut two = Charge::new(&quota);
        one.take(60, 100).unwrap();
        assert_eq!(two.take(41, 100), Err(Errno::NOSPC));
        assert_eq!(two.take_up_to(41, 100), 40);
        assert_eq!(two.take_up_to(1, 100), 0);
        assert_eq!(quota.used(), 100);
        one.give(10);
        assert_eq!(quota.used(), 90);
        drop(one);
        assert_eq!(quota.used(), 40);
        drop(two);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn a_limit_lowered_below_what_is_used_grants_nothing() {
        let quota = Arc::new(Quota::default());
        let mut charge = Charge::new(&quota);
        charge.take(100, 100).unwrap();
        assert_eq!(charge.take_up_to(1, 50), 0);
        assert_eq!(charge.take(u64::MAX, u64::MAX), Err(Errno::NOSPC));
        assert_eq!(charge.bytes(), 100);
    }
}
