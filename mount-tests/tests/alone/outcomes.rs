//! Every way in which a no-reference operation, or a lookup, can end, driven on a mount whose every call reaches
//! the daemon.
//!
//! The retries cannot be forced reliably from outside: there a step of the test is put between
//! reading and validating, through the tree's failpoint.

use mount_tests::InProcess;
use mount_tests::posix::{as_user, seen};
use norefs::fs::{Caller, Fs, SetAttr};
use norefs::transport::{Cache, Options, Permissions};
use norefs::tree::failpoint::{Failpoint, install};
use norefs::tree::{NodeId, Outcomes};
use rustix::fs::{Access, OFlags, access, chmod, chown, fstat, lstat, readlink, symlink};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const ROOT: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// The tree's failpoint is one for the whole process: each test has it, and so the process, for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the no-reference operations and the lookups end of `work`, while `change` is made at the first `times` arrivals at
/// `failpoint`, between reading and validating.
fn interfere(
    mount: &InProcess,
    (failpoint, times): (Failpoint, usize),
    change: impl Fn(&Fs, usize) + Send + Sync + 'static,
    work: impl FnOnce(),
) -> (Outcomes, Outcomes) {
    let (fs, arrivals) = (Arc::clone(mount.fs()), Arc::new(AtomicUsize::new(0)));
    let arrived = Arc::clone(&arrivals);
    let _hook = install(move |reached| {
        if reached == failpoint {
            let number = arrived.fetch_add(1, Ordering::SeqCst);
            if number < times {
                std::thread::scope(|scope| scope.spawn(|| change(&fs, number)).join()).unwrap();
            }
        }
    });
    let mut outcomes = Outcomes::default();
    let lookups = mount.lookups(|| outcomes = mount.outcomes(work));
    assert!(
        arrivals.load(Ordering::SeqCst) >= times,
        "{failpoint:?} was not reached"
    );
    (outcomes, lookups)
}

/// An open file and its node id on a mount without a cache: fstat(2) of it is one GETATTR and
/// nothing else.
fn opened(mount: &InProcess) -> (OwnedFd, NodeId) {
    let file = File::create(mount.path("file")).unwrap();
    (file.into(), mount.node(mount.path("file")))
}

fn set_mode(fs: &Fs, id: NodeId, perm: u16) {
    let change = SetAttr {
        perm: Some(perm),
        ..SetAttr::default()
    };
    fs.setattr(&ROOT, id, &change).unwrap().deliver(|_| ());
}

fn rename(fs: &Fs, from: &str, to: &str) {
    let (from, to) = (
        (NodeId::ROOT, from.as_bytes()),
        (NodeId::ROOT, to.as_bytes()),
    );
    fs.rename(&ROOT, from, to, 0).unwrap().deliver(|_| ());
}

#[test]
fn fast() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    let (file, _) = opened(&mount);
    symlink("target", mount.path("symlink")).unwrap();
    let stat =
        mount.outcomes(|| (0..100).for_each(|_| assert_eq!(fstat(&file).unwrap().st_size, 0)));
    assert!(stat.fast >= 100 && stat.slow + stat.again == 0, "{stat:?}");
    let mut link = Outcomes::default();
    let lookups = mount.lookups(|| {
        link = mount.outcomes(|| {
            for _ in 0..100 {
                assert_eq!(
                    readlink(mount.path("symlink"), []).unwrap().as_bytes(),
                    b"target"
                );
            }
        });
    });
    for ended in [link, lookups] {
        assert!(
            ended.fast >= 100 && ended.slow + ended.again == 0,
            "{ended:?}"
        );
    }
}

/// A mount on which the daemon checks permissions, with a file of `mode` that belongs to root and
/// group 2000.
fn guarded(mode: u32) -> InProcess {
    let options = Options {
        cache: Cache::None,
        ..Options::default()
    };
    let mount = InProcess::deciding(&options, Permissions::Daemon);
    let file = mount.path("file");
    std::fs::write(&file, "").unwrap();
    chown(&file, None, Some(rustix::fs::Gid::from_raw(2000))).unwrap();
    chmod(&file, mode.into()).unwrap();
    mount
}

#[test]
fn fast_error() {
    let _alone = alone();
    let mount = guarded(0o700);
    let denied = mount.outcomes(|| {
        let asked = as_user(1001, 1001, &[], || {
            access(mount.path("file"), Access::READ_OK)
        });
        assert_eq!(asked, Err(Errno::ACCESS));
    });
    assert_eq!(
        (denied.fast_error, denied.again, denied.slow),
        (1, 0, 0),
        "{denied:?}"
    );
}

