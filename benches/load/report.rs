//! The figures, as a table or as JSON.

use super::contest::Loaded;
use super::synthetic::Synthetic;
use serde::Serialize;
use std::path::Path;

/// The runs of both contenders, in the order they were made.
#[derive(Default, Serialize)]
pub struct Race {
    /// Seconds of `find`.
    pub find: Vec<f64>,
    /// The loads.
    pub load: Vec<Loaded>,
}

/// What a run of the bench found.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Disk {
        filesystem: String,
        warm: Race,
        /// Left out where the kernel's caches may not be dropped.
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
        "{} entries on {filesystem}, {} runs of each in turn. Seconds: median (lowest-highest).\n",
        first.entries,
        warm.find.len()
    );
    println!("| caches | find -printf | load | rate of the load over find's |\n|---|---|---|---|");
    warm.print("warm", first.entries);
    match cold {
        Some(cold) => cold.print("cold", first.entries),
        None => println!("| cold | left out: only root may drop the kernel's caches | | |"),
    }
    println!(
        "\nResident bytes per entry after a load: {:.1}",
        median(resident) / first.entries as f64
    );
}

impl Race {
    fn print(&self, caches: &str, entries: u64) {
        let load: Vec<_> = self.load.iter().map(|load| load.seconds).collect();
        let ratios: Vec<_> = self.find.iter().zip(&load).map(|(f, l)| f / l).collect();
        let rate = entries as f64 / median(load.clone()) / 1000.0;
        println!(
            "| {caches} | {} | {}, {rate:.0} thousand entries/s | **{}** |",
            summary(&self.find),
            summary(&load),
            summary(&ratios)
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
