//! What metadata calls cost in directories, compared with each other.
//!
//! [`run`] builds the same tree in every contender's directory and lets the contenders take turns
//! (A B A B ...) at each operation. The groups answer different questions and are never mixed:
//!
//! * warm: the kernel was told everything before, and may answer without asking the filesystem;
//! * forced: `statx` with `AT_STATX_FORCE_SYNC`, for which the kernel has to ask;
//! * changes: calls that every filesystem has to carry out;
//! * cold: a walk after the kernel was made to forget. Only root can have that.
//!
//! The measured calls name files relative to an open directory, so what lies above the directory
//! costs nothing.

mod cold;
mod course;
mod operation;
mod plot;
mod race;
mod report;
mod statistics;
mod table;

pub use operation::Group;
pub use report::{Figure, Report, Row};

use course::Course;
use operation::Operation;
use plot::Plot;
use race::{Race, Slice};
use rustix::fd::OwnedFd;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use thiserror::Error;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Files in each tree, rounded up to whole directories of 20.
    pub entries: usize,
    /// Turns of each contender at each operation; at least one.
    pub rounds: usize,
    /// The largest number of clients; at least one.
    pub clients: usize,
    /// How long one turn lasts.
    pub slice: Duration,
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
    /// The open directory. A subdirectory is made in it for the time of the run.
    pub directory: OwnedFd,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum Error {
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A call failed in a contender's directory.
    #[error("{label}: {doing}: {error}")]
    Failed {
        /// The contender.
        label: String,
        /// The operation, or what else was going on.
        doing: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Measures. The first contender is what the others are compared with.
///
/// What is built is removed before this returns, whether or not it succeeds. `stop` ends the run
/// early.
///
/// # Errors
///
/// [`Error::Failed`] with the first call that failed, [`Error::Interrupted`] after `stop` was set.
pub fn run(plan: &Plan, contenders: Vec<Contender>, stop: &AtomicBool) -> Result<Report, Error> {
    let course = Course::new(plan.entries);
    let mut plots: Vec<Plot> = Vec::new();
    for (number, contender) in contenders.into_iter().enumerate() {
        plots.push(Plot::prepare(
            contender,
            number,
            &course,
            plan.clients,
            stop,
        )?);
    }
    let race = Race {
        course: &course,
        plots: &plots,
        stop,
    };
    let mut report = Report::new(plan, course.files(), &plots);
    for operation in Operation::ALL {
        if operation.group() == Group::Warm {
            race.warm_up(operation)?;
        }
        for clients in plan.client_counts() {
            let slice = Slice {
                operation,
                clients,
                length: plan.slice,
            };
            let samples = race.rounds(plan.rounds, |plot| race.turn(plot, &slice))?;
            report.add(operation.group(), operation.label(), clients, samples);
        }
    }
    match cold::possible() {
        Ok(()) => {
            let samples = race.rounds(plan.rounds, |plot| race.cold_walk(plot))?;
            report.add(Group::Cold, Operation::Walk.label(), 1, samples);
        }
        Err(reason) => report.leave_out(format!("cold: {reason}")),
    }
    Ok(report)
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
            };
            plan.client_counts().collect::<Vec<_>>()
        };
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
        assert_eq!(counts(8), [1, 2, 4, 8]);
    }
}
