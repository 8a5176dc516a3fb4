//! What `run` and `mount` have in common while a mount is served.

use norefs::control::{self, Asked, Change, Server, Stats};
use norefs::fs::Config;
use norefs::transport::{Cache, MountCounters, MountHandle};
use std::path::Path;
use std::time::Instant;

/// How requests are answered.
#[derive(clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// How long the kernel keeps what it was told: forever, none, or a duration such as 1s
    #[arg(long, default_value_t = Cache::Forever)]
    pub cache: Cache,
    /// Serving threads (default: one per CPU, at least two)
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// Where the tree came from, as reports show it.
pub fn source_name(from: Option<&Path>) -> String {
    from.map_or_else(|| "norefs".to_owned(), |dir| dir.display().to_string())
}

/// A mount as its control socket sees it.
struct Served {
    counters: MountCounters,
    mountpoint: String,
    source: String,
    since: Instant,
}

impl Asked for Served {
    fn stats(&self) -> Stats {
        let fs = self.counters.fs();
        let config = fs.config();
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mountpoint: self.mountpoint.clone(),
            source: self.source.clone(),
            uptime_seconds: self.since.elapsed().as_secs(),
            inodes: fs.tree().inodes(),
            max_inodes: config.max_inodes,
            max_bytes: config.max_bytes,
            read_only: config.read_only,
            notifications: self.counters.notifications(),
            outcomes: fs.outcomes(),
            requests: control::by_kind(&self.counters.requests()),
        }
    }

    fn set(&self, change: Change) {
        let fs = self.counters.fs();
        let now = fs.config();
        fs.set_config(Config {
            max_bytes: change.max_bytes.unwrap_or(now.max_bytes),
            max_inodes: change.max_inodes.unwrap_or(now.max_inodes),
            read_only: change.read_only.unwrap_or(now.read_only),
            ttl: now.ttl,
        });
    }
}

/// Lets `norefs stats` and `norefs set` ask this mount. A mount that cannot be asked is served all
/// the same.
pub fn answer_questions(handle: &MountHandle, source: String) -> Option<Server> {
    let served = Served {
        counters: handle.counters(),
        mountpoint: handle.mountpoint().display().to_string(),
        source,
        since: Instant::now(),
    };
    match Server::start(handle.device(), served) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(%error, "`norefs stats` will not work for this mount");
            None
        }
    }
}
