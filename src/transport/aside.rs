//! Threads for requests that have to wait.

use crate::sync::is_memory_left;
use crate::transport::cpus::stay_on;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than this many do not wait at once in threads of their own.
pub(crate) const MOST: usize = 64;

/// Far more than the stacks of a thread take, bytes.
const THREAD_BYTES: usize = 16 << 20;

/// Starts a thread for each piece of work that would keep a serving thread waiting. Such work takes
/// much longer than a thread takes to start, and there is seldom any.
#[derive(Clone, Default)]
pub(crate) struct Aside {
    busy: Arc<AtomicUsize>,
    /// The CPUs the threads run on; those of whoever starts them if empty.
    cpus: Arc<[usize]>,
}

/// Counts a thread as long as it works, however that ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Aside {
    /// Threads that run on `cpus`, wherever those who bring work stay.
    pub(crate) fn on(cpus: Vec<usize>) -> Aside {
        Aside {
            cpus: cpus.into(),
            ..Aside::default()
        }
    }

    /// Has `work` done in a thread of its own, or at once by this one if there are too many.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let others = self.busy.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.busy.clone());
        // A thread that finds no memory for its second stack, which it makes by itself, ends the process.
        if others >= MOST || !is_memory_left(THREAD_BYTES) {
            return work();
        }
        // A thread that cannot be started must not take the work with it.
        let work = Arc::new(Mutex::new(Some(work)));
        let (for_thread, cpus) = (work.clone(), self.cpus.clone());
        let started = std::thread::Builder::new()
            .name("norefs-aside".to_owned())
            .spawn(move || {
                let _place = place;
                stay_on(&cpus);
                let work = for_thread.lock().take();
                work.into_iter().for_each(|work| work());
            });
        if started.is_err() {
            let work = work.lock().take();
            work.into_iter().for_each(|work| work());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::cpus;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn work_aside_does_not_wait_for_other_work() {
        let aside = Aside::default();
        let (release, held) = mpsc::channel::<()>();
        aside.run(move || held.recv().unwrap());
        let (done, finished) = mpsc::channel();
        aside.run(move || done.send(()).unwrap());
        finished.recv_timeout(Duration::from_secs(10)).unwrap();
        release.send(()).unwrap();
    }

    #[test]
    fn threads_leave_the_cpu_of_who_starts_them() {
        let everywhere = cpus::usable();
        let aside = Aside::on(everywhere.clone());
        let (done, finished) = mpsc::channel();
        let starter = std::thread::spawn(move || {
            stay_on(&cpus::usable()[..1]);
            aside.run(move || done.send(cpus::usable()).unwrap());
        });
        assert_eq!(finished.recv().unwrap(), everywhere);
        starter.join().unwrap();
    }

    #[test]
    fn too_much_work_is_done_by_who_brings_it() {
        let aside = Aside::default();
        aside.busy.store(MOST, Ordering::Relaxed);
        let here = std::thread::current().id();
        let (done, finished) = mpsc::channel();
        aside.run(move || done.send(std::thread::current().id()).unwrap());
        assert_eq!(finished.try_recv(), Ok(here));
        assert_eq!(aside.busy.load(Ordering::Relaxed), MOST);
    }
}
