//! What may not be: an edge upward, and modules of one directory that use each other in a circle.

use crate::modules::{Edges, Name};
use std::collections::{BTreeMap, BTreeSet};

/// The modules of a directory, from the top down. Those of one rank do not use each other.
pub struct Order {
    pub directory: &'static str,
    pub ranks: &'static [&'static [&'static str]],
}

fn join(name: &[String]) -> String {
    name.join("::")
}

/// The modules of `directory` in which `from` and `to` stand, if they are different ones.
fn beside(directory: &[String], from: &Name, to: &Name) -> Option<(String, String)> {
    let child = |name: &Name| name.strip_prefix(directory)?.first().cloned();
    let (from, to) = (child(from)?, child(to)?);
    (from != to).then_some((from, to))
}

/// The edges that lead upward, or sideways, by `order`.
pub fn upward(edges: &Edges, order: &Order) -> Vec<(Name, Name)> {
    let directory: Name = order.directory.split("::").map(str::to_owned).collect();
    let rank = |name: &str| {
        let found = order.ranks.iter().position(|rank| rank.contains(&name));
        found.unwrap_or_else(|| panic!("{}::{name} has no rank", order.directory))
    };
    let wrong = edges.iter().filter(|(from, to)| {
        beside(&directory, from, to).is_some_and(|(from, to)| rank(&from) >= rank(&to))
    });
    wrong.cloned().collect()
}

/// Groups of modules of one directory each of which leads to every other: the directory, and the modules.
pub fn circles(edges: &Edges) -> BTreeSet<(String, Vec<String>)> {
    let mut directories: BTreeMap<Name, BTreeSet<(String, String)>> = BTreeMap::new();
    for (from, to) in edges {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let directory = from[..shared].to_vec();
        if let Some(edge) = beside(&directory, from, to) {
            directories.entry(directory).or_default().insert(edge);
        }
    }
    let mut found = BTreeSet::new();
    for (directory, edges) in directories {
        let reached = |start: &String| {
            let mut seen = BTreeSet::new();
            let mut next = vec![start];
            while let Some(at) = next.pop() {
                for (_, to) in edges.iter().filter(|(from, _)| from == at) {
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
            seen
        };
        let all: BTreeSet<&String> = edges.iter().map(|(from, _)| from).collect();
        for start in all {
            let there = reached(start);
            if there.contains(start) {
                let group = there.iter().filter(|other| reached(other).contains(start));
                found.insert((
                    join(&directory),
                    group.map(|name| (*name).clone()).collect(),
                ));
            }
        }
    }
    found
}
