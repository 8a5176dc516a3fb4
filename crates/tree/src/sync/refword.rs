//! A reference count that can die.
//!
//! One word: the top bit says dead, the next fifteen in which era it counts, the rest count.
//!
//! ```text
//!            get                       put
//!   0 ───────────────▶ n ──────────────────────▶ n-1 ... 0
//!   │ kill
//!   ▼
//!  DEAD      get refuses; nothing leads out of here but `renew`, the owner of the empty slot
//! ```
//!
//! * **Zero is alive**: nobody holds a reference, but somebody may take one.
//! * `get` is a compare-and-swap that refuses DEAD. "Add first, look later" would make a killer's
//!   compare-and-swap fail without reason and show a resurrected object to others.
//! * `kill` changes exactly 0 to DEAD, so of several killers one wins, and a `get` either comes
//!   before it (the kill fails; whoever holds the reference puts it later and tries again) or
//!   sees DEAD.
//! * There is no lock inside and no fallback to one: a word that can fall back to a lock has a
//!   stable slow state under contention (measured with `lockref` on the kernel list, July 2024).
//!
//! * A word of another era counts zero. Eras are for counts that are kept for somebody outside who may be replaced: after a fork of
//!   the process the new one's words are those that were told to another kernel. The first `get`, `put` or `kill` in the new era makes the
//!   word one of its own, in the same step as it changes the count, so nothing has to look at all words at once. The era itself changes
//!   only where one thread is left. What counts for this process alone stays in the [first](Era::FIRST).
//!
//! Orderings: `put` releases and `kill` acquires, so that whatever was done under a reference
//! happens before the killer takes the object apart. `get` acquires, so that it sees the object
//! as it was when its slot was renewed.

use super::primitive::{AtomicU64, Ordering};

const DEAD: u64 = 1 << 63;
const COUNT_BITS: u32 = 48;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const ERA: u64 = !(DEAD | COUNT);

/// Whose references a word counts: those of before count for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era(u64);

impl Era {
    /// That of a word that is never counted anew.
    pub const FIRST: Era = Era(0);

    /// The one after this; `None` after the last of 2^15.
    pub fn next(self) -> Option<Era> {
        (self.0 != ERA).then_some(Era(self.0 + COUNT + 1))
    }

    /// As a word, for [`Era::of_word`].
    pub fn word(self) -> u64 {
        self.0
    }

    /// The era that [`Era::word`] gave.
    pub fn of_word(word: u64) -> Era {
        Era(word & ERA)
    }

    /// What a word that is not dead counts in this era.
    fn count(self, word: u64) -> u64 {
        match word & ERA == self.0 {
            true => word & COUNT,
            false => 0,
        }
    }
}

/// What a [`RefWord::put`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Others still hold references.
    Held,
    /// The count came to zero: the object may have to end.
    Zero,
    /// More was given back than taken, or the word is dead. Nothing was changed.
    Refused,
}

/// A count of references with a DEAD bit.
#[derive(Debug)]
pub struct RefWord(AtomicU64);

impl Default for RefWord {
    fn default() -> Self {
        RefWord::new()
    }
}

impl RefWord {
    /// A living word with a count of zero.
    pub fn new() -> Self {
        RefWord(AtomicU64::new(0))
    }

    /// Takes a reference. False if the word is dead (or full).
    #[inline]
    pub fn get(&self) -> bool {
        self.get_in(Era::FIRST)
    }

