//! Reading ahead in a source that takes its time: when files of a directory are read one after the other, the next
//! ones are opened and read by threads of their own, so that the calls to the source overlap.
//!
//! What is fetched so is the kernel's: the file stays open and its pages are in the page cache. Whoever reads it then finds
//! an open file, which is looked at as any other is, so nothing is told that would not be told without this.
//!
//! It begins only where reading was seen to take long, and goes on as long as what is fetched gets used.

use super::identity::device;
use super::names::Place;
use super::open_files::OpenFile;
use super::opening::{FOUND, open_as, reopen, stat_content};
use super::root::SourceRoot;
use crate::host::{Pool, PoolShape};
use parking_lot::{Condvar, Mutex};
use rustix::fs::{ResolveFlags, Statx};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many calls of the source are under way for this at one time.
const THREADS: usize = 16;
/// So many files wait to be fetched.
const QUEUED: usize = 256;
/// So many fetched files wait to be read, or an eighth of the descriptors the process may have.
const READY: u64 = 128;
/// So much of each file is fetched.
const BYTES: u64 = 128 << 10;
/// So many names on from one that is read.
const WINDOW: u32 = 32;
/// Two reads this near to each other are one after the other: several threads may read, and not all names are files.
const NEAR: u32 = 4;
/// The names remembered of at one time: those of so many parts.
const PARTS: usize = 64;
/// A source that takes longer than this to open a file, in microseconds, is slow.
const SLOW: u64 = 300;
/// After so many files that were of use more than were not, the first read in a directory is enough to begin.
const TRUSTED: u32 = 8;
const MOST_TRUSTED: u32 = 64;

enum Ahead {
    Queued,
    Running,
    Ready(OpenFile, Box<Statx>),
}

/// Some names of one directory of which one was read.
struct Part {
    names: Range<u32>,
    read: Vec<bool>,
    asked: Vec<bool>,
}

#[derive(Default)]
struct State {
    files: HashMap<Place, Ahead>,
    /// Those that are ready, the oldest first, and some that were.
    order: VecDeque<Place>,
    ready: usize,
    parts: VecDeque<Part>,
    trust: u32,
}

/// What is fetched before somebody asks for it.
pub(super) struct ReadAhead {
    root: Arc<SourceRoot>,
    pool: Pool,
    state: Mutex<State>,
    done: Condvar,
    /// The most that may be ready.
    most: usize,
    /// How long it takes to open a file, in microseconds.
    takes: AtomicU64,
}

impl Part {
    fn new(names: Range<u32>) -> Part {
        let none = vec![false; names.len()];
        Part {
            names,
            read: none.clone(),
            asked: none,
        }
    }

    /// Notes a read of `place`, and gives what to fetch.
    fn next(&mut self, place: Place, trusted: bool) -> Vec<Place> {
        let at = (place.0 - self.names.start) as usize;
        let first = !self.read.contains(&true);
        (self.read[at], self.asked[at]) = (true, true);
        let (near, window) = (NEAR as usize, WINDOW as usize);
        let before = &self.read[at.saturating_sub(near)..at];
        let end = self.read.len();
        let behind = &self.read[at + 1..(at + 1 + near).min(end)];
        let begins = trusted && first;
        let (up, down) = (before.contains(&true), behind.contains(&true));
        let mut wanted = Vec::new();
        if up || begins {
            wanted.extend(at + 1..(at + 1 + window).min(end));
        }
        if down || begins {
            wanted.extend((at.saturating_sub(window)..at).rev());
        }
        wanted.retain(|&at| !std::mem::replace(&mut self.asked[at], true));
        let place = |at| Place(self.names.start + at as u32);
        wanted.into_iter().map(place).collect()
    }
}

impl State {
    /// What to fetch since `place` is read, which is one of `names`.
    fn next(&mut self, place: Place, names: Range<u32>) -> Vec<Place> {
        let known = self.parts.iter().position(|part| part.names == names);
        let part = match known.and_then(|at| self.parts.remove(at)) {
            Some(part) => part,
            None => Part::new(names),
        };
        self.parts.truncate(PARTS - 1);
        self.parts.push_front(part);
        let trusted = self.trust >= TRUSTED;
        self.parts[0].next(place, trusted)
    }

