//! `norefs changes`

use super::fail::Failure;
use super::{Outcome, out};
use anyhow::{Context, anyhow};
use norefs::control::{self, node_of};
use norefs::delta::PathBytes;
use norefs::host::write_back_maps;
use norefs::journal::{ChangedPath, ChangedSince, Query, Token};
use norefs::transport::session::table::{self, MountEntry};
use rustix::fs::{CWD, Mode, OFlags, fstat, major, minor, openat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often what the kernel holds is asked for while nothing else changes.
const PERIOD: Duration = Duration::from_secs(1);

const AFTERWARDS: &str = "\
The first line is a token: with --since it stands for all that was told until then. A line for each path follows, seen from \
DIRECTORY, with a slash behind it if a directory was moved there or away: that stands for all that is below. Or a line with \
a slash alone: everything may have changed. So it is without --since, and with a token of another mount or directory, or one \
that is too old.";

/// Tell which paths in a mount changed since a token
#[derive(clap::Args)]
#[command(after_help = AFTERWARDS)]
pub struct Args {
    /// A directory in a norefs mount
    directory: PathBuf,
    /// What is known already: a token of an earlier answer about this directory
    #[arg(long, value_name = "TOKEN")]
    since: Option<Token>,
    /// Wait until something changes: since TOKEN, or from now on
    #[arg(long)]
    wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// End token and paths with NUL, as they are, not lines
    #[arg(short = '0', conflicts_with = "json")]
    null: bool,
}

/// A directory in a norefs mount.
pub struct Watched {
    directory: OwnedFd,
    mount: MountEntry,
}

impl Watched {
    /// `None` if the directory is in no norefs mount.
    pub fn open(path: &Path) -> Result<Option<Watched>, Failure> {
        let shown = || path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty()).with_context(shown)?;
        let device = fstat(&directory).with_context(shown)?.st_dev;
        let device = (major(device), minor(device));
        let mut mounts = table::read().context("/proc/self/mountinfo")?.into_iter();
        let mount = mounts.find(|mount| mount.device == device && mount.is_norefs());
        Ok(mount.map(|mount| Watched { directory, mount }))
    }

    /// What changed. What was stored through a map of a file is asked for first: nobody else knows of it yet.
    pub fn ask(
        &self,
        since: Option<Token>,
        except: Option<PathBytes>,
        patience: Duration,
    ) -> Result<ChangedSince, Failure> {
        let here = write_back_maps(&self.directory);
        let here = here.context("what was stored last does not reach the mount's server")?;
        let query = Query {
            since,
            top: node_of(self.directory.as_fd())?,
            except,
            patience,
        };
        let mut changed = control::changes(&self.mount, query)?;
        changed.paths = changed.paths.filter(|_| here);
        Ok(changed)
    }
}

pub fn run(args: Args) -> Outcome {
    let shown = args.directory.display();
    let watched = Watched::open(&args.directory)?;
    let watched = watched.ok_or_else(|| anyhow!("{shown} is in no norefs mount"))?;
    let patience = if args.wait { PERIOD } else { Duration::ZERO };
    let ask = |since| watched.ask(since, None, patience);
    let mut changed = ask(args.since)?;
    if args.wait && args.since.is_none() {
        changed.paths = Some(Vec::new());
    }
    while args.wait && changed.paths.as_ref().is_some_and(Vec::is_empty) {
        changed = ask(Some(changed.token))?;
    }
    match args.json {
        true => out::print(json(&changed)?)?,
        false => out::print(text(&changed, args.null))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn json(changed: &ChangedSince) -> Result<String, serde_json::Error> {
    let object = serde_json::json!({
        "token": changed.token,
        "all": changed.paths.is_none(),
        "paths": changed.paths.as_deref().unwrap_or_default(),
    });
    Ok(serde_json::to_string(&object)? + "\n")
}

fn text(changed: &ChangedSince, null: bool) -> Vec<u8> {
    let end = if null { b'\0' } else { b'\n' };
    let path = |told: &ChangedPath| {
        let mut path = match null {
            true if told.path == PathBytes::ROOT => b".".to_vec(),
            true => told.path.as_bytes().to_vec(),
            false => told.path.to_string().into_bytes(),
        };
        path.extend(told.below.then_some(b'/'));
        path
    };
    let paths = match &changed.paths {
        None => vec![b"/".to_vec()],
        Some(paths) => paths.iter().map(path).collect(),
    };
    let token = changed.token.to_string().into_bytes();
    let parts = [token].into_iter().chain(paths);
    parts
        .flat_map(|part| part.into_iter().chain([end]))
        .collect()
}
