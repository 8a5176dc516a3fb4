//! The work that waits, shared by all threads of a load, and how many threads there are for it.

use super::filesystem::Filesystem;
use super::identity::Device;
use super::identity::Directory;
use super::names::{NameList, Place};
use super::pace::Pace;
use crate::tree::NodeId;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A directory that is loaded but not yet opened.
pub(super) struct Waiting {
    /// The directory's inode.
    pub(super) id: NodeId,
    /// Where its name stands.
    pub(super) place: Place,
}

/// A directory whose names have been read.
pub(super) struct ListedDir {
    /// The directory's inode.
    pub(super) id: NodeId,
    /// Where its own name stands.
    pub(super) place: Place,
    /// The open directory.
    pub(super) fd: OwnedFd,
    /// Its device.
    pub(super) device: Device,
    /// What it is found by if it is moved.
    pub(super) directory: Directory,
    /// What it lies on.
    pub(super) filesystem: Filesystem,
}

/// Some of the names of one directory.
pub(super) struct Chunk {
    /// The directory.
    pub(super) listing: Arc<ListedDir>,
    /// Where the first of `names` stands.
    pub(super) first: Place,
    /// How many names of the directory were listed before it.
    pub(super) before: u32,
    /// Names of the directory.
    pub(super) names: NameList,
    /// Which of them these are.
    pub(super) range: Range<u32>,
}

impl Chunk {
    /// Cuts `range` into at most `parts` chunks of about the same length.
    pub(super) fn cut(&self, range: Range<u32>, parts: usize) -> Vec<Chunk> {
        let length = (range.len().div_ceil(parts.max(1))).max(1);
        let starts = range.clone().step_by(length);
        let part = |start: u32| Chunk {
            listing: self.listing.clone(),
            first: self.first,
            before: self.before,
            names: self.names.clone(),
            range: start..range.end.min(start + length as u32),
        };
        starts.map(part).collect()
    }
}

/// What a thread takes.
pub(super) enum Job {
    /// Names to load.
    Chunk(Chunk),
    /// A directory to open and list.
    Directory(Waiting),
}

/// Two stacks: names of open directories come before directories to be opened, which bounds how
/// many are open.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Threads of a load whose calls do not wait.
    enough: usize,
    /// Copies of what the state says, for looking without a lock.
    idle: AtomicUsize,
    calls_wait: AtomicBool,
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    chunks: Vec<Chunk>,
    directories: Vec<Waiting>,
    workers: usize,
    idle: usize,
    /// Threads that may be at work, as far as is known by now.
    wanted: usize,
    /// Threads that there may be.
    most: usize,
    over: bool,
}

impl State {
    fn jobs(&self) -> usize {
        self.chunks.len() + self.directories.len()
    }

    fn pop(&mut self) -> Option<Job> {
        let chunk = self.chunks.pop().map(Job::Chunk);
        chunk.or_else(|| self.directories.pop().map(Job::Directory))
    }

    fn at_work(&self) -> usize {
        self.workers - self.idle
    }
}

impl Queue {
    /// How fast a number of threads that is too high becomes lower: by this part of the rest with each measurement.
    const PATIENCE: usize = 8;

    /// A queue that begins with one directory, for `enough` threads at first and `most` if calls wait.
    pub(super) fn new(first: Waiting, enough: usize, most: usize) -> Queue {
        let most = most.max(1);
        let enough = enough.clamp(1, most);
        let state = State {
            directories: vec![first],
            wanted: enough,
            most,
            ..State::default()
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
            enough,
            idle: AtomicUsize::new(0),
            calls_wait: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// Threads of a load whose calls do not wait.
    pub(super) fn enough(&self) -> usize {
        self.enough
    }

    /// A place at the queue for one thread.
    pub(super) fn join(&self) -> Seat<'_> {
        self.state.lock().workers += 1;
        Seat(self)
    }

    /// A place for one more thread, if there is work for it and more are worth it.
    pub(super) fn vacancy(&self) -> Option<Seat<'_>> {
        let mut state = self.state.lock();
        let vacant = !state.over && state.workers < state.wanted && state.jobs() > state.idle;
        state.workers += usize::from(vacant);
        vacant.then(|| Seat(self))
    }

    /// There cannot be more threads than now.
    pub(super) fn no_more(&self) {
        let state = &mut *self.state.lock();
        state.most = state.workers.max(1);
        self.want(state, state.wanted);
    }

    fn want(&self, state: &mut State, threads: usize) {
        let threads = threads.min(state.most);
        if threads > state.wanted && state.jobs() > 0 {
            self.changed.notify_all();
        }
        state.wanted = threads;
        let calls_wait = threads > self.enough;
        self.calls_wait.store(calls_wait, Ordering::Relaxed);
    }

    /// No thread gets another job.
    fn end(&self, state: &mut State) {
        state.over = true;
        self.over.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Wakes as many as there are new jobs.
    fn wake(&self, jobs: usize, state: &State) {
        match jobs < state.idle {
            true => (0..jobs).for_each(|_| {
                self.changed.notify_one();
            }),
            false => {
                self.changed.notify_all();
            }
        }
    }
}

/// One thread's place at the queue. The load is over once all who have one wait for more.
pub(super) struct Seat<'q>(&'q Queue);

