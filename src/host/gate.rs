//! An instant at which no thread of this process does anything, so that a copy of the process (fork(2)) finds everything whole.
//!
//! A thread that waits says so ([`rest`]): for a request, for work, for an answer. As long as somebody has the [`Quiet`] it goes on waiting
//! for that. It holds no lock meanwhile, of its own or of a library: whatever it holds is held for ever in a copy.
//!
//! Threads that never say so (that which began, those that wait for signals or for the end of others) are looked at by what the
//! kernel says of them: they sleep.

use crossbeam_utils::CachePadded;
use norefs_tree::{Gate, Seat};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long all are kept from working for a first try to find them at rest, and for a last one.
const FIRST_TRY: Duration = Duration::from_millis(50);
const LAST_TRY: Duration = Duration::from_millis(400);
/// Between two looks at them.
const MOMENT: Duration = Duration::from_micros(50);
/// Of this process and its threads.
const TASKS: &str = "/proc/self/task";

type Place = Arc<CachePadded<Seat>>;

static GATE: Gate = Gate::new();
/// Of all threads that ever rested. Held by who has closed the gate; others wait for it.
static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());
/// One at a time closes the gate; the others rest until it is their turn.
static TURN: Mutex<()> = Mutex::new(());
/// How many copies of copies this process is.
static COPIES: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static MINE: Mine = Mine::take();
}

/// The place of this thread, as long as that lives.
struct Mine(Place);

impl Mine {
    fn take() -> Mine {
        let place = Place::default();
        places().push(place.clone());
        wake(&place);
        Mine(place)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.0.rest();
        places().retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

fn places() -> MutexGuard<'static, Vec<Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(place: &Place) {
    while !place.wake(&GATE) {
        // Held until the gate is opened.
        drop(places());
    }
}

/// Wakes a thread however it comes out of its rest.
struct Resting<'p>(&'p Place);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        wake(self.0);
    }
}

/// Waits by `wait`, which holds no lock and takes none; see the head of this file.
#[inline]
pub fn rest<T>(wait: impl FnOnce() -> T) -> T {
    MINE.with(|mine| {
        mine.0.rest();
        let _resting = Resting(&mine.0);
        wait()
    })
}

/// Has this thread count as one that says when it rests, which it does for the first time by itself.
pub fn take_part() {
    MINE.with(|_| ());
}

/// How many copies of copies this process is: what another thread was to do is to be done anew where the number is another one.
pub fn copies() -> u32 {
    COPIES.load(Ordering::Relaxed)
}

/// As long as this lives nobody else does anything.
pub struct Quiet {
    closed: Closed,
    _turn: MutexGuard<'static, ()>,
}

/// The gate is closed.
struct Closed(MutexGuard<'static, Vec<Place>>);

impl Closed {
    fn new() -> Closed {
        let closed = Closed(places());
        GATE.close();
        closed
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        // Before others get the lock that they wait for.
        GATE.open();
    }
}

impl Quiet {
    /// Waits until all other threads are at rest, for `patience` at most. They work on in between.
    ///
    /// # Errors
    /// `TimedOut` if some thread was always at work; what keeps the threads from being looked at.
    pub fn wait_for(patience: Duration) -> io::Result<Quiet> {
        let _turn = rest(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let began = Instant::now();
        let mut length = FIRST_TRY;
        loop {
            if let Some(closed) = Quiet::try_for(length)? {
                return Ok(Quiet { closed, _turn });
            }
            if began.elapsed() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // Whoever waited for others of them may come to an end.
            std::thread::sleep(length);
            length = LAST_TRY.min(length * 2);
        }
    }

    fn try_for(length: Duration) -> io::Result<Option<Closed>> {
        let closed = Closed::new();
        let began = Instant::now();
        let mine = MINE.with(|mine| mine.0.clone());
        let others = closed.0.iter().filter(|place| !Arc::ptr_eq(place, &mine));
        let others: Vec<Place> = others.cloned().collect();
        loop {
            let at_rest = others.iter().all(|place| place.is_at_rest());
            if at_rest && others_sleep()? {
                return Ok(Some(closed));
            }
            if began.elapsed() > length {
                return Ok(None);
            }
            std::thread::sleep(MOMENT);
        }
    }

    /// To be called by the one thread of a copy of this process that was made meanwhile: there are no others any more.
    pub fn begin_as_copy(mut self) {
        let mine = MINE.with(|mine| mine.0.clone());
        self.closed.0.retain(|place| Arc::ptr_eq(place, &mine));
        COPIES.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the kernel says that all other threads of this process sleep. One that begins or ends does not.
fn others_sleep() -> io::Result<bool> {
    let mine = rustix::thread::gettid().as_raw_nonzero().to_string();
    for task in fs::read_dir(TASKS)? {
        let task = task?;
        if task.file_name() == *mine {
            continue;
        }
        match fs::read_to_string(task.path().join("stat")) {
            Ok(stat) if is_asleep(&stat) => {}
            Ok(_) => return Ok(false),
            // It has ended, just now.
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// The name of a thread may have anything in it.
fn is_asleep(stat: &str) -> bool {
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('S'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    /// The gate is of the whole process, and other tests have threads at work.
    #[test]
    fn a_thread_that_rests_goes_on_when_the_gate_is_open_again() {
        let (come, came) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let at_work = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let at_work = at_work.clone();
            move || {
                let place = MINE.with(|mine| mine.0.clone());
                tell.send(place).unwrap();
                rest(|| came.recv().unwrap());
                at_work.store(true, Ordering::SeqCst);
            }
        });
        let place = told.recv().unwrap();
        while !place.is_at_rest() {
            std::thread::yield_now();
        }
        let closed = Closed::new();
        come.send(()).unwrap();
        // Whether it has come to the gate by now or not.
        std::thread::yield_now();
        assert!(place.is_at_rest() || !at_work.load(Ordering::SeqCst));
        assert!(!at_work.load(Ordering::SeqCst));
        drop(closed);
        thread.join().unwrap();
        assert!(at_work.load(Ordering::SeqCst));
        assert!(!places().iter().any(|other| Arc::ptr_eq(other, &place)));
    }

    #[test]
    fn the_state_of_a_thread_is_read_whatever_its_name() {
        assert!(is_asleep("7 (norefs-0) S 1 7"));
        assert!(is_asleep("7 (a) R b) S 1 7"));
        assert!(!is_asleep("7 (S) R 1 7"));
        assert!(!is_asleep("7 (a) D 1 7"));
        assert!(!is_asleep(""));
    }
}
