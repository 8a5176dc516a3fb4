//! The ring channel: FUSE over io_uring (Linux 6.14; kernel document "FUSE-over-io-uring").
//!
//! The kernel has a queue for each CPU and puts a request into the queue of the CPU its caller runs
//! on. Each queue is served by a thread that stays on that CPU, so a request is handed over without
//! waking another CPU: on a virtual machine that is most of what a request costs. Reply and next
//! request are one system call.
//!
//! # From the device to the rings
//! The rings are made before anything is mounted ([`Ring::prepare`]): whatever forbids io_uring
//! here (a setting, a sandbox, a memory limit) shows then. Once INIT has agreed on
//! `FUSE_OVER_IO_URING` the kernel holds requests back until every queue has an entry, or until one
//! registration fails; then it goes on with the device. [`Ring::start`] registers all entries and,
//! if any fails, makes sure that the kernel knows.
//!
//! FORGET, INTERRUPT and notifications use the device all the same.
//!
//! # What would wait
//! A worker never waits for anything but its ring, because all callers on its CPU wait for it. A
//! request that cannot be answered at once ([`Answer::Later`](super::exchange::Answer)) goes to a
//! thread of the blocking pool together with its memory and comes back answered.
//!
//! While threads of the blocking pool have most entries of a queue, the worker registers further ones. A new entry
//! takes the next request that comes; none that waits in the queue already, since those move on with a
//! commit alone (`fuse_uring_do_register`, `fuse_uring_next_fuse_req`). So the worker has the kernel
//! send a request of its own through the new entry ([`Channel::nudge`]), and its commit fetches
//! what waits longest.
//!
//! # Memory
//! Each entry has a page for headers and room for the largest read or write, mapped once. Pages that
//! were never used cost nothing.

mod buffer;
mod command;
mod worker;

use crate::transport::channel::Channel;
use crate::transport::channel::cpus;
use crate::transport::channel::exchange::Serve;
use crate::transport::channel::lost::{self, EndConnection};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use worker::{Returns, Worker};

/// Where the kernel is told whether to offer rings.
const ENABLED: &str = "/sys/module/fuse/parameters/enable_uring";

