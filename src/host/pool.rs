//! Threads that stay: whoever has to wait is not waited for.

use super::{copies, is_memory_left_for_a_thread, rest, take_part};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(5);

/// A piece of work.
pub type Work = Box<dyn FnOnce() + Send>;

/// How many threads a [`Pool`] has, and what they are.
pub struct Shape {
    /// The name of each thread.
    pub name: &'static str,
    /// The most threads there are at one time.
    pub threads: usize,
    /// The most pieces of work that wait for a thread.
    pub queued: usize,
    /// What each thread does first.
    pub begin: Box<dyn Fn() + Send + Sync>,
}

/// A few threads for work that may take long. A piece of work waits for a thread only while the most there may be are
/// all busy: one that gets stuck keeps no other from being done before.
///
/// Threads without work end after a while, and soon after the last handle on the pool is dropped; what was
/// handed in is done all the same. In a copy of the process it has none, and what was not begun is done with the next piece.
#[derive(Clone)]
pub struct Pool(Arc<Handle>);

/// Ends idle threads when the last of the pool's owners goes.
struct Handle(Arc<Shared>);

struct Shared {
    shape: Shape,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    /// Of these, those that were started or woken and have not looked at the queue yet.
    coming: usize,
    /// Those that wait for work.
    idle: Vec<Thread>,
    closed: bool,
    /// In which copy of the process the threads are.
    copies: u32,
}

impl State {
    /// The threads of another process are none of this one.
    fn count_anew(&mut self) {
        if self.copies != copies() {
            (self.threads, self.coming) = (0, 0);
            self.idle.clear();
            self.copies = copies();
        }
    }
}

impl Pool {
    /// A pool without threads yet.
    pub fn new(shape: Shape) -> Pool {
        Pool(Arc::new(Handle(Arc::new(Shared {
            shape,
            state: Mutex::new(State {
                copies: copies(),
                ..State::default()
            }),
        }))))
    }

    /// Has `work` done by a thread of the pool, whenever one is free.
    ///
    /// # Errors
    /// The work itself, if too much waits already or if there is no thread and none can be made.
    pub fn run(&self, work: Work) -> Result<(), Work> {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        state.count_anew();
        if state.queue.len() >= shared.shape.queued {
            return Err(work);
        }
        state.queue.push_back(work);
        // Each piece that is queued has a thread that will take it.
        if state.queue.len() <= state.coming {
            return Ok(());
        }
        if let Some(thread) = state.idle.pop() {
            state.coming += 1;
            drop(state);
            thread.unpark();
            return Ok(());
        }
        if state.threads < shared.shape.threads {
            state.threads += 1;
            state.coming += 1;
            drop(state);
            let started = shared.start();
            state = shared.state.lock();
            if let Err(error) = started {
                state.threads -= 1;
                state.coming -= 1;
                tracing::debug!(%error, "no further thread");
            }
        }
        match state.threads {
            // Nobody takes it, or another one that was handed in since.
            0 => state.queue.pop_back().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.0.0.state.lock().threads
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.count_anew();
        state.closed = true;
        state.coming += state.idle.len();
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        idle.iter().for_each(Thread::unpark);
    }
}

impl Shared {
    fn start(self: &Arc<Shared>) -> io::Result<()> {
        if !is_memory_left_for_a_thread() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let shared = self.clone();
        let thread = std::thread::Builder::new().name(self.shape.name.to_owned());
        thread.spawn(move || shared.serve()).map(drop)
    }

    fn serve(&self) {
        take_part();
        (self.shape.begin)();
        self.state.lock().coming -= 1;
        while let Some(work) = self.next() {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("work of a pool panicked");
            }
        }
    }

