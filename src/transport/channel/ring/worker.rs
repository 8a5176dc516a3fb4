//! One thread and its ring: takes requests, answers them, takes the next.
//!
//! Every entry is in one of three places: with the kernel, which completes its command when there
//! is a request or the connection has ended; with this thread, between that completion and the
//! commit; or with a thread of the blocking pool, which hands it back through [`Returns`]. An entry has ended once its
//! command completed with an error, and a worker once all its entries have.

use super::buffer::Buffer;
use super::command;
use crate::host::rest;
use crate::transport::channel::Channel;
use crate::transport::channel::blocking::{self, BlockingPool};
use crate::transport::channel::cpus::{self, Assignment};
use crate::transport::channel::exchange::{Answer, MayBlock, Serve};
use crate::transport::channel::writeback::Writebacks;
use crate::transport::wire;
use crate::tree::NodeId;
use io_uring::squeue::Entry128;
use io_uring::{IoUring, cqueue, opcode, types};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a completion belongs to, if not to the entry of this number.
const SIDE: u64 = u64::MAX;
const NOBODY: u64 = u64::MAX - 1;

/// A queue of which no more entries than this are left by the blocking pool gets a further one.
const FEW: usize = 2;

/// No worker makes further entries beyond this many: more requests are not answered by the blocking pool at once.
const MANY: usize = blocking::MOST;

/// Where the blocking pool hands entries back, and what wakes their worker.
pub(super) struct Returns {
    answered: Mutex<Vec<(usize, Buffer)>>,
    event: OwnedFd,
    stop: AtomicBool,
}

impl Returns {
    fn new() -> io::Result<Returns> {
        Ok(Returns {
            answered: Mutex::default(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
        })
    }

    fn hand_back(&self, number: usize, buffer: Buffer) {
        self.answered.lock().push((number, buffer));
        self.wake();
    }

    /// Makes the worker leave without waiting for its entries.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Fails only if the counter is full: then the worker has been woken.
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap_or_default();
    }

    fn awake(&self) {
        // Fails only if nothing was counted.
        rustix::io::read(&self.event, &mut [0; 8]).unwrap_or_default();
    }
}

struct RingEntry {
    queue: u16,
    /// Absent while a thread of the blocking pool has it. The kernel may write into it until the entry has ended,
    /// so it is not freed before.
    buffer: Option<ManuallyDrop<Buffer>>,
}

/// A thread's ring before it has a connection.
pub(super) struct Worker {
    ring: IoUring<Entry128>,
    /// The entries there are to be: the queue of each, and its memory.
    memory: Vec<(u16, Buffer)>,
    payload: usize,
    cpus: Vec<usize>,
    side: Arc<Returns>,
    blocking: BlockingPool,
    writebacks: Writebacks,
}

impl Worker {
    /// Makes the ring, for the calling thread alone, and the memory of `depth` entries for each
    /// queue, each with room for `payload` bytes; and pins the thread.
    pub(super) fn new(assignment: Assignment, depth: usize, payload: usize) -> io::Result<Worker> {
        // Those are for the blocking pool as well, which must not stay on this one's CPU.
        let everywhere = cpus::usable();
        cpus::stay_on(&assignment.cpus);
        let queues = assignment.queues.into_iter();
        let memory = queues
            .flat_map(|queue| std::iter::repeat_n(queue, depth))
            .map(|queue| Ok((queue, Buffer::new(payload)?)))
            .collect::<io::Result<Vec<_>>>()?;
        let ring = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            // One for each entry, one for the threads of the blocking pool, one to give up with.
            .build(u32::try_from(memory.len().max(MANY) + 2).map_err(io::Error::other)?)?;
        Ok(Worker {
            ring,
            memory,
            payload,
            cpus: assignment.cpus,
            side: Arc::new(Returns::new()?),
            writebacks: Writebacks::on(everywhere.clone()),
            blocking: BlockingPool::on(everywhere),
        })
    }

    pub(super) fn side(&self) -> &Arc<Returns> {
        &self.side
    }

    /// Gives the kernel all entries. If that fails, the kernel goes on with the device alone.
    ///
    /// A queue with one entry works. Once each has one the kernel cannot go back to the device, so an
    /// entry refused after that is done without.
    pub(super) fn register(self, device: Arc<Channel>) -> io::Result<Registered> {
        let files = [device.as_fd().as_raw_fd()];
        let mut registered = Registered {
            ring: self.ring,
            device,
            cpus: self.cpus,
            entries: Vec::new(),
            most: self.memory.len().max(MANY),
            payload: self.payload,
            living: 0,
            early: Vec::new(),
            side: self.side,
            blocking: self.blocking,
            writebacks: self.writebacks,
        };
        let added = registered.ring.submitter().register_files(&files);
        added
            .and_then(|()| registered.add_all(self.memory))
            .inspect_err(|_| registered.give_up())?;
        Ok(registered)
    }
}