/// Why there are no rings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RingError {
    /// The kernel's CPUs cannot be counted.
    #[error("cannot tell how many queues there are")]
    Queues(#[source] io::Error),
    /// The module parameter of the kernel is off.
    #[error("FUSE over io_uring is off: write Y to {ENABLED}")]
    Off,
    /// The kernel does not know FUSE over io_uring.
    #[error("the kernel does not offer FUSE over io_uring, which takes Linux 6.14")]
    NotOffered,
    /// io_uring does not work here.
    #[error("io_uring cannot be used")]
    Setup(#[source] io::Error),
    /// The kernel refused an entry.
    #[error("the kernel refused a ring entry")]
    Register(#[source] io::Error),
}

/// Whether the kernel says that it offers rings. What it says nothing of will show later.
pub(crate) fn enabled() -> Result<(), RingError> {
    match std::fs::read_to_string(ENABLED) {
        Ok(text) if text.starts_with('N') => Err(RingError::Off),
        _ => Ok(()),
    }
}

/// What the rings take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Serving threads.
    pub(crate) threads: usize,
    /// Queues, one for each possible CPU.
    pub(crate) queues: usize,
    /// Entries of each queue: requests under way at once.
    pub(crate) depth: usize,
}

enum Go {
    Register(Arc<Channel>),
    GiveUp,
    Serve(Arc<dyn Serve>, EndConnection),
}

struct Thread {
    handle: JoinHandle<io::Result<()>>,
    side: Arc<Returns>,
    go: mpsc::Sender<Go>,
    done: mpsc::Receiver<io::Result<()>>,
}

/// Rings without a connection. Dropping it ends their threads.
pub(crate) struct Ring {
    threads: Vec<Thread>,
    extent: Extent,
}

impl Ring {
    /// Makes the threads, their rings and their memory: at most `threads`, `depth` entries for each
    /// queue, each with room for `payload` bytes.
    pub(crate) fn prepare(
        threads: Option<usize>,
        depth: usize,
        payload: usize,
    ) -> Result<Ring, RingError> {
        let queues = cpus::possible().map_err(RingError::Queues)?;
        let assignments = cpus::assign(queues, &cpus::usable(), threads);
        let extent = Extent {
            threads: assignments.len(),
            queues,
            depth,
        };
        let threads = assignments
            .into_iter()
            .enumerate()
            .map(|(number, assignment)| {
                Thread::start(number, move || Worker::new(assignment, depth, payload))
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(RingError::Setup)?;
        Ok(Ring { threads, extent })
    }

    /// What the rings take.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Registers all entries with the connection of `device` and lets `serve` answer what comes. If
    /// this fails the kernel uses the device alone. A thread that fails later calls `end`.
    pub(crate) fn start(
        self,
        device: &Arc<Channel>,
        serve: &Arc<dyn Serve>,
        end: &EndConnection,
    ) -> Result<Serving, RingError> {
        for thread in &self.threads {
            thread.tell(Go::Register(device.clone()));
        }
        let registered: Vec<io::Result<()>> = self.threads.iter().map(Thread::heard).collect();
        let failed = registered.into_iter().find_map(Result::err);
        for thread in &self.threads {
            thread.tell(match failed {
                Some(_) => Go::GiveUp,
                None => Go::Serve(serve.clone(), end.clone()),
            });
        }
        match failed {
            Some(error) => Err(RingError::Register(error)),
            None => Ok(Serving(
                self.threads
                    .into_iter()
                    .map(|thread| (thread.handle, thread.side))
                    .collect(),
            )),
        }
    }
}

impl Thread {
    fn start(
        number: usize,
        make: impl FnOnce() -> io::Result<Worker> + Send + 'static,
    ) -> io::Result<Thread> {
        let (go, orders) = mpsc::channel();
        let (report, done) = mpsc::channel();
        let (made, side) = mpsc::channel();
        let handle = std::thread::Builder::new()
            .name(format!("norefs-ring-{number}"))
            .spawn(move || match make() {
                Ok(worker) => {
                    made.send(Ok(worker.side().clone())).unwrap_or_default();
                    live(worker, &orders, &report)
                }
                Err(error) => {
                    made.send(Err(error)).unwrap_or_default();
                    Ok(())
                }
            })?;
        let gone = |_| Err(io::Error::other("a serving thread ended"));
        let side = side.recv().unwrap_or_else(gone)?;
        Ok(Thread {
            handle,
            side,
            go,
            done,
        })
    }

    fn tell(&self, order: Go) {
        // A thread that is gone reports nothing, which is a failure.
        self.go.send(order).unwrap_or_default();
    }

    fn heard(&self) -> io::Result<()> {
        let gone = |_| Err(io::Error::other("a serving thread ended"));
        self.done.recv().unwrap_or_else(gone)
    }
}

/// The life of a serving thread, as it is told. What fails before it serves is told by `report`.
fn live(
    worker: Worker,
    orders: &mpsc::Receiver<Go>,
    report: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    let Ok(Go::Register(device)) = orders.recv() else {
        return Ok(());
    };
    let mut registered = match worker.register(device) {
        Ok(registered) => registered,
        Err(error) => {
            report.send(Err(error)).unwrap_or_default();
            return Ok(());
        }
    };
    report.send(Ok(())).unwrap_or_default();
    match orders.recv() {
        Ok(Go::Serve(serve, end)) => lost::guard(&end, || registered.run(&serve)),
        _ => {
            registered.give_up();
            Ok(())
        }
    }
}

/// The threads that serve a connection. Dropping it makes them leave.
pub(crate) struct Serving(Vec<(JoinHandle<io::Result<()>>, Arc<Returns>)>);

impl Serving {
    /// Waits until the connection has ended; what a thread failed with, if one did.
    pub(crate) fn join(mut self) -> io::Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let panicked = |_| Err(io::Error::other("a serving thread panicked"));
        let ended: Vec<io::Result<()>> = self
            .0
            .drain(..)
            .map(|(handle, _)| handle.join().unwrap_or_else(panicked))
            .collect();
        ended.into_iter().collect()
    }

    /// Makes the threads leave, whatever the connection does.
    pub(crate) fn stop(&self) {
        self.0.iter().for_each(|(_, side)| side.stop());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
        // Whoever dropped it knows of a failure, or does not want to.
        self.wait().unwrap_or_default();
    }
}
