//! What every request has in common: counting, the call, the answer, and surviving a panic.

use crate::fs::{Committed, Fs};
use crate::transport::notify::Invalidator;
use crate::transport::requests::Tally;
use crate::transport::{Cache, RequestKind, wire};
use crate::tree::{NodeId, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What the event loops of a mount share.
pub(crate) struct Shared {
    pub(crate) fs: Arc<Fs>,
    pub(crate) cache: Cache,
    pub(crate) ttl: Duration,
    pub(crate) tally: Tally,
    pub(crate) invalidator: Invalidator,
    /// The event loops are gone.
    pub(crate) ended: AtomicBool,
    #[cfg(feature = "seams")]
    pub(crate) seams: Arc<crate::transport::seam::Seams>,
}

impl Shared {
    pub(crate) fn new(fs: Arc<Fs>, cache: Cache) -> Shared {
        Shared {
            fs,
            cache,
            ttl: cache.ttl(),
            tally: Tally::default(),
            invalidator: Invalidator::default(),
            ended: AtomicBool::new(false),
            #[cfg(feature = "seams")]
            seams: Arc::default(),
        }
    }

    /// Runs `call`, then answers with `send` or the error. No epoch is pinned and no lock of the
    /// filesystem is held while the reply is written. If either panics the reply is dropped,
    /// which answers EIO, and the event loop goes on.
    pub(crate) fn serve<R: Reply, T>(
        &self,
        kind: RequestKind,
        node: NodeId,
        mut reply: R,
        call: impl FnOnce(&Fs, &mut R) -> Result<T>,
        send: impl FnOnce(R, T),
    ) {
        let arrived = Instant::now();
        self.tally.arrived(kind);
        let handled = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "seams")]
            self.seams.before_call(kind, node);
            let answer = call(&self.fs, &mut reply);
            debug_assert!(!crossbeam_epoch::is_pinned());
            #[cfg(feature = "seams")]
            self.seams.before_reply(kind, node);
            match answer {
                Ok(value) => send(reply, value),
                Err(errno) => {
                    self.tally.failed(kind);
                    reply.refuse(wire::errno(errno));
                }
            }
        }));
        if handled.is_err() {
            self.tally.failed(kind);
            tracing::error!(kind = kind.name(), node = node.raw(), "a handler panicked");
        }
        let nanos = arrived.elapsed().as_nanos();
        self.tally
            .took(kind, u64::try_from(nanos).unwrap_or(u64::MAX));
    }

    /// Tells the kernel which attributes a committed change made stale, and gives what to reply.
    pub(crate) fn deliver<T>(&self, committed: Committed<T>) -> T {
        committed.deliver(|node| {
            debug_assert!(!crossbeam_epoch::is_pinned());
            #[cfg(feature = "seams")]
            if !self.seams.notifications() {
                return;
            }
            self.invalidator.attributes(node);
        })
    }
}

/// A reply that can carry an error instead.
pub(crate) trait Reply {
    fn refuse(self, errno: fuser::Errno);
}

macro_rules! replies {
    ($($reply:ident),+) => {
        $(impl Reply for fuser::$reply {
            fn refuse(self, errno: fuser::Errno) {
                self.error(errno);
            }
        })+
    };
}

replies!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr,
    ReplyIoctl
);

/// FORGET has no reply.
pub(crate) struct NoReply;

impl Reply for NoReply {
    fn refuse(self, _: fuser::Errno) {}
}