impl Seat<'_> {
    /// Leaves `chunks` to whoever is free.
    pub(super) fn push(&self, chunks: impl ExactSizeIterator<Item = Chunk>) {
        let mut state = self.0.state.lock();
        let jobs = chunks.len();
        state.chunks.extend(chunks);
        self.0.wake(jobs, &state);
    }

    /// Takes all of `found` and gives the next job: mostly the last of those, which this thread can
    /// open with least effort. `None` once nothing is left to do or the load was stopped.
    pub(super) fn next(&self, found: &mut Vec<Waiting>) -> Option<Job> {
        let queue = self.0;
        let mut state = queue.state.lock();
        if found.len() > 1 {
            queue.wake(found.len() - 1, &state);
        }
        state.directories.append(found);
        while !state.over {
            if state.at_work() <= state.wanted
                && let Some(job) = state.pop()
            {
                return Some(job);
            }
            if state.idle + 1 == state.workers {
                queue.end(&mut state);
            } else {
                state.idle += 1;
                queue.idle.store(state.idle, Ordering::Relaxed);
                queue.changed.wait(&mut state);
                state.idle -= 1;
                queue.idle.store(state.idle, Ordering::Relaxed);
            }
        }
        None
    }

    /// How many threads have nothing to do, or could be made if there were more to do. Without a lock if there are
    /// none.
    pub(super) fn takers(&self) -> usize {
        if self.0.idle.load(Ordering::Relaxed) == 0 && !self.calls_wait() {
            return 0;
        }
        let state = self.0.state.lock();
        let free = state.wanted.saturating_sub(state.at_work());
        free.saturating_sub(state.jobs())
    }

    /// Whether calls were seen to wait.
    pub(super) fn calls_wait(&self) -> bool {
        self.0.calls_wait.load(Ordering::Relaxed)
    }

    /// Whether the load was stopped, or nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    /// Wants as many threads as `pace` is worth: more at once, fewer little by little.
    pub(super) fn adapt(&self, pace: Pace) {
        let state = &mut *self.0.state.lock();
        let worth = pace.threads(self.0.enough);
        let surplus = state.wanted.saturating_sub(worth);
        let fewer = state.wanted - surplus.div_ceil(Queue::PATIENCE);
        self.0.want(state, worth.max(fewer));
    }

    /// Gives `job` back for want of descriptors: this thread is one too many and must end. If it is the only one the job
    /// comes back.
    pub(super) fn resign(&self, job: Waiting) -> Result<(), Waiting> {
        let state = &mut *self.0.state.lock();
        if state.workers == 1 {
            return Err(job);
        }
        state.directories.push(job);
        state.most = state.most.min(state.workers - 1);
        self.0.want(state, state.wanted);
        Ok(())
    }

    /// Ends the load early.
    pub(super) fn stop(&self) {
        self.0.end(&mut self.0.state.lock());
    }
}

impl Drop for Seat<'_> {
    /// A thread that leaves without waiting, in a panic or for want of something, must not be waited for. What it was to
    /// do others do.
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.workers -= 1;
        if state.jobs() > 0 {
            self.0.changed.notify_all();
        } else if state.workers == state.idle {
            self.0.end(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::directory::filesystem::LOCAL;
    use rustix::fs::{Mode, OFlags, open};

    fn waiting(id: u32) -> Waiting {
        Waiting {
            id: NodeId::ROOT,
            place: Place(id),
        }
    }

    fn chunk(names: u32) -> Chunk {
        let fd = open("/", OFlags::PATH, Mode::empty()).unwrap();
        Chunk {
            listing: Arc::new(ListedDir {
                id: NodeId::ROOT,
                place: Place::ROOT,
                device: Device::default(),
                directory: Directory::default(),
                filesystem: LOCAL,
                fd,
            }),
            first: Place(0),
            before: 0,
            names: NameList::new(&b"name\0".repeat(names as usize)),
            range: 0..names,
        }
    }

    #[test]
    fn a_chunk_is_cut_into_parts_that_are_all_of_it() {
        for (range, parts, expected) in [
            (0..10, 3, vec![0..4, 4..8, 8..10]),
            (7..10, 64, vec![7..8, 8..9, 9..10]),
            (10..10, 2, vec![]),
        ] {
            let cut = chunk(10).cut(range, parts).into_iter();
            assert_eq!(cut.map(|part| part.range).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn who_gives_a_job_back_leaves_it_to_the_others() {
        let queue = Queue::new(waiting(1), 2, 2);
        let (one, other) = (queue.join(), queue.join());
        let Some(Job::Directory(job)) = one.next(&mut Vec::new()) else {
            panic!("the queue began with a directory");
        };
        assert!(one.resign(job).is_ok());
        drop(one);
        let Some(Job::Directory(job)) = other.next(&mut Vec::new()) else {
            panic!("it was given back");
        };
        assert_eq!(job.place, Place(1));
        let back = other.resign(job).err().map(|job| job.place);
        assert_eq!(back, Some(Place(1)), "the last one keeps it");
        assert!(other.next(&mut Vec::new()).is_none());
    }

    #[test]
    fn there_are_more_threads_only_where_they_are_worth_it() {
        let queue = Queue::new(waiting(1), 1, 4);
        let seat = queue.join();
        seat.push(chunk(10).cut(0..10, 10).into_iter());
        assert!(queue.vacancy().is_none());
        let measured = |wall| Pace::new(wall, 1, true);
        seat.adapt(measured(3));
        let more: Vec<_> = std::iter::from_fn(|| queue.vacancy()).collect();
        assert_eq!((more.len(), seat.calls_wait()), (2, true));
        seat.adapt(measured(1000));
        let last = [queue.vacancy(), queue.vacancy()];
        assert!(matches!(last, [Some(_), None]));
        queue.no_more();
        assert!(queue.vacancy().is_none());
        for _ in 0..10 {
            seat.adapt(measured(1));
        }
        assert!(!seat.calls_wait(), "little by little it is one again");
        drop((more, last));
    }
}
