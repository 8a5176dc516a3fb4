//! A request that takes long holds up nobody else.

use mount_tests::posix::forced;
use mount_tests::{InProcess, fails};
use norefs::transport::{Cache, RequestKind};
use rustix::fs::lstat;
use rustix::io::Errno;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Does `slow`, holds the reply to its request of `kind` for `path` back, and expects `quick` to
/// end meanwhile.
fn beside(
    (mount, kind, path): (&InProcess, RequestKind, &Path),
    slow: impl Fn() + Sync,
    quick: impl Fn() + Sync,
) {
    let node = mount.node(path);
    std::thread::scope(|scope| {
        let hold = mount.failpoints().hold(kind, Some(node));
        scope.spawn(&slow);
        assert!(hold.wait_held(LONG), "no {kind:?} came");
        let (done, ended) = channel();
        let quick = &quick;
        scope.spawn(move || {
            quick();
            let _ = done.send(());
        });
        assert!(ended.recv_timeout(LONG).is_ok(), "held up by a {kind:?}");
    });
}

#[test]
fn other_files_are_served_beside_a_slow_one() {
    let mount = InProcess::start(Cache::None);
    for name in ["slow", "quick"] {
        std::fs::write(mount.path(name), name).unwrap();
    }
    let file = mount.path("slow");
    let slow = || assert_eq!(forced(&file).nlink, 1);
    let quick = || assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 2);
    beside((&mount, RequestKind::Getattr, &file), slow, quick);
    let slow = || std::fs::write(&file, "changed").unwrap();
    let quick = || assert_eq!(std::fs::read(mount.path("quick")).unwrap(), b"quick");
    beside((&mount, RequestKind::Write, &file), slow, quick);
}

#[test]
fn names_are_looked_up_beside_a_slow_listing_of_their_directory() {
    let mount = InProcess::start(Cache::None);
    let slow = || assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 0);
    let quick = || fails(Errno::NOENT, lstat(mount.path("never asked for before")));
    beside((&mount, RequestKind::Readdir, mount.root()), slow, quick);
}
