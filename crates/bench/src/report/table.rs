//! The rows of a report sorted into tables, for whoever shows them.

use super::{Figure, Group, Report, Subject};

/// One table.
pub struct Table {
    pub title: &'static str,
    pub note: &'static str,
    pub unit: Unit,
    /// A group for each block of columns, with what is to be told of it.
    pub blocks: Vec<(Group, &'static str)>,
    /// What was measured, in each block: the directories, and perhaps what they were loaded from.
    pub places: Vec<String>,
    pub lines: Vec<Line>,
}

/// One operation with a number of clients, or one command.
pub struct Line {
    pub label: String,
    /// How many clients, and where; nothing for commands.
    pub load: Option<String>,
    /// One for each block and place; nothing was measured where there is none.
    pub cells: Vec<Option<Cell>>,
}

/// What one directory took.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    /// To the baseline; nothing at the baseline itself.
    pub ratio: Option<f64>,
}

/// What times are shown in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Milliseconds,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Milliseconds => "milliseconds",
        }
    }

    fn of_nanoseconds(self, time: f64) -> f64 {
        match self {
            Unit::Nanoseconds => time,
            Unit::Milliseconds => time / 1e6,
        }
    }

    pub fn show(self, time: f64) -> String {
        match self {
            Unit::Nanoseconds => format!("{time:.0}"),
            Unit::Milliseconds => format!("{time:.1}"),
        }
    }
}

/// The tables that have something in them.
pub fn tables(report: &Report) -> Vec<Table> {
    let all = [
        operations(
            "Warm",
            "The kernel was told before, and may answer by itself.",
            Group::Warm,
        ),
        operations("Forced", "The kernel has to ask.", Group::Forced),
        operations(
            "Changes",
            "Every filesystem has to carry them out.",
            Group::Changes,
        ),
        operations(
            "Cold",
            "Contents, dentries and inodes were dropped before each turn, and each name is \
             visited once. A filesystem that lives in them, as tmpfs does, keeps them.",
            Group::Cold,
        ),
        Table {
            title: "Commands",
            note: "First: in what was loaded afresh. Warm: as they ran just before. Cold: contents, dentries and inodes were dropped.",
            unit: Unit::Milliseconds,
            blocks: command_blocks(report),
            places: Vec::new(),
            lines: Vec::new(),
        },
    ];
    let filled = all.into_iter().map(|table| table.filled(report));
    filled.filter(|table| !table.lines.is_empty()).collect()
}

/// Loaded trees alone have a first time.
fn command_blocks(report: &Report) -> Vec<(Group, &'static str)> {
    let blocks = [
        (Group::FirstCommands, "first"),
        (Group::WarmCommands, "warm"),
        (Group::ColdCommands, "cold"),
    ];
    let loaded = report
        .rows
        .iter()
        .any(|row| row.subject.group == Group::FirstCommands);
    blocks.into_iter().skip(usize::from(!loaded)).collect()
}

fn operations(title: &'static str, note: &'static str, group: Group) -> Table {
    Table {
        title,
        note,
        unit: Unit::Nanoseconds,
        blocks: vec![(group, "")],
        places: Vec::new(),
        lines: Vec::new(),
    }
}

impl Table {
    /// The headings of the columns, block by block.
    pub fn columns(&self) -> Vec<String> {
        let heading = |block: &str, label: &String| format!("{block} {label}").trim().to_owned();
        let blocks = self.blocks.iter();
        let headings = blocks.flat_map(|(_, block)| {
            let labels = self.places.iter();
            labels.map(move |label| heading(block, label))
        });
        headings.collect()
    }

    /// Whether the lines tell of clients.
    pub fn has_loads(&self) -> bool {
        self.lines.iter().any(|line| line.load.is_some())
    }

