//! A sequence counter in front of a block of words: readers get all words of one instant or
//! nothing, and write nothing.
//!
//! One 64-bit counter, even while the block is at rest and odd while a writer is inside. A reader
//! notes an even counter, reads the words, and asks whether the counter is still the same. The
//! words are atomics, so a read that overlaps a write is well defined, only useless.
//!
//! ```text
//! writer (alone)                      reader
//!   W1  seq   = s+1      Relaxed        R1  seq == s, even     Acquire
//!   W2  fence            Release        R2  read the words     Relaxed
//!   W3  write the words  Relaxed        R3  fence              Acquire
//!   W4  seq   = s+2      Release        R4  seq still == s?    Relaxed
//! ```
//!
//! * R1 Acquire pairs with W4 Release: whoever sees `s` sees every word of version `s`.
//! * If R2 saw any word written in W3 then R3 synchronizes with W2 (fence to fence), so R4 must
//!   see `s+1` or later, and the reader throws its words away.
//! * The counter never wraps in the life of a machine, so equal means unchanged (no ABA).
//!
//! A kernel reader may wait on an odd counter because the writer cannot be preempted. A writer
//! in user space can, so a reader here spins at most [`SPIN_LIMIT`] times and then gives up: the
//! caller takes the lock the writers take, which yields to a preempted writer.
//!
//! Source: the recipe of Boehm, "Can seqlocks get along with programming language memory
//! models?" (MSPC 2012); the kernel's `seqcount_t`.

use super::primitive::{AtomicU64, LoadOwned, Ordering, fence, spin_loop};

/// How often a reader looks again at an odd counter before it gives up.
#[cfg(not(loom))]
const SPIN_LIMIT: usize = 32;
#[cfg(loom)]
const SPIN_LIMIT: usize = 1;

/// The counter value one read was made under. Equal versions of a block mean equal words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

/// `N` words that change together. The counter lies before the words, so that a reader of the first few
/// finds all it needs on one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct SeqBlock<const N: usize> {
    seq: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for SeqBlock<N> {
    fn default() -> Self {
        SeqBlock::new([0; N])
    }
}

impl<const N: usize> SeqBlock<N> {
    /// A block at rest that holds `words`.
    pub fn new(words: [u64; N]) -> Self {
        SeqBlock {
            seq: AtomicU64::new(0),
            words: words.map(AtomicU64::new),
        }
    }

    /// The first `K` words of one instant, and the version they belong to. `None` if a writer was
    /// inside all the time or came in between.
    #[inline(always)]
    pub fn read<const K: usize>(&self) -> Option<([u64; K], Version)> {
        const { assert!(K <= N) };
        let version = self.version()?;
        let words = std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        self.is(version).then_some((words, version))
    }

    /// The present version, once no writer is inside; `None` after a bounded number of looks.
    #[inline(always)]
    pub fn version(&self) -> Option<Version> {
        let seq = self.seq.load(Ordering::Acquire);
        match seq.is_multiple_of(2) {
            true => Some(Version(seq)),
            false => self.version_later(),
        }
    }

    #[cold]
    #[inline(never)]
    fn version_later(&self) -> Option<Version> {
        for _ in 0..SPIN_LIMIT {
            spin_loop();
            let seq = self.seq.load(Ordering::Acquire);
            if seq.is_multiple_of(2) {
                return Some(Version(seq));
            }
        }
        None
    }

    /// Whether the block is still the one of `version`: then everything read since was one
    /// instant.
    #[inline(always)]
    pub fn is(&self, version: Version) -> bool {
        fence(Ordering::Acquire);
        self.seq.load(Ordering::Relaxed) == version.0
    }

    /// One word, of no particular version. A word that only grows can so be compared with an earlier
    /// read: after a fence (Acquire), equal means that no write which changed it was seen in between.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        self.words[index].load(Ordering::Relaxed)
    }

    /// The words as the lock's holder sees them. Only the holder of the writers' lock may call
    /// this; anybody else may get a mixture.
    #[inline]
    pub fn read_locked(&self) -> [u64; N] {
        std::array::from_fn(|i| self.words[i].load_owned())
    }

    /// Replaces all words as one step. Writers exclude each other by a lock of the caller's.
    pub fn write(&self, words: &[u64; N]) {
        let seq = self.seq.load_owned();
        assert!(seq.is_multiple_of(2), "two writers in one block");
        self.seq.store(seq + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(*word, Ordering::Relaxed);
        }
        self.seq.store(seq + 2, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_with_the_next_write() {
        let block = SeqBlock::new([1, 2, 3]);
        let (words, version) = block.read::<3>().unwrap();
        assert_eq!(words, [1, 2, 3]);
        assert!(block.is(version));
        block.write(&[4, 5, 6]);
        assert!(!block.is(version));
        assert_eq!(block.read::<2>().unwrap().0, [4, 5]);
    }

    #[test]
    fn a_reader_gives_up_on_a_writer_that_stays_inside() {
        let block = SeqBlock::<2>::default();
        block.seq.store(1, Ordering::Relaxed);
        assert!(block.version().is_none());
        assert!(block.read::<2>().is_none());
    }
}
