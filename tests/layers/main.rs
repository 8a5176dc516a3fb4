//! Modules use only those below them, and those of one directory do not use each other in a circle.

mod modules;
mod rules;

use modules::{Edges, Modules};
use rules::{Order, circles, upward};
use std::path::Path;

const CRATES: &[(&str, &str)] = &[
    ("norefs", "src/lib.rs"),
    ("norefs_command", "src/main.rs"),
    ("norefs_tree", "crates/tree/src/lib.rs"),
    ("norefs_bench", "crates/bench/src/lib.rs"),
    ("norefs_check", "crates/check/src/lib.rs"),
    ("mount_tests", "mount-tests/src/lib.rs"),
    ("suites", "mount-tests/src/bin/suites/main.rs"),
];

const ORDERS: &[Order] = &[
    Order {
        directory: "norefs",
        ranks: &[
            &["telemetry"],
            &["apply", "control", "doctor"],
            &["layer", "journal"],
            &["delta", "follow"],
            &["source", "warm"],
            &["transport"],
            &["fs"],
            &["host"],
        ],
    },
    Order {
        directory: "norefs::transport",
        ranks: &[
            &["testing"],
            &["session"],
            &["dispatch"],
            &["notify", "passthrough"],
            &["channel"],
            &["requests", "failpoint", "options"],
            &["wire"],
        ],
    },
    Order {
        directory: "norefs_tree",
        ranks: &[&["tree"], &["sync"]],
    },
];

fn workspace() -> Modules {
    let mut modules = Modules::default();
    for (name, root) in CRATES {
        modules.read(name, &Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
    }
    modules
}

fn told(
    modules: &Modules,
    edges: impl IntoIterator<Item = (modules::Name, modules::Name)>,
) -> String {
    let line = |(from, to): (modules::Name, modules::Name)| {
        let file = modules.0[&from].file.display();
        format!("{} uses {} ({file})\n", from.join("::"), to.join("::"))
    };
    edges.into_iter().map(line).collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let modules = workspace();
    let edges = modules.edges();
    println!("{} modules, {} edges", modules.0.len(), edges.len());
    let wrong: Vec<_> = ORDERS
        .iter()
        .flat_map(|order| upward(&edges, order))
        .collect();
    assert!(wrong.is_empty(), "upward:\n{}", told(&modules, wrong));
    // Only the command knows what the command holds, and the tree nothing of who uses it.
    let below = |name: &str| ["norefs_tree", "norefs_bench", "norefs_check"].contains(&name);
    let out = edges
        .into_iter()
        .filter(|(from, to)| below(&from[0]) && from[0] != to[0]);
    let out: Vec<_> = out.collect();
    assert!(out.is_empty(), "out of a package:\n{}", told(&modules, out));
}

#[test]
fn modules_of_one_directory_use_each_other_in_no_circle() {
    let modules = workspace();
    let edges = modules.edges();
    let found = circles(&edges);
    let inside = |directory: &str| {
        let within = format!("{directory}::");
        let all = edges.iter().filter(|(a, b)| {
            [a, b]
                .iter()
                .all(|name| name.join("::").starts_with(&within))
        });
        all.cloned().collect::<Edges>()
    };
    let lines = found
        .iter()
        .map(|(directory, _)| told(&modules, inside(directory)));
    assert!(
        found.is_empty(),
        "circles: {found:#?}\n{}",
        lines.collect::<String>()
    );
}

const CIRCLE: &[(&str, &str)] = &[
    ("lib.rs", "mod high; mod low; mod passed;"),
    ("high.rs", "use crate::passed::Thing; fn f(_: Thing) {}"),
    ("passed.rs", "pub use crate::low::Thing;"),
    ("low/mod.rs", "mod deep; pub struct Thing;"),
    ("low/deep.rs", "fn g() { vec![crate::high::f()]; }"),
];

#[test]
fn a_planted_circle_is_found_through_what_is_passed_on_and_in_macros() {
    let edges = Modules::given("c", CIRCLE).edges();
    let circle = ("c".to_owned(), vec!["high".to_owned(), "low".to_owned()]);
    assert_eq!(circles(&edges).into_iter().collect::<Vec<_>>(), [circle]);
}

#[test]
fn a_planted_edge_upward_is_found_and_one_for_tests_is_none() {
    const RANKS: Order = Order {
        directory: "c",
        ranks: &[&["high", "passed"], &["low"]],
    };
    let modules = Modules::given("c", CIRCLE);
    let wrong = told(&modules, upward(&modules.edges(), &RANKS));
    assert_eq!(wrong, "c::low::deep uses c::high (low/deep.rs)\n");
    let mut sources = CIRCLE.to_vec();
    sources[4].1 = "#[cfg(test)] mod tests { use crate::high::f; }";
    let edges = Modules::given("c", &sources).edges();
    assert!(upward(&edges, &RANKS).is_empty() && circles(&edges).is_empty());
}
