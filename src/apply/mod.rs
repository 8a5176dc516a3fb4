//! Writing what differs in a mount to the directory it was loaded from, or to a copy of that.
//!
//! First everything is looked at: each entry of the target that a change touches has to be what it was when the source was loaded
//! (device, inode number, size, times). Then it is written, by ordinary system calls of the process that asks, which reads contents
//! through the mount:
//!
//! 1. What moves is put aside, so that nothing is in the way of anything.
//! 2. What was removed is removed.
//! 3. Directories are made, what moves gets its new name, and new content is written under another name, brought to disk, and renamed.
//! 4. Hard links are made.
//! 5. Directories get their attributes, those within others first, the times last.
//!
//! What is on its way lies in a directory of the target's root, with a ledger, until all is done. An apply that is cut off at any point
//! goes on where it was when it is started again.

mod check;
mod copy;
mod ledger;
mod moves;
mod root;
mod write;

pub use check::Clash;
pub use ledger::STAGING;
pub use root::Root;

use crate::delta::{Applied, Change, Delta, PathBytes, SourceEntry, Tree, What};
use crate::tree::Kind;
use check::{Check, Strictness, Verdict};
use ledger::{Ledger, Refused};
use moves::Moves;
use rustix::fs::StatVfsMountFlags;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use write::Writer;

/// What to do about entries that are not what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Write nothing at all.
    #[default]
    Stop,
    /// Leave those alone, and write the rest.
    Skip,
    /// Write all the same.
    Overwrite,
}

/// What is to be applied, and where.
pub struct Job<'a> {
    /// What differs.
    pub delta: &'a Delta,
    /// Where contents are read.
    pub mount: &'a dyn Tree,
    /// Where they are written.
    pub target: &'a Root,
    /// Names the difference: an apply that was cut off goes on only with the same.
    pub name: &'a str,
    /// What to apply: at or below these paths; everything if there is none.
    pub only: &'a [PathBytes],
    /// What to do about conflicts.
    pub on_conflict: OnConflict,
    /// The target is a copy of the source: other inode numbers, the same sizes and mtimes.
    pub elsewhere: bool,
}

/// A change that meets something else than it was made upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where: as it is in the mount, or, of what was removed, as it was in the source.
    pub path: PathBytes,
    /// Why.
    pub clash: Clash,
}

/// What an apply does at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Putting aside what moves.
    Stage,
    /// Removing.
    Remove,
    /// Making, moving, writing.
    Make,
    /// Bringing new files to disk, and giving them their names.
    Name,
    /// Setting attributes of directories.
    Attributes,
    /// Ending: nothing is left to be written.
    End,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Stage => "cannot put it aside",
            Step::Remove => "cannot remove it",
            Step::Make => "cannot make it",
            Step::Name => "cannot bring it to disk",
            Step::Attributes => "cannot set its attributes",
            Step::End => "cannot end",
        })
    }
}

/// Who watches an apply, and may end it before any step as a crash would.
pub trait Watch {
    /// Called before each step.
    fn step(&mut self, step: Step, path: &PathBytes) -> ControlFlow<()>;
}

impl Watch for () {
    fn step(&mut self, _: Step, _: &PathBytes) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Why an apply failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The mount, or the target, cannot be looked at.
    #[error("cannot look at what is there")]
    Look(#[source] io::Error),
    /// The target's filesystem is read-only.
    #[error("the filesystem there is read-only")]
    ReadOnly,
    /// There is less room than the new contents take.
    #[error("there is too little room: {needed} bytes are needed, {free} are free")]
    NoRoom {
        /// Bytes of new content.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Another process applies to the target.
    #[error("another process applies changes there")]
    Busy,
    /// Something else was applied to the target, and cut off.
    #[error(
        "an apply of {0} was cut off there: run that again, or look into the directory {STAGING} there"
    )]
    Foreign(String),
    /// A path that was asked for lies in a directory that is not there without more.
    #[error("{0} lies in {1}, which is new or moved: name that too")]
    Within(PathBytes, PathBytes),
    /// A step failed. Started again it goes on from there.
    #[error("{1}: {0}")]
    Step(Step, PathBytes, #[source] io::Error),
    /// Who watched ended it.
    #[error("it was ended")]
    Stopped,
}

/// What an apply found, and did.
#[derive(Debug, Default)]
pub struct Report {
    /// All conflicts there are.
    pub conflicts: Vec<Conflict>,
    /// The changes that are, or would be, made, as numbers in the difference.
    pub made: Vec<usize>,
}

/// What was found out before anything is written.
pub struct Prepared<'a> {
    job: &'a Job<'a>,
    changes: Vec<&'a Change>,
    done: Vec<bool>,
    strictness: Strictness,
    moves: Moves<'a>,
    ledger: Option<Ledger>,
    /// What was found, and would be done.
    pub report: Report,
}

