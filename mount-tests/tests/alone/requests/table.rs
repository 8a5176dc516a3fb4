//! Each row, counted.

use crate::requests;
use crate::rows::{ROWS, Row, source};
use mount_tests::{Daemon, Scratch};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

/// Lets the kernel learn what it asks for once in a mount, and what it asks for of the root.
fn prime(root: &Path) {
    fs::read(root.join("prime")).unwrap();
    fs::read_dir(root).unwrap().count();
    drop(File::create(root.join("primed")).unwrap());
    rustix::fs::lstat(root).unwrap();
}

/// The table's home.
const DOCUMENT: &str = include_str!("../../../../docs/REQUESTS.md");

type Sent = BTreeMap<String, u64>;

fn sent(mount: &Daemon, row: &Row, n: usize) -> Sent {
    let d = mount.path("d");
    (row.before)(&d, n);
    requests(mount, || (row.work)(&d, n))
}

/// As the document writes it: `2 getattr + lookup`.
fn shown(sent: &Sent) -> String {
    let word = |(kind, n): (&String, &u64)| match n {
        1 => kind.clone(),
        n => format!("{n} {kind}"),
    };
    match sent.is_empty() {
        true => "nothing".to_owned(),
        false => sent.iter().map(word).collect::<Vec<_>>().join(" + "),
    }
}

fn fits(sent: &Sent, cost: &str) -> bool {
    match cost.strip_prefix("at most ") {
        Some(most) => sent.values().sum::<u64>() <= most.parse().unwrap(),
        None => shown(sent) == cost,
    }
}

/// What each operation may cost by the document, the first time and again.
fn expected() -> BTreeMap<&'static str, [&'static str; 2]> {
    let columns = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let rows = DOCUMENT.lines().map(columns).filter(|row| row.len() == 7);
    let is_heading = |name: &str| name == "operation" || name.starts_with("---");
    let costs = rows.map(|row| (row[1], [row[2], row[3]]));
    costs.filter(|(name, _)| !is_heading(name)).collect()
}

/// What differs from the document, if anything does.
fn difference(tree: &Path, row: &Row, expected: [&str; 2]) -> Option<String> {
    let mount = Daemon::with(&["-o", "allow_other", tree.to_str().unwrap()]);
    prime(mount.root());
    let costs = [0, 1].map(|n| sent(&mount, row, n));
    let fit = costs
        .iter()
        .zip(expected)
        .all(|(sent, cost)| fits(sent, cost));
    let [first, again] = costs.map(|sent| shown(&sent));
    let line = || format!("| {} | {first} | {again} |, not {expected:?}", row.name);
    (!fit).then(line)
}

#[test]
fn every_operation_costs_what_the_document_says() {
    let tree = Scratch::new();
    source(&tree);
    let mut expected = expected();
    let mut wrong = |row: &Row| {
        let Some(costs) = expected.remove(row.name) else {
            return Some(format!("{} is not in the document", row.name));
        };
        // A kernel short of memory forgets, and asks once more: what is always so counts.
        (0..3).try_fold(String::new(), |_, _| difference(&tree, row, costs))
    };
    let wrong: Vec<String> = ROWS.iter().filter_map(&mut wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(expected.is_empty(), "not tried: {expected:?}");
}
