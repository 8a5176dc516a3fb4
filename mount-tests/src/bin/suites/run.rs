//! Runs a suite where it can be run.

use crate::outcome::Outcome;
use crate::plan::{Counts, Places, Suite};
use mount_tests::report::{self, Record};
use mount_tests::transport::{self, Transport};
use std::fs::read_to_string;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The columns of the table.
pub const COLUMNS: [&str; 3] = ["tmpfs", "ring", "device"];

/// What became of a suite, column by column; nothing where it was not run.
pub struct Results {
    pub name: &'static str,
    pub counts: Counts,
    pub columns: [Option<Outcome>; 3],
}

impl Results {
    /// What failed on norefs and did not on tmpfs.
    pub fn worse_than_tmpfs(&self) -> Vec<String> {
        let [tmpfs, norefs @ ..] = &self.columns;
        let on_tmpfs = |name: &String| tmpfs.as_ref()?.tests.get(name).copied();
        let mut worse = Vec::new();
        for (outcome, on) in norefs.iter().zip(&COLUMNS[1..]) {
            let Some(outcome) = outcome else { continue };
            let failed = outcome.failed();
            let failed = failed.filter(|name| on_tmpfs(name) != Some(false));
            worse.extend(failed.map(|name| format!("{name} on the {on}")));
            if outcome.is_empty() {
                worse.push(format!("{} did not run on the {on}", self.name));
            }
        }
        worse
    }
}

/// Runs `suite` in each place that it can be run in.
pub fn everywhere(suite: &Suite, long: bool) -> Results {
    let transports = transport::each();
    let can = |column: &str| match column {
        "tmpfs" => suite.places != Places::Norefs,
        "ring" => transports.contains(&Transport::Ring),
        _ => transports.contains(&Transport::Device),
    };
    let at_once = (suite.places == Places::AtOnce).then(|| files(suite, long, None));
    let columns = COLUMNS.map(|column| {
        can(column).then(|| match &at_once {
            Some(ran) => outcome(ran, column),
            None => outcome(&files(suite, long, Some(column)), column),
        })
    });
    Results {
        name: suite.name,
        counts: suite.counts,
        columns,
    }
}

/// What a file of tests printed and told.
struct Ran {
    file: &'static str,
    said: String,
    records: Vec<Record>,
}

/// What files of tests came to on the filesystem of a column.
fn outcome(ran: &[Ran], column: &str) -> Outcome {
    let mut whole = Outcome::default();
    for Ran {
        file,
        said,
        records,
    } in ran
    {
        let (binary, _) = file.split_once("::").unwrap_or((file, ""));
        let mut outcome = Outcome::of_libtest(binary, said);
        outcome.take(binary, column, records);
        whole.add(outcome);
    }
    whole
}

/// Runs each file of the suite with the mounts of a column, or with those that it makes by itself.
fn files(suite: &Suite, long: bool, column: Option<&str>) -> Vec<Ran> {
    let start = Instant::now();
    let run = |file: &&'static str| {
        let told = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = cargo(suite, file, long);
        command.env(report::VARIABLE, told.path());
        match column {
            Some("tmpfs") => command.env("MOUNT_TESTS_ON", "tmpfs"),
            Some(transport) => command.env("MOUNT_TESTS_TRANSPORT", transport),
            None => &mut command,
        };
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            eprintln!("{said}");
        }
        let records = read_to_string(told.path()).expect("what was told");
        let records = records
            .lines()
            .map(|line| serde_json::from_str(line).expect("a record"));
        Ran {
            file,
            said,
            records: records.collect(),
        }
    };
    let ran = suite.files.iter().map(run).collect();
    let on = column.unwrap_or("each filesystem");
    eprintln!("{} on {on}: {} s", suite.name, start.elapsed().as_secs());
    ran
}

/// The command that runs the suite's tests of one binary, or of one module of it.
fn cargo(suite: &Suite, file: &str, long: bool) -> Command {
    let (binary, module) = match file.split_once("::") {
        Some((binary, module)) => (binary, format!("{module}::")),
        None => (file, String::new()),
    };
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--locked", "--package=mount-tests"]);
    command.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    for variable in [
        "MOUNT_TESTS_ON",
        "MOUNT_TESTS_TRANSPORT",
        "MOUNT_TESTS_PERMISSIONS",
    ] {
        command.env_remove(variable);
    }
    command.envs(suite.environment.iter().copied());
    // libtest names the threads of its tests only if there are several.
    command.args([
        "--test",
        binary,
        "--",
        "--format=pretty",
        "--test-threads=2",
    ]);
    let tests = match long && !suite.long.is_empty() {
        true => suite.long,
        false => suite.tests,
    };
    if long || !tests.is_empty() {
        command.arg("--include-ignored");
    }
    if tests.is_empty() {
        command.arg(module);
    } else {
        let names = tests.iter().map(|test| format!("{module}{test}"));
        command.arg("--exact").args(names);
    }
    if long {
        command.env("MOUNT_TESTS_PATIENCE", "3600");
        command.envs(suite.long_environment.iter().copied());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(said: [Option<&str>; 3]) -> Vec<String> {
        let outcome = |said: &str| Outcome::of_libtest("file", said);
        let results = Results {
            name: "suite",
            counts: Counts::Tests,
            columns: said.map(|said| said.map(outcome)),
        };
        results.worse_than_tmpfs()
    }

    #[test]
    fn only_what_passes_on_tmpfs_must_pass() {
        let (good, bad) = ("test a ... ok\n", "test a ... FAILED\n");
        let none: [&str; 0] = [];
        assert_eq!(results([Some(good), Some(good), Some(good)]), none);
        assert_eq!(results([Some(bad), Some(bad), Some(good)]), none);
        let worse = ["file::a on the device"];
        assert_eq!(results([Some(good), Some(good), Some(bad)]), worse);
        assert_eq!(results([None, None, Some(bad)]), worse);
    }

    #[test]
    fn a_suite_that_does_not_run_is_told_of() {
        let said = results([Some("test a ... ok\n"), Some(""), None]);
        assert_eq!(said, ["suite did not run on the ring"]);
    }
}
