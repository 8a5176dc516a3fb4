//! The table of `docs/SEMANTICS.md`.

use crate::outcome::Outcome;
use crate::plan::{Counts, SUITES};
use crate::run::Results;
use std::collections::BTreeMap;
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SEMANTICS.md");
const BEGIN: &str = "<!-- suites -->\n";
const END: &str = "<!-- end of suites -->\n";
const HEAD: &str = "| suite | tmpfs | norefs, ring | norefs, device |\n|---|---|---|---|\n";

/// A suite's line of the table.
pub fn row(name: &str, results: &Results) -> String {
    let cells = results.columns.iter().map(|outcome| match outcome {
        Some(outcome) => cell(results.counts, outcome),
        None => "–".to_owned(),
    });
    format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(counts: Counts, outcome: &Outcome) -> String {
    let failed = outcome.failed().count() as u64;
    let mut parts = match counts {
        Counts::Told => outcome.parts,
        Counts::Tests => [outcome.tests.len() as u64 - failed, failed, 0],
    };
    parts[2] += outcome.skipped.len() as u64;
    let mut said: Vec<String> = parts
        .iter()
        .zip(["passed", "failed", "skipped"])
        .filter(|(number, _)| **number > 0)
        .map(|(number, word)| format!("{} {word}", grouped(*number)))
        .collect();
    if outcome.operations > 0 {
        said.push(format!("{} operations", grouped(outcome.operations)));
    }
    if counts == Counts::Told && failed > 0 {
        said.push("**failed**".to_owned());
    }
    match said.is_empty() {
        true => "nothing".to_owned(),
        false => said.join(", "),
    }
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut groups: Vec<&str> = Vec::new();
    if head > 0 {
        groups.push(&digits[..head]);
    }
    let rest = digits.as_bytes()[head..].chunks(3);
    groups.extend(rest.map(|group| std::str::from_utf8(group).expect("digits")));
    groups.join(",")
}

/// The table of these rows alone.
pub fn whole(rows: &[(&str, String)]) -> String {
    HEAD.chars()
        .chain(rows.iter().flat_map(|(_, row)| row.chars()))
        .collect()
}

/// Puts the rows into the page, in the place of those that have their names.
pub fn write(rows: &[(&str, String)]) {
    let page = fs::read_to_string(PAGE).expect("the page");
    fs::write(PAGE, updated(&page, rows)).expect("the page can be written");
}

fn updated(page: &str, rows: &[(&str, String)]) -> String {
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("a mark where the table begins");
    let (table, after) = rest.split_once(END).expect("a mark where the table ends");
    let name = |row: &str| row.split('|').nth(1).map(|cell| cell.trim().to_owned());
    let old = table
        .split_inclusive('\n')
        .filter_map(|row| Some((name(row)?, row.to_owned())));
    let new = rows
        .iter()
        .map(|(name, row)| ((*name).to_owned(), row.clone()));
    let mut all: BTreeMap<String, String> = old.chain(new).collect();
    let rows: String = SUITES
        .iter()
        .filter_map(|suite| all.remove(suite.name))
        .collect();
    format!("{before}{BEGIN}{HEAD}{rows}{END}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_the_place_of_the_old_one() {
        let page =
            format!("text\n{BEGIN}| old head |\n| dbench | 1 | 2 | 3 |\n| gone | 1 |\n{END}more\n");
        let row = |name: &str| format!("| {name} | 7 operations |\n");
        let [first, last] = [SUITES[0].name, SUITES[SUITES.len() - 1].name];
        let new = updated(&page, &[(last, row(last)), (first, row(first))]);
        let table = format!("{HEAD}{}| dbench | 1 | 2 | 3 |\n{}", row(first), row(last));
        assert_eq!(new, format!("text\n{BEGIN}{table}{END}more\n"));
        assert_eq!(updated(&new, &[]), new);
    }

    #[test]
    fn cells_say_what_was_counted() {
        let mut outcome = Outcome::of_libtest("f", "test a ... ok\ntest b ... FAILED\n");
        outcome.skipped.insert("f::c".to_owned());
        assert_eq!(
            cell(Counts::Tests, &outcome),
            "1 passed, 1 failed, 1 skipped"
        );
        outcome.operations = 1_002_003;
        assert_eq!(
            cell(Counts::Told, &outcome),
            "1 skipped, 1,002,003 operations, **failed**"
        );
        assert_eq!(cell(Counts::Told, &Outcome::default()), "nothing");
        assert_eq!(
            [0, 12, 100, 1_000].map(grouped),
            ["0", "12", "100", "1,000"]
        );
    }
}
