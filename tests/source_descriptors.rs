//! Loading holds a bounded number of descriptors. Alone in its file: the limit is the whole process's.

mod source_support;

use norefs::source::{LoadOptions, LoadReport, load};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use source_support::*;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Makes a chain of directories called "down", with `more` empty directories and `links` names of
/// one file beside each.
fn build(dir: &Path, levels: u64, more: u64, links: u64) {
    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o755);
    let mut at = rustix::fs::open(dir, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "down", mode).unwrap();
        for number in 0..more {
            rustix::fs::mkdirat(&at, format!("d{number}"), mode).unwrap();
        }
        for number in 0..links {
            let name = format!("f{number}");
            rustix::fs::linkat(CWD, &file, &at, name, AtFlags::empty()).unwrap();
        }
        at = rustix::fs::openat(&at, "down", flags, Mode::empty()).unwrap();
    }
}

/// Loads with room for `descriptors` more than are open now.
fn load_with(descriptors: u64, threads: usize, dir: &Path) -> LoadReport {
    let before = getrlimit(Resource::Nofile);
    let lowest_free = rustix::fs::open("/", OFlags::CLOEXEC, Mode::empty()).unwrap();
    let limit = Rlimit {
        current: Some(lowest_free.as_raw_fd() as u64 + descriptors),
        ..before
    };
    drop(lowest_free);
    setrlimit(Resource::Nofile, limit).unwrap();
    let options = LoadOptions {
        strict: true,
        threads,
        ..LoadOptions::default()
    };
    let report = load(&empty(), dir, &options, &());
    setrlimit(Resource::Nofile, before).unwrap();
    report.unwrap()
}

#[test]
fn waiting_work_holds_no_descriptor() {
    let source = tempfile::tempdir().unwrap();
    build(source.path(), 200, 2, 0);
    let report = load_with(1 + 3 * 2, 2, source.path());
    assert_eq!(report.directories, 600);

    // Directories so large that parts of them wait; a second thread would take those at once.
    let source = tempfile::tempdir().unwrap();
    build(source.path(), 30, 0, 600);
    let report = load_with(1 + 3, 1, source.path());
    assert_eq!((report.directories, report.links), (30, 18_000));
}