#[test]
fn again() {
    let _alone = alone();
    let mount = guarded(0o740);
    for (groups, answer) in [(&[5, 2000][..], Ok(())), (&[5, 6], Err(Errno::ACCESS))] {
        let asked = mount.outcomes(|| {
            let got = as_user(1001, 1001, groups, || {
                access(mount.path("file"), Access::READ_OK)
            });
            assert_eq!(got, answer, "{groups:?}");
        });
        assert_eq!((asked.again, asked.slow), (1, 0), "{asked:?}");
    }
}

#[test]
fn retry_because_attributes_changed() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    let (file, id) = opened(&mount);
    let change = move |fs: &Fs, _| set_mode(fs, id, 0o751);
    let (outcomes, _) = interfere(&mount, (Failpoint::BeforeNodeValidate, 1), change, || {
        assert_eq!(
            fstat(&file).unwrap().st_mode & 0o7777,
            0o751,
            "the old mode was delivered"
        );
    });
    assert_eq!(
        (outcomes.retry_attr, outcomes.fast, outcomes.slow),
        (1, 1, 0),
        "{outcomes:?}"
    );
}

#[test]
fn slow_after_three_attempts() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    let (file, id) = opened(&mount);
    let change = move |fs: &Fs, number| set_mode(fs, id, 0o700 + number as u16);
    let (outcomes, _) = interfere(&mount, (Failpoint::BeforeNodeValidate, 3), change, || {
        assert_eq!(fstat(&file).unwrap().st_mode & 0o7777, 0o702);
    });
    assert_eq!(
        (outcomes.retry_attr, outcomes.fast, outcomes.slow),
        (3, 0, 1),
        "{outcomes:?}"
    );
}

#[test]
fn retry_because_a_dentry_died() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    std::fs::write(mount.path("file"), "the old one").unwrap();
    std::fs::write(mount.path("other"), "the new one").unwrap();
    let other = seen(mount.path("other")).ino;
    let change = |fs: &Fs, _| rename(fs, "other", "file");
    let (outcomes, lookups) = interfere(&mount, (Failpoint::BeforeEdgeValidate, 1), change, || {
        assert_eq!(
            seen(mount.path("file")).ino,
            other,
            "the replaced file was delivered"
        );
    });
    assert_eq!((lookups.retry_edge, lookups.slow), (1, 0), "{lookups:?}");
    assert_eq!((outcomes.retries(), outcomes.slow), (0, 0), "{outcomes:?}");
}

#[test]
fn retry_because_of_a_rename() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    for missing in [true, false] {
        std::fs::write(mount.path("other"), "").unwrap();
        let to = if missing { "elsewhere" } else { "name" };
        let change = move |fs: &Fs, _| rename(fs, "other", to);
        let (outcomes, lookups) =
            interfere(&mount, (Failpoint::BeforeMissValidate, 1), change, || {
                assert_eq!(
                    lstat(mount.path("name")).is_err(),
                    missing,
                    "the name came by a rename"
                );
            });
        assert_eq!((lookups.retry_rseq, lookups.slow), (1, 0), "{lookups:?}");
        assert_eq!((outcomes.retries(), outcomes.slow), (0, 0), "{outcomes:?}");
    }
}

#[test]
fn a_storm_ends_every_operation_within_three_attempts() {
    let _alone = alone();
    let mount = InProcess::start(Cache::None);
    let (file, id) = opened(&mount);
    let fs = mount.fs();
    set_mode(fs, id, 0o600);
    let calls = 3_000;
    let outcomes = mount.outcomes(|| {
        std::thread::scope(|scope| {
            let storm = scope.spawn(|| {
                for number in 0..50_000u32 {
                    set_mode(fs, id, 0o600 + (number % 8) as u16);
                }
            });
            for _ in 0..calls {
                assert_eq!(fstat(&file).unwrap().st_mode & 0o7770, 0o600);
            }
            storm.join().unwrap();
        });
    });
    assert!(outcomes.operations() >= calls, "{outcomes:?}");
    assert!(
        outcomes.retries() <= 3 * outcomes.operations(),
        "{outcomes:?}"
    );
    let open = rustix::fs::open(mount.path("file"), OFlags::RDONLY, 0.into());
    assert_eq!(fstat(open.unwrap()).unwrap().st_mode & 0o7777, 0o607);
}
