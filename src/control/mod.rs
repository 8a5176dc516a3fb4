//! How a running mount is asked things: a Unix socket that only its owner can open.
//!
//! One line of JSON asks, one line of JSON answers, then the connection ends. What differs from a source takes many lines: where
//! it is, each difference, and that this was all. So does the other way what of it was written there: once it is asked for, each
//! difference, and that this was all; without that line nothing comes of it. Which paths changed takes a line for each, behind a token.
//!
//! A fork ([`fork`]) is told how to mount it, and is given a mount and the descriptor for it; the answer comes from the process that
//! serves it.

mod client;
mod line;
mod node;
mod process;
mod server;

pub use client::{
    ControlError, Fork, changes, conflicts, delta, elsewhere, fork, rebase, server_of, set, stats,
    stats_within, sync,
};
pub use node::node_of;
pub use process::ServerProcess;
pub use server::{Asked, Asker, Server};

use crate::delta::{self, Applied, PathBytes, Source};
use crate::journal::{ChangedPath, Query, Token};
use crate::transport::session::Made;
use crate::transport::{Cache, Options, Permissions, Requests};
use crate::tree::Outcomes;
use crate::warm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
enum Question {
    Stats,
    Set(Change),
    Delta,
    Rebase,
    /// What the source has is to be seen in the mount, and what is at a path to be looked at again before.
    Sync {
        look: Option<PathBytes>,
    },
    Conflicts,
    Changes(Query),
    Fork,
}

/// How a mount is made and served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likeness {
    /// Its options.
    pub options: Options,
    /// Who decides about permissions.
    pub permissions: Permissions,
}

/// What comes with a mount that a fork is to serve, behind its descriptor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forking {
    /// The mount.
    pub made: Made,
    /// Where it is to be seen, if not where it was made.
    pub shown: Option<OsString>,
}

/// What comes after [`Question::Rebase`] once that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Applied(Box<Applied>),
    End,
}

/// What may be changed of a mount while it is served; `None` leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Bytes of file data and extended attributes held at most.
    pub max_bytes: Option<u64>,
    /// Inodes held at most.
    pub max_inodes: Option<u64>,
    /// Whether every change is refused with `EROFS`.
    pub read_only: Option<bool>,
    /// How long the kernel keeps what it is told from now on.
    pub cache: Option<Cache>,
    /// Whether what differs at the end is kept, where it is kept at all.
    pub keep: Option<bool>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Stats(Box<Stats>),
    Source(Source),
    Change(Box<delta::Change>),
    /// What both the mount and its source have changed.
    Conflict(PathBytes),
    /// What was written may be told.
    Tell,
    /// So much of it holds.
    Rebased(usize),
    /// A fork is to be mounted like this.
    Like(Box<Likeness>),
    /// What to ask with next, and whether paths follow: without them everything may have changed.
    Token(Token, bool),
    Path(ChangedPath),
    Done,
    Error(String),
}

/// The counters of a live mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of norefs that serves it.
    pub version: String,
    /// The serving process.
    pub pid: u32,
    /// Where it is mounted; bytes that are not UTF-8 are replaced.
    pub mountpoint: String,
    /// Where the tree came from, or `norefs`.
    pub source: String,
    /// Mount options that were asked for and cannot be changed by a remount.
    #[serde(default)]
    pub options: Vec<String>,
    /// Where metrics are to be had, if anywhere.
    #[serde(default)]
    pub metrics: Option<String>,
    /// As which file it is kept, if it is.
    #[serde(default)]
    pub keep: Option<PathBuf>,
    /// How requests travel: `ring` or `device`.
    pub transport: String,
    /// Threads that take requests.
    pub threads: u64,
    /// Queues of the ring transport; 0 for the device.
    pub queues: u64,
    /// Requests that each queue can have under way; 0 for the device.
    pub queue_depth: u64,
    /// Bytes of the largest read or write. Each thread of the device and each request that a queue
    /// can have under way may take this much memory.
    pub max_io: u64,
    /// Whole seconds since it was mounted.
    pub uptime_seconds: u64,
    /// Inodes in use, the root included.
    pub inodes: u64,
    /// Names in use beyond one for each inode. Each counts as an inode does.
    #[serde(default)]
    pub further_names: u64,
    /// Inodes held at most; `u64::MAX`: no limit.
    pub max_inodes: u64,
    /// Bytes of file data and extended attributes in use.
    #[serde(default)]
    pub bytes: u64,
    /// Resident bytes of the serving process.
    #[serde(default)]
    pub memory: u64,
    /// Bytes of file data and extended attributes held at most; `u64::MAX`: no limit.
    pub max_bytes: u64,
    /// Whether every change is refused.
    pub read_only: bool,
    /// How long the kernel keeps what it is told now.
    #[serde(default)]
    pub cache: Cache,
    /// How many times the kernel was told that attributes are stale.
    pub notifications: u64,
    /// Files of the source that were found changed since they were loaded. Each counts once and has a line in the log.
    #[serde(default)]
    pub stale: u64,
    /// How the source is followed, if it is.
    #[serde(default)]
    pub follow: Option<FollowStats>,
    /// How far the mount is warmed, if it is.
    #[serde(default)]
    pub warm: Option<WarmStats>,
    /// How the no-reference operations ended.
    pub outcomes: Outcomes,
    /// How lookups ended, which begin without a reference too and end with a count.
    #[serde(default)]
    pub lookups: Outcomes,
    /// Requests by kind; kinds that never came are left out.
    pub requests: BTreeMap<String, KindStats>,
}

/// How the source is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowStats {
    /// The source's own directory is there no more.
    pub lost: bool,
    /// Directories that are watched.
    pub watched: u64,
    /// Directories that could not be watched: they are looked at every few seconds.
    pub unwatched: u64,
    /// Names that were looked at.
    pub looks: u64,
    /// How often everything was looked at again, because the system told of less than happened.
    pub rescans: u64,
    /// Changes of names and inodes that were taken over.
    pub changes: u64,
    /// What the mount and the source both changed: the mount's stays.
    pub conflicts: u64,
    /// What was not taken over for lack of room.
    pub refused: u64,
}

/// How far the kernel's caches are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmStats {
    /// Whether it goes on.
    pub state: warm::State,
    /// Names listed so far.
    pub entries: u64,
    /// Names there are now.
    pub total: u64,
}

/// The requests of one kind. Latencies are in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStats {
    /// Requests that came.
    pub count: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Median latency.
    pub p50_ns: u64,
    /// 99th percentile of the latency.
    pub p99_ns: u64,
    /// Longest latency.
    pub max_ns: u64,
    /// All latencies together.
    #[serde(default)]
    pub total_ns: u64,
}

/// The requests in the form [`Stats`] carries them.
pub fn by_kind(requests: &Requests) -> BTreeMap<String, KindStats> {
    let pairs = requests.iter().map(|stats| {
        let kind = KindStats {
            count: stats.count,
            errors: stats.errors,
            p50_ns: stats.p50_ns,
            p99_ns: stats.p99_ns,
            max_ns: stats.max_ns,
            total_ns: stats.total_ns,
        };
        (stats.kind.name().to_owned(), kind)
    });
    pairs.collect()
}
