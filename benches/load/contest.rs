//! One run of each contender, in a process of its own.

use norefs::fs::{Config, Fs};
use norefs::source::{LoadOptions, load};
use norefs::tree::{Attr, Kind, Time};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What `find` is asked to print: all that a load reads of a file and `find` can tell without
/// asking for more than it has to.
pub const FIELDS: &str = r"%m %U %G %s %b %A@ %T@ %C@ %n %D %i %y %l %p\n";

/// What a load took.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub struct Loaded {
    /// From the first system call to the last, without the end of the process.
    pub seconds: f64,
    /// Of all processors, the start and the end of the process included.
    #[serde(default)]
    pub cpu: f64,
    /// Names loaded.
    pub entries: u64,
    /// Growth of the resident set.
    pub resident: u64,
}

/// What a `find` took, from its start to its end.
#[derive(Serialize, Clone, Copy)]
pub struct Found {
    pub seconds: f64,
    /// Of all processors.
    pub cpu: f64,
}

/// Lets `find` print all it has to tell.
pub fn find(tree: &Path) -> std::io::Result<Found> {
    let (started, before) = (Instant::now(), children_cpu());
    let status = Command::new("find")
        .arg(tree)
        .args(["-printf", FIELDS])
        .stdout(Stdio::null())
        .status()?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = children_cpu() - before;
    match status.success() {
        true => Ok(Found { seconds, cpu }),
        false => Err(std::io::Error::other(format!("find: {status}"))),
    }
}

/// A load in a process of its own: this program, called with [`measure`]'s option.
pub fn load_apart(tree: &Path, threads: usize) -> std::io::Result<Loaded> {
    let before = children_cpu();
    let output = Command::new(std::env::current_exe()?)
        .args(["--bench", "--threads", &threads.to_string(), "--measure"])
        .arg(tree)
        .stderr(Stdio::inherit())
        .output()?;
    let loaded = serde_json::from_slice(&output.stdout).map_err(std::io::Error::other)?;
    Ok(Loaded {
        cpu: children_cpu() - before,
        ..loaded
    })
}

/// Seconds that the processors spent on children that have ended.
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    // User and system time are the 16th and 17th field, of which two lie before the bracket.
    let ticks: u64 = fields.skip(14).take(2).flat_map(str::parse::<u64>).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Loads `tree` here and prints what it took.
pub fn measure(tree: &Path, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let before = resident();
    let fs = empty();
    let options = LoadOptions {
        strict: true,
        threads,
        ..LoadOptions::default()
    };
    let started = Instant::now();
    let report = load(&fs, tree, &options, &())?;
    let loaded = Loaded {
        seconds: started.elapsed().as_secs_f64(),
        cpu: 0.0,
        entries: report.entries,
        resident: resident().saturating_sub(before),
    };
    println!("{}", serde_json::to_string(&loaded)?);
    // The tree need not be taken apart: the process ends.
    std::mem::forget(fs);
    Ok(())
}

/// A filesystem without limits.
pub fn empty() -> Fs {
    let config = Config {
        max_bytes: u64::MAX,
        max_inodes: u64::MAX,
        read_only: true,
    };
    Fs::new(config, Attr::new(Kind::Directory, 0o755, 0, 0, Time::now())).unwrap()
}

/// Bytes of this process that are in memory.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|word| word.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
