//! What a daemon takes of memory is bounded, whatever it is filled with.

use mount_tests::{Daemon, norefs, transport};
use rustix::fs::statvfs;
use rustix::io::Errno;
use std::fs::{DirBuilder, File, create_dir, hard_link, read_dir, remove_dir_all};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Inodes and further names, each of which may take 1 KiB.
const NAMES: u64 = 8_000;
const SIZE: u64 = 1 << 20;
/// What a daemon takes beside, and parts of segments that are not used yet.
const BESIDE: u64 = 24 << 20;
const WATCHDOG: Duration = Duration::from_secs(30);

fn long_name(number: u64) -> String {
    format!("{number:0255}")
}

/// Makes things with 0, 1, 2 and so on until there is no room, and gives how many there are.
fn fill(mut make: impl FnMut(u64) -> io::Result<()>) -> u64 {
    for number in 0.. {
        if let Err(error) = make(number) {
            assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC), "{error}");
            return number;
        }
    }
    unreachable!("there is room for all numbers")
}

/// Fills a mount with small limits by `make`, empties it and fills it again.
fn bounded(make: impl Fn(&Path, u64) -> io::Result<()>) {
    for transport in transport::each() {
        let options = format!("size={SIZE},nr_inodes={NAMES}");
        let mount = Daemon::on(transport, &["-o", &options]);
        let (before, empty) = (mount.resident(), room(mount.root()));
        let full = || {
            create_dir(mount.path("d")).unwrap();
            fill(|number| make(&mount.path("d"), number))
        };
        let first = full();
        assert!(first > NAMES - 10, "{first}");
        let taken = mount.resident() - before;
        assert!(taken < NAMES * 1024 + BESIDE, "{taken} bytes");
        remove_dir_all(mount.path("d")).unwrap();
        assert_eq!(full(), first);
        let again = mount.resident() - before;
        assert!(again < NAMES * 1024 + BESIDE, "{again} bytes");
        remove_dir_all(mount.path("d")).unwrap();
        comes_back(mount.root(), empty);
    }
}

/// Free blocks and free inodes.
fn room(root: &Path) -> (u64, u64) {
    let now = statvfs(root).unwrap();
    (now.f_bfree, now.f_ffree)
}

/// The kernel forgets what was removed a moment later.
#[track_caller]
fn comes_back(root: &Path, empty: (u64, u64)) {
    let began = Instant::now();
    while room(root) != empty {
        assert!(began.elapsed() < WATCHDOG, "{:?} of {empty:?}", room(root));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn files_with_long_names() {
    bounded(|dir, number| File::create(dir.join(long_name(number))).map(drop));
}

#[test]
fn further_names_of_one_file() {
    bounded(|dir, number| match number {
        0 => File::create(dir.join("first")).map(drop),
        _ => hard_link(dir.join("first"), dir.join(long_name(number))),
    });
}

#[test]
fn directories_in_directories() {
    bounded(|dir, number| {
        // Twenty deep each.
        let above: String = (0..number % 20)
            .map(|depth| format!("{}/", number / 20 * 20 + depth))
            .collect();
        create_dir(dir.join(above).join(number.to_string()))
    });
}

#[test]
fn a_source_with_more_than_there_is_room_for_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    create_dir(&target).unwrap();
    DirBuilder::new()
        .recursive(true)
        .create(source.join("d"))
        .unwrap();
    for number in 0..300 {
        File::create(source.join("d").join(long_name(number))).unwrap();
    }
    let mount = |inodes: &str| {
        let mut command = norefs();
        command.args(["run", "-o", inodes, "--from"]);
        command.arg(&source).args(["--", "true"]);
        command.output().unwrap()
    };
    let refused = mount("nr_inodes=200");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("full") || said.contains("room"), "{said}");
    assert!(mount("nr_inodes=302").status.success());
    assert_eq!(read_dir(&target).unwrap().count(), 0);
}

#[test]
fn by_default_few_names_take_no_room_of_content() {
    let mount = Daemon::start();
    let before = statvfs(mount.root()).unwrap();
    assert_eq!(before.f_bfree, before.f_blocks);
    for number in 0..2000 {
        File::create(mount.path(long_name(number))).unwrap();
    }
    let after = statvfs(mount.root()).unwrap();
    assert_eq!(before.f_bfree, after.f_bfree);
    assert_eq!(before.f_ffree - after.f_ffree, 2000);
}
