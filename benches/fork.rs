//! Copies of a tree, one and many at once: how long until they can be used, and what memory they take.
//!
//! ```text
//! cargo bench --bench fork                        50,000 and 500,000 files, 1 and 20 copies (root)
//! cargo bench --bench fork -- --files N --copies N --rounds N
//! cargo bench --bench fork -- --quick             a smoke run
//! ```
//!
//! The source is on a tmpfs of its own, a hundred files of a hundred bytes a directory. All ways take turns; the median counts. A copy can be used
//! when a file in it can be looked at. Memory of norefs is that of its processes (PSS), of `norefs fork` without the mount that is forked;
//! of the others it is by how much less the system has available.

use clap::Parser;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No more files than this are copied one by one.
const COPIED: u64 = 1_000_000;
/// No more than this are put under git.
const COMMITTED: u64 = 100_000;
const IN_DIRECTORY: u64 = 100;
const NOREFS: &str = env!("CARGO_BIN_EXE_norefs");

#[derive(Parser)]
struct Options {
    /// Files of the tree
    #[arg(long, value_delimiter = ',', default_value = "50000,500000")]
    files: Vec<u64>,
    /// How many copies are made at once, beside one alone
    #[arg(long, default_value_t = 20)]
    copies: usize,
    /// Turns of each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Few files, one turn: checks that everything works
    #[arg(long)]
    quick: bool,
    /// What cargo bench adds; without it (cargo test) the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Mount,
    Fork,
    Overlay,
    Copy,
    Worktree,
}

const WAYS: [(Way, &str); 5] = [
    (Way::Mount, "norefs mount"),
    (Way::Fork, "norefs fork"),
    (Way::Overlay, "overlayfs"),
    (Way::Copy, "cp -a to tmpfs"),
    (Way::Worktree, "git worktree add"),
];

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick || !options.bench {
        (options.files, options.copies, options.rounds) = (vec![1000], 3, 1);
    }
    if !rustix::process::geteuid().is_root() {
        println!("the copies are mounted by root");
        return Ok(());
    }
    for files in &options.files {
        let ground = Ground::new(*files)?;
        for copies in [1, options.copies] {
            measure(&ground, copies, options.rounds)?;
        }
    }
    Ok(())
}

/// Has all ways take turns, and prints what they took.
fn measure(ground: &Ground, copies: usize, rounds: usize) -> Fallible<()> {
    let mut took: Vec<Vec<(Duration, i64)>> = WAYS.map(|_| Vec::new()).to_vec();
    for _ in 0..rounds {
        for ((way, _), took) in WAYS.iter().zip(&mut took) {
            if ground.can(*way, copies) {
                took.push(ground.copy(*way, copies)?);
            }
        }
    }
    println!("\n{} files, {copies} at once", ground.files);
    for ((_, name), mut took) in WAYS.iter().zip(took) {
        if took.is_empty() {
            println!("{name:<18} {:>10} {:>10}", "-", "-");
            continue;
        }
        took.sort();
        let time = took[took.len() / 2].0.as_secs_f64();
        took.sort_by_key(|(_, memory)| *memory);
        let memory = took[took.len() / 2].1 as f64 / 1e6;
        println!("{name:<18} {time:>8.4} s {memory:>7.1} MB");
    }
    Ok(())
}

/// A tmpfs with a source and places for copies, and a mount that is forked. Dropping it takes everything away.
struct Ground {
    top: tempfile::TempDir,
    files: u64,
}

impl Ground {
    fn new(files: u64) -> Fallible<Ground> {
        let top = tempfile::Builder::new().prefix("norefs-fork-").tempdir()?;
        mount(
            "tmpfs",
            top.path(),
            "tmpfs",
            MountFlags::empty(),
            c"size=90%,nr_inodes=0",
        )?;
        let ground = Ground { top, files };
        for directory in 0..files.div_ceil(IN_DIRECTORY) {
            let path = ground
                .source()
                .join(format!("d{:02}/{directory:05}", directory % 32));
            fs::create_dir_all(&path)?;
            for file in 0..IN_DIRECTORY {
                fs::write(path.join(format!("file{file:03}")), [b'x'; 100])?;
            }
        }
        if files <= COMMITTED {
            let git =
                "git init -q && git add . && git -c user.name=n -c user.email=e commit -qm all";
            succeed(vec![spawn(
                Command::new("sh")
                    .args(["-c", git])
                    .current_dir(ground.source()),
            )?])?;
        }
        fs::create_dir(ground.base())?;
        let mut command = Command::new(NOREFS);
        command
            .args(["mount", "--no-warm"])
            .args([ground.source(), ground.base()]);
        succeed(vec![spawn(&mut command)?])?;
        Ok(ground)
    }

