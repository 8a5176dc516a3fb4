//! `norefs checkpoint`, and what keeps a mount of `norefs mount --keep`.
//!
//! A process of its own keeps it from time to time: it reads contents through the mount, which no thread of the daemon may wait for, and
//! asks the daemon what differs. It ends with the daemon, which holds the other end of its standard input. The last time, when the mount
//! has ended, the daemon reads what it has itself.

use super::fail::{Failure, say};
use super::stats::mount_at;
use super::{Outcome, diff, kept, watch};
use anyhow::{Context, anyhow};
use norefs::apply::Root;
use norefs::control;
use norefs::delta;
use norefs::fs::Fs;
use norefs::layer::Live;
use norefs::transport::MountHandle;
use norefs::transport::session::table::MountEntry;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How often a mount is kept by default.
const OFTEN: Duration = Duration::from_secs(30);

/// Keep what differs in a mount now, while it is used
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// As which file (default: what `norefs mount --keep` was told)
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Go on until standard input ends
    #[arg(long, value_name = "DURATION", hide = true, value_parser = watch::interval)]
    every: Option<Duration>,
}

pub fn run(args: Args) -> Outcome {
    let (_, entry) = mount_at(&args.mountpoint)?;
    let at = match args.keep {
        Some(at) => at,
        None => place_of(&entry)?.ok_or_else(|| {
            let shown = args.mountpoint.display();
            anyhow!("{shown} is kept nowhere: --keep FILE says where")
        })?,
    };
    if let Some(every) = args.every {
        return go_on(&entry, &at, every);
    }
    match write(&entry, &at)? {
        true => say(format_args!("kept in {}", at.display())),
        false => say(format_args!("nothing changed since {}", at.display())),
    }
    Ok(ExitCode::SUCCESS)
}

/// As which file the mount is kept, if it is.
pub fn place_of(entry: &MountEntry) -> Result<Option<PathBuf>, Failure> {
    Ok(control::stats(entry)?.keep)
}

/// Keeps what differs in the mount as `at`; false if nothing has changed since that was done.
pub fn write(entry: &MountEntry, at: &Path) -> Result<bool, Failure> {
    let tree =
        Root::open(&entry.mount_point).with_context(|| entry.mount_point.display().to_string())?;
    let told = || Ok(diff::of_mount(entry, &tree)?);
    kept::update(&tree, at, told)
}

fn go_on(entry: &MountEntry, at: &Path, every: Duration) -> Outcome {
    let every = Timespec::try_from(every).map_err(anyhow::Error::from)?;
    let stdin = io::stdin();
    let mut said = None;
    loop {
        let mut ends = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        match poll(&mut ends, Some(&every)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            _ => return Ok(ExitCode::SUCCESS),
        }
        // Something else may be mounted there by now.
        let there = mount_at(&entry.mount_point).ok();
        if there.is_none_or(|(_, there)| there.device != entry.device) {
            return Ok(ExitCode::SUCCESS);
        }
        let failed = write(entry, at).err().map(|failure| failure.to_string());
        // A disk may be full for long.
        if let Some(reason) = failed.as_ref().filter(|_| failed != said) {
            say(reason);
        }
        said = failed;
    }
}

/// How a mount is kept.
#[derive(Clone)]
pub struct Keep {
    /// As which file; absolute.
    pub at: PathBuf,
    /// How often.
    pub every: Duration,
    /// Nobody has said that what differs is to be thrown away.
    wanted: Arc<AtomicBool>,
}

impl Keep {
    /// As the file `at`, which must not lie in the mount itself.
    pub fn new(at: &Path, every: Option<Duration>, mountpoint: &Path) -> Result<Keep, Failure> {
        let shown = at.display();
        let name = at
            .file_name()
            .ok_or_else(|| anyhow!("{shown} names no file"))?;
        let above = at.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let above = above
            .canonicalize()
            .with_context(|| above.display().to_string())?;
        if above.starts_with(mountpoint) {
            return Err(Failure::usage(format!(
                "{shown} is inside the mount point: keep it elsewhere"
            )));
        }
        let at = above.join(name);
        if at.to_str().is_none() {
            return Err(Failure::usage(format!("{shown} is no text in UTF-8")));
        }
        Ok(Keep {
            at,
            every: every.unwrap_or(OFTEN),
            wanted: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Whether what differs is to be kept at the end.
    pub fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Relaxed);
    }

    /// Keeps what differs in `fs`, whose mount has ended, if it was not kept before.
    pub fn at_the_end(&self, fs: &Arc<Fs>) {
        if !self.wanted.load(Relaxed) {
            return;
        }
        let told = || Ok(delta::of(fs)?);
        if let Err(failure) = kept::update(&Live(fs.clone()), &self.at, told) {
            tracing::error!("the last changes are lost: {failure}");
            failure.print();
        }
    }
}

/// The process that keeps a mount. Dropping it ends the process.
pub struct Keeper(Child);

impl Keeper {
    /// Starts it.
    pub fn start(handle: &MountHandle, keep: &Keep) -> io::Result<Keeper> {
        let every = format!("{}ms", keep.every.as_millis());
        let mut command = Command::new("/proc/self/exe");
        command.args(["checkpoint", "--every", &every, "--keep"]);
        command.arg(&keep.at).arg(handle.mountpoint());
        command.current_dir("/").process_group(0);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Keeper(child))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            tracing::debug!(%error, "the process that keeps the mount could not be ended");
        }
    }
}
