//! The public suite pjdfstest: each of its tests that passes on tmpfs passes on norefs.

use mount_tests::{Daemon, Scratch, Tmpfs, installed, report, suites, transport};
use std::collections::BTreeMap;
use std::fs::write;
use std::path::{Path, PathBuf};

const VERSION: &str = "0.2.2";

/// Users that every Linux has, and a nap longer than the coarsest clock of a kernel stands still.
const SETTINGS: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utimensat = {}
utime_now = {}

[settings]
naptime = 0.011
allow_remount = REMOUNT

[dummy_auth]
entries = [["daemon", "daemon"], ["bin", "bin"]]
"#;

/// What became of one test of the suite.
#[derive(Debug, Default)]
struct Verdict {
    /// `ok`, `FAILED` or `skipped`.
    outcome: String,
    /// Why, if the suite says so.
    remarks: Vec<String>,
}

type Verdicts = BTreeMap<String, Verdict>;

struct Suite {
    program: PathBuf,
    scratch: Scratch,
}

impl Suite {
    fn new() -> Suite {
        let suite = Suite {
            program: suites::program(env!("CARGO_TARGET_TMPDIR"), "pjdfstest", VERSION),
            scratch: Scratch::new(),
        };
        suite.scratch.dir("elsewhere");
        suite
    }

    /// Runs the whole suite in `root`. What remounts it runs in a process of its own: the rest leaves files open, and a
    /// mount with a file open for writing cannot become read-only.
    fn verdicts(&self, root: &Path) -> Verdicts {
        let mut verdicts = self.run(root, false, &[]);
        verdicts.extend(self.run(root, true, &["erofs"]));
        verdicts
    }

    fn run(&self, root: &Path, remount: bool, patterns: &[&str]) -> Verdicts {
        let settings = self.scratch.join("settings.toml");
        write(&settings, SETTINGS.replace("REMOUNT", &remount.to_string())).unwrap();
        let run = installed(&["norefs"], &self.scratch)
            .arg(&self.program)
            .args(["-c".as_ref(), settings.as_os_str()])
            .args(["-s".as_ref(), self.scratch.join("elsewhere").as_os_str()])
            .args(["-p".as_ref(), root.as_os_str()])
            .args(patterns)
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&run.stdout);
        let complete = report.contains("\nSummary: ");
        assert!(complete, "{report}{}", String::from_utf8_lossy(&run.stderr));
        parse(&report)
    }
}

/// Reads what the suite writes: a line for each test, its name and its outcome; then remarks, indented.
fn parse(report: &str) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let mut last = String::new();
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, outcome @ ("ok" | "FAILED" | "skipped")] if !line.starts_with('\t') => {
                last = name.to_owned();
                verdicts.entry(last.clone()).or_default().outcome = outcome.to_owned();
            }
            _ => {
                if let Some(verdict) = verdicts.get_mut(&last) {
                    verdict.remarks.push(line.trim().to_owned());
                }
            }
        }
    }
    verdicts
}

/// Tells how many tests passed, failed and were skipped.
fn tell(on: &str, verdicts: &Verdicts) {
    let outcomes = ["ok", "FAILED", "skipped"];
    report::parts(
        on,
        outcomes.map(|outcome| {
            let with = verdicts
                .values()
                .filter(|verdict| verdict.outcome == outcome);
            with.count() as u64
        }),
    );
}

/// How many tests passed whose name contains `part`.
fn passed(verdicts: &Verdicts, part: &str) -> usize {
    verdicts
        .iter()
        .filter(|(name, verdict)| verdict.outcome == "ok" && name.contains(part))
        .count()
}

#[test]
fn what_passes_on_tmpfs_passes() {
    compare("kernel");
}

#[test]
fn what_passes_on_tmpfs_passes_where_norefs_decides() {
    compare("daemon");
}

/// Runs the suite on tmpfs and on norefs, where `decider` decides about permissions.
fn compare(decider: &str) {
    let suite = Suite::new();
    let expected = suite.verdicts(&Tmpfs::new());
    tell("tmpfs", &expected);
    let (all, read_only) = (passed(&expected, ""), passed(&expected, "erofs"));
    assert!(
        all >= 390 && read_only >= 13,
        "only {all} tests pass on tmpfs, {read_only} of them on a read-only one: {:#?}",
        expected
            .iter()
            .filter(|(_, verdict)| verdict.outcome != "ok")
            .collect::<Vec<_>>()
    );
    for transport in transport::each() {
        let options = format!("allow_other,permissions={decider}");
        let mount = Daemon::on(transport, &["-o", &options]);
        let verdicts = suite.verdicts(mount.root());
        tell(&transport.to_string(), &verdicts);
        let worse: Vec<_> = expected
            .iter()
            .filter(|(_, verdict)| verdict.outcome == "ok")
            .map(|(name, _)| (name, &verdicts[name]))
            .filter(|(_, verdict)| verdict.outcome != "ok")
            .collect();
        assert!(worse.is_empty(), "{transport}, {options}: {worse:#?}");
    }
}
