//! A report as tables in Markdown.

use super::Report;
use super::table::{Cell, Table, Unit, tables};
use std::fmt::{Formatter, Result};

pub fn write(report: &Report, out: &mut Formatter<'_>) -> Result {
    let debug = match report.debug_build {
        true => " **A debug build: its figures mean little.**",
        false => "",
    };
    let Report {
        machine,
        date,
        version,
        entries,
        rounds,
        ..
    } = report;
    writeln!(out, "{machine}. norefs {version}, {date}.{debug}")?;
    writeln!(
        out,
        "{entries} entries in each tree, {rounds} rounds, {} ms a turn. Time of one operation as \
         each client sees it, of one run of a command: median (lowest-highest) of the rounds. \
         **Bold**: how many times what {} took in the same rounds.",
        report.slice_ms, report.directories[report.baseline],
    )?;
    for table in tables(report) {
        write_table(&table, out)?;
    }
    for reason in &report.left_out {
        writeln!(out, "\nLeft out: {reason}")?;
    }
    if report.disturbed_turns > 0 {
        let turns = report.disturbed_turns;
        writeln!(
            out,
            "\nDisturbed: {turns} turns began while something else was running"
        )?;
    }
    Ok(())
}

fn write_table(table: &Table, out: &mut Formatter<'_>) -> Result {
    let Table {
        title, note, unit, ..
    } = table;
    let mut headings = vec![
        if table.has_loads() {
            "operation"
        } else {
            "command"
        }
        .to_owned(),
    ];
    headings.extend(table.has_loads().then(|| "clients".to_owned()));
    headings.extend(table.columns());
    let rules = "---|".repeat(headings.len());
    let headings = headings.join(" | ");
    writeln!(
        out,
        "\n### {title}, {}\n\n{note}\n\n| {headings} |\n|{rules}",
        unit.name()
    )?;
    for line in &table.lines {
        let mut cells = vec![line.label.clone()];
        cells.extend(line.load.clone());
        cells.extend(line.cells.iter().map(|cell| show(cell.as_ref(), *unit)));
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

fn show(cell: Option<&Cell>, unit: Unit) -> String {
    let Some(cell) = cell else {
        return String::new();
    };
    let [median, lowest, highest] = [cell.median, cell.lowest, cell.highest].map(|t| unit.show(t));
    let times = format!("{median} ({lowest}-{highest})");
    match cell.ratio {
        None => times,
        Some(ratio) => format!("**{ratio:.2}x** {times}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;

    #[test]
    fn a_row_has_the_median_the_spread_and_the_ratio() {
        let text = report().to_string();
        let rows = [
            "| stat | 2 free | 110 (100-130) | **2.00x** 260 (200-275) |",
            "| git status | 11.0 (10.0-13.0) | **2.00x** 26.0 (20.0-27.5) \
             | 220.0 (200.0-260.0) | **2.00x** 520.0 (400.0-550.0) |",
        ];
        for row in rows {
            assert!(text.lines().any(|line| line == row), "{text}");
        }
        assert!(text.ends_with("\nLeft out: node: no\n"), "{text}");
    }

    #[test]
    fn groups_have_tables_of_their_own() {
        let text = report().to_string();
        let titles: Vec<_> = text.split("\n### ").skip(1).collect();
        assert_eq!(titles.len(), 3, "{text}");
        assert!(titles[0].starts_with("Warm, nanoseconds") && !titles[0].contains("rename"));
        assert!(titles[1].starts_with("Changes") && titles[1].contains("| rename | 2 pinned |"));
        assert!(titles[2].starts_with("Commands, milliseconds"));
    }
}
