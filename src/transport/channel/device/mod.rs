//! The classic channel: threads that each read a request from the device, answer it, and read the
//! next.
//!
//! While requests follow each other closely a reader does not sleep between them: it looks again and
//! again, each time letting its CPU have whoever else wants it ([`AdaptivePolling`]). Its caller is on that
//! CPU more often than not, and then nothing has to be woken at all.
//!
//! What would keep such a thread waiting (content that has to be fetched from the source first) moves to a
//! thread of the [`BlockingPool`], and the reader goes on.

mod polling;

use crate::host::is_memory_left_for_a_thread;
use crate::transport::channel::blocking::BlockingPool;
use crate::transport::channel::exchange::{Answer, Exchange, MayBlock, Serve};
use crate::transport::channel::lost::{self, EndConnection};
use crate::transport::channel::writeback::Writebacks;
use crate::transport::channel::{Channel, Received};
use crate::transport::wire::{ARGS_ROOM, Agreed, Dialect, InHeader, Opcode};
use crate::tree::Errno;
use crossbeam_utils::sync::WaitGroup;
use parking_lot::Mutex;
use polling::AdaptivePolling;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use zerocopy::{FromBytes, FromZeros};

/// Buffers kept for readers that hand theirs to the blocking pool.
const SPARE: usize = 4;
const HEADER: usize = size_of::<InHeader>();

/// How many readers there are: as many as asked for, or one for each CPU, at least two.
pub(crate) fn readers(asked: Option<usize>) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2));
    asked.unwrap_or_else(cpus).max(1)
}

/// Lets `serve` answer what comes through `channel`, and through more of the same connection, with
/// as many `readers`, of which at least one is there when this returns. One that fails later calls `end`.
///
/// # Errors
/// No thread can be made, or there is no memory for its buffer.
pub(crate) fn start(
    serve: Arc<dyn Serve>,
    channel: Arc<Channel>,
    agreed: Agreed,
    readers: usize,
    end: &EndConnection,
) -> io::Result<Readers> {
    let mut reader = Reader {
        serve,
        channel,
        alone: false,
        agreed,
        spare: Arc::default(),
        blocking: BlockingPool::default(),
        writebacks: Writebacks::default(),
        pending: WaitGroup::new(),
    };
    let pending = reader.pending.clone();
    let more: Vec<Reader> = (1..readers).map(|_| reader.another()).collect();
    // Beside a ring there are others, and little to be eager for.
    reader.alone = Arc::strong_count(&reader.channel) == 1;
    let channel = reader.channel.clone();
    // The first that is started: if that fails, nobody else keeps the connection.
    let first = reader.start(0, end)?;
    let more = more
        .into_iter()
        .zip(1..)
        .map_while(|(reader, number)| {
            reader
                .start(number, end)
                .inspect_err(|error| tracing::warn!(%error, "fewer readers than asked for"))
                .ok()
        })
        .collect();
    Ok(Readers {
        first,
        more,
        pending,
        _channel: channel,
    })
}

/// Threads that read, and what the blocking pool has.
pub(crate) struct Readers {
    first: JoinHandle<io::Result<()>>,
    more: Vec<JoinHandle<io::Result<()>>>,
    pending: WaitGroup,
    /// Notifications go through it as long as anybody reads, whoever that is.
    _channel: Arc<Channel>,
}

impl Readers {
    /// Waits until the connection has ended and everything is answered.
    pub(crate) fn join(self) -> io::Result<()> {
        let panicked = |_| Err(io::Error::other("a reader panicked"));
        let ended: Vec<io::Result<()>> = std::iter::once(self.first)
            .chain(self.more)
            .map(|reader| reader.join().unwrap_or_else(panicked))
            .collect();
        self.pending.wait();
        ended.into_iter().collect()
    }
}

/// What one reading thread has.
struct Reader {
    serve: Arc<dyn Serve>,
    channel: Arc<Channel>,
    /// Nobody else reads from the channel.
    alone: bool,
    agreed: Agreed,
    spare: Arc<Mutex<Vec<Letter>>>,
    blocking: BlockingPool,
    writebacks: Writebacks,
    /// Shared with everything that the blocking pool has.
    pending: WaitGroup,
}

impl Reader {
    /// One more reader.
    fn another(&self) -> Reader {
        let (channel, alone) = match self.channel.another() {
            Ok(channel) => (Arc::new(channel), true),
            // The kernel is too old: the readers share the one channel.
            Err(_) => (self.channel.clone(), false),
        };
        Reader {
            serve: self.serve.clone(),
            channel,
            alone,
            agreed: self.agreed,
            spare: self.spare.clone(),
            blocking: self.blocking.clone(),
            writebacks: self.writebacks.clone(),
            pending: self.pending.clone(),
        }
    }

