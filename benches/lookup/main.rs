//! In-process lookups: norefs without a reference, norefs with a reference on the final inode, one
//! reader-writer lock around a hash table, and a mutex per node.
//!
//! ```text
//! cargo bench --bench lookup                    the tables of docs/BENCHMARKS.md
//! cargo bench --bench lookup -- --quick         a smoke run of a few seconds
//! cargo bench --bench lookup -- --only walk     some rows
//! ```
//!
//! The contenders take turns within every row (A B C D A B C D ...), each for one slice of time on
//! pinned threads, with the same targets in the same order; ratios compare slices of one round.
//! All of them check search permission in every directory of a path.

mod contender;
mod course;
mod global;
mod harness;
mod norefs;
mod per_node;
mod report;
mod shape;

use std::time::{Duration, Instant};

use clap::Parser;

use crate::course::{Course, Op};
use crate::harness::{Entrant, Load, Runner, Sample, Turn};
use crate::report::Row;
use crate::shape::{Shape, Spread};

#[derive(Parser)]
struct Options {
    /// Names in the tree
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Rounds: turns of each contender in each row
    #[arg(long, default_value_t = 7)]
    rounds: u64,
    /// Milliseconds of one turn, after a tenth of it as warm-up
    #[arg(long, default_value_t = 100)]
    slice: u64,
    /// Only the rows whose "operation targets" contains this, such as "walk" or "getattr one"
    #[arg(long)]
    only: Option<String>,
    /// A small tree and short turns: checks that everything runs
    #[arg(long)]
    quick: bool,
    /// What cargo bench adds; without it (cargo test) the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn settled() -> Options {
        let mut options = Options::parse();
        if options.quick || !options.bench {
            (options.entries, options.rounds, options.slice) = (20_000, 3, 5);
        }
        options
    }

    /// The rows asked for.
    fn rows(&self) -> impl Iterator<Item = (Op, Spread)> {
        let asked = |(op, spread): &(Op, Spread)| match &self.only {
            Some(part) => format!("{op:?} {spread:?}").to_lowercase().contains(part),
            None => true,
        };
        let all = Op::ALL.into_iter();
        all.flat_map(|op| Spread::ALL.map(|spread| (op, spread)))
            .filter(asked)
    }
}

fn main() {
    let options = Options::settled();
    let started = Instant::now();
    let shape = Shape::new(options.entries);
    let (tree, tree_ids) = norefs::build(&shape).expect("the tree could not be built");
    let (global, global_ids) = global::Global::build(&shape);
    let (per_node, per_node_ids) = per_node::PerNode::build(&shape);
    let (noref, referenced) = (norefs::Noref(&tree), norefs::Referenced(&tree));
    let mut entrants: Vec<Box<dyn Entrant + '_>> = vec![
        Box::new(Runner::new(&noref, &tree_ids)),
        Box::new(Runner::new(&referenced, &tree_ids)),
        Box::new(Runner::new(&global, &global_ids)),
        Box::new(Runner::new(&per_node, &per_node_ids)),
    ];
    preamble(&options, &shape, started.elapsed());

    let mut rows = Vec::new();
    for (op, spread) in options.rows() {
        rows.append(&mut race(&options, &shape, &mut entrants, op, spread));
    }
    let names: Vec<_> = entrants.iter().map(|entrant| entrant.name()).collect();
    report::print(&rows, &names);
    println!("\nThe run took {} s.", started.elapsed().as_secs());
}

/// The rows of one operation on one set of targets.
fn race(
    options: &Options,
    shape: &Shape,
    entrants: &mut [Box<dyn Entrant + '_>],
    op: Op,
    spread: Spread,
) -> Vec<Row> {
    let course = Course::new(shape, op, spread);
    for entrant in entrants.iter_mut() {
        entrant.line_up(&course);
    }
    let slice = Duration::from_millis(options.slice);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let loads = Load::ALL.into_iter().filter(|load| load.threads() <= cpus);
    loads
        .map(|load| {
            let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); entrants.len()];
            for round in 0..options.rounds {
                for (number, entrant) in entrants.iter().enumerate() {
                    let lane = (number, entrants.len());
                    let turn = Turn { round, lane };
                    samples[number].push(entrant.run(&course, load, turn, slice));
                }
            }
            Row {
                op,
                spread,
                load,
                samples,
            }
        })
        .collect()
}

fn preamble(options: &Options, shape: &Shape, built: Duration) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<_> = release.trim().split('.').take(2).collect();
    println!(
        "{cpus} CPUs, Linux {}. {} entries ({} directories of 100, names of 16 bytes), built for \
         every contender in {:.1} s. {} rounds of {} ms.\n",
        kernel.join("."),
        shape.entries(),
        shape.dirs.len(),
        built.as_secs_f64(),
        options.rounds,
        options.slice
    );
}
