//! What metadata calls and real commands cost in directories, compared with each other.
//!
//! [`run`] builds the same trees in every contender's directory and lets the contenders take turns
//! (A B A B ...) at each operation and each command. Contenders that can [`Load`] a directory get the
//! commands' trees that way, from where they were built once, and are compared with that directory itself. The groups
//! answer different questions and are never mixed:
//!
//! * first: a command in what was loaded afresh;
//! * warm: the kernel was told everything before, and may answer without asking the filesystem;
//! * forced: `statx` with `AT_STATX_FORCE_SYNC`, for which the kernel has to ask;
//! * changes: calls that every filesystem has to carry out;
//! * cold: after the kernel was made to forget. Only root can have that.
//!
//! The measured calls name files relative to an open directory, so what lies above the directory
//! costs nothing. Before each turn the machine comes to rest, so that no contender pays for what
//! the one before left behind.

mod course;
mod files;
mod forget;
mod lane;
mod operation;
mod quiet;
mod race;
mod report;
mod statistics;
mod turns;
mod workload;

pub use operation::{OPERATIONS, Operation};
pub use report::{Figure, Group, Machine, Report, Row, Subject};
pub use workload::Workload;

use course::Course;
use lane::{Lane, Room};
use quiet::Quiet;
use race::Race;
use rustix::fd::OwnedFd;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use turns::Turns;
use workload::Stages;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Files in each tree, rounded up to whole directories of 20.
    pub entries: usize,
    /// Turns of each contender at each operation and command; at least one.
    pub rounds: usize,
    /// The largest number of clients; at least one.
    pub clients: usize,
    /// How long one turn at a warm, forced or changing operation lasts.
    pub slice: Duration,
    /// The operations to measure.
    pub operations: Vec<&'static Operation>,
    /// The commands to measure.
    pub workloads: Vec<Workload>,
    /// The number of the contender whom the others are compared with.
    pub baseline: usize,
    /// An empty directory, in which the trees of the commands are built if all contenders can load them. They stay there.
    pub source: Option<PathBuf>,
}

impl Plan {
    /// 1, 2, 4 and so on, and the largest number.
    fn client_counts(&self) -> impl Iterator<Item = usize> {
        let doubled = std::iter::successors(Some(1usize), |n| n.checked_mul(2));
        let most = self.clients;
        let below = doubled.take_while(move |&n| n < most);
        below.chain(std::iter::once(most))
    }
}

/// A directory to measure in.
#[derive(Debug)]
pub struct Contender {
    /// What the report calls it.
    pub label: String,
    /// The type of its filesystem, for the report.
    pub filesystem: String,
    /// The open directory. A subdirectory is made in it for the time of the run.
    pub directory: OwnedFd,
    /// How it gets the trees of the commands; otherwise they are built in it.
    pub load: Option<Box<dyn Load>>,
}

/// A way to what is in another directory.
pub trait Load: std::fmt::Debug {
    /// A directory that has all of `source`, made afresh. What was given before may be gone; what was given last is gone
    /// when this is dropped.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn load(&mut self, source: &Path) -> io::Result<OwnedFd>;
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum Error {
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Nothing of what was asked for can be measured here.
    #[error("nothing to measure: {0}")]
    Nothing(String),
    /// Something failed in a contender's directory.
    #[error("{label}: {doing}: {error}")]
    Failed {
        /// The contender.
        label: String,
        /// The operation, or what else was going on.
        doing: String,
        /// What the kernel said, or the command.
        error: io::Error,
    },
}

/// Whether the caller asked to stop.
#[derive(Clone, Copy)]
struct Stop<'a>(&'a AtomicBool);

