//! The work that waits, shared by all threads of a load.

use super::filesystem::Filesystem;
use super::identity::Directory;
use super::names::{Names, Place};
use super::root::Device;
use crate::tree::NodeId;
use parking_lot::{Condvar, Mutex};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A directory that is loaded but not yet opened.
pub(super) struct Waiting {
    /// The directory's inode.
    pub(super) id: NodeId,
    /// Where its name stands.
    pub(super) place: Place,
}

/// A directory whose names have been read.
pub(super) struct Listing {
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
    pub(super) listing: Arc<Listing>,
    /// The first name's place.
    pub(super) first: Place,
    /// The names.
    pub(super) names: Names,
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
}

#[derive(Default)]
struct State {
    chunks: Vec<Chunk>,
    directories: Vec<Waiting>,
    workers: usize,
    idle: usize,
    over: bool,
}

impl Queue {
    /// A queue that begins with one directory.
    pub(super) fn new(first: Waiting) -> Queue {
        let state = State {
            directories: vec![first],
            ..State::default()
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// A place at the queue for one thread.
    pub(super) fn join(&self) -> Seat<'_> {
        self.state.lock().workers += 1;
        Seat(self)
    }

    /// No thread gets another job.
    fn end(&self, state: &mut State) {
        state.over = true;
        self.changed.notify_all();
    }
}

/// One thread's place at the queue. The load is over once all who have one wait for more.
pub(super) struct Seat<'q>(&'q Queue);

impl Seat<'_> {
    pub(super) fn push_chunks(&self, chunks: impl Iterator<Item = Chunk>) {
        self.0.state.lock().chunks.extend(chunks);
        self.0.changed.notify_all();
    }

    /// Takes all of `found` and gives the next job: mostly the last of those, which this thread can
    /// open with least effort. `None` once nothing is left to do or the load was stopped.
    pub(super) fn next(&self, found: &mut Vec<Waiting>) -> Option<Job> {
        let Queue { state, changed } = self.0;
        let mut state = state.lock();
        if found.len() > 1 {
            changed.notify_all();
        }
        state.directories.append(found);
        while !state.over {
            let chunk = state.chunks.pop().map(Job::Chunk);
            let job = chunk.or_else(|| state.directories.pop().map(Job::Directory));
            if job.is_some() {
                return job;
            }
            if state.idle + 1 == state.workers {
                self.0.end(&mut state);
            } else {
                state.idle += 1;
                changed.wait(&mut state);
                state.idle -= 1;
            }
        }
        None
    }

    /// Ends the load early.
    pub(super) fn stop(&self) {
        self.0.end(&mut self.0.state.lock());
    }
}

impl Drop for Seat<'_> {
    /// A thread that leaves without waiting, in a panic, must not be waited for.
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.workers -= 1;
        if state.workers == state.idle {
            self.0.end(&mut state);
        }
    }
}
