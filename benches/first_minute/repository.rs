//! A repository with two branches.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

pub const MAIN: &str = "main";
/// The branch that differs.
pub const BRANCH: &str = "other";

const IN_DIRECTORY: usize = 30;
/// How many files differ on the other branch, at most.
const CHANGED: usize = 3_000;
/// Bytes of a file, in turn: most files of a repository are small.
const SIZES: [usize; 8] = [300, 700, 1_200, 2_000, 3_000, 4_500, 9_000, 20_000];

/// Builds one of `files` files in the empty directory `root`; its index knows them.
pub fn build(root: &Path, files: usize) -> anyhow::Result<()> {
    for number in 0..files {
        write(root, number, "main")?;
    }
    git(root, &["init", "--quiet", "--initial-branch", MAIN])?;
    commit(root)?;
    git(root, &["checkout", "--quiet", "-b", BRANCH])?;
    let step = (files / CHANGED).max(1);
    for number in (0..files).step_by(step).take(CHANGED) {
        write(root, number, "other")?;
    }
    commit(root)?;
    git(root, &["checkout", "--quiet", MAIN])?;
    // The index does not trust files that are as young as itself.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    git(root, &["update-index", "--refresh"]).map(drop)
}

fn write(root: &Path, number: usize, word: &str) -> std::io::Result<()> {
    let directory = number / IN_DIRECTORY;
    let directory = root
        .join(format!("part{}", directory / 40))
        .join(format!("module{directory}"));
    std::fs::create_dir_all(&directory)?;
    let file = std::fs::File::create(directory.join(format!("file{number}.c")))?;
    let mut file = BufWriter::new(file);
    for line in 0..SIZES[number % SIZES.len()] / 30 {
        writeln!(file, "static int {word}_{number}_{line};")?;
    }
    file.flush()
}

fn commit(root: &Path) -> anyhow::Result<()> {
    git(root, &["add", "--all"])?;
    git(root, &["commit", "--quiet", "--message", "All files"]).map(drop)
}

/// Runs git without anybody's configuration, and gives what it says.
pub fn git(tree: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let who = [
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@localhost",
        "-c",
        "gc.auto=0",
    ];
    let output = Command::new("git")
        .args(who)
        .args(arguments)
        .current_dir(tree)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "git {arguments:?}: {complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
