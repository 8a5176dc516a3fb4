//! Running the programs that people use.

use crate::report;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The Debian package that brings each program the tests run.
const PACKAGES: &[(&str, &str)] = &[
    ("borg", "borgbackup"),
    ("cc", "gcc"),
    ("chattr", "e2fsprogs"),
    ("cmake", "cmake"),
    ("cmp", "diffutils"),
    ("dbench", "dbench"),
    ("diff", "diffutils"),
    ("fallocate", "util-linux"),
    ("find", "findutils"),
    ("fio", "fio"),
    ("flock", "util-linux"),
    ("fusermount3", "fuse3"),
    ("getfattr", "attr"),
    ("getfacl", "acl"),
    ("git", "git"),
    ("lsattr", "e2fsprogs"),
    ("hg", "mercurial"),
    ("make", "make"),
    ("postmark", "postmark"),
    ("prometheus", "prometheus"),
    ("python3", "python3"),
    ("restic", "restic"),
    ("rsync", "rsync"),
    ("script", "bsdutils"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("stress-ng", "stress-ng"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];

/// Whether a program is there that not everybody who runs the tests has to have. A test of it says so and passes if
/// it is not.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !found {
        report::skipped(&format!("{program} is missing"));
    }
    found
}

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

/// As [`run`], for a program that is told what to do on its standard input.
#[track_caller]
pub fn run_with_input(dir: &Path, program: &str, input: &str) -> String {
    let mut command = command(dir, program, &[]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = started(program, pipes.spawn());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program}: {}\n{said}",
        output.status
    );
    said
}

/// Runs `program` in `dir`. It must be installed.
#[track_caller]
pub fn attempt(dir: &Path, program: &str, arguments: &[&str]) -> Output {
    started(program, command(dir, program, arguments).output())
}

fn command(dir: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir).envs([
        ("LC_ALL", "C"),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
    ]);
    command
}

/// What became of starting `program`, or which package is missing.
#[track_caller]
fn started<T>(program: &str, outcome: std::io::Result<T>) -> T {
    match outcome {
        Ok(started) => started,
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

#[cfg(test)]
mod tests {
    use super::PACKAGES;

    #[test]
    fn the_script_for_all_tests_installs_every_package() {
        let script = include_str!("../all");
        let (_, list) = script.split_once("needed=\"").unwrap();
        let (list, _) = list.split_once('"').unwrap();
        let pairs = list.split_whitespace();
        let installed: Vec<&str> = pairs
            .filter_map(|pair| Some(pair.split_once(':')?.1))
            .collect();
        for (program, package) in PACKAGES {
            assert!(installed.contains(package), "{package} brings {program}");
        }
    }
}