    /// The next piece of work; `None` once this thread is to end, which is counted then.
    fn next(&self) -> Option<Work> {
        let mut waiting = Instant::now();
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            if state.closed || waiting.elapsed() >= IDLE {
                state.threads -= 1;
                return None;
            }
            state.idle.push(std::thread::current());
            drop(state);
            rest(|| std::thread::park_timeout(IDLE.saturating_sub(waiting.elapsed())));
            let here = std::thread::current().id();
            state = self.state.lock();
            match state.idle.iter().position(|thread| thread.id() == here) {
                Some(place) => _ = state.idle.swap_remove(place),
                // It was woken.
                None => {
                    state.coming -= 1;
                    waiting = Instant::now();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Sender};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn pool(threads: usize, queued: usize) -> Pool {
        Pool::new(Shape {
            name: "test",
            threads,
            queued,
            begin: Box::new(|| ()),
        })
    }

    /// Keeps a thread until the sender is dropped.
    fn stuck(pool: &Pool) -> Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        assert!(
            pool.run(Box::new(move || held.recv().unwrap_or_default()))
                .is_ok()
        );
        release
    }

    #[test]
    fn work_does_not_wait_for_other_work() {
        let pool = pool(4, 4);
        let held: Vec<_> = (0..3).map(|_| stuck(&pool)).collect();
        let (done, finished) = mpsc::channel();
        assert!(pool.run(Box::new(move || done.send(()).unwrap())).is_ok());
        finished.recv_timeout(PATIENCE).unwrap();
        assert_eq!(pool.threads(), 4);
        drop(held);
    }

    #[test]
    fn work_that_comes_at_once_gets_a_thread_each() {
        let pool = pool(64, 64);
        let (begun, seen) = mpsc::channel();
        let held: Vec<Sender<()>> = std::thread::scope(|scope| {
            let bringers: Vec<_> = (0..60)
                .map(|_| {
                    let (begun, pool) = (begun.clone(), &pool);
                    scope.spawn(move || {
                        let (release, held) = mpsc::channel::<()>();
                        let work = move || {
                            begun.send(()).unwrap();
                            held.recv().unwrap_or_default();
                        };
                        assert!(pool.run(Box::new(work)).is_ok());
                        release
                    })
                })
                .collect();
            bringers
                .into_iter()
                .map(|one| one.join().unwrap())
                .collect()
        });
        (0..60).for_each(|_| seen.recv_timeout(PATIENCE).unwrap());
        drop(held);
    }

    #[test]
    fn threads_are_used_again() {
        let pool = pool(64, 64);
        let mut threads = std::collections::HashSet::new();
        for _ in 0..1000 {
            let (done, finished) = mpsc::channel();
            let work = move || done.send(std::thread::current().id()).unwrap();
            assert!(pool.run(Box::new(work)).is_ok());
            threads.insert(finished.recv_timeout(PATIENCE).unwrap());
        }
        assert!(
            threads.len() <= 64 && pool.threads() < 64,
            "{}",
            threads.len()
        );
    }

    #[test]
    fn too_much_work_is_given_back() {
        let pool = pool(2, 1);
        let taken = |held| {
            while !pool.0.0.state.lock().queue.is_empty() {
                std::thread::yield_now();
            }
            held
        };
        let _held = [taken(stuck(&pool)), taken(stuck(&pool))];
        let waits = stuck(&pool);
        assert!(pool.run(Box::new(|| ())).is_err());
        assert_eq!(pool.threads(), 2);
        drop(waits);
    }

    #[test]
    fn work_that_panics_takes_nothing_along() {
        let pool = pool(1, 9);
        assert!(pool.run(Box::new(|| panic!("as intended"))).is_ok());
        let (done, finished) = mpsc::channel();
        assert!(pool.run(Box::new(move || done.send(()).unwrap())).is_ok());
        finished.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn what_was_handed_in_is_done_and_threads_end_with_the_pool() {
        let pool = pool(1, 9);
        let held = stuck(&pool);
        let (done, finished) = mpsc::channel();
        assert!(pool.run(Box::new(move || done.send(()).unwrap())).is_ok());
        let shared = pool.0.0.clone();
        drop((pool, held));
        finished.recv_timeout(PATIENCE).unwrap();
        let began = Instant::now();
        while shared.state.lock().threads > 0 {
            assert!(began.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }
}
