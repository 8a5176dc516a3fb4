//! How a reader waits for its next request.
//!
//! Waking a sleeping thread costs more than all the rest of a request, most of all on another CPU of
//! a virtual machine. So after a request that came soon after the one before, a reader does not sleep
//! at once: for a little while it reads without waiting and gives way in between.

use crate::transport::channel::{Channel, Received};
use std::io;
use std::time::{Duration, Instant};

/// Requests that are no further apart follow each other closely. A caller that does nothing but ask
/// has its answer and asks again within about 8 us.
const CLOSE: Duration = Duration::from_micros(20);

/// What a reader remembers.
#[derive(Default)]
pub(super) struct Eagerness {
    last: Option<Instant>,
    /// The last two requests came closely.
    close: bool,
    /// The channel does not wait now.
    looking: bool,
}

impl Eagerness {
    /// Reads the next request, if one comes: waiting, or for a little while without. `alone`: nobody
    /// else reads from the channel, so it may be made not to wait.
    pub(super) fn receive(
        &mut self,
        channel: &Channel,
        alone: bool,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let look = alone && self.close && self.last.is_some_and(|last| last.elapsed() < CLOSE);
        if look != self.looking {
            channel.set_waiting(!look)?;
            self.looking = look;
        }
        let received = channel.receive(buffer)?;
        match received {
            Received::Request(_) => {
                let now = Instant::now();
                self.close = self.last.is_some_and(|last| now - last < CLOSE);
                self.last = Some(now);
            }
            Received::Nothing if look => std::thread::yield_now(),
            Received::Nothing | Received::End => {}
        }
        Ok(received)
    }
}
