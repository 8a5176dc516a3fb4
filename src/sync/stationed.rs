//! A value that is set at most once in the life of its slot.
//!
//! Two kinds of readers see it: those under a pinned epoch, and those who own what keeps the slot
//! alive. It is taken out when the slot's life ends, by the one caller that ended it; readers under
//! the epoch may still be looking then, so what is taken is given to the epoch unless there can be none.
//!
//! Orderings: the pointer is stored with Release and loaded with Acquire, so the value is complete.

use crossbeam_epoch::{Atomic, Guard, Owned, Shared};
use std::sync::atomic::Ordering;

/// The place.
#[derive(Debug)]
pub struct Stationed<T> {
    value: Atomic<T>,
}

impl<T> Default for Stationed<T> {
    fn default() -> Self {
        Stationed {
            value: Atomic::null(),
        }
    }
}

impl<T> Stationed<T> {
    /// The value, for as long as the epoch stays pinned.
    #[inline(always)]
    pub fn get<'g>(&self, guard: &'g Guard) -> Option<&'g T> {
        // SAFETY: a value that is taken out is given to the epoch (`Stationed::retire`), or was never
        // read under one (`Stationed::take`), so it lives as long as this pin.
        unsafe { self.value.load(Ordering::Acquire, guard).as_ref() }
    }

    /// The value, for whoever keeps it from being taken out.
    ///
    /// # Safety
    /// Neither [`Stationed::retire`] nor [`Stationed::take`] is called while the result is used.
    pub unsafe fn get_owned(&self) -> Option<&T> {
        // SAFETY: the value is not taken out meanwhile (the caller's promise), so no epoch is needed.
        unsafe {
            let unprotected = crossbeam_epoch::unprotected();
            self.value.load(Ordering::Acquire, unprotected).as_ref()
        }
    }

    /// Sets the value if there is none. False (and `value` is dropped) if there was one.
    pub fn set(&self, value: T) -> bool {
        let guard = crossbeam_epoch::pin();
        self.value
            .compare_exchange(
                Shared::null(),
                Owned::new(value),
                Ordering::AcqRel,
                Ordering::Relaxed,
                &guard,
            )
            .is_ok()
    }

    /// Takes the value out and drops it when the last reader has let go of its epoch. The caller ended
    /// the slot's life and nobody sets the value meanwhile.
    ///
    /// Any thread may be the one that drops it, at any time.
    pub fn retire(&self, guard: &Guard)
    where
        T: Send + 'static,
    {
        let value = self.value.swap(Shared::null(), Ordering::AcqRel, guard);
        if !value.is_null() {
            // SAFETY: the pointer came out of the place by a swap, so only this caller destroys it, and the
            // value may be dropped in another thread and later.
            unsafe { guard.defer_destroy(value) };
        }
    }

    /// Takes the value out at once.
    ///
    /// # Safety
    /// Nobody reads it any more, not under an epoch either.
    pub unsafe fn take(&self) -> Option<Box<T>> {
        // SAFETY: by the caller's promise nobody else can reach the value.
        unsafe {
            let unprotected = crossbeam_epoch::unprotected();
            let value = self
                .value
                .swap(Shared::null(), Ordering::AcqRel, unprotected);
            (!value.is_null()).then(|| value.into_owned().into_box())
        }
    }
}

impl<T> Drop for Stationed<T> {
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
        let place = Stationed::default();
        assert!(place.set("first"));
        assert!(!place.set("second"));
        let guard = crossbeam_epoch::pin();
        assert_eq!(place.get(&guard), Some(&"first"));
        place.retire(&guard);
        assert_eq!(place.get(&guard), None);
        assert!(place.set("third"));
        // SAFETY: no other thread knows `place`.
        assert_eq!(unsafe { place.take() }.as_deref(), Some(&"third"));
    }
}
