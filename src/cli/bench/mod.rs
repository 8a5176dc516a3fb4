//! `norefs bench`

mod page;
mod rivals;

use super::fail::Failure;
use super::progress::Spinner;
use super::{Outcome, out};
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use norefs::transport::Transport;
use norefs_bench::{Contender, Error, OPERATIONS, Operation, Plan, Workload};
use page::Page;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tempfile::TempDir;

const SLICE: Duration = Duration::from_millis(30);
const INTERRUPTED: u8 = 130;

/// Compare what metadata calls and commands cost in directories (without one: in tmpfs and norefs)
///
/// Builds trees in a subdirectory of each directory and removes them at the end. Without a directory the trees
/// of --workload are built in a temporary one on disk, which norefs mounts and of which the tmpfs gets a copy, and the
/// commands are measured there too. Without --operation and --workload all operations are measured, with one of them only what is named.
/// Root also gets cold figures: for them the kernel is made to drop the dentries and inodes it
/// caches, of the whole machine.
#[derive(clap::Args)]
pub struct Args {
    /// The directories to compare
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Print one JSON object, with every sample
    #[arg(long)]
    json: bool,
    /// Write a page with plots as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Measure only these operations (--list names them)
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(value_parser = operation_parser())]
    operation: Vec<&'static Operation>,
    /// Run these commands on generated trees (--list names them)
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(value_parser = workload_parser())]
    workload: Vec<Workload>,
    /// Mount a norefs for each of these transports: ring, device, auto (without DIR only)
    #[arg(
        long,
        value_name = "T,...",
        value_delimiter = ',',
        conflicts_with = "directories"
    )]
    transport: Vec<Transport>,
    /// What ratios are to: a directory as it was given, or tmpfs or norefs (default: the first)
    #[arg(long, value_name = "LABEL")]
    baseline: Option<String>,
    /// Files in each tree
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    entries: u32,
    /// Turns of each directory at each operation and command
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Measure with 1, 2, 4 ... up to N clients (default: the number of CPUs)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: Option<u32>,
    /// Name the operations and workloads, and do nothing
    #[arg(long)]
    list: bool,
}

fn operation_parser() -> impl TypedValueParser<Value = &'static Operation> {
    let names = OPERATIONS.iter().map(|operation| operation.name);
    PossibleValuesParser::new(names).try_map(|name| {
        let found = OPERATIONS.iter().find(|operation| operation.name == name);
        found.ok_or("no such operation")
    })
}

fn workload_parser() -> impl TypedValueParser<Value = Workload> {
    let names = Workload::ALL.map(Workload::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let mut all = Workload::ALL.into_iter();
        all.find(|workload| workload.name() == name)
            .ok_or("no such workload")
    })
}

pub fn run(args: Args) -> Outcome {
    if args.list {
        out::print(list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = args.html.as_deref().map(Page::open).transpose()?;
    // From here on a signal ends the run in good order; a second one ends it at once.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let status = i32::from(INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let (contenders, mounts) = match args.directories.as_slice() {
        [] => rivals::mounted(&args.transport)?,
        given => (rivals::given(given)?, Vec::new()),
    };
    let loads = args.directories.is_empty() && !args.workload.is_empty();
    let source = loads.then(source).transpose()?;
    let plan = Plan {
        source: source.as_ref().map(|source| source.path().to_owned()),
        ..plan(&args, &contenders)?
    };
    let spinner = Spinner::new();
    let outcome = norefs_bench::run(&plan, contenders, &stop, &|what| spinner.say(what));
    drop((spinner, mounts, source));
    let report = outcome.map_err(|error| match error {
        Error::Interrupted => Failure::with_status(INTERRUPTED, error),
        error => Failure::from(error),
    })?;
    if let Some(page) = page {
        page.write(&report)?;
    }
    let text = match args.json {
        true => serde_json::to_string(&report)? + "\n",
        false => report.to_string(),
    };
    out::print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Args, contenders: &[Contender]) -> Result<Plan, Failure> {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    let operations = match args.operation.is_empty() && args.workload.is_empty() {
        true => OPERATIONS.iter().collect(),
        false => args.operation.clone(),
    };
    Ok(Plan {
        entries: args.entries as usize,
        rounds: args.rounds as usize,
        clients: args.clients.map_or_else(cpus, |clients| clients as usize),
        slice: SLICE,
        operations,
        workloads: args.workload.clone(),
        baseline: match &args.baseline {
            Some(label) => position(label, contenders)?,
            None => 0,
        },
        source: None,
    })
}

/// Where what is to be loaded is built: on disk, unless `TMPDIR` says otherwise.
fn source() -> std::io::Result<TempDir> {
    let place = match std::env::var_os("TMPDIR") {
        Some(place) => PathBuf::from(place),
        None => PathBuf::from("/var/tmp"),
    };
    tempfile::Builder::new()
        .prefix("norefs-bench-")
        .tempdir_in(place.canonicalize()?)
}

fn position(label: &str, contenders: &[Contender]) -> Result<usize, Failure> {
    let mut labels = contenders.iter().map(|contender| contender.label.as_str());
    labels
        .clone()
        .position(|known| known == label)
        .ok_or_else(|| {
            let known = labels.by_ref().collect::<Vec<_>>().join(", ");
            Failure::usage(format!("--baseline: `{label}` is none of {known}"))
        })
}

fn list() -> String {
    let mut out = String::from("Operations:\n");
    // Writing to a String cannot fail.
    for operation in &OPERATIONS {
        let _ = writeln!(out, "  {:<14} {}", operation.name, operation.label);
    }
    out += "\nWorkloads:\n";
    for workload in Workload::ALL {
        let _ = writeln!(out, "  {:<14} {}", workload.name(), workload.label());
    }
    out
}
