//! What `run`, `mount` and `fork` have in common while a mount is served.

mod fork;

use super::checkpoint::Keep;
use super::fail::Failure;
use super::mount_options::MountOptions;
use super::quantity;
use super::tree::{beside, memory};
use anyhow::Context;
use norefs::control::{self, Asker, Change, FollowStats, Forking, Likeness, Server, Stats};
use norefs::delta::{self, Applied, Delta, PathBytes};
use norefs::follow;
use norefs::fs::{Config, Fs};
use norefs::journal::{ChangedSince, Journal, Query};
use norefs::telemetry::{About, Address, Endpoint, Listener, Telemetry};
use norefs::transport::session::utab::UserOptions;
use norefs::transport::{Cache, MAX_IO, MountHandle, Options, QUEUE_DEPTH, Transport};
use norefs::warm::{self, Warmer};
use signal_hook::iterator::Signals;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
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
    /// Serve metrics (OpenMetrics at /metrics) on a socket for this user alone, unix:PATH, or on a port of this machine, ADDR:PORT
    #[arg(long, value_name = "WHERE")]
    pub metrics: Option<Address>,
    /// Allow an address of --metrics that other machines reach: who connects is asked for nothing
    #[arg(long, requires = "metrics")]
    pub metrics_public: bool,
}

impl ServeArgs {
    /// What was said about warming the mount, if anything.
    pub fn warm(&self) -> Option<bool> {
        (self.warm || self.no_warm).then_some(self.warm)
    }

    /// Listens where metrics are to be had, if they are.
    pub fn listen(&self) -> Result<Option<Listener>, Failure> {
        let Some(address) = &self.metrics else {
            return Ok(None);
        };
        if address.is_public() && !self.metrics_public {
            let reason = format!(
                "--metrics {address}: other machines reach that (--metrics-public allows it)"
            );
            return Err(Failure::usage(reason));
        }
        let bound = Listener::bind(address).with_context(|| format!("--metrics {address}"));
        Ok(Some(bound?))
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
            metrics: None,
            metrics_public: false,
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
    telemetry: Arc<Telemetry>,
    followed: Option<follow::Handle>,
    shown: Option<UserOptions>,
    keep: Option<Keep>,
    /// With which it was made.
    options: Options,
    /// Mount options that a remount cannot change, as they were asked for.
    fixed: Vec<String>,
    journal: Arc<Journal>,
}

impl Served {
    fn follow_stats(&self) -> Option<FollowStats> {
        let status = self.followed.as_ref()?.status();
        let followed = self.telemetry.counters().fs().followed();
        Some(FollowStats {
            lost: status.lost,
            watched: status.watched,
            unwatched: status.unwatched,
            looks: status.looks,
            rescans: status.rescans,
            changes: followed.changes,
            conflicts: followed.conflicts,
            refused: followed.refused,
        })
    }

    /// How the mount is made and served now.
    fn likeness(&self) -> Likeness {
        let counters = self.telemetry.counters();
        Likeness {
            options: Options {
                cache: counters.cache(),
                ..self.options.clone()
            },
            permissions: counters.fs().permissions(),
        }
    }

    /// What is served.
    fn share(&self) -> Arc<Fs> {
        self.telemetry.counters().share()
    }

