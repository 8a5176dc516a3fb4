//! What the kernel remembers of lists and modes is what the daemon has, at once and for everybody.

use super::NAMING;
use mount_tests::acl::{ACCESS, DEFAULT, get, remove, set};
use mount_tests::posix::{Seen, as_user, forced, seen};
use mount_tests::{Daemon, InProcess, fails};
use norefs::transport::{Cache, Options, RequestKind};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, chmod, lstat};
use rustix::io::Errno;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const OPEN: &str = "u::rwx,u:1000:r-x,g::---,m::rwx,o::---";
const CLOSED: &str = "u::rwx,u:1000:---,g::---,m::rwx,o::---";

fn in_process() -> InProcess {
    InProcess::with(&Options {
        acl: true,
        allow_other: true,
        ..Options::default()
    })
}

fn reads(path: &Path) -> Result<(), Errno> {
    as_user(1000, 1000, &[], || {
        std::fs::read(path)
            .map(drop)
            .map_err(|error| Errno::from_io_error(&error).unwrap())
    })
}

#[test]
fn each_change_counts_at_once() {
    for mount in [
        Daemon::start_with("acl"),
        Daemon::start_with("acl,cache=none"),
    ] {
        let (dir, moved) = (mount.path("dir"), mount.path("moved"));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("file");
        std::fs::write(&file, "content").unwrap();
        chmod(&file, 0o640.into()).unwrap();
        for _ in 0..3 {
            fails(Errno::ACCESS, reads(&file));
            set(&file, ACCESS, OPEN).unwrap();
            reads(&file).unwrap();
            chmod(&file, 0o710.into()).unwrap();
            fails(Errno::ACCESS, reads(&file));
            chmod(&file, 0o740.into()).unwrap();
            reads(&file).unwrap();
            set(&file, ACCESS, CLOSED).unwrap();
            fails(Errno::ACCESS, reads(&file));
            set(&file, ACCESS, OPEN).unwrap();
            set(&dir, ACCESS, CLOSED).unwrap();
            fails(Errno::ACCESS, reads(&file));
            set(&dir, ACCESS, OPEN).unwrap();
            reads(&file).unwrap();
            std::fs::rename(&file, &moved).unwrap();
            reads(&moved).unwrap();
            set(&moved, ACCESS, CLOSED).unwrap();
            std::fs::rename(&moved, &file).unwrap();
            fails(Errno::ACCESS, reads(&file));
            set(&file, ACCESS, OPEN).unwrap();
            reads(&file).unwrap();
            remove(&file, ACCESS).unwrap();
            fails(Errno::ACCESS, reads(&file));
            remove(&dir, ACCESS).unwrap();
            chmod(&dir, 0o755.into()).unwrap();
        }
    }
}

/// The attributes the kernel shows after a change of the list overtook a GETATTR, and those the daemon has.
fn race(change: fn(&Path), notifications: bool) -> (Seen, Seen) {
    let mount = in_process();
    let file = mount.path("file");
    std::fs::write(&file, "content").unwrap();
    set(&file, ACCESS, NAMING).unwrap();
    seen(&file);
    mount.failpoints().set_notifications(notifications);
    let node = mount.node(&file);
    std::thread::scope(|scope| {
        let hold = mount.failpoints().hold(RequestKind::Getattr, Some(node));
        scope.spawn(|| forced(&file));
        assert!(hold.wait_held(PATIENCE), "no GETATTR came");
        change(&file);
        hold.release();
    });
    (seen(&file), forced(&file))
}

#[test]
fn a_change_overtaking_a_getattr_leaves_the_new_mode() {
    let changes: [fn(&Path); 3] = [
        |file| set(file, ACCESS, CLOSED).unwrap(),
        |file| set(file, ACCESS, "u::rwx,g::---,o::---").unwrap(),
        |file| remove(file, ACCESS).unwrap(),
    ];
    for change in changes {
        let (cached, actual) = race(change, true);
        assert_eq!(cached, actual);
        // On a busy machine the kernel may ask once more by itself.
        let stale = || {
            let (cached, actual) = race(change, false);
            cached != actual
        };
        assert!((0..5).any(|_| stale()), "this race is not forced any more");
    }
}

