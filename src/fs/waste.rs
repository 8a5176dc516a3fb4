//! A thread that frees what takes long to free.
//!
//! Unmapping takes the system a while for each megabyte, and so does looking through all that the allocator keeps. Who
//! serves callers has no such time, and may hold a lock that others wait for.

use crate::host::{give_back_memory, is_memory_left_for_a_thread};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

enum Waste {
    Content(Box<dyn Send>),
    /// What the allocator keeps.
    Kept,
}

/// The thread, which is made when there is something for it to do, and ends with this.
#[derive(Debug, Default)]
pub(super) struct Remover {
    thread: Mutex<Option<Sender<Waste>>>,
    /// What the thread has to do yet. It orders nothing: who sees none finds what the allocator gives.
    left: Arc<AtomicUsize>,
}

impl Remover {
    /// Drops `content`, in the thread if there can be one.
    pub(super) fn discard(&self, content: impl Send + 'static) {
        drop(self.send(Waste::Content(Box::new(content))));
    }

    /// Whether memory that nobody uses any more is about to be free.
    pub(super) fn is_busy(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Has the system get back what is free. False if there is no thread for it, and memory stays where it is.
    pub(super) fn give_back(&self) -> bool {
        self.send(Waste::Kept).is_ok()
    }

    fn send(&self, waste: Waste) -> Result<(), Waste> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            *thread = start(&self.left);
        }
        let Some(thread) = &*thread else {
            return Err(waste);
        };
        self.left.fetch_add(1, Ordering::Relaxed);
        thread.send(waste).map_err(|unsent| {
            self.left.fetch_sub(1, Ordering::Relaxed);
            unsent.0
        })
    }
}

fn start(left: &Arc<AtomicUsize>) -> Option<Sender<Waste>> {
    if !is_memory_left_for_a_thread() {
        return None;
    }
    let (sender, waste) = channel();
    let left = Arc::clone(left);
    let started = std::thread::Builder::new()
        .name("norefs-free".to_owned())
        .spawn(move || {
            for waste in waste {
                match waste {
                    Waste::Content(content) => drop(content),
                    Waste::Kept => give_back_memory(),
                }
                left.fetch_sub(1, Ordering::Relaxed);
            }
        });
    started.ok().map(|_| sender)
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