impl Stop<'_> {
    fn asked(self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(self) -> Result<(), Error> {
        match self.asked() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

/// Measures. `watch` is told what is being done.
///
/// What is built is removed before this returns, whether or not it succeeds. `stop` ends the run
/// early.
///
/// # Errors
///
/// [`Error::Failed`] with the first call or command that failed, [`Error::Interrupted`] after
/// `stop` was set, [`Error::Nothing`] if all that was asked for had to be left out.
pub fn run(
    plan: &Plan,
    mut contenders: Vec<Contender>,
    stop: &AtomicBool,
    watch: &(dyn Fn(&str) + Sync),
) -> Result<Report, Error> {
    let stop = Stop(stop);
    let mut report = Report::new(plan, &contenders);
    let feasible = Feasible::of(plan, &mut report)?;
    let course = Course::new(plan.entries);
    let course = (!feasible.operations.is_empty()).then_some(&course);

    let quiet = Quiet::new();
    let all_load = contenders.iter().all(|contender| contender.load.is_some());
    let source = plan.source.as_deref().filter(|_| all_load);
    let loads: Vec<_> = contenders
        .iter_mut()
        .map(|contender| contender.load.take())
        .collect();
    let mut room = match source {
        Some(_) => Room::default(),
        None => workload::room(&feasible.commands, plan.entries),
    };
    if let Some(course) = course {
        report.files = course.files();
        room = room.and(course.room(plan.clients));
    }
    let lanes = lanes(contenders, room)?;
    let turns = Turns {
        lanes: &lanes,
        rounds: plan.rounds,
        quiet: &quiet,
        stop,
        watch,
    };
    let race = course.map(|course| Race::prepare(&turns, course, plan.clients));
    let race = race.transpose()?;
    let mut stages = match source {
        Some(source) => Stages::load(&turns, &feasible.commands, plan.entries, source, loads)?,
        None => Stages::build(&turns, &feasible.commands, plan.entries)?,
    };
    for lane in &lanes {
        lane.store()?;
    }
    if let Some(race) = &race {
        race.run(plan, &feasible.operations, &mut report)?;
    }
    stages.run(&turns, &feasible.commands, feasible.cold, &mut report)?;
    report.disturbed_turns = quiet.disturbed();
    Ok(report)
}

/// What of a plan can be measured here.
struct Feasible {
    operations: Vec<&'static Operation>,
    commands: Vec<workload::Command>,
    cold: bool,
}

impl Feasible {
    fn of(plan: &Plan, report: &mut Report) -> Result<Feasible, Error> {
        let mut operations = plan.operations.clone();
        let mut commands = Vec::new();
        for workload in &plan.workloads {
            match workload.command() {
                Ok(command) => commands.push(command),
                Err(reason) => report.leave_out(reason),
            }
        }
        let asked_for_cold = !commands.is_empty() || operations.iter().any(|op| op.is_cold());
        let cold = forget::possible();
        if let Err(reason) = &cold {
            operations.retain(|operation| !operation.is_cold());
            if asked_for_cold {
                report.leave_out(format!(
                    "cold: the kernel cannot be made to forget, {reason}"
                ));
            }
        }
        match operations.is_empty() && commands.is_empty() {
            true => Err(Error::Nothing(report.left_out.join("; "))),
            false => Ok(Feasible {
                operations,
                commands,
                cold: cold.is_ok(),
            }),
        }
    }
}

/// All lanes are made before anything is built in one of them: who cannot take part is known at once.
fn lanes(contenders: Vec<Contender>, room: Room) -> Result<Vec<Lane>, Error> {
    let numbered = contenders.into_iter().enumerate();
    numbered
        .map(|(number, contender)| Lane::new(contender, number, room))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_double_up_to_the_largest_number() {
        let counts = |clients| {
            let plan = Plan {
                entries: 1,
                rounds: 1,
                clients,
                slice: Duration::ZERO,
                operations: Vec::new(),
                workloads: Vec::new(),
                baseline: 0,
                source: None,
            };
            plan.client_counts().collect::<Vec<_>>()
        };
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
        assert_eq!(counts(8), [1, 2, 4, 8]);
    }
}
