//! The public suite fsx: random reads, writes, maps, holes, copies and cuts of one file, whose content is known at each
//! step. fsx begins by emptying its file or filling it with zeros; `known_content.rs` reads what a source holds. The long runs, of
//! ten seeds with 100 000 steps for each file:
//! `MOUNT_TESTS_PATIENCE=3600 cargo test --release -p mount-tests --test suites fsx:: -- --ignored`.

use mount_tests::{Daemon, Scratch, report, suites};
use std::fs::{read, write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VERSION: &str = "0.3.2";

/// Bytes the file may have: several chunks, and not all of the last one.
const LENGTH: usize = 600_001;

/// Steps of any length, which go over the ends of chunks.
const SIZES: &str = "[opsize]\nmin = 1\nmax = 100000\n";

/// Steps that leave the size of the file alone.
const WITHIN: &str = "[weights]\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\ninvalidate = 2\nfsync = 1\n\
    fdatasync = 1\npunch_hole = 5\nsendfile = 5\nposix_fadvise = 5\n";

/// Those that do not; a copy may write beyond the end.
const BEYOND: &str = "truncate = 5\nposix_fallocate = 2\nclose_open = 3\ncopy_file_range = 5\n";

/// How the file begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// As a new file, or cut to nothing.
    Empty,
    /// With the size it has and keeps.
    Whole,
}

struct Fsx {
    program: PathBuf,
    scratch: Scratch,
}

impl Fsx {
    fn new() -> Fsx {
        Fsx {
            program: suites::program(env!("CARGO_TARGET_TMPDIR"), "fsx", VERSION),
            scratch: Scratch::new(),
        }
    }

    /// Takes `steps` on `file`, with `more` arguments.
    fn attempt(&self, file: &Path, start: Start, seed: u64, steps: u64, more: &[&str]) -> Output {
        // Every other run leaves what it wrote through a map to the kernel, to be written some time later.
        let late = seed % 2 == 1;
        let head = format!("flen = {LENGTH}\nnomsyncafterwrite = {late}\n");
        let settings = match start {
            Start::Empty => format!("{head}{SIZES}{WITHIN}{BEYOND}"),
            Start::Whole => format!(
                "{head}blockmode = true\n{SIZES}{WITHIN}truncate = 0\ncopy_file_range = 5\n"
            ),
        };
        let path = self.scratch.join(format!("{start:?}{seed}.toml"));
        write(&path, settings).unwrap();
        Command::new(&self.program)
            .arg("-f")
            .arg(path)
            .arg("-P")
            .arg(&*self.scratch)
            .args(["-S", &seed.to_string(), "-N", &steps.to_string()])
            .args(more)
            .arg(file)
            .output()
            .unwrap()
    }

    /// Takes `steps` on `file`, which must do as files do.
    fn exercise(&self, file: &Path, start: Start, seed: u64, steps: u64) {
        let run = self.attempt(file, start, seed, steps, &[]);
        let report = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{start:?}, seed {seed}: {report}");
    }
}

/// A mount of which the kernel caches nothing but pages for each third seed.
fn options(seed: u64) -> &'static str {
    match seed % 3 {
        2 => "allow_other,cache=none",
        _ => "allow_other",
    }
}

fn files_in_memory(seeds: Range<u64>, steps: u64) {
    let fsx = Fsx::new();
    for seed in seeds {
        let mount = match options(seed).contains("none") {
            true => Daemon::without_cache(),
            false => Daemon::start(),
        };
        fsx.exercise(&mount.path("file"), Start::Empty, seed, steps);
        report::operations(&report::target(), steps);
    }
}

fn files_of_a_source(seeds: Range<u64>, steps: u64) {
    let fsx = Fsx::new();
    let source = Scratch::new();
    let content: Vec<u8> = (0..LENGTH).map(|at| (at / 7) as u8).collect();
    for name in ["cut", "whole"] {
        write(source.join(name), &content).unwrap();
    }
    for seed in seeds {
        let mount = Daemon::with(&["-o", options(seed), source.to_str().unwrap()]);
        fsx.exercise(&mount.path("cut"), Start::Empty, seed, steps);
        fsx.exercise(&mount.path("whole"), Start::Whole, seed, steps);
        report::operations(&report::target(), 2 * steps);
        for name in ["cut", "whole"] {
            assert!(
                read(source.join(name)).unwrap() == content,
                "seed {seed} changed the source"
            );
        }
    }
}

#[test]
fn a_file_in_memory() {
    files_in_memory(0..3, 5_000);
}

#[test]
fn a_file_of_a_source() {
    files_of_a_source(3..6, 2_500);
}

#[test]
fn a_step_left_out_is_noticed() {
    let (fsx, mount) = (Fsx::new(), Daemon::start());
    let run = fsx.attempt(
        &mount.path("file"),
        Start::Empty,
        1,
        1_000,
        &["--inject", "400"],
    );
    assert_eq!(run.status.code(), Some(1));
}

#[test]
#[ignore = "takes minutes"]
fn a_file_in_memory_for_long() {
    files_in_memory(10..20, 100_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_file_of_a_source_for_long() {
    files_of_a_source(20..30, 100_000);
}
