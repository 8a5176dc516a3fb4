//! The tables, in Markdown.

use crate::course::Op;
use crate::harness::{Load, Sample};
use crate::shape::Spread;

/// The samples of one row: `samples[contender][round]`; contender 0 is norefs.
pub struct Row {
    pub op: Op,
    pub spread: Spread,
    pub load: Load,
    pub samples: Vec<Vec<Sample>>,
}

impl Row {
    fn times(&self, contender: usize) -> Vec<f64> {
        self.samples[contender].iter().map(|s| s.read_ns).collect()
    }

    fn ns(&self, contender: usize) -> f64 {
        median(self.times(contender))
    }

    /// The median over the rounds of this contender's time over norefs' time in the same round.
    fn ratio(&self, contender: usize) -> f64 {
        let (base, other) = (self.times(0), self.times(contender));
        median(other.iter().zip(base).map(|(o, b)| o / b).collect())
    }

    fn renames(&self, contender: usize) -> f64 {
        median(self.samples[contender].iter().map(|s| s.renames).collect())
    }

    fn cell(&self, contender: usize) -> String {
        let times = self.times(contender);
        let (low, high) = times
            .iter()
            .fold((f64::MAX, 0f64), |(l, h), &t| (l.min(t), h.max(t)));
        let ns = format!("{} ({}-{})", short(median(times)), short(low), short(high));
        match contender {
            0 => ns,
            _ => format!("**{:.2}x** {ns}", self.ratio(contender)),
        }
    }
}

fn short(ns: f64) -> String {
    if ns < 100.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn heading(first: &str, names: &[&str]) {
    println!("| {first} | {} |", names.join(" | "));
    println!("|{}", "---|".repeat(first.split('|').count() + names.len()));
}

/// All tables.
pub fn print(rows: &[Row], names: &[&str]) {
    println!(
        "Nanoseconds of one operation as each reading thread sees it: median (lowest-highest) of \
         the rounds. **Bold**: how many times norefs' own time in the same rounds.\n"
    );
    for op in Op::ALL
        .into_iter()
        .filter(|op| rows.iter().any(|row| row.op == *op))
    {
        println!("### {}\n", op.label());
        heading("targets | load", names);
        for row in rows.iter().filter(|row| row.op == op) {
            let cells: Vec<_> = (0..names.len()).map(|c| row.cell(c)).collect();
            let (targets, load) = (row.spread.label(), row.load.label());
            println!("| {targets} | {load} | {} |", cells.join(" | "));
        }
        println!();
    }
    scaling(rows, names);
    renames(rows, names);
    aims(rows, names);
}

/// What two threads do together over what one does.
fn scaling(rows: &[Row], names: &[&str]) {
    println!("### Rate of 2 threads together over the rate of 1\n");
    heading("operation | targets", names);
    for two in rows.iter().filter(|row| row.load == Load::Two) {
        let Some(one) = find(rows, two.op, two.spread, Load::One) else {
            continue;
        };
        let cells: Vec<_> = (0..names.len())
            .map(|c| format!("{:.2}x", scale(one, two, c)))
            .collect();
        let (op, targets) = (two.op.label(), two.spread.label());
        println!("| {op} | {targets} | {} |", cells.join(" | "));
    }
    println!();
}

fn scale(one: &Row, two: &Row, contender: usize) -> f64 {
    let rounds = one.times(contender).into_iter().zip(two.times(contender));
    median(rounds.map(|(one, two)| 2.0 * one / two).collect())
}

fn renames(rows: &[Row], names: &[&str]) {
    println!("### Renames of the writer beside, thousands per second\n");
    heading("beside | targets", names);
    for row in rows.iter().filter(|row| row.load == Load::BesideWriter) {
        let cells: Vec<_> = (0..names.len())
            .map(|c| format!("{:.0}", row.renames(c) / 1000.0))
            .collect();
        let (op, targets) = (row.op.label(), row.spread.label());
        println!("| {op} | {targets} | {} |", cells.join(" | "));
    }
    println!();
}

fn find(rows: &[Row], op: Op, spread: Spread, load: Load) -> Option<&Row> {
    rows.iter()
        .find(|row| row.op == op && row.spread == spread && row.load == load)
}

/// The figures norefs is measured by.
fn aims(rows: &[Row], names: &[&str]) {
    println!("### Aims\n");
    let row = |op, load| find(rows, op, Spread::One, load);
    if let Some(two) = row(Op::Getattr, Load::Two) {
        println!(
            "- getattr by node id, 2 threads on one target: {} takes {:.1}x (aim: at least 5)",
            names[1],
            two.ratio(1)
        );
    }
    if let Some(hot) = row(Op::Getattr, Load::One) {
        println!(
            "- getattr by node id, hot: {:.1} ns (aim: at most 10)",
            hot.ns(0)
        );
    }
    if let (Some(one), Some(two)) = (row(Op::Walk, Load::One), row(Op::Walk, Load::Two)) {
        println!(
            "- stat of a path, one target: 2 threads do {:.2}x the rate of 1 (aim: at least 1.9)",
            scale(one, two, 0)
        );
    }
    let worst = rows
        .iter()
        .filter(|row| row.op == Op::Walk)
        .min_by(|a, b| a.ratio(3).total_cmp(&b.ratio(3)));
    if let Some(worst) = worst {
        println!(
            "- stat of a path: {} takes at least {:.2}x ({}, {}; aim: at least 1 in every column)",
            names[3],
            worst.ratio(3),
            worst.spread.label(),
            worst.load.label()
        );
    }
}
