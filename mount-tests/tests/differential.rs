//! The same random calls in norefs and in tmpfs: the same answers, and the same tree in the end.

use mount_tests::posix::{as_user, fifo, tree};
use mount_tests::{Dice, same_as_tmpfs};
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags, chmod, chown, getxattr,
    link, linkat, lstat, mkdir, open, readlink, removexattr, rename, renameat_with, rmdir,
    setxattr, stat, symlink, unlink,
};
use rustix::io::Errno;
use std::path::Path;

const CALLS: usize = 3_000;

/// uid, gid, supplementary groups.
const CALLERS: [(u32, u32, &[u32]); 4] = [
    (0, 0, &[]),
    (0, 0, &[]),
    (1000, 1000, &[]),
    (1001, 1001, &[5, 1000]),
];

const MODES: [u32; 8] = [0o755, 0o777, 0o700, 0o750, 0o1777, 0o2775, 0o640, 0o4755];

const TARGETS: [&str; 5] = ["a", "../b", "b/c", ".", "../../a/b"];

/// A call, and what it answered: the errno, or the part of its result that must not differ.
type Answer = (&'static str, Result<Vec<u8>, Errno>);

fn nothing(call: &'static str, result: Result<(), Errno>) -> Answer {
    (call, result.map(|()| Vec::new()))
}

fn attributes(stat: rustix::fs::Stat) -> Vec<u8> {
    let size = if stat.st_mode & 0o170000 == 0o040000 {
        0
    } else {
        stat.st_size
    };
    format!(
        "{:o} {} {} {} {size}",
        stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid
    )
    .into()
}

fn changes_of_names(root: &Path, dice: &mut Dice) -> Answer {
    let (path, other) = (dice.path(root), dice.path(root));
    let mode = Mode::from_raw_mode(dice.choose(&MODES));
    let (noreplace, exchange) = (RenameFlags::NOREPLACE, RenameFlags::EXCHANGE);
    match dice.roll(16) {
        0..=5 => nothing("mkdir", mkdir(&path, mode)),
        6 => nothing("symlink", symlink(dice.choose(&TARGETS), &path)),
        7 => nothing("link", link(&path, &other)),
        8 => nothing(
            "linkat",
            linkat(CWD, &path, CWD, &other, AtFlags::SYMLINK_FOLLOW),
        ),
        9 => nothing("unlink", unlink(&path)),
        10 => nothing("rmdir", rmdir(&path)),
        11 | 12 => nothing("rename", rename(&path, &other)),
        13 => nothing(
            "noreplace",
            renameat_with(CWD, &path, CWD, &other, noreplace),
        ),
        14 => nothing("exchange", renameat_with(CWD, &path, CWD, &other, exchange)),
        _ => nothing("mkfifo", fifo(&path, mode.as_raw_mode())),
    }
}

fn changes_of_inodes(root: &Path, dice: &mut Dice) -> Answer {
    let path = dice.path(root);
    let id = dice.choose(&[0, 1000, 1001]);
    let name = dice.choose(&["user.one", "user.two", "trusted.one"]);
    let how = dice.choose(&[XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE]);
    let mode = Mode::from_raw_mode(dice.choose(&MODES));
    let value = vec![b'v'; dice.roll(50) as usize];
    match dice.roll(6) {
        0 | 1 => nothing("chmod", chmod(&path, mode)),
        2 => nothing("chown", chown(&path, Some(Uid::from_raw(id)), None)),
        3 => nothing("chgrp", chown(&path, None, Some(Gid::from_raw(id)))),
        4 => nothing("setxattr", setxattr(&path, name, &value, how)),
        _ => nothing("removexattr", removexattr(&path, name)),
    }
}

fn writes(root: &Path, dice: &mut Dice) -> Answer {
    let path = dice.path(root);
    let how = dice.choose(&[OFlags::empty(), OFlags::TRUNC, OFlags::APPEND, OFlags::EXCL]);
    let create = dice.choose(&[OFlags::empty(), OFlags::CREATE, OFlags::CREATE]);
    let mode = Mode::from_raw_mode(dice.choose(&MODES));
    let (offset, length, cut) = (dice.roll(9_000), dice.roll(6_000), dice.roll(3) == 0);
    let file = match open(&path, OFlags::RDWR | OFlags::NONBLOCK | how | create, mode) {
        Ok(file) => file,
        Err(error) => return ("open", Err(error)),
    };
    if cut {
        return nothing("ftruncate", rustix::fs::ftruncate(&file, offset));
    }
    let bytes = vec![b'0' + (offset % 10) as u8; length as usize];
    let written = rustix::io::pwrite(&file, &bytes, offset);
    ("pwrite", written.map(|written| written.to_string().into()))
}

fn questions(root: &Path, dice: &mut Dice) -> Answer {
    let path = dice.path(root);
    let access = Access::from_bits_retain(dice.roll(8) as u32);
    match dice.roll(6) {
        0 => ("lstat", lstat(&path).map(attributes)),
        1 => ("stat", stat(&path).map(attributes)),
        2 => (
            "readlink",
            readlink(&path, []).map(|target| target.into_bytes()),
        ),
        3 => nothing("access", rustix::fs::access(&path, access)),
        4 => {
            let mut value = [0; 100];
            let length = getxattr(&path, "user.one", &mut value);
            ("getxattr", length.map(|length| value[..length].to_vec()))
        }
        _ => ("read", content(&path)),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Errno> {
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    let mut content = vec![0; 20_000];
    let length = rustix::io::read(&file, &mut content)?;
    content.truncate(length);
    Ok(content)
}

/// Makes the calls that `seed` stands for, and reports each answer.
fn calls(root: &Path, seed: u64) -> Vec<(usize, u32, Answer)> {
    chmod(root, 0o777.into()).unwrap();
    let mut dice = Dice::new(seed);
    let one_call = |number| {
        let (uid, gid, groups) = dice.choose(&CALLERS);
        let family = dice.choose(&FAMILIES);
        (
            number,
            uid,
            as_user(uid, gid, groups, || family(root, &mut dice)),
        )
    };
    (0..CALLS).map(one_call).collect()
}

const FAMILIES: [fn(&Path, &mut Dice) -> Answer; 5] = [
    changes_of_names,
    changes_of_names,
    changes_of_inodes,
    writes,
    questions,
];

/// The calls that succeed, as a check that the test is not all errors.
fn successes(answers: &[(usize, u32, Answer)]) -> usize {
    answers
        .iter()
        .filter(|(_, _, (_, answer))| answer.is_ok())
        .count()
}

fn answers_are_those_of_tmpfs(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        same_as_tmpfs(|root| {
            let answers = calls(root, seed);
            let successes = successes(&answers);
            assert!(successes > CALLS / 8, "only {successes} calls succeed");
            (answers, tree(root))
        });
    }
}

#[test]
fn random_calls() {
    answers_are_those_of_tmpfs(0..4);
}

#[test]
fn other_random_calls() {
    answers_are_those_of_tmpfs(4..8);
}
