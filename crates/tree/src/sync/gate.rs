//! A gate that all threads go by, and that costs them no shared line: whoever closes it knows when all others are at rest.
//!
//! Each thread has a [`Seat`] of its own, in which it says that it rests before it waits for something, and that it is awake after
//! that. Awake it looks at the gate, which is written when somebody closes or opens it alone. At a closed gate it rests again.
//!
//! ```text
//!   thread                              who closes
//!   seat = AWAKE                        gate = CLOSED
//!   fence                               fence
//!   gate == CLOSED ? seat = REST        seat == REST ? all that was done is seen
//! ```
//!
//! Orderings: of the two stores before the fences at least one is seen behind the other one's fence, so either the thread sees that the
//! gate is closed, or who closes it sees it awake. `REST` is stored with Release and looked for with Acquire, so whatever a
//! thread did is done for who finds it at rest. Opening releases, and a thread that finds the gate open acquires, so it sees what was
//! done meanwhile. Both fences stand beside a system call in the thread, which takes a hundred times as long.

use super::primitive::{AtomicU32, Ordering, fence};

const REST: u32 = 0;
const AWAKE: u32 = 1;

const OPEN: u32 = 0;
const CLOSED: u32 = 1;

/// The gate. One at a time may close it.
#[derive(Debug)]
pub struct Gate(AtomicU32);

/// What one thread says of itself. At first it rests.
#[derive(Debug)]
pub struct Seat(AtomicU32);

impl Gate {
    /// An open gate.
    #[cfg(not(loom))]
    pub const fn new() -> Gate {
        Gate(AtomicU32::new(OPEN))
    }

    #[cfg(loom)]
    pub fn new() -> Gate {
        Gate(AtomicU32::new(OPEN))
    }

    /// Keeps threads from waking up.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Lets them.
    pub fn open(&self) {
        self.0.store(OPEN, Ordering::Release);
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

impl Default for Seat {
    fn default() -> Seat {
        Seat(AtomicU32::new(REST))
    }
}

impl Seat {
    /// Says that this thread does nothing until it [wakes](Seat::wake).
    #[inline]
    pub fn rest(&self) {
        self.0.store(REST, Ordering::Release);
    }

    /// Says that it goes on. False if the gate is closed: it rests still, and has to wait until somebody opens the gate.
    #[inline]
    pub fn wake(&self, gate: &Gate) -> bool {
        self.0.store(AWAKE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let open = gate.0.load(Ordering::Acquire) == OPEN;
        if !open {
            self.rest();
        }
        open
    }

    /// Whether the thread rests, for who has closed the gate: then it does until that is opened.
    pub fn is_at_rest(&self) -> bool {
        self.0.load(Ordering::Acquire) == REST
    }
}