/// Looks at everything `job` touches; writes nothing.
///
/// # Errors
/// Whatever keeps all of it from being written, conflicts apart.
pub fn prepare<'a>(job: &'a Job<'a>) -> Result<Prepared<'a>, Failed> {
    Ledger::lock(job.target).map_err(refused)?;
    let ledger = Ledger::look(job.target, job.name).map_err(refused)?;
    let mut chosen = chosen(job)?;
    let strictness = match (&ledger, job.elsewhere) {
        (_, true) => Strictness::Copy,
        (Some(_), false) => Strictness::Resumed,
        (None, false) => Strictness::Exact,
    };
    let changes = |chosen: &[usize]| -> Vec<&'a Change> {
        chosen.iter().map(|at| &job.delta.changes[*at]).collect()
    };
    let mut conflicts = Vec::new();
    loop {
        let changes = changes(&chosen);
        let mut moves = Moves::new(&changes);
        if ledger.is_some() {
            let is_it = |found: &SourceEntry, base: &_| match strictness {
                Strictness::Copy => check::is_base(found, base, strictness),
                _ => check::is_inode(found, base, strictness),
            };
            moves.look(job.target, is_it).map_err(Failed::Look)?;
        }
        let found = look(job, &changes, &moves, ledger.as_ref(), strictness);
        let verdicts = found.map_err(Failed::Look)?;
        let clashes = changes
            .iter()
            .zip(&verdicts)
            .filter_map(|(change, verdict)| match verdict {
                Verdict::Clash(clash) => Some((change.path(), clash)),
                Verdict::Todo | Verdict::Done => None,
            });
        let skipped: HashSet<&PathBytes> = clashes.clone().map(|(path, _)| path).collect();
        conflicts.extend(clashes.map(|(path, clash)| Conflict {
            path: path.clone(),
            clash: clash.clone(),
        }));
        if job.on_conflict != OnConflict::Skip || skipped.is_empty() {
            let done = verdicts.iter().map(|verdict| *verdict == Verdict::Done);
            let report = Report {
                conflicts,
                made: chosen,
            };
            return Ok(Prepared {
                job,
                done: done.collect(),
                changes,
                strictness,
                moves,
                ledger,
                report,
            });
        }
        // What depends on what is left alone is left alone too, which may be in the way of more.
        let stays = |at: &usize| !depends(&job.delta.changes[*at], &skipped);
        chosen.retain(stays);
    }
}

/// Whether `change` cannot be made without those of the paths `left`.
fn depends(change: &Change, left: &HashSet<&PathBytes>) -> bool {
    let at = |path: &PathBytes| path.prefixes().any(|(above, _)| left.contains(&above));
    let now = change.now.as_ref().is_some_and(|now| at(&now.path));
    // A directory stays if anything in it does.
    let base = change.what == What::Removed
        && (change.base.as_ref())
            .is_some_and(|base| left.iter().any(|path| path.is_at_or_below(&base.path)));
    now || base || change.link.as_ref().is_some_and(at)
}

fn refused(refused: Refused) -> Failed {
    match refused {
        Refused::Busy => Failed::Busy,
        Refused::Foreign(what) => Failed::Foreign(what),
        Refused::Failed(error) => Failed::Look(error),
    }
}

/// The changes that are asked for, as numbers.
fn chosen(job: &Job<'_>) -> Result<Vec<usize>, Failed> {
    let changes = &job.delta.changes;
    let asked = |path: &PathBytes| {
        job.only.is_empty() || job.only.iter().any(|only| path.is_at_or_below(only))
    };
    let is_asked = |change: &Change| {
        let now = change.now.as_ref().is_some_and(|now| asked(&now.path));
        now || change.base.as_ref().is_some_and(|base| asked(&base.path))
    };
    let chosen: Vec<usize> = (0..changes.len())
        .filter(|at| is_asked(&changes[*at]))
        .collect();
    // A directory that is new, or elsewhere, has to be there before what is in it.
    let placed =
        |change: &&Change| matches!(change.what, What::Added | What::Moved | What::Retyped);
    let placed = changes.iter().filter(placed);
    let placed: HashMap<&PathBytes, &Change> =
        placed.map(|change| (change.path(), change)).collect();
    for change in chosen.iter().map(|at| &changes[*at]) {
        let Some(now) = &change.now else { continue };
        for (above, _) in now.path.prefixes().skip(1) {
            if placed.get(&above).is_some_and(|above| !is_asked(above)) {
                return Err(Failed::Within(now.path.clone(), above));
            }
        }
    }
    Ok(chosen)
}

