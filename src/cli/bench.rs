//! `norefs bench`

use super::Outcome;
use super::fail::{Failure, say};
use super::private::{self, Private};
use anyhow::{Context, anyhow};
use norefs::bench::{self, Contender, Error, Plan};
use norefs::transport::unmount::unmount;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const SLICE: Duration = Duration::from_millis(30);
/// Where there is a tmpfs that anybody may use.
const SHARED_TMPFS: &str = "/dev/shm";
const INTERRUPTED: u8 = 130;

/// Compare what metadata calls cost in directories (without one: in tmpfs and norefs)
///
/// Builds a tree in a subdirectory of each directory and removes it at the end. As root it also
/// makes the kernel drop the dentries and inodes it caches, of the whole machine, to measure cold
/// walks.
#[derive(clap::Args)]
pub struct Args {
    /// The directories to compare; the first is what the others are measured by
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Files in each tree
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    entries: u32,
    /// Turns of each directory at each operation
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Measure with 1, 2, 4 ... up to N clients, each pinned to a CPU (default: the number of CPUs)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: Option<u32>,
}

pub fn run(args: Args) -> Outcome {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan {
        entries: args.entries as usize,
        rounds: args.rounds as usize,
        clients: args.clients.map_or_else(cpus, |clients| clients as usize),
        slice: SLICE,
    };
    // From here on a signal ends the run in good order; a second one ends it at once.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let status = i32::from(INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut mount = None;
    let contenders = if args.directories.is_empty() {
        let tmpfs = tmpfs()?;
        let norefs = Mounted::new()?;
        let directory = open(&norefs.private.mount_point())?;
        mount = Some(norefs);
        vec![tmpfs, contender("norefs", directory)]
    } else {
        let directories = args.directories.iter();
        let opened =
            directories.map(|path| Ok(contender(&path.display().to_string(), open(path)?)));
        opened.collect::<anyhow::Result<_>>()?
    };
    let outcome = bench::run(&plan, contenders, &stop);
    drop(mount);
    let report = outcome.map_err(|error| match error {
        Error::Interrupted => Failure::with_status(INTERRUPTED, error),
        error => Failure::from(error),
    })?;
    let text = match args.json {
        true => serde_json::to_string(&report)? + "\n",
        false => report.to_string(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn contender(label: &str, directory: OwnedFd) -> Contender {
    Contender {
        label: label.to_owned(),
        directory,
    }
}

fn open(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).with_context(|| path.display().to_string())
}

/// A tmpfs that ends with its last descriptor, or else the one that is there for everybody.
fn tmpfs() -> anyhow::Result<Contender> {
    let detached = || {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        fsmount(&context, flags, MountAttrFlags::empty())
    };
    match detached() {
        Ok(directory) => Ok(contender("tmpfs", directory)),
        Err(_) => Ok(contender(SHARED_TMPFS, open(Path::new(SHARED_TMPFS))?)),
    }
}

/// A norefs of our own, served by a process of its own. Dropping it unmounts.
struct Mounted {
    private: Private,
}

impl Mounted {
    fn new() -> anyhow::Result<Mounted> {
        private::sweep();
        let private = Private::new().context("cannot make a private directory")?;
        let started = Command::new("/proc/self/exe")
            .arg("mount")
            .arg(private.mount_point())
            .stdin(Stdio::null())
            .output()
            .context("cannot start the serving process")?;
        if !started.status.success() {
            let said = String::from_utf8_lossy(&started.stderr);
            let said = said.trim().trim_start_matches("norefs: ");
            return Err(anyhow!("cannot mount a norefs: {said}"));
        }
        Ok(Mounted { private })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mountpoint = self.private.mount_point();
        let ended = unmount(&mountpoint, false).or_else(|_| unmount(&mountpoint, true));
        if let Err(error) = ended {
            say(format_args!(
                "cannot unmount {}: {error}",
                mountpoint.display()
            ));
        }
    }
}
