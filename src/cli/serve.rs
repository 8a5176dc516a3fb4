//! What `run` and `mount` have in common while a mount is served.

use super::mount_options::MountOptions;
use super::quantity;
use super::tree::{beside, memory};
use norefs::control::{self, Asked, Change, Server, Stats, WarmStats};
use norefs::delta::{self, Applied, Delta};
use norefs::fs::Config;
use norefs::transport::session::utab::UserOptions;
use norefs::transport::{
    Cache, MAX_IO, MountCounters, MountHandle, Options, QUEUE_DEPTH, Transport,
};
use norefs::warm;
use std::path::Path;
use std::time::{Duration, Instant};

const PAGE: u32 = 4096;
/// How long to wait for removed files to be forgotten before looking again.
const MOMENT: Duration = Duration::from_millis(1);

/// How requests are answered.
#[derive(clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// How long the kernel keeps what it was told: forever, none, or a duration such as 1s
    #[arg(long, default_value_t = Cache::Forever)]
    pub cache: Cache,
    /// How requests travel: ring (FUSE over io_uring), device, or auto: ring where possible
    #[arg(long, default_value_t = Transport::Auto)]
    pub transport: Transport,
    /// Serving threads (default: one per CPU, for the device at least two)
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Requests each queue of the ring transport can have under way, 1 to 256
    #[arg(long, value_name = "N", default_value_t = QUEUE_DEPTH)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub queue_depth: u16,
    /// Largest read or write, 4k to 1m: what each request under way may take of memory
    #[arg(long, value_name = "BYTES", default_value = "1m", value_parser = max_io)]
    pub max_io: u32,
    /// Fill the kernel's caches with all names and attributes while the mount is used already (the default of `run --from`)
    #[arg(long, overrides_with = "no_warm")]
    pub warm: bool,
    /// Leave that to who uses it (the default of `mount`)
    #[arg(long)]
    pub no_warm: bool,
}

impl ServeArgs {
    /// What was said about warming the mount, if anything.
    pub fn warm(&self) -> Option<bool> {
        (self.warm || self.no_warm).then_some(self.warm)
    }

    /// What is said here of a mount, and the defaults of everything else.
    pub fn options(&self) -> Options {
        Options {
            cache: self.cache,
            transport: self.transport,
            threads: self.threads,
            queue_depth: self.queue_depth,
            max_io: self.max_io,
            ..Options::default()
        }
    }
}

fn max_io(text: &str) -> Result<u32, String> {
    let bytes = quantity::count(text).and_then(|bytes| u32::try_from(bytes).ok());
    bytes
        .filter(|bytes| (PAGE..=MAX_IO).contains(bytes) && bytes % PAGE == 0)
        .ok_or_else(|| "expected whole pages from 4k to 1m".to_owned())
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

impl Default for ServeArgs {
    fn default() -> ServeArgs {
        let Options {
            cache,
            transport,
            threads,
            queue_depth,
            max_io,
            ..
        } = Options::default();
        ServeArgs {
            cache,
            transport,
            threads,
            queue_depth,
            max_io,
            warm: false,
            no_warm: false,
        }
    }
}

/// Where the tree came from, as the mount table and reports show it.
pub fn source_name(from: Option<&Path>, asked: &MountOptions) -> String {
    let from = || from.map_or_else(|| "norefs".to_owned(), |dir| dir.display().to_string());
    asked.fsname.clone().unwrap_or_else(from)
}

/// A mount as its control socket sees it.
struct Served {
    counters: MountCounters,
    mountpoint: String,
    source: String,
    options: Vec<String>,
    warm: Option<warm::Progress>,
    since: Instant,
    shown: Option<UserOptions>,
}

impl Served {
    /// Lets findmnt(8) and mount(8) know the limits that are in force. That they do not is no failure.
    fn show_limits(&self) {
        let config = self.counters.fs().config();
        let shown = self.shown.as_ref();
        let written = shown.map_or(Ok(()), |shown| shown.show(&limits(&config)));
        if let Err(error) = written {
            tracing::debug!(%error, "findmnt does not show the limits");
        }
    }
}

/// The limits as mount options, in the way tmpfs shows them.
fn limits(config: &Config) -> String {
    let number = |limit| match limit {
        u64::MAX => 0,
        limit => limit,
    };
    let (bytes, inodes) = (number(config.max_bytes), number(config.max_inodes));
    match bytes % 1024 {
        0 => format!("size={}k,nr_inodes={inodes}", bytes / 1024),
        _ => format!("size={bytes},nr_inodes={inodes}"),
    }
}

impl Asked for Served {
    fn is_there(&self) -> bool {
        self.counters.is_connected()
    }

    fn stats(&self) -> Stats {
        let fs = self.counters.fs();
        let config = fs.config();
        let carriage = self.counters.carriage();
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mountpoint: self.mountpoint.clone(),
            source: self.source.clone(),
            options: self.options.clone(),
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
            warm: self.warm.as_ref().map(|warm| WarmStats {
                state: warm.state(),
                entries: warm.entries(),
                total: fs.tree().inodes() - 1 + fs.tree().further_names(),
            }),
            outcomes: fs.outcomes(),
            lookups: fs.lookups(),
            requests: control::by_kind(&self.counters.requests()),
        }
    }

    fn set(&self, change: Change) -> Result<(), String> {
        if change.read_only == Some(false) && self.counters.passes_through() {
            return Err("a mount with option passthrough stays read-only".to_owned());
        }
        let fs = self.counters.fs();
        let now = fs.config();
        let wanted = Config {
            max_bytes: change.max_bytes.unwrap_or(now.max_bytes),
            max_inodes: change.max_inodes.unwrap_or(now.max_inodes),
            read_only: change.read_only.unwrap_or(now.read_only),
        };
        let more = beside(change.max_bytes, change.max_inodes, memory() / 2);
        let asked = Instant::now();
        loop {
            match fs.reconfigure(wanted.clone()) {
                Err(_) if fs.room_may_come(asked) => std::thread::sleep(MOMENT),
                Err(in_use) => return Err(in_use.to_string()),
                Ok(()) => break,
            }
        }
        fs.allow_more_beside(more);
        if let Some(cache) = change.cache {
            self.counters.set_cache(cache);
        }
        self.show_limits();
        Ok(())
    }

    fn delta(&self) -> Result<Delta, String> {
        delta::of(self.counters.fs()).map_err(|unknown| unknown.to_string())
    }

    fn rebase(&self, applied: Vec<Applied>) -> Result<usize, String> {
        let rebased = delta::rebase(self.counters.fs(), applied);
        rebased.map_err(|unknown| unknown.to_string())
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

/// Lets `norefs stats` and `norefs set` ask this mount, made with `options`; `fixed` are those that a remount cannot change,
/// as they were asked for. A mount that cannot be asked is served all the same.
pub fn answer_questions(
    handle: &MountHandle,
    options: Options,
    mut fixed: Vec<String>,
    warm: Option<warm::Progress>,
    shown: Option<&Path>,
) -> Option<Server> {
    if options.allow_other {
        fixed.push("allow_other".to_owned());
    }
    let served = Served {
        counters: handle.counters(),
        mountpoint: shown.unwrap_or(handle.mountpoint()).display().to_string(),
        source: options.source_name,
        options: fixed,
        warm,
        since: Instant::now(),
        shown: UserOptions::of(handle.device()).unwrap_or_default(),
    };
    served.show_limits();
    match Server::start(handle.device(), served) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(%error, "`norefs stats` will not work for this mount");
            None
        }
    }
}
