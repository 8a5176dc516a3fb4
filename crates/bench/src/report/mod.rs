//! What a run found.

mod chart;
mod html;
mod machine;
mod table;
mod text;

pub use machine::Machine;

use super::statistics::{median, ratio, spread};
use super::{Contender, Plan};
use serde::Serialize;
use std::fmt;
use std::time::SystemTime;

/// Grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// All figures. Displayed as tables in Markdown, serialized with every sample.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of the serialized form.
    pub schema: u32,
    /// The version of norefs.
    pub version: &'static str,
    /// Whether norefs was built without optimization.
    pub debug_build: bool,
    /// The command line that led here.
    pub command: Vec<String>,
    /// When the run started, in UTC.
    pub date: String,
    /// Where it ran.
    pub machine: Machine,
    /// Files that were asked for in each tree.
    pub entries: usize,
    /// Files and symbolic links in the tree of the operations; 0 if there was none.
    pub files: usize,
    /// Turns of each contender in each row.
    pub rounds: usize,
    /// Milliseconds of one turn at a warm, forced or changing operation.
    pub slice_ms: u64,
    /// How many turns began while something else kept the machine busy.
    pub disturbed_turns: usize,
    /// What was compared, in the order of the rows' figures.
    pub directories: Vec<String>,
    /// The types of their filesystems.
    pub filesystems: Vec<String>,
    /// Which of them the ratios are to.
    pub baseline: usize,
    /// One for each operation, number of clients and placement, and for each command.
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

/// What a figure tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Calls that the kernel may answer by itself, since it was told before.
    Warm,
    /// Calls for which the kernel has to ask.
    Forced,
    /// Calls that change something.
    Changes,
    /// Calls after the kernel was made to forget.
    Cold,
    /// Commands in what was loaded afresh, and loading it.
    FirstCommands,
    /// Commands that ran just before.
    WarmCommands,
    /// Commands after the kernel was made to forget.
    ColdCommands,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// What the figures tell about.
    pub group: Group,
    /// The name of the operation or workload.
    pub name: &'static str,
    /// What it does.
    pub label: String,
    /// How many threads called at the same time; 1 for commands.
    pub clients: usize,
    /// Whether each of them stayed on a CPU.
    pub pinned: bool,
}

impl Subject {
    /// Loading the trees of the commands.
    pub(super) fn load() -> Subject {
        Subject {
            group: Group::FirstCommands,
            name: "load",
            label: "loading the trees".to_owned(),
            clients: 1,
            pinned: false,
        }
    }
}

/// One operation or command.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// One for each directory.
    pub figures: Vec<Figure>,
    /// In the directory itself that the others have loaded, if they have and it can be measured there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Figure>,
}

/// What one operation or command took in one directory, in nanoseconds as each client sees it.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The median of the rounds.
    pub median_ns: f64,
    /// The lowest of the rounds.
    pub lowest_ns: f64,
    /// The highest of the rounds.
    pub highest_ns: f64,
    /// The median of the rounds' ratios to the baseline.
    pub ratio: f64,
    /// All rounds, in their order.
    pub samples_ns: Vec<f64>,
}

impl Report {
    pub(super) fn new(plan: &Plan, contenders: &[Contender]) -> Report {
        let command = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let labels = contenders.iter().map(|contender| contender.label.clone());
        let filesystems = contenders
            .iter()
            .map(|contender| contender.filesystem.clone());
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            command: command.collect(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: Machine::this(),
            entries: plan.entries,
            files: 0,
            rounds: plan.rounds,
            slice_ms: plan.slice.as_millis().try_into().unwrap_or(u64::MAX),
            disturbed_turns: 0,
            directories: labels.collect(),
            filesystems: filesystems.collect(),
            baseline: plan.baseline,
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds a row from `samples[directory][round]`. If there is one more than there are directories it is their source's.
    pub(super) fn add(&mut self, subject: Subject, samples: Vec<Vec<f64>>) {
        let baseline = samples[self.baseline].clone();
        let figures = samples.into_iter().map(|of| figure(of, &baseline));
        let mut figures: Vec<_> = figures.collect();
        let source = (figures.len() > self.directories.len()).then(|| figures.pop());
        self.rows.push(Row {
            subject,
            figures,
            source: source.flatten(),
        });
    }

    pub(super) fn leave_out(&mut self, reason: String) {
        self.left_out.push(reason);
    }

    /// One page with plots and tables that needs nothing else.
    ///
    /// # Errors
    ///
    /// What the plot library says.
    pub fn to_html(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        html::page(self)
    }
}

fn figure(samples: Vec<f64>, baseline: &[f64]) -> Figure {
    let (lowest_ns, highest_ns) = spread(&samples);
    Figure {
        median_ns: median(&samples),
        lowest_ns,
        highest_ns,
        ratio: ratio(&samples, baseline),
        samples_ns: samples,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, out)
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use std::time::Duration;

    /// Two directories, three rounds.
    pub fn report() -> Report {
        let plan = Plan {
            entries: 20,
            rounds: 3,
            clients: 2,
            slice: Duration::from_millis(7),
            operations: Vec::new(),
            workloads: Vec::new(),
            baseline: 0,
            source: None,
        };
        let mut report = Report::new(&plan, &[]);
        report.directories = vec!["one".to_owned(), "two <b>".to_owned()];
        report.filesystems = vec!["tmpfs".to_owned(), "ext4".to_owned()];
        let samples = [[100.0, 130.0, 110.0], [200.0, 260.0, 275.0]].map(Vec::from);
        let mut add = |group, name, clients, pinned, scale| {
            let scaled = |of: &Vec<f64>| of.iter().map(|sample| sample * scale).collect();
            let subject = Subject {
                group,
                name,
                label: name.to_owned(),
                clients,
                pinned,
            };
            report.add(subject, samples.iter().map(scaled).collect());
        };
        add(Group::Warm, "stat", 1, true, 1.0);
        add(Group::Warm, "stat", 2, false, 1.0);
        add(Group::Changes, "rename", 2, true, 1.0);
        add(Group::WarmCommands, "git status", 1, false, 1e5);
        add(Group::ColdCommands, "git status", 1, false, 2e6);
        report.leave_out("node: no".to_owned());
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_baseline() {
        let mut report = testing::report();
        report.baseline = 1;
        let subject = report.rows[0].subject.clone();
        report.add(subject, vec![vec![100.0], vec![200.0]]);
        let ratios: Vec<_> = report
            .rows
            .last()
            .unwrap()
            .figures
            .iter()
            .map(|f| f.ratio)
            .collect();
        assert_eq!(ratios, [0.5, 1.0]);
    }
}
