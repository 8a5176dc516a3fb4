//! A source that lives on: what changes there is seen in the mount.
//!
//! *Watch first, then list, then look again.* Each directory is watched before it is listed ([`Watches`]), so a change between the two is
//! looked at twice and never missed. An event says only where to look, never what is there: what lies under a name is asked for
//! and compared with what the tree knows of it (`work`). What differs becomes a change of the tree ([`Fs::follow`]), and the kernel is told
//! of it ([`Teller`]) by the one thread that does all this, which holds nothing that a request may wait for.
//!
//! Where no events come, directories are looked at again from time to time: all of them with an interval, without one those for which the
//! system had no watch. An overflow of the queue has everything looked at.

mod dirty;
mod watches;
mod work;

pub use watches::Watches;

use crate::fs::Fs;
use crate::host::{rest, take_part};
use crate::source::Live;
use crate::transport::Teller;
use crate::tree::NodeId;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use work::Worker;

/// How often directories without a watch are looked at if nothing else was said.
const UNWATCHED: Duration = Duration::from_secs(5);

/// How long to wait while somebody writes to the source what differs in the mount.
const MOMENT: Duration = Duration::from_millis(10);

/// What is known of following a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The source's own directory is there no more.
    pub lost: bool,
    /// Directories that are watched.
    pub watched: u64,
    /// Directories for which there was no watch.
    pub unwatched: u64,
    /// How often everything was looked at again because events were lost.
    pub rescans: u64,
    /// Names that were looked at.
    pub looks: u64,
}

/// Something to be looked at before anything else.
enum Request {
    /// Whatever was changed before now.
    Sync,
    /// What is at and below an inode of the tree, or a name in it.
    Look(NodeId, Option<Box<[u8]>>),
}

#[derive(Default)]
struct Figures {
    lost: AtomicBool,
    rescans: AtomicU64,
    looks: AtomicU64,
}

/// What whoever follows shares with who asks him.
struct Shared {
    watches: Arc<Watches>,
    figures: Figures,
    requests: Mutex<Vec<(Request, SyncSender<()>)>>,
    wake: OwnedFd,
    over: AtomicBool,
}

/// Asks whoever follows a source.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle").field(&self.status()).finish()
    }
}

impl Handle {
    /// How it goes.
    pub fn status(&self) -> Status {
        let (watched, unwatched) = self.0.watches.count();
        let figures = &self.0.figures;
        Status {
            lost: figures.lost.load(Relaxed),
            watched,
            unwatched,
            rescans: figures.rescans.load(Relaxed),
            looks: figures.looks.load(Relaxed),
        }
    }

    /// Returns when all that the source had before the call is seen in the mount. False if nobody follows any more.
    pub fn sync(&self) -> bool {
        self.ask(Request::Sync)
    }

    /// Looks at `node` and all below it, or at the name in it, whatever was told of it, and returns when that is seen in the mount.
    /// False if nobody follows any more.
    pub fn look(&self, node: NodeId, name: Option<&[u8]>) -> bool {
        self.ask(Request::Look(node, name.map(Box::from)))
    }

    fn ask(&self, request: Request) -> bool {
        let (tell, told) = sync_channel(1);
        self.0.requests.lock().push((request, tell));
        self.0.wake();
        if self.0.over.load(Relaxed) {
            self.0.requests.lock().clear();
        }
        told.recv().is_ok()
    }
}

impl Shared {
    fn wake(&self) {
        // Full is as good as one more.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).unwrap_or_default();
    }
}

/// Follows a source until it is dropped.
pub struct Follower {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Follower").field(&self.handle).finish()
    }
}

impl Follower {
    /// Has `fs`, which was loaded from `live` under `watches`, become what its source becomes, and the kernel be told by `teller`. With
    /// `every` all directories are looked at again that often.
    ///
    /// # Errors
    /// Without memory or descriptors for a thread.
    pub fn start(
        fs: Arc<Fs>,
        live: Live,
        watches: Arc<Watches>,
        teller: Teller,
        every: Option<Duration>,
    ) -> io::Result<Follower> {
        let shared = Arc::new(Shared {
            watches,
            figures: Figures::default(),
            requests: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            over: AtomicBool::new(false),
        });
        live.follow();
        let thread = std::thread::Builder::new().name("norefs-follow".to_owned());
        let thread = thread.spawn({
            let shared = shared.clone();
            move || {
                take_part();
                let worker = Worker::new(&fs, live.looker(), &shared.watches, &teller);
                run(&shared, worker, every);
                shared.over.store(true, Relaxed);
                shared.requests.lock().clear();
            }
        })?;
        Ok(Follower {
            handle: Handle(shared),
            thread: Some(thread),
        })
    }

    /// What asks it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.handle.0.over.store(true, Relaxed);
        self.handle.0.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

fn run(shared: &Shared, mut worker: Worker<'_>, every: Option<Duration>) {
    let mut looked = Instant::now();
    let mut asked_before: Vec<SyncSender<()>> = Vec::new();
    let mut postponed = false;
    while !shared.over.load(Relaxed) {
        let blind = every.is_some() || shared.watches.count().1 > 0;
        let interval = blind.then_some(every.unwrap_or(UNWATCHED));
        let until = interval.map(|every| every.saturating_sub(looked.elapsed()));
        wait(shared, if postponed { Some(MOMENT) } else { until });
        let requests = std::mem::take(&mut *shared.requests.lock());
        worker.read(&shared.figures);
        let due = interval.is_some_and(|every| looked.elapsed() >= every);
        let asked = requests
            .iter()
            .any(|(request, _)| matches!(request, Request::Sync));
        if due || asked && blind {
            worker.mark_blind(every.is_some());
            looked = Instant::now();
        }
        for (request, _) in &requests {
            if let Request::Look(node, name) = request {
                worker.mark_below(*node, name.as_deref());
            }
        }
        asked_before.extend(requests.into_iter().map(|(_, tell)| tell));
        postponed = !worker.work(&shared.figures, &shared.over);
        if !postponed {
            for tell in asked_before.drain(..) {
                tell.send(()).unwrap_or_default();
            }
        }
    }
}

/// Waits for events, for a question, or until that much time has passed.
fn wait(shared: &Shared, timeout: Option<Duration>) {
    let events = shared.watches.events();
    let mut both = [
        PollFd::new(&events, PollFlags::IN),
        PollFd::new(&shared.wake, PollFlags::IN),
    ];
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    // Interrupted, there is nothing to do and the next round waits.
    rest(|| poll(&mut both, timeout.as_ref())).unwrap_or_default();
    rustix::io::read(&shared.wake, &mut [0; 8]).unwrap_or_default();
}
