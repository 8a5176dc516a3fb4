//! Random steps on a tmpfs and on norefs: the same results, the same rights everywhere.

use super::outcome;
use mount_tests::acl::{ACCESS, DEFAULT, Rights, get, list, remove, rights};
use mount_tests::posix::{as_user_with_umask, fifo, tree};
use mount_tests::{Daemon, Dice, Tmpfs};
use rustix::fd::AsRawFd;
use rustix::fs::{
    Access, AtFlags, CWD, Gid, OFlags, Uid, XattrFlags, accessat, chmod, chown, link, linkat,
    mkdir, open, rename, rmdir, setxattr, symlink, unlink,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

const STEPS: u32 = 4000;
/// Steps between two looks at everything.
const BETWEEN_LOOKS: u32 = 20;
const IDS: [u32; 4] = [0, 1000, 1001, 1002];
const GROUPS: [u32; 3] = [0, 500, 501];
const MODES: [u32; 9] = [0, 0o777, 0o700, 0o070, 0o640, 0o2775, 0o6711, 0o1777, 0o604];
const UMASKS: [u32; 4] = [0, 0o022, 0o077, 0o707];

/// A list, mostly a valid one.
fn some_list(dice: &mut Dice) -> Vec<u8> {
    let bits =
        |dice: &mut Dice| ["---", "--x", "-w-", "r--", "r-x", "rw-", "rwx"][dice.roll(7) as usize];
    let mut text = format!("u::{}", bits(dice));
    let users = dice.roll(3);
    for _ in 0..users {
        text += &format!(",u:{}:{}", dice.choose(&IDS), bits(dice));
    }
    text += &format!(",g::{}", bits(dice));
    let groups = dice.roll(3);
    for _ in 0..groups {
        text += &format!(",g:{}:{}", dice.choose(&GROUPS), bits(dice));
    }
    let mask = users + groups > 0;
    if mask != (dice.roll(12) == 0) {
        text += &format!(",m::{}", bits(dice));
    }
    text += &format!(",o::{}", bits(dice));
    let mut value = list(&text);
    match dice.roll(40) {
        0 => value[0] = 3,
        1 => value.truncate(value.len() - 1),
        2 => value[6] = 9,
        3 => value.truncate(4),
        4 => value.clear(),
        _ => {}
    }
    value
}

/// One step below `root`, the same for the same state of the dice.
fn step(dice: &mut Dice, root: &Path) -> (String, Result<(), Errno>) {
    let (path, other) = (dice.path(root), dice.path(root));
    let name = dice.choose(&[ACCESS, ACCESS, DEFAULT]);
    let (mode, umask) = (dice.choose(&MODES), dice.choose(&UMASKS));
    let (uid, gid) = (dice.choose(&IDS), dice.choose(&GROUPS));
    let groups = if dice.roll(2) == 0 {
        vec![]
    } else {
        vec![dice.choose(&GROUPS)]
    };
    let (value, how) = (some_list(dice), dice.roll(20));
    let flags = dice.choose(&[XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE]);
    let at = dice.choose(&[Access::READ_OK, Access::WRITE_OK, Access::EXEC_OK]);
    let work = || match how {
        0..4 => ("setxattr", setxattr(&path, name, &value, flags)),
        4 => ("removexattr", remove(&path, name)),
        5 | 6 => ("chmod", chmod(&path, mode.into())),
        7 => (
            "chown",
            chown(&path, Some(Uid::from_raw(1000)), Some(Gid::from_raw(gid))),
        ),
        8 => {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NONBLOCK;
            ("create", outcome(open(&path, flags, mode.into())))
        }
        9..12 => ("mkdir", mkdir(&path, mode.into())),
        12 => ("mkfifo", fifo(&path, mode)),
        13 => ("symlink", symlink("b", &path)),
        14 => ("tmpfile", nameless(&path, &other, mode)),
        15 => ("rename", rename(&path, &other)),
        16 => ("link", link(&path, &other)),
        17 => ("remove", unlink(&path).or_else(|_| rmdir(&path))),
        18 => ("getxattr", outcome(get(&path, name))),
        _ => ("access", accessat(CWD, &path, at, AtFlags::EACCESS)),
    };
    let (what, result) = as_user_with_umask(umask, uid, gid, &groups, work);
    let short = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    let (path, other) = (short(&path), short(&other));
    let who = format!("{uid}:{gid}{groups:?} umask {umask:o}");
    (
        format!("{what} {path} {other} {name} {mode:o} as {who}"),
        result,
    )
}

fn nameless(dir: &Path, path: &Path, mode: u32) -> Result<(), Errno> {
    let file = open(dir, OFlags::TMPFILE | OFlags::RDWR, mode.into())?;
    let at = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, at, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

fn look(root: &Path) -> Vec<(PathBuf, Rights)> {
    let paths = tree(root).into_keys();
    let all = paths.map(|path| (path.clone(), rights(&root.join(path))));
    all.collect()
}

fn compare(seed: u64, steps: u32) {
    let (tmpfs, norefs) = (Tmpfs::new(), Daemon::with(&["-o", "acl,allow_other"]));
    let roots = [tmpfs.to_path_buf(), norefs.root().to_owned()];
    for root in &roots {
        chmod(root, 0o777.into()).unwrap();
    }
    let mut dice = [Dice::new(seed), Dice::new(seed)];
    let mut told = Vec::new();
    let mut succeeded = 0;
    for number in 0..steps {
        let [on_tmpfs, on_norefs] = [0, 1].map(|side| step(&mut dice[side], &roots[side]));
        succeeded += u32::from(on_tmpfs.1.is_ok());
        told.push(on_tmpfs.clone());
        let latest = || &told[told.len().saturating_sub(BETWEEN_LOOKS as usize)..];
        assert_eq!(
            on_norefs,
            on_tmpfs,
            "left: norefs; step {number}: {:#?}",
            latest()
        );
        if number % BETWEEN_LOOKS == 0 {
            let [on_tmpfs, on_norefs] = roots.each_ref().map(|root| look(root));
            assert!(
                on_norefs == on_tmpfs,
                "step {number}: {:#?}\nnorefs: {:#?}\ntmpfs: {:#?}",
                latest(),
                different(&on_norefs, &on_tmpfs),
                different(&on_tmpfs, &on_norefs)
            );
        }
    }
    assert!(
        succeeded > steps / 8,
        "of {steps} steps {succeeded} succeeded"
    );
}

fn different(these: &[(PathBuf, Rights)], those: &[(PathBuf, Rights)]) -> Vec<(PathBuf, Rights)> {
    let only = these.iter().filter(|one| !those.contains(one));
    only.cloned().collect()
}

#[test]
fn random_steps_end_as_on_tmpfs() {
    let asked = std::env::var("DIFFERENTIAL_STEPS").ok();
    let steps = asked.map_or(STEPS, |asked| asked.parse().expect("a number of steps"));
    for seed in [1, 2, 3] {
        compare(seed, steps);
    }
}
