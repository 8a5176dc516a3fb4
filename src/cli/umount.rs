//! `norefs umount`

use super::fail::{Failure, say};
use super::stats::mount_at;
use super::{Outcome, checkpoint, diff, kept, prompt, users};
use norefs::control::{self, Change, ServerProcess};
use norefs::transport::session::table::MountEntry;
use norefs::transport::session::{mount_point::MountPoint, unmount};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a mount may be in use by somebody who just looks at it.
const GLANCE: Duration = Duration::from_millis(200);
/// How long whoever served the mount may need to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again.
const MOMENT: Duration = Duration::from_millis(20);

/// Unmount a norefs mount, served or dead
#[derive(clap::Args)]
pub struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Detach it even if it is in use; it ends when its last user has left
    #[arg(short, long)]
    lazy: bool,
    /// Keep what differs from the source, in FILE or among your state, to be looked at and applied later
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["lazy", "discard"]
    )]
    keep: Option<Option<PathBuf>>,
    /// Throw it away without a word
    #[arg(long)]
    discard: bool,
}

impl Args {
    /// Those that end the mount at `mountpoint`, and throw away what differs.
    pub fn discarding(mountpoint: PathBuf) -> Args {
        Args {
            mountpoint,
            lazy: false,
            keep: None,
            discard: true,
        }
    }
}

pub fn run(args: Args) -> Outcome {
    let shown = args.mountpoint.display();
    let (place, entry) = mount_at(&args.mountpoint)?;
    let server = control::server_of(&entry);
    if unmount::remove_dead(&place)? {
        return Ok(ExitCode::SUCCESS);
    }
    if args.discard {
        let change = Change {
            keep: Some(false),
            ..Change::default()
        };
        // One that does not answer keeps nothing.
        control::set(&entry, change).unwrap_or_default();
    }
    if !args.lazy && !args.discard && !settle(&args, &entry)? {
        return Ok(ExitCode::FAILURE);
    }
    let patience = if args.lazy { Duration::ZERO } else { GLANCE };
    match unused(&place, patience) {
        Ok(()) => {
            if let Some(server) = server {
                wait(&server)?;
            }
        }
        Err(error) if !is_busy(&error) => return Err(failed(&args, &error)),
        Err(_) if args.lazy => place.unmount(true).map_err(|error| failed(&args, &error))?,
        Err(_) => {
            let users = users::of(&entry);
            let reason = format!("{shown} is in use{users} (--lazy detaches it all the same)");
            return Err(anyhow::anyhow!(reason).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is thrown away with the mount, or keeps it; whether the mount is to end.
fn settle(args: &Args, entry: &MountEntry) -> Result<bool, Failure> {
    // One that is stopped is not waited for.
    let known = match control::stats_within(entry, GLANCE * 5) {
        Ok(stats) => {
            if let (None, Some(at)) = (&args.keep, stats.keep) {
                if checkpoint::write(entry, &at)? {
                    say(format_args!("kept in {}", at.display()));
                }
                return Ok(true);
            }
            diff::whole(&args.mountpoint)
        }
        Err(error) if args.keep.is_some() => return Err(anyhow::Error::from(error).into()),
        Err(_) => return Ok(true),
    };
    let told = match known {
        Ok(told) => told,
        Err(failure) if args.keep.is_some() => return Err(failure),
        // It has no source.
        Err(_) => return Ok(true),
    };
    let changes = diff::worth_telling(&told.delta.changes);
    if changes.is_empty() {
        return Ok(true);
    }
    if let Some(at) = &args.keep {
        let again = || Ok(diff::whole(&args.mountpoint)?.delta);
        kept::keep(told.delta, &*told.tree, at.as_deref(), again)?;
        return Ok(true);
    }
    let counted = diff::counted(&changes);
    say(format_args!(
        "{}: {}",
        args.mountpoint.display(),
        counted.trim_end()
    ));
    if !prompt::is_possible() {
        say("that is thrown away (norefs apply writes it to the source, --keep keeps it)");
        return Ok(true);
    }
    let answer = prompt::ask("throw it away? [y/n]", |_| Ok(true))?.unwrap_or_default();
    Ok(matches!(&*answer, "y" | "yes"))
}

fn failed(args: &Args, error: &io::Error) -> Failure {
    let shown = args.mountpoint.display();
    anyhow::anyhow!("cannot unmount {shown}: {error}").into()
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Unmounts what nobody uses any more within `patience`.
fn unused(place: &MountPoint, patience: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match place.unmount(false) {
            Err(error) if is_busy(&error) && began.elapsed() < patience => {
                std::thread::sleep(MOMENT);
            }
            ended => return ended,
        }
    }
}

/// Waits until the mount's server has ended, and with that let go of the source.
fn wait(server: &ServerProcess) -> io::Result<()> {
    let began = Instant::now();
    while !server.ends_within(MOMENT)? {
        let pid = server.pid();
        let why = match server.is_stopped() {
            true => "is stopped",
            false if began.elapsed() < PATIENCE => continue,
            false => "goes on: maybe the mount is seen in another mount namespace",
        };
        say(format_args!(
            "unmounted, but process {pid} that served the mount {why}"
        ));
        break;
    }
    Ok(())
}
