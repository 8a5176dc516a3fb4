//! How operations that begin without a reference end, counted per thread: those that take none, and those that find an inode
//! and take one.

use crate::sync::Counters;

/// One way in which an attempt can end. An operation has one of the first three as its end or
/// [`Outcome::Slow`], after up to three retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, nothing locked, nothing referenced.
    Fast,
    /// Answered with an error that was validated like an answer.
    FastError,
    /// The operation asked for a reference: it was taken in place and the slow form answered.
    Again,
    /// Retried: a dentry on the path died.
    RetryEdge,
    /// Retried: attributes changed, or were being changed.
    RetryAttr,
    /// Retried: a name was missing while names changed hands in its directory.
    RetryRename,
    /// Answered by the locked walk, after three attempts or on a path too deep for evidence.
    Slow,
}

const OUTCOMES: usize = Outcome::Slow as usize + 1;

/// How often each [`Outcome`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcomes {
    /// [`Outcome::Fast`].
    pub fast: u64,
    /// [`Outcome::FastError`].
    pub fast_error: u64,
    /// [`Outcome::Again`].
    pub again: u64,
    /// [`Outcome::RetryEdge`].
    pub retry_edge: u64,
    /// [`Outcome::RetryAttr`].
    pub retry_attr: u64,
    /// [`Outcome::RetryRename`].
    pub retry_rseq: u64,
    /// [`Outcome::Slow`].
    pub slow: u64,
}

impl Outcomes {
    /// Operations that ended.
    pub fn operations(&self) -> u64 {
        self.fast + self.fast_error + self.again + self.slow
    }

    /// Attempts that had to be repeated.
    pub fn retries(&self) -> u64 {
        self.retry_edge + self.retry_attr + self.retry_rseq
    }
}

#[derive(Debug, Default)]
pub(crate) struct OutcomeCounters(Counters<OUTCOMES>);

impl OutcomeCounters {
    #[inline]
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0.add(outcome as usize, 1);
    }

    pub(crate) fn sums(&self) -> Outcomes {
        let [
            fast,
            fast_error,
            again,
            retry_edge,
            retry_attr,
            retry_rseq,
            slow,
        ] = self.0.sums();
        Outcomes {
            fast,
            fast_error,
            again,
            retry_edge,
            retry_attr,
            retry_rseq,
            slow,
        }
    }
}
