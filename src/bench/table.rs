//! A report as tables in Markdown.

use super::operation::Group;
use super::report::{Figure, Report, Row};
use std::fmt::{Formatter, Result};

const GROUPS: [(Group, &str); 4] = [
    (
        Group::Warm,
        "Warm: the kernel was told before, and may answer by itself",
    ),
    (Group::Forced, "Forced: the kernel has to ask"),
    (Group::Changes, "Changes"),
    (
        Group::Cold,
        "Cold: dentries and inodes dropped before each walk (tmpfs lives in them, and keeps them)",
    ),
];

pub fn write(report: &Report, out: &mut Formatter<'_>) -> Result {
    writeln!(
        out,
        "{} CPUs, Linux {}. {} files in each directory, {} rounds of {} ms.{}",
        report.cpus,
        report.kernel,
        report.files,
        report.rounds,
        report.slice_ms,
        if report.debug_build {
            " **A debug build: its figures mean little.**"
        } else {
            ""
        }
    )?;
    writeln!(
        out,
        "Nanoseconds of one operation as each client sees it: median (lowest-highest) of the rounds. \
         **Bold**: how many times what {} took in the same rounds.",
        report
            .directories
            .first()
            .map_or("the first", |first| first)
    )?;
    for (group, title) in GROUPS {
        let rows: Vec<_> = report
            .rows
            .iter()
            .filter(|row| row.group == group)
            .collect();
        if !rows.is_empty() {
            write_group(title, &rows, report, out)?;
        }
    }
    for reason in &report.left_out {
        writeln!(out, "\nLeft out: {reason}")?;
    }
    Ok(())
}

fn write_group(title: &str, rows: &[&Row], report: &Report, out: &mut Formatter<'_>) -> Result {
    let names = report.directories.join(" | ");
    let rules = "---|".repeat(report.directories.len() + 2);
    writeln!(
        out,
        "\n### {title}\n\n| operation | clients | {names} |\n|{rules}"
    )?;
    for row in rows {
        let cells: Vec<_> = row.figures.iter().enumerate().map(cell).collect();
        let (operation, clients) = (row.operation, row.clients);
        writeln!(out, "| {operation} | {clients} | {} |", cells.join(" | "))?;
    }
    Ok(())
}

fn cell((number, figure): (usize, &Figure)) -> String {
    let figures = format!(
        "{:.0} ({:.0}-{:.0})",
        figure.median_ns, figure.lowest_ns, figure.highest_ns
    );
    match number {
        0 => figures,
        _ => format!("**{:.2}x** {figures}", figure.ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Plan;
    use std::time::Duration;

    fn report() -> Report {
        let plan = Plan {
            entries: 20,
            rounds: 3,
            clients: 1,
            slice: Duration::from_millis(7),
        };
        let mut report = Report::new(&plan, 40, &[]);
        report.directories = vec!["one".to_owned(), "two".to_owned()];
        let samples = vec![vec![100.0, 130.0, 110.0], vec![200.0, 260.0, 275.0]];
        report.add(Group::Warm, "stat", 1, samples.clone());
        report.add(Group::Changes, "rename", 2, samples);
        report.leave_out("cold: no".to_owned());
        report
    }

    #[test]
    fn a_row_has_the_median_the_spread_and_the_ratio() {
        let text = report().to_string();
        let row = "| stat | 1 | 110 (100-130) | **2.00x** 260 (200-275) |";
        assert!(text.lines().any(|line| line == row), "{text}");
        assert!(text.ends_with("\nLeft out: cold: no\n"), "{text}");
    }

    #[test]
    fn groups_have_tables_of_their_own() {
        let text = report().to_string();
        let titles: Vec<_> = text.split("\n### ").skip(1).collect();
        assert_eq!(titles.len(), 2, "{text}");
        assert!(titles[0].starts_with("Warm") && !titles[0].contains("rename"));
        assert!(titles[1].starts_with("Changes") && titles[1].contains("| rename | 2 |"));
    }
}
