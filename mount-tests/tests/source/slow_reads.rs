//! Sources that take their time over each call: nobody waits who needs none of it.

use mount_tests::posix::forced;
use mount_tests::transport::each;
use mount_tests::{Call, Daemon, Scratch, Shape, SlowSource, wait_until};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// As long as a call may take while nothing is to wait for it.
const HOUR: Duration = Duration::from_secs(3600);
/// Far more than an answer takes, and less than a call of the source.
const AT_ONCE: Duration = Duration::from_secs(2);
const READERS: u32 = 40;

fn source() -> SlowSource {
    SlowSource::new(Shape {
        files: 100,
        ttl: Duration::ZERO,
        ..Shape::default()
    })
}

fn mounted(
    transport: mount_tests::transport::Transport,
    options: &str,
    source: &SlowSource,
) -> Daemon {
    Daemon::on(transport, &["-o", options, source.to_str().unwrap()])
}

/// Does `work`, which must not wait for the source.
#[track_caller]
fn at_once<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    let took = began.elapsed();
    assert!(took < AT_ONCE, "{what}: {took:?}");
    done
}

/// Reads that wait, as long as the source says.
fn readers(
    mount: &Daemon,
    source: &SlowSource,
    files: std::ops::Range<u32>,
) -> Vec<std::thread::JoinHandle<()>> {
    let paths: Vec<PathBuf> = files
        .clone()
        .map(|n| mount.path(SlowSource::file(0, n)))
        .collect();
    let contents: Vec<Vec<u8>> = files.map(|n| source.content(0, n)).collect();
    paths
        .into_iter()
        .zip(contents)
        .map(|(path, content)| {
            std::thread::spawn(move || assert_eq!(fs::read(path).unwrap(), content))
        })
        .collect()
}

fn stats_are_at_once(mount: &Daemon) {
    for n in 0..100 {
        at_once("stat", || forced(mount.path(SlowSource::file(0, n))));
        at_once("stat of the directory", || forced(mount.path("d00000")));
    }
}

fn end_well(reading: Vec<std::thread::JoinHandle<()>>) {
    reading
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}

/// Stats beside reads that wait, once `slow` has made the source so, in mounts with the option `more` too.
fn stats_are_at_once_beside_reads(more: &str, slow: impl Fn(&Daemon, &SlowSource)) {
    for transport in each() {
        for options in ["allow_other", "allow_other,ro,passthrough"] {
            let source = source();
            let mount = mounted(transport, &format!("{options}{more}"), &source);
            slow(&mount, &source);
            let reading = readers(&mount, &source, 0..READERS);
            assert!(
                wait_until(|| source.waiting() >= READERS as usize),
                "{}",
                source.waiting()
            );
            stats_are_at_once(&mount);
            source.set_latency(Duration::ZERO);
            end_well(reading);
        }
    }
}

#[test]
fn stats_do_not_wait_for_reads_that_do() {
    stats_are_at_once_beside_reads("", |_, source| source.set_latency(HOUR));
}

#[test]
fn a_file_that_is_open_already_keeps_nobody_waiting() {
    stats_are_at_once_beside_reads(",cache=none", |mount, source| {
        end_well(readers(mount, source, 0..READERS));
        source.slow(Call::Getattr, HOUR);
    });
}

#[test]
fn what_is_cut_replaced_or_removed_is_not_read_before() {
    for transport in each() {
        let source = source();
        let mount = mounted(transport, "allow_other", &source);
        let path = |n| mount.path(SlowSource::file(0, n));
        source.set_latency(HOUR);
        let reading: Vec<_> = (0..8)
            .map(|n| {
                let path = path(n);
                std::thread::spawn(move || fs::read(path).unwrap())
            })
            .collect();
        let first = File::options().write(true).open(path(8)).unwrap();
        let writing = std::thread::spawn(move || first.write_all_at(b"over", 7).unwrap());
        assert!(wait_until(|| source.waiting() >= 9));
        at_once("O_TRUNC", || fs::write(path(20), "new")).unwrap();
        let file = File::options().write(true).open(path(21)).unwrap();
        at_once("truncate", || file.set_len(0)).unwrap();
        at_once("write", || file.write_all_at(b"end", 3)).unwrap();
        for n in [0, 22] {
            fs::write(mount.path("other"), "other").unwrap();
            at_once("rename", || fs::rename(mount.path("other"), path(n))).unwrap();
            at_once("unlink", || fs::remove_file(path(n + 1))).unwrap();
        }
        for n in [20, 21, 22] {
            let content = at_once("read", || fs::read(path(n))).unwrap();
            let expected: [&[u8]; 3] = [b"new", b"\0\0\0end", b"other"];
            assert_eq!(content, expected[n as usize - 20]);
        }
        source.set_latency(Duration::ZERO);
        for (reader, n) in reading.into_iter().zip(0..) {
            assert_eq!(reader.join().unwrap(), source.content(0, n));
        }
        writing.join().unwrap();
        assert_eq!(fs::read(path(0)).unwrap(), b"other");
        let mut written = source.content(0, 8);
        written[7..11].copy_from_slice(b"over");
        assert_eq!(fs::read(path(8)).unwrap(), written);
    }
}