    /// Notes that `place` is to be fetched; false if it was already.
    fn queue(&mut self, place: Place) -> bool {
        let known = self.files.contains_key(&place);
        self.files.entry(place).or_insert(Ahead::Queued);
        !known
    }

    fn forget_queued(&mut self, place: Place) {
        if let Some(Ahead::Queued) = self.files.get(&place) {
            self.files.remove(&place);
        }
    }

    /// Makes room for one more that is ready, where `most` may be.
    fn evict(&mut self, most: usize) -> Vec<Ahead> {
        let mut gone = Vec::new();
        if self.order.len() >= 2 * most {
            let files = &self.files;
            self.order
                .retain(|place| matches!(files.get(place), Some(Ahead::Ready(..))));
        }
        while self.ready >= most
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(Ahead::Ready(..)) = self.files.get(&oldest) {
                gone.extend(self.files.remove(&oldest));
                self.ready -= 1;
                self.trust = self.trust.saturating_sub(1);
            }
        }
        gone
    }
}

impl ReadAhead {
    pub(super) fn new(root: Arc<SourceRoot>) -> ReadAhead {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let most = (limit.current.unwrap_or(u64::MAX) / 8).clamp(1, READY);
        ReadAhead {
            root,
            most: most as usize,
            pool: Pool::new(PoolShape {
                name: "norefs-ahead",
                threads: THREADS,
                queued: QUEUED,
                begin: Box::new(|| ()),
            }),
            state: Mutex::default(),
            done: Condvar::new(),
            takes: AtomicU64::new(0),
        }
    }

