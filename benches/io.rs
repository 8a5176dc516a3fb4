//! What reading and writing files costs on norefs beside tmpfs: `cargo bench --bench io`, as root.
//!
//! The contenders are a tmpfs and two empty norefs, one on each transport. In each round each of them is mounted afresh
//! and takes all courses in turn, with one file. The table gives medians of the rounds, and what they are in terms of the
//! tmpfs in the same rounds.

mod support;

use clap::Parser;
use rustix::fs::{Advice, fadvise};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use support::{Args, median, ratio};
use vmap::{Flush, MapMut};

const BYTES: u64 = 256 << 20;
const LARGE: usize = 1 << 20;
const PAGE: usize = 4 << 10;
/// Calls of a course that jumps about in the file, or appends to it a page at a time.
const CALLS: u64 = 16 << 10;

const CONTENDERS: [(&str, Option<&str>); 3] = [
    ("tmpfs", None),
    ("norefs, ring", Some("transport=ring,size=2g")),
    ("norefs, device", Some("transport=device,size=2g")),
];

/// One course over a file; how many bytes it moved.
type Course = fn(&File) -> io::Result<u64>;

/// In the order they are taken: each finds what those before it left.
const COURSES: [(&str, Course); 11] = [
    ("write a new file, 1 MiB a call", write_large),
    ("write it again, 1 MiB a call", write_large),
    ("read it, 1 MiB a call", read_large),
    ("read it once more", read_large),
    ("read what the kernel dropped, 1 MiB a call", read_dropped),
    ("write 4 KiB at random places", write_random),
    (
        "read 4 KiB at random places, dropped before",
        read_random_dropped,
    ),
    ("read 4 KiB at random places, once more", read_random),
    (
        "two threads read 4 KiB at random places",
        read_random_by_two,
    ),
    (
        "change a byte in each page of a map, and sync",
        change_mapped,
    ),
    ("write from the beginning, 4 KiB a call", write_small),
];

/// Nanoseconds for each KiB, by course and round.
type Samples = [Vec<f64>; COURSES.len()];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut samples: [Samples; CONTENDERS.len()] = Default::default();
    for _ in 0..args.rounds {
        for ((_, options), samples) in CONTENDERS.iter().zip(&mut samples) {
            mounted(*options, scratch.path(), |at| take_all(at, samples))?;
        }
    }
    report(&samples);
    Ok(())
}

fn take_all(at: &Path, samples: &mut Samples) -> io::Result<()> {
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true);
    let file = file.open(at.join("file"))?;
    for ((_, course), samples) in COURSES.iter().zip(samples) {
        let began = Instant::now();
        let bytes = course(&file)?;
        samples.push(began.elapsed().as_nanos() as f64 / (bytes >> 10) as f64);
    }
    Ok(())
}

fn write_large(file: &File) -> io::Result<u64> {
    let buffer = vec![7; LARGE];
    for at in (0..BYTES).step_by(LARGE) {
        file.write_all_at(&buffer, at)?;
    }
    Ok(BYTES)
}

fn write_small(file: &File) -> io::Result<u64> {
    let buffer = vec![8; PAGE];
    for call in 0..CALLS {
        file.write_all_at(&buffer, call * PAGE as u64)?;
    }
    Ok(CALLS * PAGE as u64)
}

fn write_random(file: &File) -> io::Result<u64> {
    let buffer = vec![9; PAGE];
    for at in places(1) {
        file.write_all_at(&buffer, at)?;
    }
    Ok(CALLS * PAGE as u64)
}

fn read_large(file: &File) -> io::Result<u64> {
    let mut buffer = vec![0; LARGE];
    for at in (0..BYTES).step_by(LARGE) {
        file.read_exact_at(&mut buffer, at)?;
    }
    Ok(BYTES)
}

fn read_dropped(file: &File) -> io::Result<u64> {
    drop_pages(file)?;
    read_large(file)
}

fn read_random(file: &File) -> io::Result<u64> {
    read_places(file, 2)
}

fn read_random_dropped(file: &File) -> io::Result<u64> {
    drop_pages(file)?;
    read_places(file, 2)
}

fn read_random_by_two(file: &File) -> io::Result<u64> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read_places(file, 3));
        let own = read_places(file, 4)?;
        let other = other.join().map_err(|_| io::Error::other("a reader"))??;
        Ok(own + other)
    })
}

fn change_mapped(file: &File) -> io::Result<u64> {
    let map = MapMut::with_options().write().map(file);
    let mut map = map.map_err(io::Error::other)?;
    map.iter_mut().step_by(PAGE).for_each(|byte| *byte ^= 1);
    map.flush(file, Flush::Sync).map_err(io::Error::other)?;
    Ok(BYTES)
}

fn read_places(file: &File, seed: u64) -> io::Result<u64> {
    let mut buffer = vec![0; PAGE];
    for at in places(seed) {
        file.read_exact_at(&mut buffer, at)?;
    }
    Ok(CALLS * PAGE as u64)
}

/// The same places for every contender.
fn places(seed: u64) -> impl Iterator<Item = u64> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..CALLS).map(move |_| dice.u64(0..BYTES / PAGE as u64) * PAGE as u64)
}

/// Makes the kernel drop what it has of `file`, if it has it elsewhere; a tmpfs has not.
fn drop_pages(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

/// Does `work` on a new tmpfs at `at`, or on a new norefs with `options`.
fn mounted(
    options: Option<&str>,
    at: &Path,
    work: impl FnOnce(&Path) -> io::Result<()>,
) -> anyhow::Result<()> {
    match options {
        None => mount("tmpfs", at, "tmpfs", MountFlags::empty(), c"size=2g")?,
        Some(options) => {
            let mut mount = Command::new(env!("CARGO_BIN_EXE_norefs"));
            let status = mount.args(["mount", "-o", options]).arg(at).status()?;
            anyhow::ensure!(status.success(), "norefs mount -o {options}: {status}");
        }
    }
    let worked = work(at);
    unmount(at, UnmountFlags::empty())?;
    Ok(worked?)
}

fn report(samples: &[Samples]) {
    let names: Vec<_> = CONTENDERS.iter().map(|(name, _)| *name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for (course, (name, _)) in COURSES.iter().enumerate() {
        print!("| {name} |");
        for mine in samples {
            let (mine, tmpfs) = (&mine[course], &samples[0][course]);
            let ratio = ratio(mine, tmpfs);
            let each_page = median(mine.clone()) * 4.0 / 1e3;
            print!(" **{ratio:.2}x** {each_page:.2} |");
        }
        println!();
    }
}
