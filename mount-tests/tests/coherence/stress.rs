//! Many callers at once: whatever they do, the tree stays a tree and the cache stays exact.

use mount_tests::posix::{Outcome, fifo, forced, seen};
use mount_tests::programs::{run, same_lines, sh};
use mount_tests::{Daemon, Dice, wait_until};
use rustix::fs::{CWD, RenameFlags, chmod, link, lstat, renameat_with, symlink};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const THREADS: u64 = 4;
const OPERATIONS: u64 = 5_000;

/// What a call may answer when others change the tree at the same time.
const EXPECTED: &[Errno] = &[
    Errno::NOENT,
    Errno::EXIST,
    Errno::NOTDIR,
    Errno::ISDIR,
    Errno::NOTEMPTY,
    Errno::INVAL,
    Errno::PERM,
    Errno::LOOP,
    Errno::NXIO,
];

fn one_operation(root: &Path, dice: &mut Dice) -> (&'static str, Result<(), Errno>) {
    let (path, other) = (dice.path(root), dice.path(root));
    match dice.roll(16) {
        0 | 1 => ("mkdir", std::fs::create_dir(&path).outcome()),
        2 | 3 => ("write", write_unless_special(&path)),
        4 => ("symlink", symlink("../a/b", &path)),
        5 => ("link", link(&path, &other)),
        6 => ("unlink", std::fs::remove_file(&path).outcome()),
        7 => ("rmdir", std::fs::remove_dir(&path).outcome()),
        8 | 9 => ("rename", std::fs::rename(&path, &other).outcome()),
        10 => (
            "exchange",
            renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE),
        ),
        11 => (
            "noreplace",
            renameat_with(CWD, &path, CWD, &other, RenameFlags::NOREPLACE),
        ),
        12 => (
            "chmod",
            chmod(&path, (0o700 + dice.roll(0o77) as u32).into()),
        ),
        13 => (
            "list",
            std::fs::read_dir(&path).map(Iterator::count).outcome(),
        ),
        14 => ("mkfifo", fifo(&path, 0o600)),
        _ => ("stat", lstat(&path).map(drop)),
    }
}

/// Writes a file; a fifo, whose open would wait for a reader, fails with ENXIO.
fn write_unless_special(path: &Path) -> Result<(), Errno> {
    use rustix::fs::OFlags;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::TRUNC;
    let file = rustix::fs::open(path, flags, 0o644.into())?;
    rustix::io::write(&file, b"written").map(drop)
}

/// Storms on `root` from several threads and from programs of their own.
fn storm(root: &Path) {
    let programs = "
        for round in 1 2 3 4 5 6; do
            mkdir -p p/q/r && touch p/q/r/f p/g && mv p/q p/s && cp -a p p2 && rm -rf p p2
        done";
    std::thread::scope(|scope| {
        scope.spawn(|| sh(root, programs));
        for thread in 1..=THREADS {
            scope.spawn(move || {
                let mut dice = Dice::new(thread);
                for number in 0..OPERATIONS {
                    let (what, result) = one_operation(root, &mut dice);
                    let fine =
                        result.is_ok_and(|()| true) || EXPECTED.contains(&result.unwrap_err());
                    assert!(
                        fine,
                        "{what} in operation {number} of thread {thread}: {result:?}"
                    );
                }
            });
        }
    });
}

/// Checks every path below `root`: what the cache shows, the link counts, and `.` and `..`.
fn check(root: &Path) -> u64 {
    let mut links: HashMap<u64, (u32, u32)> = HashMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let own = forced(&dir);
        let mut subdirectories = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let shown = seen(&path);
            assert_eq!(
                shown,
                forced(&path),
                "{} is stale in the cache",
                path.display()
            );
            if entry.file_type().unwrap().is_dir() {
                subdirectories += 1;
                assert_eq!(
                    seen(path.join("..")).ino,
                    own.ino,
                    "parent of {}",
                    path.display()
                );
                pending.push(path);
            } else {
                links.entry(shown.ino).or_insert((0, shown.nlink)).0 += 1;
            }
        }
        assert_eq!(own.nlink, 2 + subdirectories, "links of {}", dir.display());
        assert!(
            links.insert(own.ino, (1, 1)).is_none(),
            "{} has two places",
            dir.display()
        );
    }
    for (ino, (names, nlink)) in &links {
        assert_eq!(
            names, nlink,
            "names of inode {ino}, and the link count it shows"
        );
    }
    links.len() as u64
}

fn find(root: &Path) -> String {
    run(
        root,
        "find",
        &[".", "-printf", "%p %i %m %n %s %T@ %C@ %l\n"],
    )
}

fn storm_and_check(mount: &Daemon) {
    let used = || mount.stats().0["inodes"].as_u64().unwrap();
    storm(mount.root());
    let inodes = check(mount.root());
    same_lines(&find(mount.root()), &find(mount.root()));
    assert!(
        wait_until(|| used() == inodes),
        "{} inodes are in use, {inodes} have names",
        used()
    );

    let stats = mount.stats();
    let counts: [&dyn Fn(&str) -> u64; 2] = [&|o| stats.outcome(o), &|o| stats.lookup(o)];
    for count in counts {
        let ends = ["fast", "fast_error", "again", "slow"];
        let operations: u64 = ends.map(count).iter().sum();
        let retries: BTreeMap<&str, u64> = ["retry_edge", "retry_attr", "retry_rseq"]
            .map(|cause| (cause, count(cause)))
            .into();
        assert!(operations > 0);
        assert!(
            retries.values().sum::<u64>() <= 3 * operations,
            "{retries:?} of {operations}"
        );
    }
}

#[test]
fn with_the_cache() {
    storm_and_check(&Daemon::start());
}

#[test]
fn without_the_cache() {
    storm_and_check(&Daemon::without_cache());
}

#[test]
fn no_writer_is_lost_among_renames() {
    let mount = Daemon::start();
    for name in ["x", "y"] {
        std::fs::create_dir(mount.path(name)).unwrap();
    }
    std::fs::create_dir_all(mount.path("x/dir")).unwrap();
    std::fs::write(mount.path("x/dir/count"), "0").unwrap();
    let places = [mount.path("x/dir"), mount.path("y/dir")];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..1_000 {
                    let _ = std::fs::rename(&places[round % 2], &places[(round + 1) % 2]);
                }
            });
        }
        for thread in 0..2 {
            let places = &places;
            scope.spawn(move || {
                let mut made = 0;
                for attempt in 0.. {
                    let file = places[attempt % 2].join(format!("{thread} {made}"));
                    match std::fs::File::create_new(file).outcome() {
                        Ok(()) => made += 1,
                        Err(error) => assert_eq!(error, Errno::NOENT),
                    }
                    if made == 300 {
                        break;
                    }
                }
            });
        }
    });
    let dir = places.iter().find(|path| path.exists()).unwrap();
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 601);
    assert_eq!(check(mount.root()), 601 + 4);
}