    fn source(&self) -> PathBuf {
        self.top.path().join("source")
    }

    fn base(&self) -> PathBuf {
        self.top.path().join("base")
    }

    fn can(&self, way: Way, copies: usize) -> bool {
        match way {
            Way::Copy => self.files * copies as u64 <= COPIED,
            Way::Worktree => self.files <= COMMITTED,
            _ => true,
        }
    }

    /// Makes copies, and takes them away again. How long they took, and memory, in bytes.
    fn copy(&self, way: Way, copies: usize) -> Fallible<(Duration, i64)> {
        let places: Vec<PathBuf> = (0..copies)
            .map(|number| self.top.path().join(format!("copy{number}")))
            .collect();
        for place in &places {
            for name in ["upper", "work", "at"] {
                fs::create_dir_all(place.join(name))?;
            }
        }
        let before = self.memory(way, &[])?;
        let began = Instant::now();
        let making = places
            .iter()
            .map(|place| spawn(&mut self.command(way, place)));
        succeed(making.collect::<Fallible<Vec<_>>>()?)?;
        for place in &places {
            fs::metadata(place.join("at/d00/00000/file007"))?;
        }
        let took = began.elapsed();
        let memory = self.memory(way, &places)? - before;
        for place in &places {
            let at = place.join("at");
            match way {
                Way::Mount | Way::Fork => {
                    succeed(vec![spawn(
                        Command::new(NOREFS).args(["umount", "--discard"]).arg(at),
                    )?])?;
                }
                Way::Overlay => unmount(at, UnmountFlags::empty())?,
                Way::Worktree => succeed(vec![spawn(
                    Command::new("git")
                        .args(["worktree", "remove", "--force"])
                        .arg(at)
                        .current_dir(self.source()),
                )?])?,
                Way::Copy => {}
            }
            fs::remove_dir_all(place)?;
        }
        Ok((took, memory))
    }

    fn command(&self, way: Way, place: &Path) -> Command {
        let at = place.join("at");
        let program = match way {
            Way::Mount | Way::Fork => NOREFS,
            Way::Overlay => "mount",
            Way::Copy => "cp",
            Way::Worktree => "git",
        };
        let mut command = Command::new(program);
        let (source, shown) = (self.source(), place.display());
        match way {
            Way::Mount => command.args(["mount", "--no-warm"]).args([source, at]),
            Way::Fork => command.arg("fork").args([self.base(), at]),
            Way::Overlay => {
                let lower = source.display();
                let options =
                    format!("lowerdir={lower},upperdir={shown}/upper,workdir={shown}/work");
                command
                    .args(["-t", "overlay", "overlay", "-o", &options])
                    .arg(at)
            }
            Way::Copy => command.arg("-a").arg(source.join(".")).arg(at),
            Way::Worktree => command
                .args(["worktree", "add", "-q", "--detach"])
                .arg(at)
                .current_dir(source),
        };
        command
    }

    /// Bytes: of norefs those of the copies at `places`, and of what is forked; of others what is not available.
    fn memory(&self, way: Way, places: &[PathBuf]) -> Fallible<i64> {
        let copies = places.iter().map(|place| place.join("at"));
        match way {
            Way::Mount => copies.map(|at| shared(&at)).sum(),
            Way::Fork => copies.chain([self.base()]).map(|at| shared(&at)).sum(),
            _ => {
                let text = fs::read_to_string("/proc/meminfo")?;
                Ok(-number_behind(&text, "MemAvailable:")? * 1024)
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for at in [self.base(), self.top.path().to_owned()] {
            while unmount(&at, UnmountFlags::DETACH).is_ok() {}
        }
    }
}

/// Bytes of the process that serves the mount at `at`, each page shared among those who have it.
fn shared(at: &Path) -> Fallible<i64> {
    let stats = Command::new(NOREFS)
        .args(["stats", "--json"])
        .arg(at)
        .output()?;
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout)?;
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", stats["pid"]))?;
    Ok(number_behind(&text, "Pss:")? * 1024)
}

fn number_behind(text: &str, name: &str) -> Fallible<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the kernel does not tell")?.parse()?)
}

fn spawn(command: &mut Command) -> Fallible<Child> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

fn succeed(children: Vec<Child>) -> Fallible<()> {
    for mut child in children {
        if !child.wait()?.success() {
            return Err("a command failed".into());
        }
    }
    Ok(())
}
