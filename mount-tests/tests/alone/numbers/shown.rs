//! The numbers of a source.

use super::{listed, load, load_with, numbers};
use mount_tests::posix::{as_user, forced, seen};
use mount_tests::programs::{run, same_lines, sh};
use mount_tests::{Daemon, NOBODY, Scratch, Tmpfs, sample};
use rustix::fs::{CWD, RenameFlags, chmod, renameat_with};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_entry_shows_the_number_it_has_in_the_source() {
    let source = Scratch::new();
    sample::fill(&source);
    for options in [&["--cache", "forever"], &["--cache", "none"]] {
        let mount = load_with(&source, options);
        let expected = numbers(&source);
        assert!(expected.len() > 60);
        // The first listing brings attributes along, the second does not.
        for _ in 0..2 {
            assert_eq!(numbers(mount.root()), expected);
        }
    }
}

#[test]
fn an_ordinary_user_sees_them_and_mounts_with_them() {
    let source = Scratch::new();
    sh(
        &source,
        "mkdir -p d/e; echo > d/f; ln d/f d/e/g; ln -s f d/l",
    );
    sh(&source, &format!("chmod -R a+rX .; chown -Rh {NOBODY} ."));
    let expected = numbers(&source);
    let mount = load(&source);
    as_user(NOBODY, NOBODY, &[], || {
        assert_eq!(numbers(mount.root()), expected);
    });
    let own = Daemon::as_nobody(&[source.to_str().unwrap()]);
    as_user(NOBODY, NOBODY, &[], || {
        assert_eq!(numbers(own.root()), expected);
    });
}

#[test]
fn the_root_and_its_dots_agree() {
    let source = Scratch::new();
    let ino = seen(&*source).ino;
    let mount = load(&source);
    let root = mount.root();
    assert_eq!([listed(root, "."), listed(root, "..")], [ino; 2]);
    assert_eq!([seen(root).ino, forced(root).ino], [ino; 2]);
}

#[test]
fn numbers_stay_with_files_that_are_moved_linked_and_changed() {
    let source = Scratch::new();
    sh(
        &source,
        "mkdir -p a/b c; echo 1 > a/f; ln a/f c/g; echo 2 > a/b/h; echo 3 > i",
    );
    let mount = load(&source);
    let at = |name: &str| mount.path(name);
    let ino = |name: &str| seen(source.join(name)).ino;
    std::fs::rename(at("a/b"), at("c/b")).unwrap();
    std::fs::hard_link(at("i"), at("c/j")).unwrap();
    renameat_with(CWD, at("a/f"), CWD, at("i"), RenameFlags::EXCHANGE).unwrap();
    chmod(at("c/g"), 0o600.into()).unwrap();
    std::fs::write(at("c/b/h"), "longer than before").unwrap();
    let moved = [
        ("c/b", "a/b"),
        ("c/b/h", "a/b/h"),
        ("c/b/..", "c"),
        ("c/g", "a/f"),
        ("i", "a/f"),
        ("c/j", "i"),
        ("a/f", "i"),
    ];
    for (here, there) in moved {
        let found = [seen(at(here)).ino, forced(at(here)).ino];
        assert_eq!(found, [ino(there); 2], "{here}");
    }
    assert_eq!(listed(&at("c/b"), ".."), ino("c"));
    assert_eq!(listed(&at("c"), "j"), ino("i"));
}

/// `find`, `ls` and `du` as a user asks for numbers.
#[test]
fn programs_show_what_they_show_in_the_source() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = load(&source);
    let commands = [
        "find . -printf '%i %n %p\\n'",
        "ls -iAR1 .",
        "find . -inum \"$(stat -c %i big)\"",
        "find . -samefile big",
        "stat -c '%i %h %n' -- dir*/sub*/*",
        "du -a --apparent-size --exclude='./dir*' .",
    ];
    for command in commands {
        let expected = sh(&source, command);
        assert!(expected.lines().count() > 1, "{command}");
        same_lines(&sh(mount.root(), command), &expected);
    }
}

/// What is seen of each file: device and number.
fn identities(root: &Path) -> BTreeMap<String, (u64, u64)> {
    let seen = run(root, "find", &[".", "-printf", "%p|%D|%i\n"]);
    let line = |line: &str| {
        let mut parts = line.split('|');
        let name = parts.next().unwrap().to_owned();
        let mut number = || parts.next().unwrap().parse().unwrap();
        (name, (number(), number()))
    };
    seen.lines().map(line).collect()
}

#[test]
fn several_devices_stay_apart() {
    let source = Scratch::new();
    let below = ["one", "two"].map(|name| Tmpfs::at(source.dir(name)));
    for dir in [&*source, &*below[0], &*below[1]] {
        sh(
            dir,
            "mkdir -p d; for n in $(seq 50); do echo $n > d/f$n; done; ln d/f1 d/linked",
        );
    }
    let there = identities(&source);
    let pairs = there.values().map(|(_, ino)| ino);
    let different: std::collections::BTreeSet<_> = pairs.collect();
    assert!(different.len() < 3 * 52, "numbers of two tmpfs are alike");

    let mount = load_with(&source, &["--cross-mounts"]);
    let here = identities(mount.root());
    let device = there["."].0;
    let mut known = BTreeMap::new();
    for (name, identity) in &there {
        let shown = here[name].1;
        assert_eq!(*known.entry(shown).or_insert(identity), identity, "{name}");
        match identity.0 == device {
            true => assert_eq!(shown, identity.1, "{name}"),
            false => assert_eq!(shown << 16, identity.1 << 16, "{name}"),
        }
    }
    assert_eq!(known.len(), 3 * 52, "hard links and nothing else");
    assert_eq!(here["./one/d/f1"], here["./one/d/linked"]);
    assert_eq!(listed(mount.root(), "two"), seen(mount.path("two")).ino);
}
