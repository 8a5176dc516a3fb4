//! A thread that frees what takes long to free.
//!
//! Unmapping takes the system a while for each megabyte, and so does looking through all that the allocator keeps. Who
//! serves callers has no such time, and may hold a lock that others wait for.

use crate::host::{Pool, PoolShape, give_back_memory};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The thread, which is there as long as there is something for it to do.
pub(super) struct Remover {
    thread: Pool,
    /// What it has to do yet. It orders nothing: who sees none finds what the allocator gives.
    left: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Remover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remover").field(&self.left).finish()
    }
}

impl Default for Remover {
    fn default() -> Remover {
        Remover {
            thread: Pool::new(PoolShape {
                name: "norefs-free",
                threads: 1,
                queued: usize::MAX,
                begin: Box::new(|| ()),
            }),
            left: Arc::default(),
        }
    }
}

/// Counts a piece of work as long as it is not done, whatever becomes of it.
struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Remover {
    /// Drops `content`, in the thread if there can be one.
    pub(super) fn discard(&self, content: impl Send + 'static) {
        self.run(move || drop(content));
    }

    /// Whether memory that nobody uses any more is about to be free.
    pub(super) fn is_busy(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Has the system get back what is free. False if there is no thread for it, and memory stays where it is.
    pub(super) fn give_back(&self) -> bool {
        self.run(give_back_memory)
    }

    /// Goes on, in a copy of the process, with what was to be done in the other one.
    pub(super) fn begin_as_copy(&self) {
        if self.is_busy() {
            self.run(|| ());
        }
    }

    fn run(&self, work: impl FnOnce() + Send + 'static) -> bool {
        self.left.fetch_add(1, Ordering::Relaxed);
        let left = Left(self.left.clone());
        let work = Box::new(move || {
            work();
            drop(left);
        });
        self.thread.run(work).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    struct Dropped(mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn what_is_discarded_is_dropped_by_another_thread_and_soon() {
        let remover = Remover::default();
        let (tell, told) = mpsc::channel();
        assert!(!remover.is_busy());
        remover.discard(Dropped(tell.clone()));
        remover.discard(Dropped(tell));
        let left = remover.left.clone();
        // What it has to do yet it does.
        drop(remover);
        let wait = || told.recv_timeout(Duration::from_secs(30)).unwrap();
        let by = [wait(), wait()];
        assert_eq!(by[0], by[1]);
        assert_ne!(by[0], thread::current().id());
        let began = std::time::Instant::now();
        while left.load(Ordering::Relaxed) > 0 {
            assert!(began.elapsed() < Duration::from_secs(30));
        }
    }
}
