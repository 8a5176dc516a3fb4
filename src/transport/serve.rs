//! What every request has in common: counting, the call, the answer, and surviving a panic.

use crate::fs::{Committed, Fs};
use crate::transport::dispatch::dispatch;
use crate::transport::exchange::{Answer, Exchange, Patience, Serve};
use crate::transport::negotiate::Agreed;
use crate::transport::notify::Invalidator;
use crate::transport::passthrough::Passthrough;
use crate::transport::requests::Tally;
use crate::transport::wire::EntryOut;
use crate::transport::{Cache, Options, Permissions, wire};
use crate::tree::{Attr, Entry, Errno, NodeId};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The kernel takes no larger error numbers (`fuse_dev_do_write`): whoever asked would never be answered.
const ERRORS_END: i32 = 512;
const NO_ROOM: Answer = Answer::Error(Errno::NOSPC);
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// What the threads that serve a mount share.
pub(crate) struct Shared {
    pub(crate) fs: Arc<Fs>,
    pub(crate) cache: Cache,
    /// How long the kernel may keep attributes.
    pub(crate) ttl: Duration,
    /// How long it may keep names. Where the filesystem decides about permissions it keeps none: it would follow them
    /// for anybody.
    pub(crate) name_ttl: Duration,
    /// Whether there are extended attributes.
    pub(crate) xattr: bool,
    /// Whether the time of birth is told.
    pub(crate) btime: bool,
    /// Tells file handles of this mount from those of others.
    generation: u32,
    pub(crate) agreed: Agreed,
    pub(crate) tally: Tally,
    pub(crate) invalidator: Invalidator,
    /// How many writes failed, or took less than all.
    failed_writes: AtomicU64,
    /// Files the kernel reads by itself, if any may be.
    pub(crate) passthrough: Option<Passthrough>,
    #[cfg(feature = "seams")]
    pub(crate) seams: Arc<crate::transport::seam::Seams>,
}

impl Shared {
    pub(crate) fn new(fs: Arc<Fs>, options: &Options, agreed: Agreed) -> Shared {
        let ttl = options.cache.ttl();
        let name_ttl = match fs.permissions() {
            Permissions::Kernel => ttl,
            Permissions::Daemon => Duration::ZERO,
        };
        Shared {
            fs,
            cache: options.cache,
            ttl,
            name_ttl,
            xattr: options.xattr,
            btime: options.btime,
            generation: fastrand::u32(1..),
            agreed,
            tally: Tally::default(),
            invalidator: Invalidator::default(),
            failed_writes: AtomicU64::new(0),
            passthrough: agreed.passthrough.then(Passthrough::default),
            #[cfg(feature = "seams")]
            seams: Arc::default(),
        }
    }

    /// What the kernel is told of a name that leads somewhere.
    pub(crate) fn entry(&self, entry: &Entry) -> EntryOut {
        let ttl = self.attr_ttl(&entry.attr);
        EntryOut::new(entry, self.name_ttl, ttl, self.generation)
    }

    /// How long the kernel may keep these attributes.
    pub(crate) fn attr_ttl(&self, attr: &Attr) -> Duration {
        match attr.unsettled {
            true => Duration::ZERO,
            false => self.ttl,
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

    /// Lets the filesystem answer. A handler that panics answers EIO.
    fn call(&self, exchange: &mut Exchange<'_>, patience: Patience) -> Answer {
        let (kind, node) = (wire::kind(exchange.header.opcode), exchange.node());
        let called = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "seams")]
            self.seams.before_call(kind, node);
            dispatch(self, exchange, patience)
        }));
        debug_assert!(!crossbeam_epoch::is_pinned());
        match called {
            Ok(answer) => answer.unwrap_or_else(refusal),
            Err(panic) if cfg!(feature = "fuzzing") => std::panic::resume_unwind(panic),
            Err(_) => {
                tracing::error!(kind = kind.name(), node = node.raw(), "a handler panicked");
                Answer::Error(Errno::IO)
            }
        }
    }

    /// Tells the kernel which attributes a committed change made stale, and gives what to reply.
    pub(crate) fn deliver<T>(&self, committed: Committed<T>) -> T {
        committed.deliver(|node| self.invalidate(node))
    }

    /// Tells the kernel that the attributes of `node` are stale.
    pub(crate) fn invalidate(&self, node: NodeId) {
        debug_assert!(!crossbeam_epoch::is_pinned());
        #[cfg(feature = "seams")]
        if !self.seams.notifications() {
            return;
        }
        self.invalidator.attributes(node);
    }
}

/// What to send for an error. Sources may fail with numbers that are the kernel's own affair, which
/// become EIO.
fn refusal(errno: Errno) -> Answer {
    match errno.raw_os_error() {
        1..ERRORS_END => Answer::Error(errno),
        _ => Answer::Error(Errno::IO),
    }
}

impl Serve for Shared {
    /// Answers one request. When this returns the request is counted, and the kernel was told which
    /// attributes are stale: the answer may be sent. No epoch is pinned and no lock of the filesystem is
    /// held then. A handler that panics answers EIO.
    ///
    /// [`Answer::Later`] comes only where there is no [`Patience`]; the request is as it came, and not
    /// counted.
    fn handle(&self, exchange: &mut Exchange<'_>, patience: Patience) -> Answer {
        let kind = wire::kind(exchange.header.opcode);
        #[cfg(feature = "seams")]
        let node = exchange.node();
        #[cfg(feature = "seams")]
        if patience == Patience::None && self.seams.wants(kind, node) {
            return Answer::Later;
        }
        let arrived = Instant::now();
        let mut answer = self.call(exchange, patience);
        while answer == NO_ROOM && self.fs.room_may_come(arrived) {
            // What is forgotten gives room back, and may have been overtaken by this request.
            if patience == Patience::None {
                return Answer::Later;
            }
            if patience == Patience::Spent {
                break;
            }
            std::thread::sleep(BETWEEN_TRIES);
            answer = self.call(exchange, patience);
        }
        if matches!(answer, Answer::Later | Answer::AfterWriteback) {
            return answer;
        }
        self.tally.arrived(kind);
        #[cfg(feature = "seams")]
        self.seams.after_call(kind, node);
        #[cfg(feature = "seams")]
        self.seams.before_reply(kind, node);
        // ENOSYS is no failure: it tells the kernel to do without, once and for all.
        if matches!(answer, Answer::Error(errno) if errno != Errno::NOSYS) {
            self.tally.failed(kind);
        }
        let nanos = arrived.elapsed().as_nanos();
        self.tally
            .took(kind, u64::try_from(nanos).unwrap_or(u64::MAX));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_the_kernel_would_not_take_become_another() {
        for (raw, sent) in [(1, 1), (28, 28), (511, 511), (512, 5), (524, 5), (4095, 5)] {
            let answer = refusal(Errno::from_raw_os_error(raw));
            assert_eq!(answer, Answer::Error(Errno::from_raw_os_error(sent)));
        }
    }
}