/// A thread's ring that has requests.
pub(super) struct Registered {
    ring: IoUring<Entry128>,
    device: Arc<Channel>,
    /// The CPUs this thread stays on; all if empty.
    cpus: Vec<usize>,
    entries: Vec<RingEntry>,
    /// How many entries there may be.
    most: usize,
    /// Bytes that the largest read or write has.
    payload: usize,
    /// Entries that have not ended.
    living: usize,
    /// What completed while entries were registered.
    early: Vec<cqueue::Entry>,
    side: Arc<Returns>,
    blocking: BlockingPool,
    writebacks: Writebacks,
}

impl Registered {
    fn add_all(&mut self, memory: Vec<(u16, Buffer)>) -> io::Result<()> {
        for (queue, buffer) in memory {
            let needed = !self.entries.iter().any(|entry| entry.queue == queue);
            match self.add(queue, buffer) {
                Err(error) if needed => return Err(error),
                Err(error) => {
                    tracing::warn!(queue, %error, "a queue has fewer entries than wanted")
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, queue: u16, buffer: Buffer) -> io::Result<()> {
        let mut buffer = ManuallyDrop::new(buffer);
        let number = self.entries.len();
        let register = command::register(queue, buffer.vectors());
        self.entries.push(RingEntry {
            queue,
            buffer: Some(buffer),
        });
        let pushed = self.push(register.user_data(number as u64));
        // Counted even if submitting fails: then it is submitted later. Without a place it never will be.
        self.living += usize::from(pushed.is_ok());
        pushed?;
        self.ring.submit()?;
        // Other queues may be complete, and so a request here already.
        self.early.extend(self.ring.completion());
        let refused =
            |done: &&cqueue::Entry| done.user_data() == number as u64 && done.result() < 0;
        match self.early.iter().find(refused) {
            Some(refused) => Err(io::Error::from_raw_os_error(-refused.result())),
            None => Ok(()),
        }
    }

    /// Makes the kernel go on without rings, as long as not all queues are registered.
    pub(super) fn give_up(&mut self) {
        let device = self.device.as_fd().as_raw_fd();
        let told = self.push(command::give_up(device).user_data(NOBODY));
        if let Err(error) = told.and_then(|()| self.ring.submit()) {
            tracing::error!(%error, "the kernel was not told that there are no rings");
        }
    }

    /// Puts `entry` where the kernel finds it. A caller would wait for ever for an answer that is not handed over, so
    /// whoever cannot do that has failed.
    fn push(&mut self, entry: Entry128) -> io::Result<()> {
        push(&mut self.ring, &entry)
    }

    fn watch_side(&mut self) -> io::Result<()> {
        let event = types::Fd(self.side.event.as_raw_fd());
        let poll = opcode::PollAdd::new(event, libc::POLLIN as u32).build();
        self.push(Entry128::from(poll.user_data(SIDE)))
    }

    /// Serves until the connection has ended or [`Returns::stop`] is called.
    pub(super) fn run(mut self, serve: &Arc<dyn Serve>) -> io::Result<()> {
        self.watch_side()?;
        let mut completed = std::mem::take(&mut self.early);
        while self.living > 0 && !self.side.stop.load(Ordering::Acquire) {
            for done in completed.drain(..) {
                match done.user_data() {
                    SIDE => self.side_answered()?,
                    NOBODY => {}
                    number => self.entry_completed(serve, number as usize, done.result())?,
                }
            }
            completed.append(&mut self.early);
            if self.living > 0 && completed.is_empty() {
                match rest(|| self.ring.submit_and_wait(1)) {
                    Err(error) if !is_passing(&error) => return Err(error),
                    _ => completed.extend(self.ring.completion()),
                }
            }
        }
        Ok(())
    }

    fn side_answered(&mut self) -> io::Result<()> {
        self.side.awake();
        self.watch_side()?;
        let answered = std::mem::take(&mut *self.side.answered.lock());
        for (number, buffer) in answered {
            self.commit(number, ManuallyDrop::new(buffer))?;
        }
        Ok(())
    }

    fn entry_completed(
        &mut self,
        serve: &Arc<dyn Serve>,
        number: usize,
        result: i32,
    ) -> io::Result<()> {
        let Some(mut buffer) = self.entries[number].buffer.take() else {
            return Err(io::Error::other(
                "an entry completed that the kernel does not have",
            ));
        };
        if result < 0 {
            self.living -= 1;
            drop(ManuallyDrop::into_inner(buffer));
            if !matches!(
                -result,
                libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED
            ) {
                let error = io::Error::from_raw_os_error(-result);
                tracing::error!(%error, "a ring entry was lost");
            }
            // Refused, or the end: either way the kernel takes no further ones.
            self.most = 0;
            return Ok(());
        }
        let mut exchange = buffer.exchange();
        let (unique, node) = (exchange.header.unique, exchange.node());
        if exchange.header.opcode == wire::NOTIFY_REPLY {
            buffer.answer(unique, Answer::Bytes(0));
            return self.commit(number, buffer);
        }
        match serve.handle(&mut exchange, MayBlock::No) {
            waits @ (Answer::Later | Answer::AfterWriteback) => {
                self.replenish(self.entries[number].queue, node);
                self.answer_blocking(serve, number, ManuallyDrop::into_inner(buffer), waits);
                Ok(())
            }
            answer => {
                buffer.answer(unique, answer);
                self.commit(number, buffer)
            }
        }
    }

    /// Registers a further entry if few are left, which may be too late for those who wait in the queue by now: these it helps on.
    fn replenish(&mut self, queue: u16, node: NodeId) {
        let is_left = |entry: &&RingEntry| entry.queue == queue && entry.buffer.is_some();
        if self.entries.iter().filter(is_left).count() > FEW || self.entries.len() >= self.most {
            return;
        }
        let added = Buffer::new(self.payload).and_then(|buffer| self.add(queue, buffer));
        let helped = added.and_then(|()| {
            // Its request comes to the queue of the CPU it is asked for on.
            let cpu = [usize::from(queue)];
            let elsewhere = !self.cpus.is_empty() && self.cpus != cpu;
            if elsewhere {
                cpus::stay_on(&cpu);
            }
            let nudged = self.device.nudge(node);
            if elsewhere {
                cpus::stay_on(&self.cpus);
            }
            nudged
        });
        if let Err(error) = helped {
            tracing::debug!(queue, %error, "no further entry");
        }
    }

    /// Lets a thread of the blocking pool answer what takes long, so that nothing else waits for it.
    fn answer_blocking(
        &mut self,
        serve: &Arc<dyn Serve>,
        number: usize,
        mut buffer: Buffer,
        waits: Answer,
    ) {
        let (serve, side) = (serve.clone(), self.side.clone());
        let work = move |may_block| {
            let mut exchange = buffer.exchange();
            let unique = exchange.header.unique;
            let answer = serve.handle(&mut exchange, may_block);
            buffer.answer(unique, answer);
            side.hand_back(number, buffer);
        };
        match waits {
            Answer::AfterWriteback => self.writebacks.run(work),
            _ => self.blocking.run(move || work(MayBlock::Yes)),
        }
    }

    fn commit(&mut self, number: usize, mut buffer: ManuallyDrop<Buffer>) -> io::Result<()> {
        let commit_id = buffer.commit_id();
        let entry = &mut self.entries[number];
        entry.buffer = Some(buffer);
        let commit = command::commit(entry.queue, commit_id);
        self.push(commit.user_data(number as u64))
    }
}

/// Puts `entry` into the queue of `ring`. There is room for all entries at once; should there be none, the kernel takes
/// what lies there first.
fn push(ring: &mut IoUring<Entry128>, entry: &Entry128) -> io::Result<()> {
    for _ in 0..2 {
        // SAFETY: what the entry points to is memory of a `Buffer`, kept until the kernel has ended
        // the entry.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
    Err(io::Error::other(
        "the queue of the ring is full: an entry would be lost",
    ))
}

/// Whether waiting is simply to be tried again.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(number: u64) -> Entry128 {
        Entry128::from(opcode::Nop::new().build().user_data(number))
    }

    #[test]
    fn an_entry_finds_a_place_or_its_loss_is_told() {
        let mut ring = IoUring::builder().build(1).unwrap();
        for number in 0..3 {
            push(&mut ring, &nothing(number)).unwrap();
        }
        let mut done = Vec::new();
        while done.len() < 3 {
            ring.submit_and_wait(1).unwrap();
            done.extend(ring.completion().map(|done| done.user_data()));
        }
        assert_eq!(done, [0, 1, 2]);
        let mut stopped = IoUring::builder().setup_r_disabled().build(1).unwrap();
        push(&mut stopped, &nothing(0)).unwrap();
        push(&mut stopped, &nothing(1)).unwrap_err();
    }
}
