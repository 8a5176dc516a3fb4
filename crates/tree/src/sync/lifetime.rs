//! When an object ends: two counts and its links decide together.
//!
//! An inode lives while any of three things holds: a name leads to it (`links`), the FUSE client
//! knows it (`nlookup`), or somebody here works on it (`refs`). Whoever brings one of the three to
//! zero asks whether the others are zero too, and exactly one of them may find that all are.
//!
//! * `links` changes only under the object's lock. Lowering it to zero and then looking at the
//!   counts, against lowering a count to zero and then looking at `links`, is the store-then-load
//!   pattern in which both sides could miss each other; a `SeqCst` fence between the two steps on
//!   each side makes at least one of them see the other.
//! * The final decision, [`Lifetime::try_end`], is made under the object's lock. It kills
//!   `nlookup` first and `refs` second. A dead `nlookup` with living `refs` is a state of its own:
//!   *the client can never learn of the object again, but work on it is still under way*; the last
//!   `put` of that work finds `nlookup` dead and ends the object.
//! * The slot is type-stable, so somebody who lowered a count may look at a slot that another
//!   caller has ended and reused meanwhile. The caller therefore compares the generation under the
//!   lock before it calls [`Lifetime::try_end`].
//! * `nlookup` is counted by [`Era`]: what another kernel was told holds nothing here.

use super::primitive::{AtomicU32, LoadOwned, Ordering, fence};
use super::refword::{Era, Put, RefWord};

/// What [`Lifetime::try_end`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Something still holds the object.
    Lives,
    /// This caller ended it and alone takes it apart.
    Ended,
}

/// The counts of one object. Hot written words: kept on cache lines of their own, away from what
/// readers read.
#[derive(Debug, Default)]
pub struct Lifetime {
    /// Work under way here.
    pub refs: RefWord,
    /// What the FUSE client was told and has not yet forgotten.
    pub nlookup: RefWord,
}

impl Lifetime {
    /// Gives one reference back. True if the object may have to end: the caller then takes the lock
    /// and calls [`Lifetime::try_end`].
    #[inline]
    pub fn put_ref(&self, links: &AtomicU32) -> bool {
        let put = self.refs.put(1);
        assert_ne!(put, Put::Refused, "a reference was given back twice");
        may_end(put, links)
    }

    /// Takes `n` off `nlookup`. `None` if that is more than the client was told (nothing changes);
    /// otherwise as [`Lifetime::put_ref`].
    #[inline]
    pub fn forget(&self, era: Era, n: u64, links: &AtomicU32) -> Option<bool> {
        match self.nlookup.put_in(era, n) {
            Put::Refused => None,
            put => Some(may_end(put, links)),
        }
    }

    /// Lowers `links` by one; called under the object's lock. Returns what is left.
    pub fn drop_link(links: &AtomicU32) -> u32 {
        let left = links.load_owned().saturating_sub(1);
        links.store(left, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        left
    }

    /// Ends the object if nothing holds it. Called under the object's lock, with the generation
    /// checked.
    pub fn try_end(&self, era: Era, links: &AtomicU32) -> Verdict {
        if links.load_owned() != 0 {
            return Verdict::Lives;
        }
        let forgotten = self.nlookup.is_dead() || self.nlookup.kill_in(era);
        if forgotten && self.refs.kill() {
            Verdict::Ended
        } else {
            Verdict::Lives
        }
    }

    /// A fresh life with both counts zero, for the owner of the empty slot.
    pub fn renew(&self) {
        self.refs.renew();
        self.nlookup.renew();
    }
}

/// The looking half of "lower a count, then look at the links".
#[inline]
fn may_end(put: Put, links: &AtomicU32) -> bool {
    if put != Put::Zero {
        return false;
    }
    fence(Ordering::SeqCst);
    links.load(Ordering::Relaxed) == 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_ends_it() {
        let (life, links) = (Lifetime::default(), AtomicU32::new(1));
        assert!(life.refs.get() && life.nlookup.get());
        assert_eq!(life.try_end(Era::FIRST, &links), Verdict::Lives);
        assert_eq!(Lifetime::drop_link(&links), 0);
        assert_eq!(life.try_end(Era::FIRST, &links), Verdict::Lives);
        assert_eq!(
            life.forget(Era::FIRST, 2, &links),
            None,
            "more than it was told"
        );
        assert_eq!(life.forget(Era::FIRST, 1, &links), Some(true));
        assert_eq!(
            life.try_end(Era::FIRST, &links),
            Verdict::Lives,
            "work is under way"
        );
        assert!(
            !life.nlookup.get(),
            "and the client cannot learn of it again"
        );
        assert!(life.put_ref(&links));
        assert_eq!(life.try_end(Era::FIRST, &links), Verdict::Ended);
        assert_eq!(
            life.try_end(Era::FIRST, &links),
            Verdict::Lives,
            "only once"
        );
    }
}
