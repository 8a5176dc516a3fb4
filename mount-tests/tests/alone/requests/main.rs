//! Which calls reach the daemon: with the cache none of the warm ones does, without it each does.

mod rows;
mod table;

use mount_tests::posix::{forced, seen};
use mount_tests::programs::run;
use mount_tests::{Daemon, Scratch, Stats, fails};
use rustix::fs::{Access, Mode, OFlags, RawDir, access, lstat, readlink, stat, symlink};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;

/// The requests that reach the daemon while `work` is done, by kind.
fn requests(mount: &Daemon, work: impl Fn()) -> BTreeMap<String, u64> {
    let before = mount.stats();
    work();
    let after = mount.stats();
    let grown = |kind: &String| after.count(kind) - before.count(kind);
    let kinds = after.kinds().into_iter().filter(|kind| kind != "forget");
    kinds
        .map(|kind| (grown(&kind), kind))
        .filter(|(n, _)| *n > 0)
        .map(|(n, kind)| (kind, n))
        .collect()
}

/// Expects that `work`, done before, sends nothing when it is done 50 times more.
///
/// It is done twice before: whoever reads a file or directory for the first time makes the kernel
/// ask once more for its access time, at the next stat.
#[track_caller]
fn silent_when_warm(mount: &Daemon, work: impl Fn()) {
    work();
    work();
    let sent = requests(mount, || (0..50).for_each(|_| work()));
    assert_eq!(sent, BTreeMap::new());
}

fn warm() -> Daemon {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("a/b/c")).unwrap();
    std::fs::write(mount.path("a/b/c/file"), "content").unwrap();
    symlink("b/c/file", mount.path("a/symlink")).unwrap();
    mount
}

#[test]
fn a_warm_stat_sends_nothing() {
    let mount = warm();
    silent_when_warm(&mount, || _ = lstat(mount.path("a/b/c/file")).unwrap());
    silent_when_warm(&mount, || _ = lstat(mount.path("a/b")).unwrap());
    silent_when_warm(&mount, || _ = lstat(mount.root()).unwrap());
}

#[test]
fn a_warm_access_sends_nothing() {
    let mount = warm();
    silent_when_warm(&mount, || {
        access(mount.path("a/b/c/file"), Access::READ_OK).unwrap()
    });
    silent_when_warm(&mount, || {
        mount_tests::posix::as_user(1000, 1000, &[], || {
            access(mount.path("a/b/c/file"), Access::READ_OK).unwrap()
        })
    });
}

#[test]
fn a_warm_readlink_sends_nothing() {
    let mount = warm();
    silent_when_warm(&mount, || {
        drop(readlink(mount.path("a/symlink"), []).unwrap())
    });
    silent_when_warm(&mount, || _ = stat(mount.path("a/symlink")).unwrap());
}

#[test]
fn a_warm_stat_of_a_missing_name_sends_nothing() {
    let mount = warm();
    silent_when_warm(&mount, || {
        fails(Errno::NOENT, lstat(mount.path("a/b/missing")))
    });
}

#[test]
fn a_second_listing_sends_nothing() {
    let mount = warm();
    for n in 0..200 {
        std::fs::write(mount.path(format!("a/{n}")), "").unwrap();
    }
    let list = || {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let dir = rustix::fs::open(mount.path("a"), flags, Mode::empty()).unwrap();
        let mut buffer = [const { MaybeUninit::uninit() }; 1000];
        let mut entries = RawDir::new(dir, &mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            entry.unwrap();
            count += 1;
        }
        assert_eq!(count, 204);
    };
    list();
    assert_eq!(requests(&mount, list), BTreeMap::new());
    silent_when_warm(&mount, || {
        for entry in std::fs::read_dir(mount.path("a")).unwrap() {
            entry.unwrap().metadata().unwrap();
        }
    });
}

#[test]
fn a_first_long_listing_does_not_look_each_name_up() {
    let source = Scratch::new();
    for n in 0..500 {
        std::fs::write(source.join(n.to_string()), "").unwrap();
    }
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let sent = requests(&mount, || {
        for entry in std::fs::read_dir(mount.root()).unwrap() {
            lstat(entry.unwrap().path()).unwrap();
        }
    });
    assert!(sent.values().sum::<u64>() < 50, "{sent:?}");
    assert!(sent["readdirplus"] > 0, "{sent:?}");
}