    fn filled(mut self, report: &Report) -> Table {
        let in_block = |group| self.blocks.iter().position(|(block, _)| *block == group);
        let of_block = report
            .rows
            .iter()
            .map(|row| (in_block(row.subject.group), row));
        let rows: Vec<_> = of_block
            .filter_map(|(block, row)| Some((block?, row)))
            .collect();
        self.places = report.directories.clone();
        if rows.iter().any(|(_, row)| row.source.is_some()) {
            self.places.push("source".to_owned());
        }
        let mut lines: Vec<(&Subject, Line)> = Vec::new();
        for (block, row) in rows {
            let known = lines
                .iter()
                .position(|(of, _)| of.shares_a_line(&row.subject));
            let line = known.unwrap_or_else(|| {
                lines.push((
                    &row.subject,
                    Line::new(&row.subject, self.blocks.len() * self.places.len()),
                ));
                lines.len() - 1
            });
            for (number, figure) in row.figures.iter().chain(&row.source).enumerate() {
                let cell = Cell::new(figure, self.unit, number == report.baseline);
                lines[line].1.cells[block * self.places.len() + number] = Some(cell);
            }
        }
        self.lines = lines.into_iter().map(|(_, line)| line).collect();
        self
    }
}

impl Subject {
    fn shares_a_line(&self, other: &Subject) -> bool {
        let of = |subject: &Subject| (subject.name, subject.clients, subject.pinned);
        of(self) == of(other)
    }

    fn is_command(&self) -> bool {
        matches!(
            self.group,
            Group::FirstCommands | Group::WarmCommands | Group::ColdCommands
        )
    }
}

impl Line {
    fn new(subject: &Subject, cells: usize) -> Line {
        let placed = if subject.pinned { "pinned" } else { "free" };
        let load = format!("{} {placed}", subject.clients);
        Line {
            label: subject.label.clone(),
            load: (!subject.is_command()).then_some(load),
            cells: vec![None; cells],
        }
    }
}

impl Cell {
    fn new(figure: &Figure, unit: Unit, is_baseline: bool) -> Cell {
        Cell {
            median: unit.of_nanoseconds(figure.median_ns),
            lowest: unit.of_nanoseconds(figure.lowest_ns),
            highest: unit.of_nanoseconds(figure.highest_ns),
            ratio: (!is_baseline).then_some(figure.ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn groups_have_tables_of_their_own_and_commands_have_one() {
        let titles: Vec<_> = tables(&report()).iter().map(|table| table.title).collect();
        assert_eq!(titles, ["Warm", "Changes", "Commands"]);
    }

    #[test]
    fn warm_and_cold_runs_of_a_command_have_columns_apart() {
        let report = report();
        let commands = tables(&report).pop().unwrap();
        let headings = ["warm one", "warm two <b>", "cold one", "cold two <b>"];
        assert_eq!(commands.columns(), headings);
        assert_eq!(commands.lines.len(), 1);
        let medians = commands.lines[0]
            .cells
            .iter()
            .map(|cell| cell.as_ref().unwrap().median);
        assert_eq!(medians.collect::<Vec<_>>(), [11.0, 26.0, 220.0, 520.0]);
    }

    #[test]
    fn loaded_trees_have_a_first_time_and_a_column_for_their_source() {
        let mut report = report();
        let subject = |group| Subject {
            group,
            ..report.rows.last().unwrap().subject.clone()
        };
        let [first, load] = [subject(Group::FirstCommands), Subject::load()];
        report.add(first, vec![vec![1e6], vec![2e6], vec![4e6]]);
        report.add(load, vec![vec![8e6], vec![4e6]]);
        let commands = tables(&report).pop().unwrap();
        let headings = ["first one", "first two <b>", "first source", "warm one"];
        assert_eq!(commands.columns()[..4], headings);
        assert_eq!(commands.columns().len(), 9);
        let cells = |line: &Line| {
            let cells = line.cells.iter().take(4);
            let shown = cells.map(|cell| cell.as_ref().map(|cell| (cell.median, cell.ratio)));
            shown.collect::<Vec<_>>()
        };
        let first = [
            Some((1.0, None)),
            Some((2.0, Some(2.0))),
            Some((4.0, Some(4.0))),
        ];
        assert_eq!(cells(&commands.lines[0])[..3], first);
        assert_eq!(cells(&commands.lines[0])[3], Some((11.0, None)));
        let load = [Some((8.0, None)), Some((4.0, Some(0.5))), None, None];
        assert_eq!(cells(&commands.lines[1]), load);
    }

    #[test]
    fn what_was_not_measured_is_no_cell() {
        let mut report = report();
        report.rows.pop();
        let commands = tables(&report).pop().unwrap();
        assert_eq!(commands.lines[0].cells[2..], [None, None]);
    }
}