    fn start(self, number: usize, end: &EndConnection) -> io::Result<JoinHandle<io::Result<()>>> {
        let end = end.clone();
        let letter = self.letter().filter(|_| is_memory_left_for_a_thread());
        let letter = letter.ok_or(io::ErrorKind::OutOfMemory)?;
        std::thread::Builder::new()
            .name(format!("norefs-{number}"))
            .spawn(move || lost::guard(&end, || self.run(letter)))
    }

    fn run(self, mut letter: Letter) -> io::Result<()> {
        let mut polling = AdaptivePolling::default();
        loop {
            match polling.receive(&self.channel, self.alone, &mut letter.bytes)? {
                Received::Request(length) => letter.length = length,
                Received::Nothing => continue,
                Received::End => return Ok(()),
            }
            let waits = match letter.answer(&*self.serve, &self.channel, MayBlock::No) {
                Kept::Answered => continue,
                Kept::Waiting(waits) => waits,
            };
            match self.letter() {
                Some(next) => self.put_aside(std::mem::replace(&mut letter, next), waits),
                None => letter.refuse(&self.channel, Errno::NOMEM),
            }
        }
    }

    /// None without memory.
    fn letter(&self) -> Option<Letter> {
        let spare = self.spare.lock().pop();
        spare.or_else(|| Letter::new(self.agreed))
    }

    /// Has a request answered by a thread that may be kept.
    fn put_aside(&self, mut letter: Letter, waits: Waits) {
        let (serve, channel) = (self.serve.clone(), self.channel.clone());
        let (spare, pending) = (self.spare.clone(), self.pending.clone());
        let work = move |may_block| {
            letter.answer(&*serve, &channel, may_block);
            let mut spare = spare.lock();
            if spare.len() < SPARE {
                spare.push(letter);
            }
            drop((serve, channel, pending));
        };
        match waits {
            Waits::ForContent => self.blocking.run(move || work(MayBlock::Yes)),
            Waits::ForWriteback => self.writebacks.run(work),
        }
    }
}

/// A buffer with a request in it.
struct Letter {
    bytes: Box<[u8]>,
    dialect: Dialect,
    length: usize,
}

/// What became of a request.
enum Kept {
    /// It was answered, if it can be.
    Answered,
    /// It is as it came: to answer it would have blocked.
    Waiting(Waits),
}

/// What a request waits for.
enum Waits {
    ForContent,
    ForWriteback,
}

impl Letter {
    /// Room for a request or a reply, or none without memory.
    fn new(agreed: Agreed) -> Option<Letter> {
        let bytes = <[u8]>::new_box_zeroed_with_elems(HEADER + ARGS_ROOM + agreed.payload).ok()?;
        Some(Letter {
            bytes,
            dialect: agreed.dialect,
            length: 0,
        })
    }

    /// Answers a request that has been looked at with an error.
    fn refuse(&self, channel: &Channel, errno: Errno) {
        if let Ok((header, _)) = InHeader::read_from_prefix(&self.bytes[..self.length]) {
            channel.reply(header.unique, Err(errno));
        }
    }

    /// Answers the request on the channel it came from.
    fn answer(&mut self, serve: &dyn Serve, channel: &Channel, may_block: MayBlock) -> Kept {
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
        match serve.handle(&mut exchange, may_block) {
            Answer::Later => return Kept::Waiting(Waits::ForContent),
            Answer::AfterWriteback => return Kept::Waiting(Waits::ForWriteback),
            Answer::Nothing => {}
            Answer::Error(errno) => channel.reply(header.unique, Err(errno)),
            Answer::Bytes(count) => channel.reply(header.unique, Ok(&exchange.buffer[..count])),
        }
        Kept::Answered
    }

    /// The parts of the request.
    fn open(&mut self, header: InHeader) -> Exchange<'_> {
        let opcode = Opcode::from_raw(header.opcode);
        let fixed_end = HEADER + self.dialect.fixed_len(opcode);
        let (head, buffer) = self.bytes.split_at_mut(fixed_end);
        Exchange {
            header,
            opcode,
            args: &head[HEADER..fixed_end.min(self.length)],
            buffer,
            sent: self.length.saturating_sub(fixed_end),
        }
    }
}
