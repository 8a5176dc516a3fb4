//! Moving, replacing and exchanging names.

use mount_tests::posix::{Make, age, seen, tree};
use mount_tests::{Daemon, fails, same_as_tmpfs};
use rustix::fs::{CWD, RenameFlags, link, lstat, mkdir, rename, renameat_with, symlink};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

const FLAGS: [RenameFlags; 5] = [
    RenameFlags::empty(),
    RenameFlags::NOREPLACE,
    RenameFlags::EXCHANGE,
    RenameFlags::WHITEOUT,
    RenameFlags::WHITEOUT.union(RenameFlags::NOREPLACE),
];

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
    renameat_with(CWD, from, CWD, to, flags)
}

#[test]
fn each_kind_over_each_kind() {
    for flags in FLAGS {
        same_as_tmpfs(|root| {
            let mut report = Vec::new();
            for from in Make::ALL {
                for to in Make::ALL {
                    let dir = root.join(format!("{from:?} over {to:?}"));
                    std::fs::create_dir_all(dir.join("a")).unwrap();
                    std::fs::create_dir_all(dir.join("b")).unwrap();
                    let (source, target) = (dir.join("a/source"), dir.join("b/target"));
                    from.at(&source);
                    to.at(&target);
                    report.push((from, to, flags, rename_with(&source, &target, flags)));
                }
            }
            (report, tree(root))
        });
    }
}

#[test]
fn each_kind_over_each_kind_in_one_directory() {
    for flags in FLAGS {
        same_as_tmpfs(|root| {
            let mut report = Vec::new();
            for from in Make::ALL {
                for to in Make::ALL {
                    let dir = root.join(format!("{from:?} over {to:?}"));
                    std::fs::create_dir(&dir).unwrap();
                    from.at(&dir.join("source"));
                    to.at(&dir.join("target"));
                    let result = rename_with(&dir.join("source"), &dir.join("target"), flags);
                    report.push((from, to, flags, result));
                }
            }
            (report, tree(root))
        });
    }
}

#[test]
fn a_directory_does_not_move_below_itself() {
    same_as_tmpfs(|root| {
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        let mut report = Vec::new();
        for flags in FLAGS {
            for (from, to) in [
                ("a", "a/x"),
                ("a", "a/b"),
                ("a", "a/b/c"),
                ("a", "a/b/c/x"),
                ("a/b/c", "a"),
                ("a/b/c", "a/b"),
                ("a", "a"),
                ("a/b/c/.", "x"),
                ("a/b/c", "x/."),
                ("a/b/c/..", "x"),
            ] {
                let result = rename_with(&root.join(from), &root.join(to), flags);
                report.push((from, to, flags, result));
            }
        }
        (report, tree(root))
    });
}

#[test]
fn links_of_one_file_are_left_alone() {
    same_as_tmpfs(|root| {
        std::fs::write(root.join("one"), "content").unwrap();
        link(root.join("one"), root.join("two")).unwrap();
        let (one, two) = (root.join("one"), root.join("two"));
        let report: Vec<_> = FLAGS.map(|flags| rename_with(&one, &two, flags)).into();
        (report, rename(&one, &one), tree(root))
    });
}

#[test]
fn a_moved_directory_brings_all_that_is_in_it() {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("from/dir/sub")).unwrap();
    mkdir(mount.path("to"), 0o755.into()).unwrap();
    std::fs::write(mount.path("from/dir/sub/file"), "content").unwrap();
    let inode = seen(mount.path("from/dir/sub/file")).ino;
    rename(mount.path("from/dir"), mount.path("to/dir")).unwrap();
    fails(Errno::NOENT, lstat(mount.path("from/dir")));
    fails(Errno::NOENT, lstat(mount.path("from/dir/sub/file")));
    assert_eq!(seen(mount.path("to/dir/sub/file")).ino, inode);
    assert_eq!(
        std::fs::read(mount.path("to/dir/sub/file")).unwrap(),
        b"content"
    );
    assert_eq!(seen(mount.path("to/dir/..")), seen(mount.path("to")));
    assert_eq!(seen(mount.path("from")).nlink, 2);
    assert_eq!(seen(mount.path("to")).nlink, 3);
}

