//! Making the tree that is to be mounted.

use super::fail::{Failure, say};
use super::mount_options::MountOptions;
use super::progress::Bar;
use anyhow::{Context, anyhow, bail};
use norefs::follow::{Follower, Watches};
use norefs::fs::{Config, Fs, INODE_BYTES};
use norefs::layer::{self, Kept};
use norefs::source::{self, Live, LoadOptions, LoadReport};
use norefs::transport::MountHandle;
use norefs::tree::{Attr, Kind, Time};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROOT_MODE: u16 = 0o755;
/// Bytes of memory an inode is reckoned with when their number is limited by default.
const BYTES_PER_INODE: u64 = 256;

/// How a source is read.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Loading")]
pub struct LoadArgs {
    /// Fail if any entry of the source cannot be read
    #[arg(long)]
    pub strict: bool,
    /// Load what is mounted below the source too
    #[arg(long)]
    pub cross_mounts: bool,
    /// With `-o follow`: look at the whole source that often, for one of which the system tells no changes (NFS, FUSE, 9p)
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub refresh: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).ok();
    interval
        .filter(|interval| (LEAST_INTERVAL..=MOST_INTERVAL).contains(interval))
        .ok_or_else(|| "expected a duration from 100ms to 1day, such as 10s".to_owned())
}

const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const MOST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The absolute path of a source that is a directory.
pub fn checked_source(source: &Path) -> anyhow::Result<PathBuf> {
    let shown = source.display();
    let path = source
        .canonicalize()
        .with_context(|| format!("source {shown}"))?;
    if !path.is_dir() {
        bail!("source {shown} is not a directory");
    }
    Ok(path)
}

/// Bytes of physical memory.
pub fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram
        .saturating_mul(u64::from(info.mem_unit).max(1))
}

/// A tree to be mounted.
pub struct Built {
    pub fs: Arc<Fs>,
    /// What loading it gave and how long that took, if it has a source.
    pub loaded: Option<(LoadReport, Duration)>,
    /// What follows the source, if that was asked for.
    pub followed: Option<Followed>,
}

/// A source that is watched since it was loaded.
pub struct Followed {
    fs: Arc<Fs>,
    live: Live,
    watches: Arc<Watches>,
    every: Option<Duration>,
}

impl Followed {
    /// Has the mount become what the source becomes, until the result is dropped. That it does not is no reason not to serve it.
    pub fn start(self, handle: &MountHandle) -> Option<Follower> {
        let (fs, live, teller) = (self.fs, self.live, handle.teller());
        let follower = Follower::start(fs, live, self.watches, teller, self.every);
        follower
            .inspect_err(|error| say(format_args!("the source is not followed: {error}")))
            .ok()
    }
}

/// An empty tree, or one that holds the directory `from`, and over that what was `kept`.
pub fn build(
    from: Option<&Path>,
    kept: Option<&Kept>,
    load: &LoadArgs,
    options: &MountOptions,
) -> Result<Built, Failure> {
    let half = memory() / 2;
    let config = Config {
        max_bytes: options.size.unwrap_or(half),
        max_inodes: options.inodes.unwrap_or(half / BYTES_PER_INODE),
        read_only: options.read_only && kept.is_none(),
    };
    let fs = Fs::new(config.clone(), root(options))
        .map_err(|_| anyhow!("there is not enough memory for a tree"))?
        .with_permissions(options.permissions);
    fs.allow_beside(beside(options.size, options.inodes, half));
    let fs = Arc::new(if options.acl { fs.with_acls() } else { fs });
    let (mut loaded, mut followed) = (None, None);
    if let Some(dir) = from {
        let how = LoadOptions {
            strict: load.strict,
            cross_mounts: load.cross_mounts,
            threads: 0,
        };
        let bar = Bar::new(dir.display().to_string());
        let began = Instant::now();
        let report = match options.follow {
            false => source::load(&fs, dir, &how, &bar)?,
            true => {
                let watches = Watches::new().context("cannot watch the source")?;
                let watches = Arc::new(watches);
                let (report, live) = source::load_watched(&fs, dir, &how, &bar, &*watches)?;
                followed = Some(Followed {
                    fs: fs.clone(),
                    live,
                    watches,
                    every: load.refresh,
                });
                report
            }
        };
        drop(bar);
        print(&report);
        loaded = Some((report, began.elapsed()));
    }
    if let Some(kept) = kept {
        put_over(&fs, kept)?;
        fs.set_config(Config {
            read_only: options.read_only,
            ..config
        });
    }
    Ok(Built {
        fs,
        loaded,
        followed,
    })
}

/// Puts `kept` over `fs`, which has its source, and says what that has become meanwhile.
fn put_over(fs: &Fs, kept: &Kept) -> Result<(), Failure> {
    for (path, meanwhile) in layer::put_over(fs, kept).context("cannot go on with what was kept")? {
        say(format_args!(
            "conflict: {path}: {meanwhile} (here is what was kept)"
        ));
    }
    Ok(())
}

/// Bytes that inodes and names may take beside the limit of bytes. By default all is bounded together, but for a part that
/// lets a few names take no room of content, so that `df` shows an empty tree as empty. Who asks for a size gets it for
/// content, and who asks for inodes gets those, whatever their names.
pub fn beside(size: Option<u64>, inodes: Option<u64>, half: u64) -> u64 {
    match (size, inodes) {
        (_, Some(inodes)) => inodes.saturating_mul(INODE_BYTES),
        (Some(_), None) => half,
        (None, None) => half / FREE_PART,
    }
}

/// Which part of the default limit inodes and names may take beside it.
const FREE_PART: u64 = 16;

fn root(options: &MountOptions) -> Attr {
    let uid = options.uid.unwrap_or(rustix::process::geteuid().as_raw());
    let gid = options.gid.unwrap_or(rustix::process::getegid().as_raw());
    let mode = options.mode.unwrap_or(ROOT_MODE);
    Attr {
        nlink: 2,
        ..Attr::new(Kind::Directory, mode, uid, gid, Time::now())
    }
}

/// How much a load left out is said on stderr; the log has told of each entry.
fn print(report: &LoadReport) {
    if report.unreadable > 0 {
        let (n, entries) = (report.unreadable, report.entries);
        say(format_args!(
            "{n} entries could not be read in full, {entries} were loaded"
        ));
    }
    if report.mounts_skipped > 0 {
        let n = report.mounts_skipped;
        say(format_args!(
            "{n} mounts below the source are not loaded (see --cross-mounts)"
        ));
    }
}
