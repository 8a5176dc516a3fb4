//! What the suites did, told to the program that makes the table of `docs/SEMANTICS.md`.
//!
//! Whoever names a file in `MOUNT_TESTS_REPORT` finds lines of JSON in it afterwards, each a [`Record`]. Without the
//! variable nothing is told.

use crate::transport;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;

/// Names the file.
pub const VARIABLE: &str = "MOUNT_TESTS_REPORT";

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Parts of a suite passed, failed or were left out on a filesystem.
    Parts {
        /// `tmpfs`, `ring` or `device`.
        on: String,
        /// How many passed, failed and were skipped.
        counts: [u64; 3],
    },
    /// So many operations were done on a filesystem, and each did as it should.
    Operations {
        /// `tmpfs`, `ring` or `device`.
        on: String,
        /// How many.
        number: u64,
    },
    /// A test was left out.
    Skipped {
        /// Its name, as libtest writes it.
        test: String,
    },
    /// A test used norefs although tmpfs was asked for: it is about norefs.
    Particular {
        /// Its name, as libtest writes it.
        test: String,
    },
}

/// The filesystem that the environment asks for.
pub fn target() -> String {
    match on_tmpfs() {
        true => "tmpfs".to_owned(),
        false => transport::asked().to_string(),
    }
}

/// Whether the environment asks for a tmpfs instead of norefs.
pub fn on_tmpfs() -> bool {
    std::env::var_os("MOUNT_TESTS_ON").is_some_and(|on| on == "tmpfs")
}

/// Tells how many parts of a suite passed, failed and were skipped on a filesystem.
pub fn parts(on: &str, counts: [u64; 3]) {
    let on = on.to_owned();
    tell(&Record::Parts { on, counts });
}

/// Tells how many operations were done on a filesystem.
pub fn operations(on: &str, number: u64) {
    let on = on.to_owned();
    tell(&Record::Operations { on, number });
}

/// Tells that the test that runs on this thread was left out, and says why.
pub fn skipped(why: &str) {
    eprintln!("not tested: {why}");
    let test = test();
    tell(&Record::Skipped { test });
}

/// Tells that the test that runs on this thread is about norefs.
pub(crate) fn particular() {
    if on_tmpfs() {
        let test = test();
        tell(&Record::Particular { test });
    }
}

fn test() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

fn tell(record: &Record) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let line = serde_json::to_string(record).unwrap() + "\n";
    let file = File::options().append(true).create(true).open(path);
    file.unwrap().write_all(line.as_bytes()).unwrap();
}
