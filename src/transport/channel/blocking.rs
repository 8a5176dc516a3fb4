//! Threads for requests that have to wait.

use crate::host::{Pool, PoolShape};
use crate::transport::channel::cpus::stay_on;

/// More than this many requests do not wait at once in threads of their own.
pub(crate) const MOST: usize = 64;

/// More requests than this do not wait for a thread.
const QUEUED: usize = 1024;

/// Does what would keep a serving thread waiting. A request waits for a thread only while [`MOST`] of them are kept by
/// others.
#[derive(Clone)]
pub(crate) struct BlockingPool(Pool);

impl Default for BlockingPool {
    fn default() -> BlockingPool {
        BlockingPool::on(Vec::new())
    }
}

impl BlockingPool {
    /// Threads that run on `cpus`, wherever those who bring work stay; where they do if empty.
    pub(crate) fn on(cpus: Vec<usize>) -> BlockingPool {
        BlockingPool(Pool::new(PoolShape {
            name: "norefs-blocking",
            threads: MOST,
            queued: QUEUED,
            begin: Box::new(move || stay_on(&cpus)),
        }))
    }

    /// Has `work` done by a thread that may wait, or at once by this one if there are too many or none can be made.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        if let Err(work) = self.0.run(Box::new(work)) {
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::channel::cpus;
    use std::sync::mpsc;

    #[test]
    fn threads_leave_the_cpu_of_who_starts_them() {
        let everywhere = cpus::usable();
        let pool = BlockingPool::on(everywhere.clone());
        let (done, finished) = mpsc::channel();
        let starter = std::thread::spawn(move || {
            stay_on(&cpus::usable()[..1]);
            pool.run(move || done.send(cpus::usable()).unwrap());
        });
        assert_eq!(finished.recv().unwrap(), everywhere);
        starter.join().unwrap();
    }

    #[test]
    fn without_a_thread_work_is_done_by_who_brings_it() {
        let pool = BlockingPool(Pool::new(PoolShape {
            name: "none",
            threads: 0,
            queued: QUEUED,
            begin: Box::new(|| ()),
        }));
        let here = std::thread::current().id();
        let (done, finished) = mpsc::channel();
        pool.run(move || done.send(std::thread::current().id()).unwrap());
        assert_eq!(finished.try_recv(), Ok(here));
    }
}
