//! What is copied, and where the command is to see it.

use super::copy::{Copied, Source};
use super::git;
use super::namespace::{Namespaces, cure};
use super::view::{Identity, Shown, View};
use super::{Args, PRIVATE};
use crate::cli::fail::Failure;
use crate::cli::tree::checked_source;
use anyhow::Context;
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What programs change that change nothing of anybody's: temporary files, devices, and the kernel's settings, which guards those
/// itself.
const ALWAYS_WRITABLE: [&str; 5] = ["/tmp", "/dev", "/proc", "/sys", "/run/user"];

/// What is copied, and where the command is to see it.
pub struct Plan {
    pub sources: Vec<Source>,
    place: Place,
    /// What may be changed beside the copies, if not everything.
    writable: Option<Vec<PathBuf>>,
    asked: bool,
}

/// Where the first copy is to be seen.
enum Place {
    /// Where it is mounted.
    Private,
    /// Where its source is.
    OfSource,
    Elsewhere(Source),
}

impl Plan {
    pub fn of(args: &Args) -> Result<Plan, Failure> {
        let place = match &args.at {
            Some(at) if at.as_os_str() == PRIVATE => Place::Private,
            Some(at) => Place::Elsewhere(directory(at)?),
            None if args.sources().next().is_some() => Place::OfSource,
            None => Place::Private,
        };
        let forked = args.fork.is_some();
        let sources = args
            .sources()
            .map(|from| open(checked_source(from)?, forked));
        let sources: Vec<Source> = sources.collect::<anyhow::Result<_>>()?;
        check_apart(&sources)?;
        let plan = Plan {
            sources,
            place,
            writable: args.protect.then(|| writable(&args.allow)).transpose()?,
            asked: args.at.is_some(),
        };
        plan.check_root()?;
        Ok(plan)
    }

    /// Refuses to show a copy in the place of everything.
    fn check_root(&self) -> Result<(), Failure> {
        let mut places = self.places();
        match places.any(|(_, place)| place.path == Path::new("/")) {
            true => Err(Failure::usage(
                "nothing can take the place of / (--at private shows its copy elsewhere)",
            )),
            false => Ok(()),
        }
    }

    /// The numbers of copies that are to be seen in the place of a directory, and those.
    fn places(&self) -> impl Iterator<Item = (usize, &Source)> {
        let first = match &self.place {
            Place::Private => None,
            Place::OfSource => self.sources.first(),
            Place::Elsewhere(there) => Some(there),
        };
        let first = first.map(|place| (0, place)).into_iter();
        first.chain(self.sources.iter().enumerate().skip(1))
    }

