//! Threads for requests that wait until the kernel has written back.
//!
//! What such a thread waits for is requests of the kernel to this mount: a READ that holds a page, a WRITE. Those are
//! served by other threads, and find room in the channel, so they go on; hence no more than a part of the requests
//! of a channel may wait like this, and never in threads that a READ or WRITE may need.

use crate::host::{is_memory_left_for_a_thread, take_part};
use crate::transport::channel::blocking;
use crate::transport::channel::cpus::stay_on;
use crate::transport::channel::exchange::MayBlock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// No more than this many wait at once; half of what a ring may have under way.
const MOST: usize = blocking::MOST / 2;

/// Starts a thread for each request that has to wait, which few do.
#[derive(Clone, Default)]
pub(crate) struct Writebacks {
    busy: Arc<AtomicUsize>,
    /// The CPUs the threads run on; those of whoever starts them if empty.
    cpus: Arc<[usize]>,
}

/// Counts a thread as long as it works, however that ends.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writebacks {
    /// Threads that run on `cpus`.
    pub(crate) fn on(cpus: Vec<usize>) -> Writebacks {
        Writebacks {
            cpus: cpus.into(),
            ..Writebacks::default()
        }
    }

    /// Has `work` done in a thread of its own, with all the time it takes. Where no thread is to be had it is done by this
    /// one, which may not block.
    pub(crate) fn run(&self, work: impl FnOnce(MayBlock) + Send + 'static) {
        let others = self.busy.fetch_add(1, Ordering::Relaxed);
        let place = Busy(self.busy.clone());
        if others >= MOST || !is_memory_left_for_a_thread() {
            return work(MayBlock::Nobody);
        }
        // A thread that cannot be started must not take the work with it.
        let work = Arc::new(Mutex::new(Some(work)));
        let (for_thread, cpus) = (work.clone(), self.cpus.clone());
        let started = std::thread::Builder::new()
            .name("norefs-back".to_owned())
            .spawn(move || {
                take_part();
                let _place = place;
                stay_on(&cpus);
                let work = for_thread.lock().take();
                work.into_iter().for_each(|work| work(MayBlock::Yes));
            });
        if started.is_err() {
            let work = work.lock().take();
            work.into_iter().for_each(|work| work(MayBlock::Nobody));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn work_that_finds_no_thread_is_told_that_it_cannot_wait() {
        let writebacks = Writebacks::default();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (tell, told) = mpsc::channel();
        let here = std::thread::current().id();
        for _ in 0..=MOST {
            let (held, tell) = (held.clone(), tell.clone());
            writebacks.run(move |may_block| {
                let elsewhere = std::thread::current().id() != here;
                tell.send((may_block, elsewhere)).unwrap();
                if elsewhere {
                    // Ends when the sender is gone.
                    held.lock().recv().unwrap_err();
                }
            });
        }
        let wait = Duration::from_secs(10);
        let mut told: Vec<_> = (0..=MOST)
            .map(|_| told.recv_timeout(wait).unwrap())
            .collect();
        told.sort_by_key(|(_, elsewhere)| *elsewhere);
        assert_eq!(told[0], (MayBlock::Nobody, false));
        assert!(told[1..].iter().all(|one| *one == (MayBlock::Yes, true)));
        drop(release);
    }
}
