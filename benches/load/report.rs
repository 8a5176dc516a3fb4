//! The figures, as a table or as JSON.

use super::contest::{Found, Loaded};
use super::synthetic::Synthetic;
use serde::Serialize;
use std::path::Path;

/// The runs of both contenders, in the order they were made.
#[derive(Default, Serialize)]
pub struct Race {
    pub find: Vec<Found>,
    pub load: Vec<Loaded>,
}

/// What a run of the bench found.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Disk {
        filesystem: String,
        warm: Race,
        /// Left out where it cannot be.
        cold: Option<Race>,
    },
    Synthetic(Synthetic),
}

impl Report {
    pub fn print(&self) {
        match self {
            Report::Disk {
                filesystem,
                warm,
                cold,
            } => print_races(filesystem, warm, cold.as_ref()),
            Report::Synthetic(found) => found.print(),
        }
    }
}

fn print_races(filesystem: &str, warm: &Race, cold: Option<&Race>) {
    let Some(first) = warm.load.first() else {
        return println!("no runs");
    };
    let resident: Vec<_> = warm.load.iter().map(|load| load.resident as f64).collect();
    println!(
        "{} entries on {filesystem}, {} runs of each in turn. Seconds: median (lowest-highest), and the seconds \
         of all processors together.\n",
        first.entries,
        warm.find.len()
    );
    println!(
        "| caches | find -printf | load | rate of the load over find's | entries/s |\n|---|---|---|---|---|"
    );
    warm.print("warm", first.entries);
    match cold {
        Some(cold) => cold.print("cold", first.entries),
        None => println!(
            "| cold | left out: only root may drop the caches, and tmpfs has nothing else | | |"
        ),
    }
    println!(
        "\nResident bytes per entry after a load: {:.1}",
        median(resident) / first.entries as f64
    );
}

impl Race {
    fn print(&self, caches: &str, entries: u64) {
        let find: Vec<_> = self.find.iter().map(|find| find.seconds).collect();
        let load: Vec<_> = self.load.iter().map(|load| load.seconds).collect();
        let find_cpu = median(self.find.iter().map(|find| find.cpu).collect());
        let load_cpu = median(self.load.iter().map(|load| load.cpu).collect());
        let ratios: Vec<_> = find.iter().zip(&load).map(|(f, l)| f / l).collect();
        println!(
            "| {caches} | {}, {find_cpu:.2} | {}, {load_cpu:.2} | **{}** | {:.0} thousand |",
            summary(&find),
            summary(&load),
            summary(&ratios),
            entries as f64 / median(load.clone()) / 1000.0
        );
    }
}

/// "median (lowest-highest)".
pub fn summary(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({low:.2}-{high:.2})", median(values.to_vec()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The type of the filesystem that holds `dir`, as far as it is one of the common ones.
pub fn filesystem(dir: &Path) -> String {
    let magic = rustix::fs::statfs(dir).map_or(0, |found| found.f_type);
    match magic {
        0xef53 => "ext4".into(),
        0x0102_1994 => "tmpfs".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        other => format!("filesystem type {other:#x}"),
    }
}
