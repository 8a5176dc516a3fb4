//! Running the programs that people use.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// The Debian package that brings each program the tests run.
const PACKAGES: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("find", "findutils"),
    ("fusermount3", "fuse3"),
    ("getfattr", "attr"),
    ("diff", "diffutils"),
    ("git", "git"),
    ("make", "make"),
    ("script", "bsdutils"),
    ("setfattr", "attr"),
    ("tar", "tar"),
];

/// Runs `program` in `dir` and gives what it wrote on its standard output. It must succeed.
#[track_caller]
pub fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = attempt(dir, program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `program` in `dir`. It must be installed.
#[track_caller]
pub fn attempt(dir: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .envs([
            ("LC_ALL", "C"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ])
        .output();
    match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let package = PACKAGES.iter().find(|(name, _)| *name == program);
            let package = package.map_or("coreutils", |(_, package)| package);
            panic!("{program} is missing: install the package {package}")
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// Runs `script` with the shell in `dir` and gives what it wrote on its standard output. It must
/// succeed.
#[track_caller]
pub fn sh(dir: &Path, script: &str) -> String {
    run(dir, "sh", &["-euc", script])
}

/// Expects two texts to have the same lines in any order, and shows only those in which they differ.
#[track_caller]
pub fn same_lines(left: &str, right: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (left, right) = (sorted(left), sorted(right));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|line| those.binary_search(line).is_err())
            .cloned()
            .collect()
    };
    assert!(
        left == right,
        "only left: {:#?}\nonly right: {:#?}",
        only(&left, &right),
        only(&right, &left)
    );
}
