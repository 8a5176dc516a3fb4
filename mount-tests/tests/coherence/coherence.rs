//! What the kernel caches is what the daemon has, even when a reply with old attributes is
//! overtaken by a change.
//!
//! Each case holds the reply to a GETATTR back while a change of the same inode completes. Without
//! the notification that precedes the reply of a change, the kernel would then keep the old
//! attributes for good: the second test switches the notifications off and sees exactly that.

use mount_tests::InProcess;
use mount_tests::posix::{Seen, forced, seen};
use norefs::transport::{Cache, RequestKind};
use rustix::fs::{CWD, FallocateFlags, RenameFlags, XattrFlags, fallocate, renameat_with};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

struct Case {
    name: &'static str,
    /// The inode whose GETATTR is held back: where it is before and after the change.
    subject: (&'static str, &'static str),
    change: fn(&Path),
}

const CASES: &[Case] = &[
    Case {
        name: "mkdir",
        subject: ("dir", "dir"),
        change: |root| std::fs::create_dir(root.join("dir/new")).unwrap(),
    },
    Case {
        name: "create",
        subject: ("dir", "dir"),
        change: |root| drop(File::create(root.join("dir/new")).unwrap()),
    },
    Case {
        name: "symlink",
        subject: ("dir", "dir"),
        change: |root| rustix::fs::symlink("target", root.join("dir/new")).unwrap(),
    },
    Case {
        name: "link",
        subject: ("dir", "dir"),
        change: |root| std::fs::hard_link(root.join("file"), root.join("dir/new")).unwrap(),
    },
    Case {
        name: "unlink",
        subject: ("dir", "dir"),
        change: |root| std::fs::remove_file(root.join("dir/inner")).unwrap(),
    },
    Case {
        name: "rmdir",
        subject: ("dir", "dir"),
        change: |root| std::fs::remove_dir(root.join("dir/sub")).unwrap(),
    },
    Case {
        name: "rename, the moved",
        subject: ("file", "moved"),
        change: |root| std::fs::rename(root.join("file"), root.join("moved")).unwrap(),
    },
    Case {
        name: "rename, the directory left",
        subject: ("dir", "dir"),
        change: |root| std::fs::rename(root.join("dir/inner"), root.join("moved")).unwrap(),
    },
    Case {
        name: "rename, the directory entered",
        subject: ("dir", "dir"),
        change: |root| std::fs::rename(root.join("file"), root.join("dir/moved")).unwrap(),
    },
    Case {
        name: "exchange, the second",
        subject: ("other", "file"),
        change: |root| {
            let (a, b) = (root.join("file"), root.join("other"));
            renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        },
    },
    Case {
        name: "setxattr",
        subject: ("file", "file"),
        change: |root| {
            let file = root.join("file");
            rustix::fs::setxattr(file, "user.x", b"1", XattrFlags::empty()).unwrap();
        },
    },
    Case {
        name: "removexattr",
        subject: ("other", "other"),
        change: |root| rustix::fs::removexattr(root.join("other"), "user.x").unwrap(),
    },
];

/// What the kernel shows of the subject after the race, and what the daemon has.
fn race(case: &Case, notifications: bool) -> (Seen, Seen) {
    let mount = InProcess::start(Cache::Forever);
    std::fs::create_dir_all(mount.path("dir/sub")).unwrap();
    for name in ["file", "other", "dir/inner"] {
        std::fs::write(mount.path(name), name).unwrap();
    }
    rustix::fs::setxattr(mount.path("other"), "user.x", b"1", XattrFlags::empty()).unwrap();
    for name in ["file", "other", "dir", "dir/sub", "dir/inner"] {
        seen(mount.path(name));
    }

    mount.failpoints().set_notifications(notifications);
    let (before, after) = (mount.path(case.subject.0), mount.path(case.subject.1));
    let node = mount.node(&before);
    std::thread::scope(|scope| {
        let hold = mount.failpoints().hold(RequestKind::Getattr, Some(node));
        scope.spawn(|| forced(&before));
        assert!(hold.wait_held(Duration::from_secs(60)), "no GETATTR came");
        (case.change)(mount.root());
        hold.release();
    });
    (seen(&after), forced(&after))
}

#[test]
fn a_change_overtaking_a_getattr_leaves_the_new_attributes() {
    for case in CASES {
        let (cached, actual) = race(case, true);
        assert_eq!(cached, actual, "{}: left: cached", case.name);
    }
}

#[test]
fn without_notifications_the_old_attributes_would_stay() {
    for case in CASES {
        // On a busy machine the kernel may drop the old attributes for another reason.
        let stays = (0..10).any(|_| {
            let (cached, actual) = race(case, false);
            cached != actual
        });
        assert!(stays, "{}: this race is not forced any more", case.name);
    }
}

#[test]
fn fallocate_that_keeps_the_size_is_covered_too() {
    let mount = InProcess::start(Cache::Forever);
    let path = mount.path("file");
    std::fs::write(&path, vec![1; 300_000]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let node = mount.node(&path);
    std::thread::scope(|scope| {
        let hold = mount.failpoints().hold(RequestKind::Getattr, Some(node));
        scope.spawn(|| forced(&path));
        assert!(hold.wait_held(Duration::from_secs(60)), "no GETATTR came");
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 0, 200_000).unwrap();
        hold.release();
    });
    assert_eq!(seen(&path), forced(&path));
}

#[test]
fn after_each_kind_of_change_the_cache_is_exact() {
    let mount = InProcess::start(Cache::Forever);
    for case in CASES {
        let root = mount.path(case.name);
        std::fs::create_dir_all(root.join("dir/sub")).unwrap();
        for name in ["file", "other", "dir/inner"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        rustix::fs::setxattr(root.join("other"), "user.x", b"1", XattrFlags::empty()).unwrap();
        let paths = || mount_tests::posix::tree(&root).into_keys();
        for path in paths() {
            seen(root.join(path));
        }
        (case.change)(&root);
        for path in paths() {
            let path = root.join(path);
            assert_eq!(
                seen(&path),
                forced(&path),
                "{}: {}",
                case.name,
                path.display()
            );
        }
        assert_eq!(seen(&root), forced(&root), "{}", case.name);
    }
}
