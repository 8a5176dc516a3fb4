//! The classic channel: threads that each read a request from the device, answer it, and read the
//! next.
//!
//! What would keep such a thread waiting (content that has to be fetched from the source first) moves to a
//! thread aside, of which there are as many as there is to wait for, and the reader goes on.

use crate::transport::channel::Channel;
use crate::transport::exchange::{Answer, Exchange, Patience};
use crate::transport::serve::Shared;
use crate::transport::wire::{self, ARGS_ROOM, InHeader};
use crate::tree::Errno;
use crossbeam_utils::sync::WaitGroup;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use zerocopy::FromBytes;

/// Buffers kept for readers that hand theirs to a thread aside.
const SPARE: usize = 4;
const HEADER: usize = size_of::<InHeader>();

/// Serves what comes through `channel`, and through more of the same connection, with as many
/// `readers`, of which at least one is there when this returns. The thread ends when the mount does.
///
/// # Errors
/// No thread can be made.
pub(crate) fn start(
    shared: Arc<Shared>,
    channel: Channel,
    readers: usize,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let channel = Arc::new(channel);
    shared.invalidator.connect(&channel);
    let reader = Reader {
        shared,
        channel,
        spare: Arc::default(),
        aside: WaitGroup::new(),
    };
    thread(0).spawn(move || {
        let more: Vec<_> = (1..readers).map_while(|n| reader.another(n)).collect();
        let (shared, aside) = (reader.shared.clone(), reader.aside.clone());
        // Notifications go through this one.
        let channel = reader.channel.clone();
        let mut ended = reader.run();
        for other in more {
            let other = other.join();
            ended = ended.and(other.unwrap_or_else(|_| Err(io::Error::other("a reader panicked"))));
        }
        aside.wait();
        shared.ended.store(true, Ordering::SeqCst);
        drop(channel);
        ended
    })
}

fn thread(number: usize) -> std::thread::Builder {
    std::thread::Builder::new().name(format!("norefs-{number}"))
}

/// What one reading thread has.
struct Reader {
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    spare: Arc<Mutex<Vec<Letter>>>,
    aside: WaitGroup,
}

impl Reader {
    /// Starts one more reader; `None` if there can be none.
    fn another(&self, number: usize) -> Option<JoinHandle<io::Result<()>>> {
        let channel = match self.channel.another() {
            Ok(channel) => Arc::new(channel),
            // The kernel is too old: the readers share the one channel.
            Err(_) => self.channel.clone(),
        };
        let reader = Reader {
            shared: self.shared.clone(),
            channel,
            spare: self.spare.clone(),
            aside: self.aside.clone(),
        };
        thread(number)
            .spawn(move || reader.run())
            .inspect_err(|error| tracing::warn!(%error, "fewer readers than asked for"))
            .ok()
    }

    fn run(self) -> io::Result<()> {
        let mut letter = self.letter();
        while let Some(length) = self.channel.receive(&mut letter.bytes)? {
            letter.length = length;
            if let Kept::Later = letter.answer(&self.shared, &self.channel, Patience::None) {
                let full = std::mem::replace(&mut letter, self.letter());
                self.put_aside(full);
            }
        }
        Ok(())
    }

    fn letter(&self) -> Letter {
        let spare = self.spare.lock().pop();
        spare.unwrap_or_else(|| Letter::new(self.shared.agreed.payload))
    }

    /// Has a request answered by a thread that may be kept.
    fn put_aside(&self, mut letter: Letter) {
        let (shared, channel) = (self.shared.clone(), self.channel.clone());
        let (spare, aside) = (self.spare.clone(), self.aside.clone());
        blocking::unblock(move || {
            letter.answer(&shared, &channel, Patience::Any);
            let mut spare = spare.lock();
            if spare.len() < SPARE {
                spare.push(letter);
            }
            drop((shared, channel, aside));
        })
        .detach();
    }
}

/// A buffer with a request in it.
struct Letter {
    bytes: Box<[u8]>,
    length: usize,
}

/// What became of a request.
enum Kept {
    /// It was answered, if it can be.
    Answered,
    /// It is as it came: there was no patience.
    Later,
}

impl Letter {
    /// Room for a request or a reply with `payload` bytes.
    fn new(payload: usize) -> Letter {
        Letter {
            bytes: vec![0; HEADER + ARGS_ROOM + payload].into_boxed_slice(),
            length: 0,
        }
    }

    /// Answers the request on the channel it came from.
    fn answer(&mut self, shared: &Shared, channel: &Channel, patience: Patience) -> Kept {
        let Ok((header, _)) = InHeader::read_from_prefix(&self.bytes[..self.length]) else {
            tracing::warn!(self.length, "less than a request was read");
            return Kept::Answered;
        };
        if header.len as usize != self.length {
            tracing::warn!(?header, self.length, "not all of a request was read");
            channel.reply(header.unique, Err(Errno::IO));
            return Kept::Answered;
        }
        let mut exchange = self.open(header);
        match shared.handle(&mut exchange, patience) {
            Answer::Later => return Kept::Later,
            Answer::Nothing => {}
            Answer::Error(errno) => channel.reply(header.unique, Err(errno)),
            Answer::Bytes(count) => channel.reply(header.unique, Ok(&exchange.buffer[..count])),
        }
        Kept::Answered
    }

    /// The parts of the request.
    fn open(&mut self, header: InHeader) -> Exchange<'_> {
        let fixed_end = HEADER + wire::fixed_len(header.opcode);
        let (head, buffer) = self.bytes.split_at_mut(fixed_end);
        Exchange {
            header,
            args: &head[HEADER..fixed_end.min(self.length)],
            buffer,
            sent: self.length.saturating_sub(fixed_end),
        }
    }
}
