//! A reference count that can die.
//!
//! One word: the top bit says dead, the rest counts.
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
//! Orderings: `put` releases and `kill` acquires, so that whatever was done under a reference
//! happens before the killer takes the object apart. `get` acquires, so that it sees the object
//! as it was when its slot was renewed.

use super::primitive::{AtomicU64, Ordering};

const DEAD: u64 = 1 << 63;
const COUNT: u64 = DEAD - 1;

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
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen < COUNT {
            match self
                .0
                .compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Gives `n` references back. A peer that gives back more than it took is refused.
    #[inline]
    pub fn put(&self, n: u64) -> Put {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & DEAD != 0 || seen < n {
                return Put::Refused;
            }
            match self
                .0
                .compare_exchange_weak(seen, seen - n, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) if seen == n => return Put::Zero,
                Ok(_) => return Put::Held,
                Err(now) => seen = now,
            }
        }
    }

    /// Ends the word if its count is exactly zero. True for the one caller that ended it.
    #[inline]
    pub fn kill(&self) -> bool {
        self.0
            .compare_exchange(0, DEAD, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether the word is dead.
    pub fn is_dead(&self) -> bool {
        self.0.load(Ordering::Acquire) & DEAD != 0
    }

    /// How many references are held now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & COUNT
    }

    /// A fresh life at count zero, for the owner of the slot this word is in. Published with the
    /// slot by whatever publishes that.
    pub fn renew(&self) {
        let ended = matches!(self.0.load(Ordering::Relaxed), 0 | DEAD);
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
}
