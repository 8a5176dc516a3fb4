//! What reading the files of a source costs through a mount of it: `cargo bench --bench content`, as root.
//!
//! The contenders are the source itself, whose page cache is warm, and read-only mounts of it. In each round each of
//! them is mounted afresh for each course, which it takes twice: what was read first is then the kernel's, or not. The
//! table gives medians of the rounds and what they are in terms of the source in the same rounds, and how much page
//! cache went when the mount did.

mod support;

use clap::Parser;
use rustix::mount::{UnmountFlags, unmount};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use support::{Args, median, ratio};
use vmap::Map;

const LARGE: usize = 16;
const LARGE_BYTES: usize = 64 << 20;
const SMALL: usize = 10_000;
const SMALL_BYTES: usize = 4 << 10;
const PAGE: usize = 4 << 10;

const CONTENDERS: [(&str, Option<&str>); 5] = [
    ("source", None),
    ("device", Some("transport=device")),
    ("ring", Some("transport=ring")),
    ("passthrough, device", Some("passthrough,transport=device")),
    ("passthrough, ring", Some("passthrough,transport=ring")),
];

type Course = fn(&Path) -> std::io::Result<()>;

const COURSES: [(&str, Course); 3] = [
    ("1 GiB in 16 files, reads of 1 MiB", read_large),
    ("1 GiB in 16 files, mapped", map_large),
    ("10,000 files of 4 KiB, opened, read and closed", read_small),
];

/// What one contender showed at one course, by round.
#[derive(Default)]
struct Samples {
    first: Vec<f64>,
    again: Vec<f64>,
    cached: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (source, at) = (scratch.path().join("source"), scratch.path().join("mount"));
    std::fs::create_dir(&at)?;
    fill(&source)?;
    for (name, course) in COURSES {
        let mut samples: [Samples; CONTENDERS.len()] = Default::default();
        for _ in 0..args.rounds {
            course(&source)?;
            for ((_, options), samples) in CONTENDERS.iter().zip(&mut samples) {
                match options {
                    None => turn(course, &source, samples)?,
                    Some(options) => {
                        mounted(options, &source, &at, |at| turn(course, at, samples))?
                            .into_iter()
                            .for_each(|cached| samples.cached.push(cached))
                    }
                }
            }
        }
        report(name, &samples);
    }
    Ok(())
}

fn fill(source: &Path) -> std::io::Result<()> {
    let bytes: Vec<u8> = (0..LARGE_BYTES).map(|at| (at / PAGE + at) as u8).collect();
    std::fs::create_dir(source)?;
    for n in 0..LARGE {
        std::fs::write(source.join(format!("large{n}")), &bytes)?;
    }
    for n in 0..SMALL {
        let path = small(source, n);
        std::fs::create_dir_all(path.parent().unwrap_or(source))?;
        std::fs::write(path, &bytes[..SMALL_BYTES])?;
    }
    Ok(())
}

fn small(root: &Path, n: usize) -> PathBuf {
    root.join(format!("small{}", n / 100)).join(n.to_string())
}

fn read_large(root: &Path) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for n in 0..LARGE {
        let mut file = File::open(root.join(format!("large{n}")))?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

fn map_large(root: &Path) -> std::io::Result<()> {
    for n in 0..LARGE {
        let file = File::open(root.join(format!("large{n}")))?;
        let map = Map::with_options()
            .map(&file)
            .map_err(std::io::Error::other)?;
        let sum = map.iter().step_by(PAGE).map(|byte| u64::from(*byte)).sum();
        std::hint::black_box::<u64>(sum);
    }
    Ok(())
}

fn read_small(root: &Path) -> std::io::Result<()> {
    let mut buffer = vec![0; SMALL_BYTES];
    for n in 0..SMALL {
        File::open(small(root, n))?.read_exact(&mut buffer)?;
    }
    Ok(())
}

/// Takes a course twice.
fn turn(course: Course, root: &Path, samples: &mut Samples) -> std::io::Result<()> {
    for times in [&mut samples.first, &mut samples.again] {
        let began = Instant::now();
        course(root)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Does `work` at a mount of `source` and gives the MiB of page cache that went with it; `None` if nothing can be
/// mounted so.
fn mounted(
    options: &str,
    source: &Path,
    at: &Path,
    work: impl FnOnce(&Path) -> std::io::Result<()>,
) -> anyhow::Result<Option<f64>> {
    let mut mount = Command::new(env!("CARGO_BIN_EXE_norefs"));
    let options = format!("ro,{options}");
    mount.args(["mount", "-o", &options]).args([source, at]);
    if !mount.status()?.success() {
        return Ok(None);
    }
    let worked = work(at);
    let before = cached();
    unmount(at, UnmountFlags::empty())?;
    let freed = before - cached();
    worked?;
    Ok(Some(freed))
}

/// MiB of page cache of the whole machine.
fn cached() -> f64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("Cached:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|kib| kib.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

fn report(course: &str, samples: &[Samples]) {
    println!("\n{course}\n\n| | first | again | page cache of its own |\n|---|---|---|---|");
    for ((name, _), mine) in CONTENDERS.iter().zip(samples) {
        let cell = |mine: &[f64], source: &[f64]| {
            let ratio = ratio(mine, source);
            format!("**{ratio:.2}x** {:.0} ms", median(mine.to_vec()))
        };
        let cached = match mine.cached.is_empty() {
            true => String::new(),
            false => format!("{:.0} MiB", median(mine.cached.clone())),
        };
        let (first, again) = (
            cell(&mine.first, &samples[0].first),
            cell(&mine.again, &samples[0].again),
        );
        println!("| {name} | {first} | {again} | {cached} |");
    }
}