#[test]
fn an_open_file_is_the_same_after_it_was_moved_or_replaced() {
    let mount = Daemon::start();
    let (a, b) = (mount.path("a"), mount.path("b"));
    std::fs::write(&a, "moved").unwrap();
    std::fs::write(&b, "replaced").unwrap();
    let (moved, replaced) = (File::open(&a).unwrap(), File::open(&b).unwrap());
    rename(&a, &b).unwrap();
    assert_eq!(std::io::read_to_string(&moved).unwrap(), "moved");
    assert_eq!(std::io::read_to_string(&replaced).unwrap(), "replaced");
    assert_eq!(rustix::fs::fstat(&replaced).unwrap().st_nlink, 0);
    assert_eq!(rustix::fs::fstat(&moved).unwrap().st_nlink, 1);
    assert_eq!(std::fs::read(&b).unwrap(), b"moved");
}

#[test]
fn exchange_swaps_a_file_and_a_directory_in_different_directories() {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("x/dir")).unwrap();
    std::fs::write(mount.path("x/dir/inner"), "inner").unwrap();
    mkdir(mount.path("y"), 0o755.into()).unwrap();
    std::fs::write(mount.path("y/file"), "content").unwrap();
    let exchange = RenameFlags::EXCHANGE;
    rename_with(&mount.path("x/dir"), &mount.path("y/file"), exchange).unwrap();
    assert_eq!(std::fs::read(mount.path("x/dir")).unwrap(), b"content");
    assert_eq!(std::fs::read(mount.path("y/file/inner")).unwrap(), b"inner");
    assert_eq!(
        (seen(mount.path("x")).nlink, seen(mount.path("y")).nlink),
        (2, 3)
    );
    assert_eq!(seen(mount.path("y/file/..")).ino, seen(mount.path("y")).ino);
}

#[test]
fn times_of_both_directories_and_of_the_moved_move() {
    let mount = Daemon::start();
    let (from, to) = (mount.path("from"), mount.path("to"));
    for flags in FLAGS {
        for dir in [&from, &to] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(from.join("file"), "").unwrap();
        if flags == RenameFlags::EXCHANGE {
            std::fs::write(to.join("file"), "").unwrap();
        }
        let paths = [&from, &to, &from.join("file"), &to.join("file")];
        paths.iter().filter(|path| path.exists()).for_each(age);
        let before = [seen(&from), seen(&to), seen(from.join("file"))];
        rename_with(&from.join("file"), &to.join("file"), flags).unwrap();
        let after = [seen(&from), seen(&to), seen(to.join("file"))];
        for at in 0..3 {
            assert!(after[at].ctime > before[at].ctime, "{flags:?}: ctime {at}");
            assert_eq!(
                after[at].mtime > before[at].mtime,
                at < 2,
                "{flags:?}: mtime {at}"
            );
        }
        std::fs::remove_dir_all(&from).unwrap();
        std::fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn names_that_are_refused() {
    same_as_tmpfs(|root| {
        std::fs::write(root.join("file"), "").unwrap();
        mkdir(root.join("dir"), 0o755.into()).unwrap();
        symlink("dir", root.join("symlink")).unwrap();
        let long = "n".repeat(256);
        [
            ("missing", "x"),
            ("file", "missing/x"),
            ("file", "file/x"),
            ("file", "x/"),
            ("file", long.as_str()),
            (long.as_str(), "x"),
            ("symlink", "dir/symlink"),
        ]
        .map(|(from, to)| rename(root.join(from), root.join(to)))
    });
}

#[test]
fn unknown_flags_and_impossible_combinations_are_invalid() {
    let mount = Daemon::start();
    let (a, b) = (mount.path("a"), mount.path("b"));
    std::fs::write(&a, "").unwrap();
    for other in [RenameFlags::NOREPLACE, RenameFlags::WHITEOUT] {
        let both = RenameFlags::EXCHANGE | other;
        fails(Errno::INVAL, rename_with(&a, &b, both));
    }
    fails(
        Errno::INVAL,
        rename_with(&a, &b, RenameFlags::from_bits_retain(8)),
    );
    assert_eq!(seen(&a).nlink, 1);
}
