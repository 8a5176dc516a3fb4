//! One watch for each directory of a source.

use super::dirty::Dirty;
use crate::source::{Spot, Watch};
use crate::tree::NodeId;
use ahash::RandomState;
use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

type Map<K, V> = HashMap<K, V, RandomState>;

const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What events said beside where to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Some were lost.
    pub(super) lost: bool,
    /// The source's own directory is there no more.
    pub(super) ended: bool,
}

/// The directories of a source, and their watches.
#[derive(Debug)]
pub struct Watches {
    events: OwnedFd,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What is watched.
    nodes: Map<i32, NodeId>,
    /// Where each directory stands, and its watch if there is one.
    directories: Map<NodeId, (Spot, Option<i32>)>,
    /// Those without.
    unwatched: u64,
    /// It was said that there were no watches.
    refused: bool,
}

impl Watches {
    /// Bytes of events that are read at once.
    const BUFFER: usize = 64 * 1024;

    /// No directory yet.
    ///
    /// # Errors
    /// EMFILE if this user has as many queues of events as he may (`fs.inotify.max_user_instances`), ENFILE, ENOMEM.
    pub fn new() -> Result<Watches, Errno> {
        Ok(Watches {
            events: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            known: Mutex::default(),
        })
    }

    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// How many directories are watched, and how many are not.
    pub(super) fn count(&self) -> (u64, u64) {
        let known = self.known.lock();
        (known.nodes.len() as u64, known.unwatched)
    }

    /// Watches the open directory `fd`, which is `node` and stands at `spot`. What it was before counts no more.
    pub(super) fn watch(&self, fd: impl AsFd, node: NodeId, spot: Spot) {
        let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        let watch = inotify::add_watch(&self.events, path, WANTED);
        let mut known = self.known.lock();
        let watch = watch.inspect_err(|errno| {
            if !std::mem::replace(&mut known.refused, true) {
                tracing::warn!(
                    %errno,
                    "no more directories can be watched (fs.inotify.max_user_watches): others are looked at every few seconds"
                );
            }
        });
        known.forget(node);
        if let Ok(watch) = watch {
            known.nodes.insert(watch, node);
        } else {
            known.unwatched += 1;
        }
        known.directories.insert(node, (spot, watch.ok()));
    }

    /// Watches a directory if that could not be done before.
    pub(super) fn watch_again(&self, fd: impl AsFd, node: NodeId, spot: Spot) {
        let is_watched = {
            let known = self.known.lock();
            known
                .directories
                .get(&node)
                .is_some_and(|(_, watch)| watch.is_some())
        };
        if !is_watched {
            self.watch(fd.as_fd(), node, spot);
        }
    }

    /// A directory that is to be watched when it is listed.
    pub(super) fn enter(&self, node: NodeId, spot: Spot) {
        let mut known = self.known.lock();
        known.forget(node);
        known.unwatched += 1;
        known.directories.insert(node, (spot, None));
    }

    /// Where the directory `node` stands.
    pub(super) fn spot(&self, node: NodeId) -> Option<Spot> {
        let known = self.known.lock();
        known.directories.get(&node).map(|(spot, _)| *spot)
    }

    /// All directories, or those without a watch.
    pub(super) fn directories(&self, unwatched: bool) -> Vec<NodeId> {
        let known = self.known.lock();
        let all = known.directories.iter();
        let wanted = all.filter(|(_, (_, watch))| !unwatched || watch.is_none());
        wanted.map(|(node, _)| *node).collect()
    }

    /// The directory `node` belongs to the source no more.
    pub(super) fn forget(&self, node: NodeId) {
        if let Some(watch) = self.known.lock().forget(node) {
            // The system has taken it away if the directory is gone.
            inotify::remove_watch(&self.events, watch).unwrap_or_default();
        }
    }

    /// Reads events until there are none, or as many as the queue holds at most.
    pub(super) fn read(&self, dirty: &mut Dirty) -> Heard {
        let mut heard = Heard::default();
        let mut buffer = vec![MaybeUninit::uninit(); Watches::BUFFER];
        let mut reader = Reader::new(&self.events, &mut buffer);
        let mut left = rustix::io::ioctl_fionread(&self.events).unwrap_or(0);
        while left > 0 {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes());
                    left = left.saturating_sub(EVENT + name.map_or(0, <[u8]>::len) as u64);
                    heard.take(
                        &mut self.known.lock(),
                        dirty,
                        (event.wd(), event.events()),
                        name,
                    );
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        // What was read of the next ones is not to be lost.
        while !reader.is_buffer_empty() {
            let Ok(event) = reader.next() else {
                break;
            };
            let name = event.file_name().map(|name| name.to_bytes());
            heard.take(
                &mut self.known.lock(),
                dirty,
                (event.wd(), event.events()),
                name,
            );
        }
        heard
    }
}

/// The least bytes of an event.
const EVENT: u64 = 16;

impl Watch for Watches {
    fn directory(&self, directory: BorrowedFd<'_>, node: NodeId, spot: Spot) {
        self.watch(directory, node, spot);
    }
}

impl Known {
    /// The watch that it had.
    fn forget(&mut self, node: NodeId) -> Option<i32> {
        let (_, watch) = self.directories.remove(&node)?;
        match watch {
            // A directory that was loaded anew has the same one.
            Some(watch) if self.nodes.get(&watch) == Some(&node) => {
                self.nodes.remove(&watch);
            }
            Some(_) => return None,
            None => self.unwatched -= 1,
        }
        watch
    }
}

impl Heard {
    fn take(
        &mut self,
        known: &mut Known,
        dirty: &mut Dirty,
        (watch, event): (i32, ReadFlags),
        name: Option<&[u8]>,
    ) {
        if event.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.lost = true;
            return;
        }
        let Some(&node) = known.nodes.get(&watch) else {
            return;
        };
        if event.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::DELETE_SELF) {
            self.ended |= node == NodeId::ROOT;
            if event.contains(ReadFlags::IGNORED) {
                known.nodes.remove(&watch);
                known.directories.remove(&node);
            }
            return;
        }
        match name {
            Some(name) => dirty.name(node, name, event.contains(ReadFlags::MODIFY)),
            None => dirty.itself(node),
        }
    }
}
