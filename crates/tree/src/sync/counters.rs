//! Numbers that each thread adds to alone and that are summed only when somebody asks.
//!
//! A shared counter would put back the shared cache line that the no-reference path avoids. Here a
//! thread writes only to words of its own (a plain load and store, no locked instruction); a reader
//! of the sum may miss additions of the last instants, never counts one twice, and never sees a sum
//! go down.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use thread_local::ThreadLocal;

/// `N` counters.
#[derive(Debug)]
pub struct Counters<const N: usize> {
    threads: ThreadLocal<CachePadded<[AtomicU64; N]>>,
}

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Counters {
            threads: ThreadLocal::new(),
        }
    }
}

impl<const N: usize> Counters<N> {
    /// Adds `n` to counter `which` (below `N`).
    #[inline]
    pub fn add(&self, which: usize, n: u64) {
        let mine = self
            .threads
            .get_or(|| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))));
        let seen = mine[which].load(Ordering::Relaxed);
        mine[which].store(seen + n, Ordering::Relaxed);
    }

    /// The sums over all threads, those that ended included.
    pub fn sums(&self) -> [u64; N] {
        let mut sums = [0; N];
        for thread in &self.threads {
            for (sum, counter) in sums.iter_mut().zip(thread.iter()) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_ended_still_count() {
        const TIMES: u64 = if cfg!(miri) { 20 } else { 1000 };
        let counters = Counters::<2>::default();
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..TIMES).for_each(|_| counters.add(1, 2)));
                }
            });
        }
        assert_eq!(counters.sums(), [0, 3 * 4 * 2 * TIMES]);
    }
}
