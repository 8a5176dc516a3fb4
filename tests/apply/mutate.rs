//! A directory with some of everything, and changes at random.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Makes `root`.
pub fn build(root: &Path) {
    fs::create_dir(root).unwrap();
    for directory in ["d", "d/e", "d/e/f", "a", "a/b", "empty", "closed"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for (number, file) in [
        "plain", "d/1", "d/2", "d/e/1", "d/e/f/1", "a/1", "a/b/1", "a/b/2", "closed/1", "x", "y",
    ]
    .iter()
    .enumerate()
    {
        fs::write(root.join(file), "content ".repeat(number * 100)).unwrap();
        set_mtime(
            &root.join(file),
            1_000_000_000 + i64::try_from(number).unwrap(),
        );
    }
    fs::hard_link(root.join("x"), root.join("d/x")).unwrap();
    fs::hard_link(root.join("x"), root.join("a/x")).unwrap();
    symlink("d/1", root.join("link")).unwrap();
    symlink("nowhere", root.join("a/dangling")).unwrap();
    mknod(&root.join("fifo"));
    chmod(&root.join("plain"), 0o640);
    set_xattr(&root.join("a/1"), "user.one", "1");
    for directory in ["d/e/f", "d/e", "d", "a/b", "a", "empty", "closed", ""] {
        set_mtime(&root.join(directory), 1_100_000_000);
    }
    chmod(&root.join("closed"), 0o555);
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mknod(path: &Path) {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &str) {
    rustix::fs::lsetxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

fn set_mtime(path: &Path, sec: i64) {
    let time = Timespec {
        tv_sec: sec,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Every path below `root`.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Changes `root` at random, always in the same way for the same seed. What cannot be done is left.
pub fn change(root: &Path, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..random.usize(1..14) {
        step(root, &mut random);
    }
}

fn step(root: &Path, random: &mut fastrand::Rng) {
    let all = paths(root);
    let Some(one) = random.choice(&all).cloned() else {
        return;
    };
    let directories = all
        .iter()
        .filter(|path| path.is_dir() && !path.is_symlink());
    let mut directories: Vec<PathBuf> = directories.cloned().collect();
    directories.push(root.to_owned());
    let directory = random.choice(&directories).unwrap().clone();
    let names = ["1", "2", "new", "other", "d", "x"];
    let other = match random.bool() {
        true => directory.join(random.choice(names).unwrap()),
        false => random.choice(&all).unwrap().clone(),
    };
    let kind = fs::symlink_metadata(&one).unwrap().file_type();
    let size = random.usize(0..5000);
    match random.u8(0..16) {
        0 | 1 if kind.is_file() => fs::write(&one, "w".repeat(size)).unwrap(),
        2 => drop(fs::remove_file(&one)),
        3 if kind.is_dir() && random.bool() => drop(fs::remove_dir_all(&one)),
        4..7 => drop(fs::rename(&one, &other)),
        7 => drop(fs::hard_link(&one, &other)),
        8 => drop(fs::create_dir(&other)),
        9 if !other.exists() => fs::write(&other, "n".repeat(size)).unwrap_or_default(),
        10 if !kind.is_symlink() => {
            chmod(&one, random.choice([0o000, 0o555, 0o700, 0o751]).unwrap())
        }
        11 => set_mtime(&one, random.i64(1..2_000_000_000)),
        12 if kind.is_file() || kind.is_dir() => set_xattr(&one, "user.two", "2"),
        13 if kind.is_file() => {
            let fresh = one.with_extension("tmp");
            fs::write(&fresh, "saved".repeat(size)).unwrap_or_default();
            drop(fs::rename(fresh, &one));
        }
        14 => {
            // Something of another kind.
            drop(fs::remove_file(&one).or_else(|_| fs::remove_dir_all(&one)));
            match random.u8(0..4) {
                0 => drop(fs::create_dir(&one)),
                1 => drop(symlink("elsewhere", &one)),
                2 if !one.exists() => mknod(&one),
                _ => drop(fs::write(&one, "k".repeat(size))),
            }
        }
        _ => drop(rustix::fs::renameat_with(
            CWD,
            &one,
            CWD,
            &other,
            rustix::fs::RenameFlags::EXCHANGE,
        )),
    }
}
