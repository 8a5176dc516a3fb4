//! A mount and its fork end each by itself, whichever is first and however.

use super::{Ground, content, end, fork, on_each, stats, succeeds};
use mount_tests::programs::sh;
use mount_tests::{is_mounted, norefs, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

fn server(mount: &Path) -> Pid {
    Pid::from_raw(stats(mount)["pid"].as_i64().unwrap() as i32).unwrap()
}

/// Waits until nothing is left of a process, not even its status, or the first process of this machine has it. The first of its threads
/// may have ended before others that hold its files still.
fn is_gone(process: Pid) -> bool {
    wait_until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.map_or(true, |stat| {
            let mut fields = stat.rsplit(") ").next().unwrap().split(' ');
            let threads = std::fs::read_dir(format!("/proc/{process}/task"));
            let alone = threads.map_or(true, |threads| threads.count() <= 1);
            fields.next() == Some("Z") && fields.next() == Some("1") && alone
        })
    })
}

fn works(mount: &Path) {
    sh(mount, "echo works > works; cat d/one works; rm works");
    stats(mount);
}

#[test]
fn either_is_unmounted_first() {
    on_each(|ground| {
        ground.fork();
        let servers = [ground.a(), ground.b()].map(server);
        end(ground.b());
        assert!(is_gone(servers[1]));
        works(ground.a());
        ground.fork();
        let again = server(ground.b());
        end(ground.a());
        assert!(is_gone(servers[0]));
        works(ground.b());
        end(ground.b());
        assert!(is_gone(again));
    });
}

#[test]
fn either_is_killed_and_the_other_one_goes_on() {
    on_each(|ground| {
        ground.fork();
        fork(ground.a(), ground.c());
        let killed = server(ground.b());
        kill_process(killed, Signal::KILL).unwrap();
        assert!(is_gone(killed));
        works(ground.a());
        let killed = server(ground.a());
        kill_process(killed, Signal::KILL).unwrap();
        assert!(is_gone(killed));
        works(ground.c());
        // Both are known to be dead: nobody else holds what tells that they live.
        for dead in [ground.a(), ground.b()] {
            fork(ground.c(), dead);
            works(dead);
        }
    });
}

#[test]
fn a_signal_unmounts_the_fork_alone() {
    on_each(|ground| {
        ground.fork();
        let process = server(ground.b());
        kill_process(process, Signal::TERM).unwrap();
        assert!(is_gone(process));
        assert!(!is_mounted(ground.b()));
        works(ground.a());
        ground.fork();
        let process = server(ground.a());
        kill_process(process, Signal::TERM).unwrap();
        assert!(is_gone(process));
        assert!(!is_mounted(ground.a()));
        works(ground.b());
    });
}

#[test]
fn each_is_listed_by_itself() {
    let ground = Ground::new();
    ground.fork();
    let listed = succeeds(norefs().arg("ls"));
    for mount in [ground.a(), ground.b()] {
        let path = mount.to_str().unwrap();
        let line = listed.lines().find(|line| line.starts_with(path));
        let line = line.unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains(&format!(" {} ", server(mount))), "{line}");
        assert!(line.contains(ground.source().to_str().unwrap()), "{line}");
    }
}

#[test]
fn forks_that_are_asked_for_at_once_are_all_made() {
    let ground = Ground::new();
    let places: Vec<_> = (0..8)
        .map(|number| ground.scratch.dir(&format!("fork{number}")))
        .collect();
    std::thread::scope(|scope| {
        for place in &places {
            scope.spawn(|| fork(ground.a(), place));
        }
    });
    places.iter().for_each(|place| works(place));
    places.iter().for_each(|place| end(place));
    works(ground.a());
}

#[test]
fn many_forks_of_one_mount_and_of_each_other() {
    let ground = Ground::new();
    let places: Vec<_> = (0..12)
        .map(|number| ground.scratch.dir(&format!("fork{number}")))
        .collect();
    let mut last = ground.a().to_owned();
    for (number, place) in places.iter().enumerate() {
        let from = if number % 2 == 0 { ground.a() } else { &last };
        fork(from, place);
        std::fs::write(place.join("mine"), format!("{number}")).unwrap();
        last.clone_from(place);
    }
    for (number, place) in places.iter().enumerate() {
        assert_eq!(content(place.join("mine")), format!("{number}"));
        assert_eq!(content(place.join("d/one")), "one\n");
    }
    places.iter().for_each(|place| end(place));
    works(ground.a());
}
