//! What is told of a mount while it is served: the figures that `norefs stats` shows and that are to be had as metrics, gathered
//! in one place.
//!
//! Serving threads count for themselves, in words that no other one writes; whoever asks pays for the sums.

mod endpoint;
mod open_metrics;

pub use endpoint::{Address, AddressError, Endpoint, Listener};

use crate::control::{self, Stats, WarmStats};
use crate::fs::Reading;
use crate::transport::{MountCounters, MountHandle, Requests};
use crate::warm::Progress;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// What is known of a mount that its counters do not tell.
#[derive(Debug, Default)]
pub struct About {
    /// Where it is to be seen.
    pub mountpoint: String,
    /// Where the tree came from.
    pub source: String,
    /// Mount options that a remount cannot change.
    pub options: Vec<String>,
    /// Where its metrics are to be had.
    pub metrics: Option<String>,
    /// As which file it is kept.
    pub keep: Option<PathBuf>,
}

/// Tells the figures of one mount.
pub struct Telemetry {
    counters: MountCounters,
    device: (u32, u32),
    about: About,
    warm: Option<Progress>,
    since: Instant,
    began: Duration,
}

/// All there is to tell, at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    stats: Stats,
    requests: Requests,
    reading: Reading,
    /// Requests that wait to be taken or answered, if the kernel tells.
    waiting: Option<u64>,
    /// When the mount was made, since the epoch.
    began: Duration,
}

impl Telemetry {
    /// Of the mount of `handle`, which it does not keep alive.
    pub fn new(handle: &MountHandle, about: About, warm: Option<Progress>) -> Telemetry {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Telemetry {
            counters: handle.counters(),
            device: handle.device(),
            about,
            warm,
            since: Instant::now(),
            began: now.unwrap_or_default(),
        }
    }

    /// The counters of the mount.
    pub fn counters(&self) -> &MountCounters {
        &self.counters
    }

    /// What `norefs stats` tells.
    pub fn stats(&self) -> Stats {
        self.stats_with(&self.counters.requests())
    }

    /// The same in the text format of OpenMetrics.
    pub fn open_metrics(&self) -> String {
        let requests = self.counters.requests();
        open_metrics::text(Figures {
            stats: self.stats_with(&requests),
            requests,
            reading: self.counters.fs().reading(),
            waiting: waiting(self.device),
            began: self.began,
        })
    }

    fn stats_with(&self, requests: &Requests) -> Stats {
        let fs = self.counters.fs();
        let (config, carriage, about) = (fs.config(), self.counters.carriage(), &self.about);
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mountpoint: about.mountpoint.clone(),
            source: about.source.clone(),
            options: about.options.clone(),
            metrics: about.metrics.clone(),
            keep: about.keep.clone(),
            transport: carriage.transport.to_string(),
            threads: carriage.threads as u64,
            queues: carriage.queues as u64,
            queue_depth: carriage.queue_depth as u64,
            max_io: carriage.max_io.into(),
            uptime_seconds: self.since.elapsed().as_secs(),
            inodes: fs.tree().inodes(),
            further_names: fs.tree().further_names(),
            bytes: fs.bytes(),
            memory: resident(),
            max_inodes: config.max_inodes,
            max_bytes: config.max_bytes,
            read_only: config.read_only,
            cache: self.counters.cache(),
            notifications: self.counters.notifications(),
            stale: fs.stale(),
            follow: None,
            warm: self.warm.as_ref().map(|warm| WarmStats {
                state: warm.state(),
                entries: warm.entries(),
                total: fs.tree().inodes() - 1 + fs.tree().further_names(),
            }),
            outcomes: fs.outcomes(),
            lookups: fs.lookups(),
            requests: control::by_kind(requests),
        }
    }
}

/// Resident bytes of this process; 0 without `/proc`.
fn resident() -> u64 {
    let numbers = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = numbers
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What the kernel says of the connection of a mount, which it numbers like the mount's device.
fn waiting((major, minor): (u32, u32)) -> Option<u64> {
    let number = major << 20 | minor;
    let path = format!("/sys/fs/fuse/connections/{number}/waiting");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
