//! The one place that chooses between the real atomics and loom's.

#[cfg(not(loom))]
mod chosen {
    pub use crossbeam_epoch::Guard;
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
}

#[cfg(loom)]
mod chosen {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

    /// Stands for a pinned epoch: under loom nothing is ever reclaimed.
    #[derive(Debug)]
    pub struct Guard;

    /// loom's mutex with the poison-free interface of `parking_lot`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

pub(crate) use chosen::*;

/// Loads by the only thread that may store to the word just now: the holder of the lock it is
/// changed under.
///
/// No other thread's store can come between, so no ordering is needed. loom checks the claim. It
/// also needs to be told: it remembers one load of a word at a time, and the owner's load before
/// each store would make it forget the readers' loads, and with them the orders to try.
pub(crate) trait LoadOwned {
    type Value;

    fn load_owned(&self) -> Self::Value;
}

macro_rules! load_owned {
    ($($atomic:ty => $value:ty $(, $t:ident)?;)*) => {$(
        impl$(<$t>)? LoadOwned for $atomic {
            type Value = $value;

            #[inline(always)]
            fn load_owned(&self) -> $value {
                #[cfg(not(loom))]
                return self.load(Ordering::Relaxed);
                // SAFETY: the caller owns the word; loom fails the story if it does not.
                #[cfg(loom)]
                return unsafe { self.unsync_load() };
            }
        }
    )*};
}

load_owned! {
    AtomicU32 => u32;
    AtomicU64 => u64;
    AtomicPtr<T> => *mut T, T;
}
