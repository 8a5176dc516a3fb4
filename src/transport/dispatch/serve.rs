//! What every request has in common: counting, the call, the answer, and surviving a panic.

use super::{Shared, dispatch};
use crate::host::rest;
use crate::transport::channel::exchange::{Answer, Exchange, MayBlock, Serve};
use crate::tree::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The kernel takes no larger error numbers (`fuse_dev_do_write`): whoever asked would never be answered.
const ERRORS_END: i32 = 512;
const NO_ROOM: Answer = Answer::Error(Errno::NOSPC);
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

impl Shared {
    /// Lets the filesystem answer. A handler that panics answers EIO.
    fn call(&self, exchange: &mut Exchange<'_>, may_block: MayBlock) -> Answer {
        let (kind, node) = (exchange.kind(), exchange.node());
        let called = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "failpoints")]
            self.failpoints.before_call(kind, node);
            dispatch(self, exchange, may_block)
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
    /// [`Answer::Later`] comes only for [`MayBlock::No`]; the request is as it came, and not
    /// counted.
    fn handle(&self, exchange: &mut Exchange<'_>, may_block: MayBlock) -> Answer {
        let kind = exchange.kind();
        #[cfg(feature = "failpoints")]
        let node = exchange.node();
        #[cfg(feature = "failpoints")]
        if may_block == MayBlock::No && self.failpoints.wants(kind, node) {
            return Answer::Later;
        }
        let arrived = Instant::now();
        let mut answer = self.call(exchange, may_block);
        while answer == NO_ROOM && self.fs.room_may_come(arrived) {
            // What is forgotten gives room back, and may have been overtaken by this request.
            if may_block == MayBlock::No {
                return Answer::Later;
            }
            if may_block == MayBlock::Nobody {
                break;
            }
            rest(|| std::thread::sleep(BETWEEN_TRIES));
            answer = self.call(exchange, may_block);
        }
        if matches!(answer, Answer::Later | Answer::AfterWriteback) {
            return answer;
        }
        self.metrics.arrived(kind);
        #[cfg(feature = "failpoints")]
        self.failpoints.after_call(kind, node);
        #[cfg(feature = "failpoints")]
        self.failpoints.before_reply(kind, node);
        // ENOSYS is no failure: it tells the kernel to do without, once and for all.
        if matches!(answer, Answer::Error(errno) if errno != Errno::NOSYS) {
            self.metrics.failed(kind);
        }
        let nanos = arrived.elapsed().as_nanos();
        self.metrics
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
