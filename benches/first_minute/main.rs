//! What the first minute in a repository takes, as a user meets it: `cargo bench --bench first_minute`, as root.
//!
//! One repository lies on the disk that cargo builds on. The contenders are that repository where it is, one on a tmpfs
//! where it is, a fresh norefs mount of the first, and a fresh copy of the first in a tmpfs. In each round each of them
//! is made afresh and takes all steps in turn; a step that is to be the first in its tree has a tree of its own. The
//! table gives medians of the rounds, and what they are in terms of the repository on the disk in the same rounds, whose
//! caches are warm.

#[path = "../support/mod.rs"]
mod support;

mod place;
mod repository;

use clap::Parser;
use place::{Place, Stand};
use repository::{BRANCH, MAIN, git};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{median, ratio};

#[derive(Parser)]
struct Args {
    /// Turns of each contender
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Files in the repository
    #[arg(long, default_value_t = 55_000)]
    files: usize,
    /// More mount options of norefs, such as transport=device
    #[arg(long, default_value = "")]
    options: String,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is done in a tree, and what it is called.
struct Step {
    label: &'static str,
    run: fn(&Path) -> anyhow::Result<()>,
}

/// Steps that follow each other in one fresh tree.
const STEPS: [&[Step]; 5] = [
    &[
        Step {
            label: "first git status",
            run: status,
        },
        Step {
            label: "second git status",
            run: status,
        },
        Step {
            label: "git diff",
            run: diff,
        },
        Step {
            label: "find, again",
            run: find,
        },
        Step {
            label: "du, again",
            run: du,
        },
        Step {
            label: "checkout of a branch",
            run: checkout,
        },
        Step {
            label: "git status after it",
            run: status,
        },
        Step {
            label: "checkout back",
            run: checkout_back,
        },
    ],
    &[Step {
        label: "first find",
        run: find,
    }],
    &[Step {
        label: "first du",
        run: du,
    }],
    &[
        Step {
            label: "first rg",
            run: rg,
        },
        Step {
            label: "second rg",
            run: rg,
        },
    ],
    &[
        Step {
            label: "first read of everything",
            run: read_all,
        },
        Step {
            label: "second read of everything",
            run: read_all,
        },
    ],
];

/// Milliseconds by row and round; the first row is how long making the tree took.
type Samples = Vec<Vec<f64>>;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let stand = Stand::new(scratch.path(), args.files, &args.options)?;
    let rows = 1 + STEPS.iter().map(|steps| steps.len()).sum::<usize>();
    let mut samples: Vec<Samples> = vec![vec![Vec::new(); rows]; Place::ALL.len()];
    for _ in 0..args.rounds {
        for (place, samples) in Place::ALL.into_iter().zip(&mut samples) {
            take_all(&stand, place, samples)?;
        }
    }
    report(&samples);
    Ok(())
}

/// Takes all steps once.
fn take_all(stand: &Stand, place: Place, samples: &mut Samples) -> anyhow::Result<()> {
    let (making, steps) = samples.split_at_mut(1);
    let mut rows = steps.iter_mut();
    for (number, steps) in STEPS.into_iter().enumerate() {
        let (tree, took) = stand.fresh(place, number)?;
        if number == 0 {
            making[0].push(took);
        }
        for (step, row) in steps.iter().zip(rows.by_ref()) {
            let began = Instant::now();
            (step.run)(tree.path())?;
            row.push(began.elapsed().as_secs_f64() * 1e3);
        }
        tree.end()?;
    }
    Ok(())
}

fn status(tree: &Path) -> anyhow::Result<()> {
    let said = git(tree, &["status", "--porcelain"])?;
    anyhow::ensure!(said.is_empty(), "{}: not clean: {said}", tree.display());
    Ok(())
}

fn diff(tree: &Path) -> anyhow::Result<()> {
    git(tree, &["diff", "--quiet"]).map(drop)
}

fn checkout(tree: &Path) -> anyhow::Result<()> {
    git(tree, &["checkout", "--quiet", BRANCH]).map(drop)
}

fn checkout_back(tree: &Path) -> anyhow::Result<()> {
    git(tree, &["checkout", "--quiet", MAIN]).map(drop)
}

fn find(tree: &Path) -> anyhow::Result<()> {
    quietly(tree, "find", &[".", "-type", "f", "-size", "+1"])
}

fn du(tree: &Path) -> anyhow::Result<()> {
    quietly(tree, "du", &["-s", "."])
}

/// Looks for what is nowhere.
fn rg(tree: &Path) -> anyhow::Result<()> {
    let found = command(tree, "rg", &["--hidden", "nowhere to be found"]).status()?;
    anyhow::ensure!(found.code() == Some(1), "rg: {found}");
    Ok(())
}

/// By one thread, a file after the other in the order of the listing.
fn read_all(tree: &Path) -> anyhow::Result<()> {
    let everything = ["-type", "f", "-exec", "cat", "{}", "+"];
    quietly(tree, "find", &[&["."][..], &everything].concat())
}

fn quietly(tree: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = command(tree, program, arguments).status()?;
    anyhow::ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn command(tree: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(tree);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn report(samples: &[Samples]) {
    let names: Vec<_> = Place::ALL.iter().map(|place| place.label()).collect();
    println!("\n| milliseconds | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let labels = STEPS.iter().flat_map(|steps| steps.iter());
    let labels = ["load or copy"]
        .into_iter()
        .chain(labels.map(|step| step.label));
    for (row, label) in labels.enumerate() {
        print!("| {label} |");
        for mine in samples {
            let (mine, source) = (&mine[row], &samples[0][row]);
            let took = median(mine.clone());
            match row {
                0 => print!(" {took:.0} |"),
                _ => print!(" **{:.2}x** {took:.0} |", ratio(mine, source)),
            }
        }
        println!();
    }
}
