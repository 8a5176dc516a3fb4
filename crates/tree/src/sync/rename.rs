//! Several names change hands as one step.
//!
//! A name is never edited: it is live from its publication until it is killed, once. A rename
//! therefore kills old names and publishes new ones, and a reader in between could see a moved
//! file under both names or under neither. Two rules exclude that:
//!
//! 1. **All kills come before all publications.** A reader that sees a new name (its table cell,
//!    Acquire) sees every kill (stored before the cell's Release), so nobody sees both.
//! 2. **A miss counts only under an unchanged [`RenameSeq`].** The sequence of every directory
//!    involved is odd from before the first kill until after the last publication. A reader that
//!    finds nothing asks whether the sequence was even and is still the same, else its miss proves
//!    nothing. Creating and removing single names do not touch the sequence: a miss that overlaps
//!    them is a miss from before the creation or after the removal.
//!
//! ```text
//! writer (directories locked)                     reader of a miss
//!   seq = s+1 on every directory   Relaxed          stamp = seq, even      Acquire
//!   fence                          Release          probe the table        Acquire
//!   kill the old names             Release          fence                  Acquire
//!   publish the new names          Release          seq still == stamp?    Relaxed
//!   seq = s+2 on every directory   Release
//! ```
//!
//! The Release fence and the reader's Acquire fence pair as in [`SeqBlock`](super::SeqBlock): a probe
//! that met any effect of the writer makes the last load see `s+1` or later.
//!
//! Source: the kernel's `rename_lock` and `d_seq`, taken apart; the order of kills and publications
//! was found by exhaustive search (`tests/rename_model/`).

use super::primitive::{AtomicU32, AtomicU64, LoadOwned, Ordering, fence};

/// A directory's rename sequence: odd while names in it change hands.
#[derive(Debug, Default)]
pub struct RenameSeq(AtomicU64);

/// An even value of a [`RenameSeq`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenameStamp(u64);

impl RenameSeq {
    /// The present sequence, or `None` while a rename is inside.
    #[inline(always)]
    pub fn stamp(&self) -> Option<RenameStamp> {
        let seq = self.0.load(Ordering::Acquire);
        seq.is_multiple_of(2).then_some(RenameStamp(seq))
    }

    /// Whether no rename began since `stamp`.
    #[inline(always)]
    pub fn is(&self, stamp: RenameStamp) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == stamp.0
    }

    /// Moves the sequence on by one. Only the holder of the directory's lock may.
    fn advance(&self, ordering: Ordering) {
        let seq = self.0.load_owned();
        self.0.store(seq + 1, ordering);
    }
}

/// Whether a name is live, and a small value that never changes while it is.
#[derive(Debug, Default)]
pub struct Live(AtomicU32);

const LIVE: u32 = 1 << 31;

impl Live {
    /// Makes an unpublished name live with `value` (below 2^31). Published by the release store of
    /// the table cell that leads to it; Release for who comes by its slot, and sees all that was written before.
    pub fn begin(&self, value: u32) {
        assert!(value < LIVE);
        self.0.store(LIVE | value, Ordering::Release);
    }

    /// Whether the name is live. Acquire: a caller that sees it dead sees what its killer did before.
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.0.load(Ordering::Acquire) & LIVE != 0
    }

    /// The value given at [`Live::begin`]; also of a name that died meanwhile.
    #[inline(always)]
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed) & !LIVE
    }

    /// Ends the name for good. Only the holder of the directory's lock may.
    pub fn kill(&self) {
        let word = self.0.load_owned();
        self.0.store(word & !LIVE, Ordering::Release);
    }
}

/// Changes names as one step: `kills` end, then `publish` makes the new ones reachable (by release
/// stores), while the sequence of every directory in `directories` is odd. The caller holds the
/// locks of all of them and names none twice.
pub fn hand_over(directories: &[&RenameSeq], kills: &[&Live], publish: impl FnOnce()) {
    for seq in directories {
        seq.advance(Ordering::Relaxed);
    }
    fence(Ordering::Release);
    for name in kills {
        name.kill();
    }
    publish();
    for seq in directories {
        seq.advance(Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_ends_with_the_next_rename() {
        let (seq, name) = (RenameSeq::default(), Live::default());
        name.begin(7);
        let stamp = seq.stamp().unwrap();
        hand_over(&[&seq], &[&name], || {
            assert!(seq.stamp().is_none(), "no stamp while names change hands");
            assert!(!name.is_live(), "kills come first");
        });
        assert!(!seq.is(stamp));
        assert!(seq.stamp().is_some());
        assert_eq!(name.value(), 7);
    }
}