    /// Notes how long it took to open a file that was not fetched.
    pub(super) fn took(&self, time: Duration) {
        let took = u64::try_from(time.as_micros()).map_or(1 << 32, |took| took.min(1 << 32));
        let before = self.takes.load(Ordering::Relaxed);
        let average = match before {
            0 => took,
            _ => (before * 3 + took) / 4,
        };
        self.takes.store(average, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.takes.load(Ordering::Relaxed) > SLOW
    }

    /// The file whose name stood at `place` when it was fetched, if it was, and what it said of itself before its content was
    /// read. Waits while that is under way: the source would not be faster if it were asked twice.
    pub(super) fn take(&self, place: Place) -> Option<(OpenFile, Box<Statx>)> {
        let mut state = self.state.lock();
        while let Some(Ahead::Running) = state.files.get(&place) {
            self.done.wait(&mut state);
        }
        match state.files.remove(&place)? {
            Ahead::Ready(file, stat) => {
                state.ready -= 1;
                state.trust = (state.trust + 1).min(MOST_TRUSTED);
                Some((file, stat))
            }
            _ => None,
        }
    }

    /// Has what comes after `place` fetched, if the source is slow and it looks as if it were read next.
    pub(super) fn read(self: &Arc<ReadAhead>, place: Place) {
        if self.root.answers_at_once || !self.is_slow() {
            return;
        }
        let names = self.root.names_beside(place);
        let wanted = self.state.lock().next(place, names);
        for place in wanted {
            if !self.state.lock().queue(place) {
                continue;
            }
            // Nothing is fetched for a source that goes.
            let ahead = Arc::downgrade(self);
            let fetch = move || {
                if let Some(ahead) = ahead.upgrade() {
                    ahead.fetch(place);
                }
            };
            if self.pool.run(Box::new(fetch)).is_err() {
                self.state.lock().forget_queued(place);
            }
        }
    }

    fn fetch(&self, place: Place) {
        match self.state.lock().files.get_mut(&place) {
            Some(ahead @ Ahead::Queued) => *ahead = Ahead::Running,
            // Somebody was faster.
            _ => return,
        }
        let fetched = fetch(&self.root, place);
        let mut state = self.state.lock();
        state.files.remove(&place);
        let mut gone = Vec::new();
        if let Some((file, stat)) = fetched {
            gone = state.evict(self.most);
            state.files.insert(place, Ahead::Ready(file, stat));
            state.order.push_back(place);
            state.ready += 1;
        }
        drop(state);
        self.done.notify_all();
        // Closing them may take a call of the source.
        drop(gone);
    }
}

/// Opens the regular file that the name at `place` leads to, and has the first of its content read; `None` if anything
/// is as it should not be: whoever reads it finds out.
fn fetch(root: &SourceRoot, place: Place) -> Option<(OpenFile, Box<Statx>)> {
    let find =
        |from: BorrowedFd<'_>, path: &[u8]| open_as(from, path, FOUND, ResolveFlags::empty());
    let found = root.open_beneath(place, find).ok()?;
    let stat = stat_content(&found).ok()?;
    if u32::from(stat.stx_mode) & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let file = reopen(&found).ok()?;
    if root.is_longer(&file, device(&stat), stat.stx_size).ok()? {
        return None;
    }
    let (mut bytes, length) = (Vec::new(), stat.stx_size.min(BYTES) as usize);
    bytes.try_reserve_exact(length).ok()?;
    bytes.resize(length, 0u8);
    rustix::io::pread(&file, &mut bytes, 0).ok()?;
    Some((OpenFile::new(Arc::new(file), &stat), Box::new(stat)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(part: &mut Part, place: u32, trusted: bool) -> Vec<u32> {
        let next = part.next(Place(place), trusted);
        next.into_iter().map(|place| place.0).collect()
    }

    #[test]
    fn what_is_read_in_order_is_fetched_ahead_once() {
        let mut part = Part::new(100..300);
        assert!(next(&mut part, 150, false).is_empty());
        assert_eq!(next(&mut part, 151, false), (152..184).collect::<Vec<_>>());
        assert_eq!(next(&mut part, 152, false), [184]);
        assert_eq!(next(&mut part, 155, false), [185, 186, 187]);
        // Others go the other way.
        assert!(next(&mut part, 299, false).is_empty());
        let down: Vec<_> = (265..297).rev().collect();
        assert_eq!(next(&mut part, 297, false), down);
        assert!(next(&mut part, 100, false).is_empty());
    }

    #[test]
    fn a_first_read_is_enough_where_it_was_right_before() {
        let mut part = Part::new(10..14);
        assert_eq!(next(&mut part, 11, true), [12, 13, 10]);
        assert!(next(&mut part, 12, true).is_empty());
    }

    #[test]
    fn a_source_that_answers_at_once_is_not_read_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let ahead = ReadAhead::new(Arc::new(SourceRoot::open(dir.path(), false).unwrap()));
        (0..100).for_each(|_| ahead.took(Duration::from_micros(100)));
        assert!(!ahead.is_slow());
        ahead.took(Duration::from_millis(3));
        assert!(ahead.is_slow());
    }

    /// A source of so many files and a fifo behind them, and the places of their names.
    fn source(dir: &std::path::Path, files: u32) -> (ReadAhead, Range<u32>) {
        let mut names = Vec::new();
        for number in 0..files {
            std::fs::write(dir.join(number.to_string()), number.to_string()).unwrap();
            names.extend_from_slice(format!("{number}\0").as_bytes());
        }
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), kind, 0o600.into(), 0).unwrap();
        names.extend_from_slice(b"fifo\0");
        let root = SourceRoot::open(dir, false).unwrap();
        let inode = root.directory(&root.stat().unwrap());
        let names = crate::source::directory::names::NameList::new(&names);
        let first = root.add(Place::ROOT, inode, names, files + 1).unwrap();
        (ReadAhead::new(Arc::new(root)), first.0..first.0 + files + 1)
    }

    #[test]
    fn no_more_is_kept_than_there_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (ahead, places) = source(dir.path(), 400);
        assert_eq!(ahead.root.names_beside(Place(places.end - 1)), places);
        let fetch = |place| {
            ahead.state.lock().queue(place);
            ahead.fetch(place);
        };
        for _ in 0..3 {
            places.clone().map(Place).for_each(fetch);
            let state = ahead.state.lock();
            assert_eq!((state.ready, state.files.len()), (ahead.most, ahead.most));
            assert!(state.order.len() <= 2 * ahead.most);
        }
        // All are taken as soon as they are there.
        for place in places.clone().map(Place) {
            fetch(place);
            assert_eq!(ahead.take(place).is_some(), place.0 < places.end - 1);
            assert!(ahead.take(place).is_none());
            assert!(ahead.state.lock().order.len() <= 2 * ahead.most);
        }
    }
}