#[test]
fn what_takes_the_place_of_a_file_notices_nothing_and_is_not_read() {
    let source = Scratch::new();
    for n in 0..3 {
        fs::write(source.join(n.to_string()), "content").unwrap();
    }
    for transport in each() {
        let mount = Daemon::on(transport, &["-o", "allow_other", source.to_str().unwrap()]);
        for n in 0..3 {
            let path = source.join(n.to_string());
            fs::remove_file(&path).unwrap();
            match n {
                0 => mount_tests::posix::fifo(&path, 0o600).unwrap(),
                1 => fs::create_dir(&path).unwrap(),
                _ => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
            }
            let read = at_once("read", || fs::read(mount.path(n.to_string())));
            assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::ESTALE));
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            fs::write(&path, "content").unwrap();
        }
    }
}

#[test]
fn files_that_are_read_one_after_the_other_are_fetched_ahead() {
    for transport in each() {
        for backwards in [false, true] {
            let source = source();
            let mount = mounted(transport, "allow_other", &source);
            source.set_latency(Duration::from_millis(10));
            source.take_most_waiting();
            let opened = source.count(Call::Open);
            for n in 0..100 {
                let n = if backwards { 99 - n } else { n };
                let read = fs::read(mount.path(SlowSource::file(0, n))).unwrap();
                assert_eq!(read, source.content(0, n));
            }
            let most = source.take_most_waiting();
            assert!(most >= 8, "{most} calls at one time");
            assert_eq!(source.count(Call::Open) - opened, 100);
            source.set_latency(Duration::ZERO);
        }
    }
}

#[test]
fn a_file_that_changes_after_it_was_fetched_is_not_read() {
    for transport in each() {
        let source = source();
        let mount = mounted(transport, "allow_other", &source);
        source.set_latency(Duration::from_millis(5));
        let opened = source.count(Call::Open);
        for n in 0..4 {
            fs::read(mount.path(SlowSource::file(0, n))).unwrap();
        }
        let fetched = || source.count(Call::Open) - opened > 20 && source.waiting() == 0;
        assert!(wait_until(fetched), "{}", source.count(Call::Open) - opened);
        source.change(0, 10);
        let changed = fs::read(mount.path(SlowSource::file(0, 10)));
        assert_eq!(changed.unwrap_err().raw_os_error(), Some(libc::ESTALE));
        for n in [9, 11] {
            let read = fs::read(mount.path(SlowSource::file(0, n))).unwrap();
            assert_eq!(read, source.content(0, n));
        }
        source.set_latency(Duration::ZERO);
    }
}

#[test]
fn fetching_ahead_keeps_nobody_waiting() {
    for transport in each() {
        let source = source();
        let mount = mounted(transport, "allow_other", &source);
        source.set_latency(Duration::from_millis(5));
        for n in 0..4 {
            fs::read(mount.path(SlowSource::file(0, n))).unwrap();
        }
        source.set_latency(HOUR);
        let reading = readers(&mount, &source, 50..52);
        assert!(wait_until(|| source.waiting() >= 2));
        stats_are_at_once(&mount);
        source.set_latency(Duration::ZERO);
        reading
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
        drop(mount);
    }
}

/// What reading everything takes where each call of the source takes a millisecond, through a mount and without one:
/// `cargo test --release -p mount-tests --test source slow_reads:: -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_search_in_a_source_that_takes_a_millisecond_a_call() {
    let shape = Shape {
        directories: 40,
        files: 100,
        ..Shape::default()
    };
    let search = |root: &std::path::Path| {
        let began = Instant::now();
        let found = std::process::Command::new("rg")
            .args(["--count", "no such line"])
            .arg(root)
            .output()
            .unwrap();
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        began.elapsed()
    };
    let alone = SlowSource::new(shape.clone());
    alone.set_latency(Duration::from_millis(1));
    let alone = search(&alone);
    for transport in each() {
        let source = SlowSource::new(shape.clone());
        let mount = mounted(transport, "allow_other", &source);
        source.set_latency(Duration::from_millis(1));
        let first = search(mount.root());
        let ratio = first.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{transport:?}: first search {first:?}, in the source {alone:?}: {ratio:.2} times"
        );
    }
}
