//! What `run` and `mount` have in common while a mount is served.

use norefs::control::{self, Server, Stats};
use norefs::transport::{Cache, MountHandle};
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

/// Lets `norefs stats` ask this mount. A mount that cannot be asked is served all the same.
pub fn answer_questions(handle: &MountHandle, source: String) -> Option<Server> {
    let mountpoint = handle.mountpoint().display().to_string();
    let counters = handle.counters();
    let since = Instant::now();
    let stats = move || Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        mountpoint: mountpoint.clone(),
        source: source.clone(),
        uptime_seconds: since.elapsed().as_secs(),
        inodes: counters.fs().tree().inodes(),
        notifications: counters.notifications(),
        outcomes: counters.fs().outcomes(),
        requests: control::by_kind(&counters.requests()),
    };
    match Server::start(handle.device(), stats) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(%error, "`norefs stats` will not work for this mount");
            None
        }
    }
}
