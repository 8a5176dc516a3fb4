//! The verbs and options of the program `norefs`.

mod apply;
mod bench;
mod changes;
mod checkpoint;
mod cli;
mod diff;
mod diff_random;
mod doctor;
mod fsmonitor;
mod keep;
mod kept;
mod layer;
mod ls;
mod metrics;
mod options;
mod prune;
mod rebase;
mod resume;
mod size_options;

use mount_tests::norefs;
use std::path::Path;
use std::process::Output;

fn verb(verb: &str, arguments: &[&str]) -> Output {
    norefs().arg(verb).args(arguments).output().unwrap()
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}