#[test]
fn a_change_overtaking_the_question_for_a_list_leaves_the_new_list() {
    let changes: [fn(&Path); 4] = [
        |file| set(file, ACCESS, CLOSED).unwrap(),
        |file| set(file, ACCESS, "u::rwx,g::---,o::---").unwrap(),
        |file| chmod(file, 0o710.into()).unwrap(),
        |file| chmod(file.parent().unwrap(), 0o700.into()).unwrap(),
    ];
    for change in changes {
        let mount = in_process();
        std::fs::create_dir(mount.path("dir")).unwrap();
        let file = mount.path("dir/file");
        std::fs::write(&file, "content").unwrap();
        set(&file, ACCESS, OPEN).unwrap();
        let node = mount.node(&file);
        std::thread::scope(|scope| {
            let hold = mount.failpoints().hold(RequestKind::Getxattr, Some(node));
            scope.spawn(|| reads(&file));
            assert!(hold.wait_held(PATIENCE), "no GETXATTR came");
            change(&file);
            hold.release();
        });
        fails(Errno::ACCESS, reads(&file));
    }
}

/// Says that it is over, also when an expectation failed.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whoever_is_locked_out_stays_out_while_others_ask_all_the_time() {
    let mount = Daemon::start_with("acl");
    let file = mount.path("file");
    std::fs::write(&file, "content").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for asker in 0..4 {
            let (file, done) = (&file, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match asker {
                        0 => drop(reads(file)),
                        1 => drop(get(file, ACCESS)),
                        2 if mount_tests::is_mounted(file.parent().unwrap()) => drop(forced(file)),
                        _ => drop(lstat(file)),
                    }
                }
            });
        }
        let _ended = Ended(&done);
        for round in 0..200 {
            set(&file, ACCESS, OPEN).unwrap();
            assert_eq!(reads(&file), Ok(()), "round {round}");
            match round % 3 {
                0 => set(&file, ACCESS, CLOSED).unwrap(),
                1 => chmod(&file, 0o700.into()).unwrap(),
                _ => set(&file, ACCESS, "u::rwx,g::---,o::---").unwrap(),
            }
            assert_eq!(reads(&file), Err(Errno::ACCESS), "round {round}");
            assert_eq!(seen(&file).mode & 0o007, 0);
        }
    });
}

#[test]
fn lists_are_asked_for_once() {
    let mount = in_process();
    std::fs::create_dir(mount.path("dir")).unwrap();
    let file = mount.path("dir/file");
    std::fs::write(&file, "content").unwrap();
    set(&mount.path("dir"), ACCESS, OPEN).unwrap();
    set(&file, ACCESS, OPEN).unwrap();
    let dir = rustix::fs::open(mount.path("dir"), OFlags::PATH, Mode::empty()).unwrap();
    let below = || accessat(&dir, "file", Access::READ_OK, AtFlags::EACCESS).unwrap();
    let whole = || accessat(CWD, &file, Access::READ_OK, AtFlags::EACCESS).unwrap();
    let asked = |look: &(dyn Fn() + Sync)| {
        let often = |times| as_user(1000, 1000, &[], || (0..times).for_each(|_| look()));
        often(2);
        mount.count(RequestKind::Getxattr, || often(20))
    };
    assert_eq!(asked(&below), 0);
    assert!(
        asked(&whole) <= 20,
        "of the root the kernel may remember nothing"
    );
}

#[test]
fn without_the_option_nobody_asks_for_lists() {
    let mount = InProcess::with(&Options {
        cache: Cache::None,
        allow_other: true,
        ..Options::default()
    });
    let (file, dir) = (mount.path("file"), mount.path("dir"));
    std::fs::write(&file, "content").unwrap();
    chmod(&file, 0o664.into()).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let asked = mount.count(RequestKind::Getxattr, || reads(&file).unwrap());
    assert_eq!(asked, 0);
    for name in [ACCESS, DEFAULT] {
        fails(Errno::OPNOTSUPP, set(&dir, name, NAMING));
        fails(Errno::OPNOTSUPP, get(&dir, name));
        fails(Errno::OPNOTSUPP, remove(&dir, name));
    }
}
