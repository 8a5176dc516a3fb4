//! How a reader waits for its next request.
//!
//! Waking a sleeping thread costs more than all the rest of a request, most of all on another CPU of
//! a virtual machine. So after requests that followed each other closely a reader does not sleep at
//! once: for a little while it reads without waiting and gives way in between.
//!
//! That is worth it only on the CPU of whoever asks. Giving way lets the caller run there, and when
//! it has asked again the reader is next. If giving way returns at once, nobody else wants this CPU
//! and the caller is on another one: the reader sleeps then, so that the scheduler may wake it where
//! the caller is, and it is a while before it tries again.

use crate::host::rest;
use crate::transport::channel::{Channel, Received};
use std::io;
use std::time::{Duration, Instant};

/// Requests that are no further apart follow each other closely. A caller that does nothing but ask
/// has its answer and asks again within about 8 us.
const CLOSE: Duration = Duration::from_micros(20);
/// Giving way takes less than this if nobody else runs, and more if somebody does.
const AT_ONCE: Duration = Duration::from_micros(1);
/// How many requests are waited for in sleep after a try that was in vain.
const DISCOURAGED: u32 = 64;

/// What a reader remembers.
#[derive(Default)]
pub(super) struct AdaptivePolling {
    last: Option<Instant>,
    /// The last two requests came closely.
    close: bool,
    /// Requests still to be waited for in sleep.
    discouraged: u32,
    /// The channel does not wait now.
    looking: bool,
}

impl AdaptivePolling {
    /// Reads the next request, if one comes: waiting, or for a little while without. `alone`: nobody
    /// else reads from the channel, so it may be made not to wait.
    pub(super) fn receive(
        &mut self,
        channel: &Channel,
        alone: bool,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let look = alone && self.should_poll();
        if look != self.looking {
            channel.set_waiting(!look)?;
            self.looking = look;
        }
        let received = rest(|| channel.receive(buffer))?;
        match received {
            Received::Request(_) => self.came(),
            Received::Nothing if look => self.give_way(),
            Received::Nothing | Received::End => {}
        }
        Ok(received)
    }

    fn should_poll(&self) -> bool {
        let soon = |last: Instant| last.elapsed() < CLOSE;
        self.close && self.discouraged == 0 && self.last.is_some_and(soon)
    }

    fn came(&mut self) {
        let now = Instant::now();
        self.close = self.last.is_some_and(|last| now - last < CLOSE);
        self.last = Some(now);
        self.discouraged = self.discouraged.saturating_sub(1);
    }

    fn give_way(&mut self) {
        let began = Instant::now();
        std::thread::yield_now();
        if began.elapsed() < AT_ONCE {
            self.discouraged = DISCOURAGED;
        }
    }
}
