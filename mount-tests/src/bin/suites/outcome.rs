//! What one run of tests came to.

use mount_tests::report::Record;
use std::collections::{BTreeMap, BTreeSet};

/// Of one suite on one filesystem, or of several runs of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests by name, and whether each passed.
    pub tests: BTreeMap<String, bool>,
    /// Tests that were left out.
    pub skipped: BTreeSet<String>,
    /// How many parts passed, failed and were skipped, as told.
    pub parts: [u64; 3],
    /// How many operations were done, as told.
    pub operations: u64,
}

impl Outcome {
    /// Reads what libtest prints: a line for each test. `file` sets its names apart from those of other files.
    pub fn of_libtest(file: &str, said: &str) -> Outcome {
        let tests = said.lines().filter_map(|line| {
            let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
            let passed = match verdict {
                "ok" => true,
                "FAILED" => false,
                _ => return None,
            };
            Some((format!("{file}::{name}"), passed))
        });
        Outcome {
            tests: tests.collect(),
            ..Outcome::default()
        }
    }

    /// Adds what the tests of `file` told about the filesystem called `on`.
    pub fn take(&mut self, file: &str, on: &str, records: &[Record]) {
        for record in records {
            match record {
                Record::Parts { on: there, counts } if there == on => {
                    self.parts
                        .iter_mut()
                        .zip(counts)
                        .for_each(|(sum, n)| *sum += n);
                }
                Record::Operations { on: there, number } if there == on => {
                    self.operations += number;
                }
                Record::Skipped { test } => {
                    let name = format!("{file}::{test}");
                    if self.tests.remove(&name).is_some() {
                        self.skipped.insert(name);
                    }
                }
                // What is about norefs says nothing of tmpfs.
                Record::Particular { test } => {
                    self.tests.remove(&format!("{file}::{test}"));
                }
                Record::Parts { .. } | Record::Operations { .. } => {}
            }
        }
    }

    /// Adds another file's tests.
    pub fn add(&mut self, other: Outcome) {
        self.tests.extend(other.tests);
        self.skipped.extend(other.skipped);
        self.parts
            .iter_mut()
            .zip(other.parts)
            .for_each(|(sum, n)| *sum += n);
        self.operations += other.operations;
    }

    /// Whether no test was run, and none left out.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.skipped.is_empty()
    }

    /// The tests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &String> {
        self.tests
            .iter()
            .filter(|(_, passed)| !**passed)
            .map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\nrunning 4 tests\ntest a ... ok\ntest inner::b ... FAILED\ntest c ... ignored, takes minutes\n\
        test d ... ok\n\nfailures:\n\n---- inner::b stdout ----\ntest is what it says\n";

    #[test]
    fn lines_of_tests_are_read() {
        let outcome = Outcome::of_libtest("file", SAID);
        let expected = [
            ("file::a", true),
            ("file::d", true),
            ("file::inner::b", false),
        ];
        let expected = expected.map(|(name, passed)| (name.to_owned(), passed));
        assert_eq!(outcome.tests, BTreeMap::from(expected));
        assert_eq!(outcome.failed().collect::<Vec<_>>(), ["file::inner::b"]);
    }

    #[test]
    fn what_was_told_counts_where_it_was_done() {
        let mut outcome = Outcome::of_libtest("file", SAID);
        let on = |on: &str| on.to_owned();
        let told = [
            Record::Operations {
                on: on("ring"),
                number: 5,
            },
            Record::Operations {
                on: on("tmpfs"),
                number: 7,
            },
            Record::Parts {
                on: on("ring"),
                counts: [1, 2, 3],
            },
            Record::Parts {
                on: on("ring"),
                counts: [1, 0, 0],
            },
            Record::Skipped { test: "a".into() },
            Record::Particular {
                test: "inner::b".into(),
            },
        ];
        outcome.take("file", "ring", &told);
        assert_eq!((outcome.operations, outcome.parts), (5, [2, 2, 3]));
        assert_eq!(outcome.skipped.iter().collect::<Vec<_>>(), ["file::a"]);
        assert_eq!(outcome.tests.keys().collect::<Vec<_>>(), ["file::d"]);
    }
}
