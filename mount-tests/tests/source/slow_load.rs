//! Loading a source whose calls take long: as many are under way at once as are worth it, and what is loaded is the same.

use mount_tests::{Daemon, Shape, SlowSource};

use norefs::fs::{Config, Fs};
use norefs::source::{LoadOptions, LoadReport, load};
use norefs::tree::{Attr, Kind, Time};
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls that must have been under way at once at some time, where 64 may be.
const MANY: usize = 48;

fn options(threads: usize) -> LoadOptions {
    LoadOptions {
        strict: true,
        threads,
        ..LoadOptions::default()
    }
}

fn load_with(source: &Path, options: &LoadOptions) -> LoadReport {
    let config = Config {
        max_bytes: u64::MAX,
        max_inodes: u64::MAX,
        read_only: true,
    };
    let root = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
    load(&Fs::new(config, root).unwrap(), source, options, &()).unwrap()
}

fn shape(directories: u32, files: u32) -> Shape {
    Shape {
        directories,
        files,
        ..Shape::default()
    }
}

/// Mounts what a source of this shape gives while each of its calls takes `latency`. Everything must be there, and the most
/// calls at once are returned.
fn most_under_way(shape: &Shape, latency: Duration) -> usize {
    let source = SlowSource::new(shape.clone());
    source.set_latency(latency);
    source.take_most_waiting();
    let mount = Daemon::with(&[source.to_str().unwrap()]);
    let most = source.take_most_waiting();
    source.set_latency(Duration::ZERO);
    for directory in 0..shape.directories {
        let listed = std::fs::read_dir(mount.path(SlowSource::directory(directory))).unwrap();
        assert_eq!(listed.count(), shape.files as usize);
        let path = SlowSource::file(directory, shape.files - 1);
        let content = std::fs::read(mount.path(path)).unwrap();
        assert!(content == source.content(directory, shape.files - 1));
    }
    most
}

#[test]
fn small_directories_are_read_beside_each_other() {
    let most = most_under_way(&shape(300, 4), Duration::from_millis(5));
    assert!(most >= MANY, "{most} calls at once");
}

#[test]
fn the_names_of_one_directory_are_asked_for_beside_each_other() {
    let most = most_under_way(&shape(1, 500), Duration::from_millis(5));
    assert!(most >= MANY, "{most} calls at once");
}

#[test]
fn a_few_names_are_not_left_to_one_thread() {
    // Each of the first threads looks at 16 calls before there are more: so many are left however those fall.
    let most = most_under_way(&shape(1, 48), Duration::from_millis(200));
    assert!(most >= 16, "{most} calls at once");
}

#[test]
fn no_more_threads_are_made_than_were_allowed() {
    let source = SlowSource::new(shape(3, 40));
    source.set_latency(Duration::from_millis(2));
    for threads in [1, 2, 7] {
        source.take_most_waiting();
        let report = load_with(&source, &options(threads));
        let most = source.take_most_waiting();
        assert_eq!((report.directories, report.files), (3, 120));
        assert!(
            most <= threads,
            "{threads} threads made {most} calls at once"
        );
    }
}

#[test]
fn where_calls_wait_no_longer_the_cpus_are_enough() {
    let source = SlowSource::new(shape(40, 20));
    source.set_latency(Duration::from_millis(3));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load_with(&source, &options(0)));
        assert!(mount_tests::wait_until(|| source.waiting() > 8));
        source.set_latency(Duration::ZERO);
        assert_eq!(loading.join().unwrap().files, 800);
    });
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_error_ends_the_load_without_the_rest() {
    let slow = SlowSource::new(shape(20, 200));
    slow.set_latency(Duration::from_millis(20));
    let config = Config {
        max_bytes: u64::MAX,
        max_inodes: 300,
        read_only: true,
    };
    let root = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
    let full = load(&Fs::new(config, root).unwrap(), &slow, &options(0), &());
    assert!(full.is_err(), "4,000 files, and room for 300");
    let calls = slow.calls();
    assert!(calls < 2_000, "{calls} calls were made all the same");
}

/// What loading 15,700 entries takes with one thread and as it is; `--nocapture` shows it.
#[test]
#[ignore = "takes half a minute, and measures"]
fn a_source_of_one_millisecond_a_call() {
    let source = SlowSource::new(shape(700, 22));
    source.set_latency(Duration::from_millis(1));
    let mut serial = Vec::new();
    let mut now = Vec::new();
    for _ in 0..3 {
        for (threads, took) in [(0, &mut now), (1, &mut serial)] {
            // The kernel forgets names after a second.
            std::thread::sleep(Duration::from_millis(1500));
            let before = source.calls();
            let report = load_with(&source, &options(threads));
            assert_eq!(report.entries, 700 * 23);
            println!(
                "{threads} threads: {:?}, {} calls, {} at once",
                report.elapsed,
                source.calls() - before,
                source.take_most_waiting()
            );
            took.push(report.elapsed.as_secs_f64());
        }
    }
    let median = |took: &mut Vec<f64>| {
        took.sort_by(f64::total_cmp);
        took[took.len() / 2]
    };
    let (serial, now) = (median(&mut serial), median(&mut now));
    println!(
        "serial {serial:.2} s, now {now:.2} s: {:.1} times faster",
        serial / now
    );
}
