//! What a run found.

use super::operation::Group;
use super::plot::Plot;
use super::statistics::{median, ratio, spread};
use super::{Plan, table};
use serde::Serialize;
use std::fmt;

/// All figures. Displayed as tables in Markdown.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// CPUs this process may use.
    pub cpus: usize,
    /// Whether norefs was built without optimization.
    pub debug_build: bool,
    /// Files and symbolic links in each tree.
    pub files: usize,
    /// Turns of each directory in each row.
    pub rounds: usize,
    /// Milliseconds of one turn.
    pub slice_ms: u64,
    /// What was compared, in the order of the rows' figures.
    pub directories: Vec<String>,
    /// One for each operation and number of clients.
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

/// One operation with a number of clients.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What the figures tell about.
    pub group: Group,
    /// The operation.
    pub operation: &'static str,
    /// How many threads called at the same time, each pinned to a CPU.
    pub clients: usize,
    /// One for each directory.
    pub figures: Vec<Figure>,
}

/// What one operation took in one directory, in nanoseconds as each client sees it.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The median of the rounds.
    pub median_ns: f64,
    /// The lowest of the rounds.
    pub lowest_ns: f64,
    /// The highest of the rounds.
    pub highest_ns: f64,
    /// The median of the rounds' ratios to the first directory.
    pub ratio: f64,
}

impl Report {
    pub(super) fn new(plan: &Plan, files: usize, plots: &[Plot]) -> Report {
        let release = rustix::system::uname();
        Report {
            kernel: release.release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            debug_build: cfg!(debug_assertions),
            files,
            rounds: plan.rounds,
            slice_ms: plan.slice.as_millis().try_into().unwrap_or(u64::MAX),
            directories: plots.iter().map(|plot| plot.label.clone()).collect(),
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds a row from `samples[directory][round]`.
    pub(super) fn add(
        &mut self,
        group: Group,
        operation: &'static str,
        clients: usize,
        samples: Vec<Vec<f64>>,
    ) {
        let figures = samples.iter().map(|of| figure(of, &samples[0])).collect();
        self.rows.push(Row {
            group,
            operation,
            clients,
            figures,
        });
    }

    pub(super) fn leave_out(&mut self, reason: String) {
        self.left_out.push(reason);
    }
}

fn figure(samples: &[f64], first: &[f64]) -> Figure {
    let (lowest_ns, highest_ns) = spread(samples);
    Figure {
        median_ns: median(samples),
        lowest_ns,
        highest_ns,
        ratio: ratio(samples, first),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, out)
    }
}
