//! A fork is one instant, whatever happens in the mount meanwhile.

use super::{Ground, content, end, fork, on_each, stats};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FORKS: u64 = 8;

/// Forks while `worker` is called again and again in as many threads, and has `check` look at each fork.
fn while_working(
    ground: &Ground,
    threads: usize,
    worker: impl Fn(usize) + Sync,
    check: impl Fn(&Path),
) {
    let (over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (over, rounds, worker) = (&over, &rounds, &worker);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    worker(thread);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..FORKS {
                let before = rounds.load(Ordering::Relaxed);
                while rounds.load(Ordering::Relaxed) < before + threads as u64 {
                    std::thread::yield_now();
                }
                ground.fork();
                check(ground.b());
                end(ground.b());
            }
        }));
        over.store(true, Ordering::Relaxed);
        checked.unwrap();
    });
}

#[test]
fn what_is_written_to_two_files_in_order_is_there_in_order() {
    on_each(|ground| {
        let files: Vec<[File; 2]> = (0..4)
            .map(|thread| {
                ["first", "second"].map(|name| {
                    let file = File::create(ground.a().join(format!("{name}{thread}"))).unwrap();
                    file.write_all_at(&0u64.to_le_bytes(), 0).unwrap();
                    file
                })
            })
            .collect();
        let counts: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        let write = |thread: usize| {
            let count = counts[thread].fetch_add(1, Ordering::Relaxed) + 1;
            for file in &files[thread] {
                file.write_all_at(&count.to_le_bytes(), 0).unwrap();
            }
        };
        while_working(&ground, 4, write, |fork| {
            for thread in 0..4 {
                let read = |name: &str| {
                    let bytes = fs::read(fork.join(format!("{name}{thread}"))).unwrap();
                    u64::from_le_bytes(bytes.try_into().unwrap())
                };
                let (first, second) = (read("first"), read("second"));
                assert!(
                    first == second || first == second + 1,
                    "{first} and {second}"
                );
                assert!(first > 0);
            }
        });
    });
}

#[test]
fn a_file_that_moves_all_the_time_is_in_one_place() {
    on_each(|ground| {
        let a = ground.a();
        for directory in ["x", "y"] {
            fs::create_dir(a.join(directory)).unwrap();
        }
        for thread in 0..4 {
            fs::write(a.join(format!("x/{thread}")), format!("{thread}")).unwrap();
        }
        let there = |thread: usize| [format!("x/{thread}"), format!("y/{thread}")];
        let move_it = |thread: usize| {
            let [x, y] = there(thread).map(|name| a.join(name));
            fs::rename(&x, &y).unwrap();
            fs::rename(&y, &x).unwrap();
        };
        while_working(&ground, 4, move_it, |fork| {
            for thread in 0..4 {
                let found = there(thread).map(|name| fork.join(name));
                let found: Vec<_> = found.iter().filter(|path| path.exists()).collect();
                assert_eq!(found.len(), 1, "{found:?}");
                assert_eq!(content(found[0]), format!("{thread}"));
            }
        });
    });
}

#[test]
fn a_fork_of_a_busy_mount_can_be_used_for_everything() {
    on_each(|ground| {
        let a = ground.a();
        let work = |thread: usize| {
            let directory = a.join(format!("work{thread}"));
            fs::create_dir(&directory).unwrap();
            for number in 0..10 {
                let file = directory.join(format!("{number}"));
                fs::write(&file, vec![b'x'; 5000 * number]).unwrap();
                fs::rename(&file, directory.join(format!("{number}.moved"))).unwrap();
            }
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 10);
            fs::remove_dir_all(&directory).unwrap();
        };
        while_working(&ground, 6, work, |forked| {
            for entry in fs::read_dir(forked).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_str().unwrap().starts_with("work") {
                    for file in fs::read_dir(entry.path()).unwrap() {
                        let file = file.unwrap();
                        let content = fs::read(file.path()).unwrap();
                        assert_eq!(content.len() as u64, file.metadata().unwrap().len());
                    }
                    fs::remove_dir_all(entry.path()).unwrap();
                }
            }
            fork(forked, ground.c());
            fs::write(ground.c().join("new"), "new").unwrap();
            let inodes = stats(ground.c())["inodes"].as_u64().unwrap();
            // The root, `d`, `one`, `two`, `link` and `new`.
            assert_eq!(inodes, 6);
            end(ground.c());
        });
    });
}