    /// What the command is to see, if not just a private directory. The copies are those of `sources`.
    pub fn view<'c>(&self, copies: &'c [Copied<'_>]) -> io::Result<Option<View<'c>>> {
        let Some(first) = copies.first() else {
            return Ok(None);
        };
        let mut inside = copies.iter().filter_map(|copy| copy.inside.as_ref());
        if copies.len() > 1 && inside.any(Namespaces::have_user) {
            let reason = "--also takes root, or a fusermount3 with its set-user-id bit";
            return Err(io::Error::other(reason));
        }
        let shown = self.places().map(|(number, place)| {
            Ok(Shown {
                copy: copies[number].mount_point.clone(),
                inside: copies[number].inside.as_ref(),
                at: place.path.clone(),
                over: Some(Identity::of(place.directory.as_fd())?),
            })
        });
        let mut shown: Vec<Shown<'_>> = shown.collect::<io::Result<_>>()?;
        if shown.is_empty() && self.writable.is_none() && first.inside.is_none() {
            return Ok(None);
        }
        if matches!(self.place, Place::Private) {
            shown.push(Shown {
                copy: first.mount_point.clone(),
                inside: first.inside.as_ref(),
                at: first.mount_point.clone(),
                over: None,
            });
        }
        let mount = match &self.place {
            Place::Private => first.mount_point.clone(),
            Place::OfSource | Place::Elsewhere(_) => shown[0].at.clone(),
        };
        let kept = self.kept_directory(copies);
        Ok(Some(View {
            shown,
            writable: self.writable.clone(),
            stays: kept.is_some(),
            start: kept.unwrap_or_else(|| mount.clone()),
            mount,
        }))
    }

    /// Where the caller stands, if a copy is to be seen there that has such a directory.
    fn kept_directory(&self, copies: &[Copied<'_>]) -> Option<PathBuf> {
        let stands = std::env::current_dir().ok()?;
        self.places().find_map(|(number, place)| {
            let below = stands.strip_prefix(&place.path).ok()?;
            let below = match below.as_os_str().is_empty() {
                true => Path::new("."),
                false => below,
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let there =
                rustix::fs::openat(copies[number].root().ok()?, below, flags, Mode::empty())
                    .ok()?;
            let entered = accessat(&there, ".", Access::EXEC_OK, AtFlags::EACCESS);
            entered.is_ok().then(|| stands.clone())
        })
    }

    /// Where git would write outside of the copies, if any of them is of a working tree. Only for those in the place of their
    /// source.
    pub fn outside(&self) -> Vec<PathBuf> {
        let in_place = self.places().filter(|(number, _)| match number {
            0 => matches!(self.place, Place::OfSource),
            _ => true,
        });
        let copied = |path: &Path| {
            self.sources
                .iter()
                .any(|source| path.starts_with(&source.path))
        };
        let mut all: Vec<PathBuf> = in_place
            .filter_map(|(_, source)| git::repository(&source.path))
            .filter(|repository| !copied(repository))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is said of what git would write outside of the copies.
    pub fn warning(&self, outside: &[PathBuf]) -> Option<String> {
        let paths: Vec<_> = outside.iter().map(|path| path.to_string_lossy()).collect();
        let options: Vec<_> = paths.iter().map(|path| format!("--also {path}")).collect();
        let does = match self.writable {
            Some(_) => "may not write to",
            None => "writes to",
        };
        let (paths, options) = (paths.join(" and "), options.join(" "));
        let line = || format!("git {does} {paths}, which is not copied ({options} copies it)");
        (!outside.is_empty()).then(line)
    }

    /// Whether a private directory will do where this user may not have a namespace.
    pub fn may_be_private(&self, copies: &[Copied<'_>]) -> bool {
        let is_seen = copies.iter().all(|copy| copy.inside.is_none());
        is_seen && !self.asked && self.writable.is_none() && self.sources.len() < 2
    }

    /// What is said where the command sees its copy at `mount_point`.
    pub fn instead(&self, error: &io::Error, mount_point: &Path) -> String {
        let why = cure(error);
        let (at, from) = (mount_point.display(), self.sources.first());
        let from = from.map(|source| source.path.display().to_string());
        let from = from.unwrap_or_default();
        format!(
            "the copy is at {at}, not at {from}: no namespace is to be had here ({error}); {why}"
        )
    }
}

fn open(path: PathBuf, forked: bool) -> anyhow::Result<Source> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&path, flags, Mode::empty());
    let directory = directory.with_context(|| format!("source {}", path.display()))?;
    Ok(Source {
        path,
        directory,
        forked,
    })
}

/// The directory that a copy is to be seen in the place of.
fn directory(at: &Path) -> anyhow::Result<Source> {
    let shown = || format!("--at {}", at.display());
    let path = at.canonicalize().with_context(shown)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&path, flags, Mode::empty()).with_context(shown)?;
    Ok(Source {
        path,
        directory,
        forked: false,
    })
}

/// Each copy is to be seen in a place of its own, and not in another one.
fn check_apart(sources: &[Source]) -> Result<(), Failure> {
    for (number, source) in sources.iter().enumerate() {
        let others = sources
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        for (_, other) in others {
            if source.path.starts_with(&other.path) {
                let [inner, outer] = [source, other].map(|source| source.path.display());
                let reason = format!("--also: {inner} is in {outer}, which is copied already");
                return Err(Failure::usage(reason));
            }
        }
    }
    Ok(())
}

/// What may be changed, the places above others first.
fn writable(allowed: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let temporary = std::env::var_os("TMPDIR").map(PathBuf::from);
    let always = ALWAYS_WRITABLE.iter().map(PathBuf::from).chain(temporary);
    let mut all: Vec<PathBuf> = always.filter_map(|path| path.canonicalize().ok()).collect();
    for path in allowed {
        let found = path.canonicalize();
        all.push(found.with_context(|| format!("--allow {}", path.display()))?);
    }
    if all.iter().any(|path| path.as_os_str() == OsStr::new("/")) {
        return Err(Failure::usage(
            "--allow / leaves nothing that --protect protects",
        ));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
