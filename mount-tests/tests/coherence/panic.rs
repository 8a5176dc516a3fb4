//! A handler that panics answers EIO, and the mount lives on. A serving thread that fails takes its mount along.

use mount_tests::posix::{Outcome, forced};
use mount_tests::{InProcess, fails, is_mounted, transport};
use norefs::transport::{Cache, RequestKind};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, open, statx};
use rustix::io::Errno;

type Call<'a> = &'a dyn Fn() -> Result<(), Errno>;

#[test]
fn each_kind_of_request_survives_a_panic() {
    let mount = InProcess::start(Cache::None);
    std::fs::write(mount.path("file"), "content").unwrap();
    rustix::fs::symlink("target", mount.path("symlink")).unwrap();
    let file = mount.path("file");
    let force = AtFlags::STATX_FORCE_SYNC;
    let calls: [(RequestKind, Call); 9] = [
        (RequestKind::Getattr, &|| {
            statx(CWD, &file, force, StatxFlags::BASIC_STATS).map(drop)
        }),
        (RequestKind::Setattr, &|| {
            rustix::fs::chmod(&file, 0o600.into())
        }),
        (RequestKind::Readlink, &|| {
            rustix::fs::readlink(mount.path("symlink"), []).map(drop)
        }),
        (RequestKind::Mkdir, &|| {
            rustix::fs::mkdir(mount.path("dir"), 0o755.into())
        }),
        (RequestKind::Symlink, &|| {
            rustix::fs::symlink("target", mount.path("link"))
        }),
        (RequestKind::Rename, &|| {
            rustix::fs::rename(&file, mount.path("moved"))
        }),
        (RequestKind::Write, &|| {
            std::fs::write(&file, "changed").outcome()
        }),
        // Past the page cache, for which the kernel would ask a second time.
        (RequestKind::Read, &|| {
            let file = open(&file, OFlags::RDONLY | OFlags::DIRECT, Mode::empty()).unwrap();
            rustix::io::read(&file, &mut [0; 10]).map(drop)
        }),
        (RequestKind::Setxattr, &|| {
            rustix::fs::setxattr(&file, "user.x", b"", rustix::fs::XattrFlags::empty())
        }),
    ];
    for (kind, call) in calls {
        mount.failpoints().panic_on(kind, None);
        assert_eq!(call(), Err(Errno::IO), "{kind:?}");
        assert_eq!(call(), Ok(()), "{kind:?} after a panic");
        if kind == RequestKind::Rename {
            std::fs::rename(mount.path("moved"), &file).unwrap();
        }
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"changed");
}

#[test]
fn a_lookup_survives_a_panic() {
    let mount = InProcess::start(Cache::Forever);
    mount.failpoints().panic_on(RequestKind::Lookup, None);
    fails(Errno::IO, rustix::fs::lstat(mount.path("name")));
    fails(Errno::NOENT, rustix::fs::lstat(mount.path("name")));
}

#[test]
fn more_panics_than_event_loops() {
    let mount = InProcess::start(Cache::Forever);
    std::fs::write(mount.path("file"), "content").unwrap();
    let force = AtFlags::STATX_FORCE_SYNC;
    for _ in 0..30 {
        mount.failpoints().panic_on(RequestKind::Getattr, None);
        fails(
            Errno::IO,
            statx(CWD, mount.path("file"), force, StatxFlags::BASIC_STATS),
        );
    }
    assert_eq!(forced(mount.path("file")).size, 7);
}

#[test]
fn nobody_waits_for_a_serving_thread_that_is_gone() {
    for transport in transport::each() {
        let mount = InProcess::on(transport);
        let ask = || {
            let force = AtFlags::STATX_FORCE_SYNC;
            statx(CWD, mount.root(), force, StatxFlags::BASIC_STATS).map(drop)
        };
        assert_eq!(ask(), Ok(()));
        for kind in [RequestKind::Statx, RequestKind::Getattr] {
            mount.failpoints().lose_thread_on(kind, None);
        }
        fails(Errno::CONNABORTED, ask());
        assert!(mount.wait().is_err(), "{transport}");
        assert!(!is_mounted(mount.root()), "{transport}");
    }
}