/// What is to be done about each change.
fn look<'d>(
    job: &Job<'_>,
    changes: &[&'d Change],
    moves: &Moves<'d>,
    ledger: Option<&Ledger>,
    strictness: Strictness,
) -> io::Result<Vec<Verdict>> {
    let leaves =
        |change: &&&Change| matches!(change.what, What::Removed | What::Moved | What::Retyped);
    let leaving = changes.iter().filter(leaves);
    let leaving = leaving.filter_map(|change| change.base.as_ref().map(|base| &base.path));
    let leaving: HashSet<&PathBytes> = leaving.collect();
    let both = |change: &&Change| {
        let (base, now) = (change.base.as_ref()?, change.now.as_ref()?);
        Some((base.ino?, now.seen.mtime.sec, now.seen.mtime.nsec))
    };
    let times: HashSet<(u64, i64, u32)> = changes
        .iter()
        .copied()
        .filter_map(|change| both(&change))
        .collect();
    let check = Check {
        mount: job.mount,
        target: job.target,
        moves,
        ledger,
        strictness,
        leaving: &leaving,
        times: &times,
    };
    let verdict = |change: &&Change| match change.path().as_bytes().starts_with(STAGING.as_bytes())
    {
        true => Ok(Verdict::Clash(Clash::Reserved)),
        false => check.of(change),
    };
    changes.iter().map(verdict).collect()
}

/// What `report` says was made of `job`, with what the target has now, for whoever serves the mount.
///
/// # Errors
/// The target cannot be looked at.
pub fn applied(job: &Job<'_>, report: &Report) -> io::Result<Vec<Applied>> {
    let applied = |at: &usize| {
        let change = job.delta.changes[*at].clone();
        let found = match &change.now {
            Some(now) => job.target.find(&now.path)?,
            None => None,
        };
        Ok(Applied { change, found })
    };
    report.made.iter().map(applied).collect()
}

impl Prepared<'_> {
    /// Whether nothing is written because of conflicts.
    pub fn is_refused(&self) -> bool {
        self.job.on_conflict == OnConflict::Stop && !self.report.conflicts.is_empty()
    }

    /// Writes it, unless that is [refused](Self::is_refused).
    ///
    /// # Errors
    /// What kept it from being written. Then what was begun is gone on with when the same is applied again.
    pub fn run(self, watch: &mut dyn Watch) -> Result<Report, Failed> {
        if self.is_refused() || self.changes.is_empty() && self.ledger.is_none() {
            return Ok(self.report);
        }
        let (mount, target) = (self.job.mount, self.job.target);
        self.check_room()?;
        let ledger = match self.ledger {
            Some(ledger) => ledger,
            None => {
                let root = target.itself().map_err(Failed::Look)?.seen;
                let begun = Ledger::begin(target, self.job.name, root.mtime);
                begun.map_err(|error| Failed::Step(Step::Stage, PathBytes::ROOT, error))?
            }
        };
        let overwrites = self.job.on_conflict == OnConflict::Overwrite;
        let strictness = match self.strictness {
            // Of what has several names the first that goes moves the time of the others.
            Strictness::Exact => Strictness::Resumed,
            strictness => strictness,
        };
        let how = (overwrites, strictness);
        let mut writer = Writer::new((mount, target), self.moves, ledger, how, watch);
        writer.run(&self.changes, &self.done)?;
        let ledger = writer.ledger;
        if watch.step(Step::End, &PathBytes::ROOT).is_break() {
            return Err(Failed::Stopped);
        }
        let mut names = self.changes.iter().filter_map(|change| change.now.as_ref());
        let time = match names.any(|now| now.path.split().0 == PathBytes::ROOT) {
            true => target.itself().map_err(Failed::Look)?.seen.mtime,
            false => ledger.root_time(),
        };
        let end = || -> io::Result<()> {
            target.sync()?;
            ledger.end(target)?;
            let fd = target.open_at(&PathBytes::ROOT, rustix::fs::OFlags::PATH)?;
            copy::set_mtime(&fd, time)
        };
        end().map_err(|error| Failed::Step(Step::End, PathBytes::ROOT, error))?;
        Ok(self.report)
    }

    /// What can be known of room before anything is written.
    fn check_room(&self) -> Result<(), Failed> {
        let there = rustix::fs::fstatvfs(self.job.target).map_err(|e| Failed::Look(e.into()))?;
        if there.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(Failed::ReadOnly);
        }
        let todo = self.changes.iter().zip(&self.done);
        let todo = todo.filter(|(change, done)| !**done && change.content && change.link.is_none());
        let files = todo.filter_map(|(change, _)| change.now.as_ref());
        let files = files.filter(|now| now.seen.kind() == Some(Kind::Regular));
        let mut needed = 0_u64;
        for path in files.map(|now| &now.path) {
            needed = needed.saturating_add(stored(self.job.mount, path).map_err(Failed::Look)?);
        }
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        match needed > free {
            true => Err(Failed::NoRoom { needed, free }),
            false => Ok(()),
        }
    }
}

/// Bytes that the content of `path` takes; none of what is gone meanwhile.
fn stored(mount: &dyn Tree, path: &PathBytes) -> io::Result<u64> {
    match mount.content(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        content => content?.stored(),
    }
}
