//! Running the programs that people use.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// The Debian package that brings each program the tests run.
const PACKAGES: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("cmp", "diffutils"),
    ("diff", "diffutils"),
    ("fallocate", "util-linux"),
    ("find", "findutils"),
    ("flock", "util-linux"),
    ("fusermount3", "fuse3"),
    ("getfattr", "attr"),
    ("getfacl", "acl"),
    ("git", "git"),
    ("make", "make"),
    ("python3", "python3"),
    ("rsync", "rsync"),
    ("script", "bsdutils"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("stress-ng", "stress-ng"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];

/// Whether a program that `.ci/run` does not install is there. A test of it says so and passes if
/// it is not.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !found {
        eprintln!("not tested: {program} is missing");
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

#[cfg(test)]
mod tests {
    use super::PACKAGES;

    #[test]
    fn ci_installs_every_package() {
        let ci = include_str!("../../.ci/run");
        let line = ci.lines().find(|line| line.starts_with("packages=("));
        let installed: Vec<&str> = line.unwrap().split(&['(', ')', ' ']).collect();
        for (program, package) in PACKAGES {
            assert!(installed.contains(package), "{package} brings {program}");
        }
    }
}
