//! A report as a page.

use super::table::{Cell, Table, tables};
use super::{Report, chart};
use askama::Template;

#[derive(Template)]
#[template(path = "bench.html")]
struct Page<'a> {
    report: &'a Report,
    sections: Vec<Section>,
}

/// A table with its plots.
struct Section {
    table: Table,
    columns: Vec<String>,
    plots: Vec<Plot>,
}

struct Plot {
    title: String,
    svg: String,
}

impl Page<'_> {
    fn baseline(&self) -> &str {
        &self.report.directories[self.report.baseline]
    }

    fn command(&self) -> String {
        self.report.command.join(" ")
    }
}

impl Section {
    fn of(table: Table) -> Result<Section, Box<dyn std::error::Error + Send + Sync>> {
        let mut plots = Vec::new();
        for (block, (_, name)) in table.blocks.iter().enumerate() {
            if let Some(svg) = chart::chart(&table, block)? {
                let title = format!("{} {name}", table.title).trim().to_owned();
                plots.push(Plot { title, svg });
            }
        }
        Ok(Section {
            columns: table.columns(),
            plots,
            table,
        })
    }

    fn show(&self, cell: &Cell) -> (String, String) {
        let [median, lowest, highest] =
            [cell.median, cell.lowest, cell.highest].map(|time| self.table.unit.show(time));
        (median, format!("{lowest}–{highest}"))
    }
}

pub fn page(report: &Report) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let sections = tables(report).into_iter();
    let sections = sections.map(Section::of);
    let sections = sections.collect::<Result<_, _>>()?;
    Ok(Page { report, sections }.render()?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;

    #[test]
    fn what_users_name_is_escaped() {
        let page = report().to_html().unwrap();
        assert!(!page.contains("two <b>"), "{page}");
        assert!(page.contains("two "), "{page}");
    }
}
