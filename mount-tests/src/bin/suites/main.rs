//! Runs every suite on tmpfs and on norefs, on each transport, and makes the table of `docs/SEMANTICS.md`.
//!
//! A suite is some tests of this package, run by cargo with an environment that says what to mount. Its counts are those of
//! libtest, or what the tests tell (`mount_tests::report`). The program fails if anything fails on norefs that passes on tmpfs.

mod outcome;
mod plan;
mod run;
mod table;

use clap::Parser;
use mount_tests::transport::{self, Transport};
use plan::{SUITES, Suite};
use run::Results;
use std::process::ExitCode;

/// Runs the suites on tmpfs and on norefs, and prints what passed where.
#[derive(Parser)]
struct Arguments {
    /// Run the forms that take hours together
    #[arg(long)]
    long: bool,
    /// Put the rows into docs/SEMANTICS.md
    #[arg(long)]
    write: bool,
    /// List the suites and run none
    #[arg(long)]
    list: bool,
    /// Only suites whose name contains one of these
    suites: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| arguments.want(suite))
        .collect();
    if arguments.list {
        wanted.iter().for_each(|suite| println!("{}", suite.name));
        return ExitCode::SUCCESS;
    }
    if !transport::each().contains(&Transport::Ring) {
        eprintln!("the column of the ring stays empty");
    }
    let results: Vec<Results> = wanted
        .iter()
        .map(|suite| run::everywhere(suite, arguments.long))
        .collect();
    let rows: Vec<(&str, String)> = wanted
        .iter()
        .zip(&results)
        .map(|(suite, results)| (suite.name, table::row(suite.name, results)))
        .collect();
    println!("{}", table::whole(&rows));
    if arguments.write {
        table::write(&rows);
    }
    let worse: Vec<String> = results.iter().flat_map(Results::worse_than_tmpfs).collect();
    worse
        .iter()
        .for_each(|what| eprintln!("worse than tmpfs: {what}"));
    match worse.is_empty() && !wanted.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl Arguments {
    fn want(&self, suite: &Suite) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|part| suite.name.contains(part))
    }
}