#[test]
fn a_warm_open_read_and_close_sends_nothing() {
    let mount = warm();
    silent_when_warm(&mount, || {
        assert_eq!(std::fs::read(mount.path("a/b/c/file")).unwrap(), b"content");
    });
}

#[test]
fn a_second_find_sends_nothing() {
    let mount = warm();
    let find = || drop(run(mount.root(), "find", &[".", "-ls"]));
    find();
    find();
    // find asks for the type of the filesystem, which the kernel passes on.
    assert_eq!(
        requests(&mount, find),
        BTreeMap::from([("statfs".to_owned(), 1)])
    );
}

#[test]
fn a_change_costs_at_most_one_more_request_per_inode() {
    let mount = warm();
    let dir = mount.path("a/b");
    seen(&dir);
    std::fs::create_dir(dir.join("new")).unwrap();
    let sent = requests(&mount, || assert_eq!(seen(&dir).nlink, 4));
    assert!(sent.values().sum::<u64>() <= 1, "{sent:?}");
    silent_when_warm(&mount, || assert_eq!(seen(&dir).nlink, 4));
    rustix::fs::chmod(mount.path("a/b/c/file"), 0o600.into()).unwrap();
    assert_eq!(
        requests(&mount, || assert_eq!(
            seen(mount.path("a/b/c/file")).mode,
            0o100600
        )),
        BTreeMap::new()
    );
}

#[test]
fn a_forced_stat_always_asks() {
    let mount = warm();
    let sent = requests(&mount, || {
        (0..20).for_each(|_| assert_eq!(forced(mount.path("a")).nlink, 3))
    });
    assert_eq!(sent, BTreeMap::from([("getattr".to_owned(), 20)]));
}

#[test]
fn without_a_cache_each_call_asks() {
    let mount = Daemon::without_cache();
    std::fs::create_dir(mount.path("dir")).unwrap();
    std::fs::write(mount.path("dir/file"), "content").unwrap();
    symlink("file", mount.path("dir/symlink")).unwrap();
    let each = |work: &dyn Fn()| requests(&mount, || (0..20).for_each(|_| work()));
    let stat = each(&|| _ = lstat(mount.path("dir/file")).unwrap());
    assert!(stat["lookup"] >= 40, "{stat:?}");
    let missing = each(&|| fails(Errno::NOENT, lstat(mount.path("dir/missing"))));
    assert!(missing["lookup"] >= 40, "{missing:?}");
    let link = each(&|| drop(readlink(mount.path("dir/symlink"), []).unwrap()));
    assert!(link["readlink"] >= 20, "{link:?}");
    let list = each(&|| assert_eq!(std::fs::read_dir(mount.path("dir")).unwrap().count(), 2));
    assert!(list["readdir"] >= 20, "{list:?}");
    let open = std::fs::File::open(mount.path("dir/file")).unwrap();
    let fstat = each(&|| _ = rustix::fs::fstat(&open).unwrap());
    assert!(fstat["getattr"] >= 20, "{fstat:?}");
}

#[test]
fn a_lifetime_ends() {
    let mount = Daemon::with(&["-o", "allow_other,cache=50ms"]);
    std::fs::write(mount.path("file"), "").unwrap();
    seen(mount.path("file"));
    let sent = requests(&mount, || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        seen(mount.path("file"));
    });
    assert!(sent.values().sum::<u64>() >= 1, "{sent:?}");
}

#[test]
fn stats_count_what_was_done() {
    let mount = Daemon::start();
    let sent = requests(&mount, || {
        for n in 0..7 {
            std::fs::create_dir(mount.path(n.to_string())).unwrap();
        }
        std::fs::remove_dir(mount.path("0")).unwrap();
        rustix::fs::symlink("target", mount.path("symlink")).unwrap();
    });
    assert_eq!(
        (sent["mkdir"], sent["rmdir"], sent["symlink"]),
        (7, 1, 1),
        "{sent:?}"
    );
    let Stats(json) = mount.stats();
    assert!(json["outcomes"]["fast"].as_u64().unwrap() > 0, "{json}");
    assert!(
        json["requests"]["mkdir"]["p99_ns"].as_u64().unwrap() > 0,
        "{json}"
    );
    assert_eq!(json["inodes"], 8);
}
