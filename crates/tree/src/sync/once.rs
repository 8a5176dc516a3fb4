//! A value that is set at most once in the life of its slot.
//!
//! Two kinds of readers see it: those under a pinned epoch, and those who own what keeps the slot
//! alive. It is taken out when the slot's life has ended, and readers under the epoch, who may still be looking
//! then, have let go of it.
//!
//! Until the value is set, the place may hold a *seed*: 61 bits from which its user can make the value. It
//! lies in the word of the pointer, marked by the lowest bit, so it costs nothing; setting the value ends it.
//!
//! Orderings: the pointer is stored with Release and loaded with Acquire, so the value is complete.
//!
//! This has no loom story. Its pointer is one of `crossbeam-epoch`, made of the standard library's atomics, which loom does not
//! see; built with loom's, the epoch's own algorithm would be explored along with every step. Miri runs the tests below, and
//! those of the tree, which read such places while others set and take them.

use crossbeam_epoch::{Atomic, Guard, Owned, Shared};
use std::sync::atomic::Ordering;

/// The low bits of the word, free in a pointer through its alignment.
const TAG_BITS: u32 = 3;
/// The tag of a word that is a seed and no pointer.
const SEED: usize = 1;

/// Makes every value's address a multiple of eight.
#[derive(Debug)]
#[repr(align(8))]
struct Aligned<T>(T);

const _: () = assert!(align_of::<Aligned<()>>() == 1 << TAG_BITS);

/// The place.
#[derive(Debug)]
pub struct OnceCell<T> {
    value: Atomic<Aligned<T>>,
}

/// What a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding<V> {
    /// Neither.
    Nothing,
    /// What a value can be made from.
    Seed(u64),
    /// The value.
    Value(V),
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        OnceCell {
            value: Atomic::null(),
        }
    }
}

impl<T> OnceCell<T> {
    /// How many bits of a seed are kept.
    pub const SEED_BITS: u32 = u64::BITS - TAG_BITS;

    /// The value, for as long as the epoch stays pinned.
    #[inline(always)]
    pub fn get<'g>(&self, guard: &'g Guard) -> Option<&'g T> {
        let word = self.value.load(Ordering::Acquire, guard);
        if word.tag() == SEED {
            return None;
        }
        // SAFETY: a value is taken out (`OnceCell::take`) when nobody reads it under an epoch any more, so it
        // lives as long as this pin.
        unsafe { word.as_ref() }.map(|aligned| &aligned.0)
    }

    /// What is there, for whoever keeps it from being taken out.
    ///
    /// # Safety
    /// [`OnceCell::take`] is not called while the result is used.
    pub unsafe fn get_owned(&self) -> Holding<&T> {
        // SAFETY: the value is not taken out meanwhile (the caller's promise), so no epoch is needed.
        let word = unsafe {
            let unprotected = crossbeam_epoch::unprotected();
            self.value.load(Ordering::Acquire, unprotected)
        };
        if word.tag() == SEED {
            return Holding::Seed(word.as_raw().addr() as u64 >> TAG_BITS);
        }
        // SAFETY: a word without the tag is null or the pointer of a value, which stays as said above.
        match unsafe { word.as_ref() } {
            Some(value) => Holding::Value(&value.0),
            None => Holding::Nothing,
        }
    }

    /// Leaves the low 61 bits of `seed` in a place that holds nothing and that nobody else knows yet.
    pub fn sow(&self, seed: u64) {
        const { assert!(align_of::<Aligned<T>>() == 1 << TAG_BITS) };
        let word = std::ptr::without_provenance((seed << TAG_BITS) as usize);
        self.value
            .store(Shared::from(word).with_tag(SEED), Ordering::Release);
    }

    /// Sets the value if there is none. False (and `value` is dropped) if there was one.
    pub fn set(&self, value: T) -> bool {
        let guard = crossbeam_epoch::pin();
        let before = self.value.load(Ordering::Relaxed, &guard);
        let vacant = before.is_null() || before.tag() == SEED;
        // Nobody sows a place that others know: a vacant place changes only by becoming full.
        vacant
            && self
                .value
                .compare_exchange(
                    before,
                    Owned::new(Aligned(value)),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                    &guard,
                )
                .is_ok()
    }

    /// Takes the value out.
    ///
    /// # Safety
    /// Nobody reads it any more, not under an epoch either.
    pub unsafe fn take(&self) -> Option<T> {
        // SAFETY: by the caller's promise nobody else can reach the value.
        unsafe {
            let unprotected = crossbeam_epoch::unprotected();
            let value = self
                .value
                .swap(Shared::null(), Ordering::AcqRel, unprotected);
            let full = !value.is_null() && value.tag() != SEED;
            full.then(|| value.into_owned().into_box().0)
        }
    }
}

impl<T> Drop for OnceCell<T> {
    fn drop(&mut self) {
        // SAFETY: the place is owned here, so nobody reads it.
        drop(unsafe { self.take() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_value_stays() {
        let place = OnceCell::default();
        assert!(place.set("first"));
        assert!(!place.set("second"));
        let guard = crossbeam_epoch::pin();
        assert_eq!(place.get(&guard), Some(&"first"));
        // SAFETY: no other thread knows `place`.
        assert_eq!(unsafe { place.take() }, Some("first"));
        assert_eq!(place.get(&guard), None);
        assert!(place.set("third"));
        // SAFETY: as above.
        assert_eq!(unsafe { place.take() }, Some("third"));
    }

    #[test]
    fn a_seed_stays_until_the_value_is_set() {
        const LARGEST: u64 = (1 << OnceCell::<()>::SEED_BITS) - 1;
        for seed in [0, 1, LARGEST] {
            let place = OnceCell::default();
            place.sow(seed);
            // SAFETY: nothing is taken out while the results are used, here and below.
            assert_eq!(unsafe { place.get_owned() }, Holding::Seed(seed));
            assert_eq!(place.get(&crossbeam_epoch::pin()), None);
            assert!(place.set("grown"));
            assert!(!place.set("again"));
            // SAFETY: as above.
            assert_eq!(unsafe { place.get_owned() }, Holding::Value(&"grown"));
        }
    }

    #[test]
    fn a_seed_is_nothing_to_drop() {
        let place = OnceCell::<String>::default();
        place.sow(7);
        // SAFETY: no other thread knows `place`.
        assert_eq!(unsafe { place.take() }, None);
        // SAFETY: as above.
        assert_eq!(unsafe { place.get_owned() }, Holding::Nothing);
        place.sow(8);
    }
}