    /// The same in `era`.
    #[inline]
    pub fn get_in(&self, era: Era) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let count = era.count(seen);
            if seen & DEAD != 0 || count == COUNT {
                return false;
            }
            match self.0.compare_exchange_weak(
                seen,
                era.0 | (count + 1),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives `n` references back. A peer that gives back more than it took is refused.
    #[inline]
    pub fn put(&self, n: u64) -> Put {
        self.put_in(Era::FIRST, n)
    }

    /// The same in `era`.
    #[inline]
    pub fn put_in(&self, era: Era, n: u64) -> Put {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let count = era.count(seen);
            if seen & DEAD != 0 || count < n {
                return Put::Refused;
            }
            match self.0.compare_exchange_weak(
                seen,
                era.0 | (count - n),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) if count == n => return Put::Zero,
                Ok(_) => return Put::Held,
                Err(now) => seen = now,
            }
        }
    }

    /// Ends the word if its count is exactly zero. True for the one caller that ended it.
    #[inline]
    pub fn kill(&self) -> bool {
        self.kill_in(Era::FIRST)
    }

    /// The same in `era`.
    #[inline]
    pub fn kill_in(&self, era: Era) -> bool {
        let mut zero = era.0;
        loop {
            match self
                .0
                .compare_exchange(zero, DEAD, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                // One of another era counts nothing, whatever it says.
                Err(now) if now & DEAD == 0 && era.count(now) == 0 => zero = now,
                Err(_) => return false,
            }
        }
    }

    /// Whether the word counts references of another era alone, of which there are some.
    pub fn is_left_from_before(&self, era: Era) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        seen & DEAD == 0 && seen & ERA != era.0 && seen & COUNT != 0
    }

    /// Whether the word is dead.
    pub fn is_dead(&self) -> bool {
        self.0.load(Ordering::Acquire) & DEAD != 0
    }

    /// How many references are held now.
    pub fn count(&self) -> u64 {
        self.count_in(Era::FIRST)
    }

    /// The same in `era`.
    pub fn count_in(&self, era: Era) -> u64 {
        era.count(self.0.load(Ordering::Relaxed))
    }

    /// A fresh life at count zero, for the owner of the slot this word is in. Published with the
    /// slot by whatever publishes that.
    pub fn renew(&self) {
        let seen = self.0.load(Ordering::Relaxed);
        let ended = seen & DEAD != 0 || seen & COUNT == 0;
        assert!(ended, "somebody holds what is made anew");
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn death_is_once_and_for_all() {
        let word = RefWord::new();
        assert!(word.get());
        assert!(!word.kill(), "a held word cannot be killed");
        assert_eq!(word.put(1), Put::Zero);
        assert!(word.kill());
        assert!(!word.kill());
        assert!(!word.get());
        assert_eq!(word.put(1), Put::Refused);
        assert_eq!(word.count(), 0);
    }

    #[test]
    fn giving_back_too_much_changes_nothing() {
        let word = RefWord::new();
        assert!(word.get() && word.get());
        assert_eq!(word.put(3), Put::Refused);
        assert_eq!(word.put(u64::MAX), Put::Refused);
        assert_eq!(word.count(), 2);
        assert_eq!(word.put(2), Put::Zero);
    }

    #[test]
    fn what_was_taken_in_another_era_counts_for_nothing() {
        let (word, next) = (RefWord::new(), Era::FIRST.next().unwrap());
        assert!(word.get() && word.get());
        assert!(word.is_left_from_before(next) && !word.is_left_from_before(Era::FIRST));
        assert_eq!((word.count(), word.count_in(next)), (2, 0));
        assert_eq!(word.put_in(next, 1), Put::Refused, "it was not told so");
        assert!(word.get_in(next));
        assert_eq!((word.count(), word.count_in(next)), (0, 1));
        assert!(!word.kill_in(next), "it is held");
        assert_eq!(word.put_in(next, 1), Put::Zero);
        assert!(word.kill_in(next) && word.is_dead());
    }

    #[test]
    fn a_word_of_another_era_can_be_killed_at_once() {
        let (word, next) = (RefWord::new(), Era::FIRST.next().unwrap());
        assert!(word.get());
        assert!(!word.kill());
        assert!(word.kill_in(next));
        assert!(!word.get_in(next) && !word.is_left_from_before(next));
    }

    #[test]
    fn eras_end() {
        let mut era = Era::FIRST;
        for _ in 1..1 << 15 {
            era = era.next().unwrap();
            assert_eq!(Era::of_word(era.word()), era);
        }
        assert_eq!(era.next(), None);
    }
}