    /// Lets findmnt(8) and mount(8) know the limits that are in force. That they do not is no failure.
    fn show_limits(&self) {
        let config = self.telemetry.counters().fs().config();
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

impl control::Asked for Served {
    fn is_there(&self) -> bool {
        self.telemetry.counters().is_connected()
    }

    fn stats(&self) -> Stats {
        Stats {
            follow: self.follow_stats(),
            ..self.telemetry.stats()
        }
    }

    fn set(&self, change: Change) -> Result<(), String> {
        if change.read_only == Some(false) && self.telemetry.counters().passes_through() {
            return Err("a mount with option passthrough stays read-only".to_owned());
        }
        if let (Some(wanted), Some(keep)) = (change.keep, &self.keep) {
            keep.set_wanted(wanted);
        }
        let fs = self.telemetry.counters().fs();
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
            self.telemetry.counters().set_cache(cache);
        }
        self.show_limits();
        Ok(())
    }

    fn likeness(&self) -> Result<Likeness, String> {
        Ok(Served::likeness(self))
    }

    fn fork(&self, device: OwnedFd, forking: Forking, asker: Asker) -> Result<(), (Asker, String)> {
        fork::fork(self, device, forking, asker)
    }

    fn delta(&self) -> Result<Delta, String> {
        delta::of(self.telemetry.counters().fs()).map_err(|unknown| unknown.to_string())
    }

    fn sync(&self, look: Option<PathBytes>) -> Result<(), String> {
        let handle = self.followed.as_ref();
        let handle = handle.ok_or("it does not follow its source (mount option follow)")?;
        let looked = match look {
            None => true,
            Some(path) => {
                let found = delta::place(self.telemetry.counters().fs(), &path);
                let (node, name) = found.ok_or_else(|| format!("{path} is not there"))?;
                handle.look(node, name.as_deref())
            }
        };
        match looked && handle.sync() {
            true => Ok(()),
            false => Err("its source is followed no more".to_owned()),
        }
    }

    fn conflicts(&self) -> Vec<PathBytes> {
        let conflicts = self.telemetry.counters().fs().conflicts().into_iter();
        conflicts.map(|path| path.into_vec().into()).collect()
    }

    fn rebase(&self, applied: Vec<Applied>) -> Result<usize, String> {
        let rebased = delta::rebase(self.telemetry.counters().fs(), applied);
        rebased.map_err(|unknown| unknown.to_string())
    }

    fn changes(&self, query: &Query) -> Result<ChangedSince, String> {
        let asked = self
            .journal
            .ask(self.telemetry.counters().fs().tree(), query);
        asked.map_err(|errno| errno.to_string())
    }
}

/// What answers questions about a mount: `norefs stats` and others, and whoever asks for metrics. Dropping it ends that.
pub struct Answering {
    _server: Option<Server>,
    _metrics: Option<Endpoint>,
    /// What they tell.
    pub telemetry: Arc<Telemetry>,
}

/// What questions about a mount are answered with, besides what its handle knows.
pub struct Asked<'a> {
    /// How it was made.
    pub options: Options,
    /// Mount options that a remount cannot change, as they were asked for.
    pub fixed: Vec<String>,
    /// How far it is warmed.
    pub warm: Option<warm::Progress>,
    /// What follows its source.
    pub followed: Option<follow::Handle>,
    /// Where it is to be seen, if not where it is mounted.
    pub shown: Option<&'a Path>,
    /// Where metrics are to be had.
    pub metrics: Option<Listener>,
    /// How it is kept.
    pub keep: Option<Keep>,
}

/// Lets `norefs stats` and `norefs set` ask this mount. A mount that cannot be asked is served all the same.
pub fn answer_questions(handle: &MountHandle, asked: Asked<'_>) -> Answering {
    let Asked {
        options,
        fixed,
        warm,
        followed,
        shown,
        metrics,
        keep,
    } = asked;
    let others = options.allow_other.then(|| "allow_other".to_owned());
    let about = About {
        mountpoint: shown.unwrap_or(handle.mountpoint()).display().to_string(),
        source: options.source_name.clone(),
        options: fixed.iter().cloned().chain(others).collect(),
        metrics: metrics
            .as_ref()
            .map(|listener| listener.address().to_string()),
        keep: keep.as_ref().map(|keep| keep.at.clone()),
    };
    let telemetry = Arc::new(Telemetry::new(handle, about, warm));
    let served = Served {
        telemetry: telemetry.clone(),
        followed,
        shown: UserOptions::of(handle.device()).unwrap_or_default(),
        keep,
        options,
        fixed,
        journal: Arc::default(),
    };
    served.show_limits();
    let tell = telemetry.clone();
    let metrics =
        metrics.map(|listener| Endpoint::start(listener, Arc::new(move || tell.open_metrics())));
    let not_for = |what: &'static str| move |error: &io::Error| tracing::warn!(%error, "{what} will not work for this mount");
    let server = Server::start(handle.device(), served);
    Answering {
        _server: server.inspect_err(not_for("`norefs stats`")).ok(),
        _metrics: metrics.and_then(|started| started.inspect_err(not_for("metrics")).ok()),
        telemetry,
    }
}

/// What a signal ends: a mount, and what warms it.
pub type Mounted = (Weak<MountHandle>, Option<Warmer>);

/// The first signal unmounts, or detaches a mount in use; the second ends the process. The mount is to be told once it is there.
pub fn end_on_signal(mut signals: Signals) -> io::Result<Sender<Mounted>> {
    let (mounted, told) = mpsc::channel::<Mounted>();
    let thread = std::thread::Builder::new().name("norefs-signals".to_owned());
    let started = thread.spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        // The warmer is dropped with the rest of what was told.
        let handle = told.recv().ok().and_then(|(handle, _)| handle.upgrade());
        if let Some(handle) = handle
            && handle.unmount().is_err()
        {
            tracing::warn!("the mount is in use: detached, a second signal ends it");
            if let Err(error) = handle.detach() {
                tracing::error!(%error, "the mount cannot be detached");
            }
        }
        signals.next();
        std::process::exit(1);
    });
    started.map(|_| mounted)
}
