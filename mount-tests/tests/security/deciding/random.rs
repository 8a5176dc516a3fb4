//! Random calls by five users in a small tree of random owners and modes: on tmpfs, where the kernel decides and where
//! norefs does. The same calls are refused, and the trees stay the same.

use mount_tests::posix::{Leaf, Outcome, as_user, tree};
use mount_tests::{Daemon, Dice, Tmpfs};
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, Uid, XattrFlags, access, chmod, chown, ftruncate, getxattr, linkat, lstat, mkdir,
    open, readlink, removexattr, renameat_with, rmdir, setxattr, symlink, unlink, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many trees are tried. `DECIDING_ROUNDS=200` in the environment tries more.
const ROUNDS: u64 = 16;
const CALLS: usize = 60;

fn rounds() -> u64 {
    let asked = std::env::var("DECIDING_ROUNDS");
    asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"))
}

/// uid, gid, supplementary groups.
const USERS: [(u32, u32, &[u32]); 5] = [
    (0, 0, &[]),
    (1001, 2001, &[]),
    (1002, 2002, &[2001]),
    (1003, 2003, &[5, 6, 2002, 2001]),
    (1004, 2001, &[]),
];
const OWNERS: [u32; 4] = [0, 1001, 1002, 1003];
const GROUPS: [u32; 4] = [0, 2001, 2002, 2003];

const DIRS: [&str; 5] = ["", "a", "b", "a/c", "a/c/d"];
const FILES: [&str; 7] = ["f", "a/f", "a/g", "b/f", "a/c/f", "a/c/d/f", "b/run"];
const PATHS: [&str; 20] = [
    "a",
    "b",
    "a/c",
    "a/c/d",
    "f",
    "a/f",
    "a/g",
    "b/f",
    "a/c/f",
    "a/c/d/f",
    "b/run",
    "a/l",
    "b/l",
    "new",
    "a/new",
    "b/new",
    "a/c/new",
    "a/c/d/new",
    "a/l/f",
    "b/c/f",
];
const DIR_MODES: [u32; 14] = [
    0o755, 0o777, 0o777, 0o1777, 0o1777, 0o1770, 0o2775, 0o3777, 0o711, 0o773, 0o775, 0o700, 0o555,
    0o077,
];
const FILE_MODES: [u32; 12] = [
    0o644, 0o666, 0o600, 0o755, 0o711, 0o640, 0o604, 0o4755, 0o2755, 0o6777, 0o2666, 0o060,
];

#[derive(Clone, Copy, Debug)]
enum Call {
    Stat,
    Readlink,
    Access(u32),
    Open(OFlags, u32),
    List,
    Enter,
    Run,
    Chmod(u32),
    Chown(Option<u32>, Option<u32>),
    Times(i64, i64),
    Truncate,
    TruncateOpen,
    Mkdir(u32),
    Symlink,
    Unlink,
    Rmdir,
    Link(&'static str),
    Rename(&'static str, u32),
    SetXattr,
    GetXattr,
    RemoveXattr,
}

/// A new owner, a new group or both.
fn owner(dice: &mut Dice) -> (Option<u32>, Option<u32>) {
    let (uid, gid) = (dice.choose(&OWNERS), dice.choose(&GROUPS));
    dice.choose(&[(Some(uid), None), (None, Some(gid)), (Some(uid), Some(gid))])
}

fn mode(dice: &mut Dice) -> u32 {
    match dice.roll(2) {
        0 => dice.choose(&DIR_MODES),
        _ => dice.choose(&FILE_MODES),
    }
}

/// What to open a file for, and whether to make or cut it.
fn flags(dice: &mut Dice) -> OFlags {
    let how = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR];
    let more = [
        OFlags::empty(),
        OFlags::empty(),
        OFlags::TRUNC,
        OFlags::CREATE,
        OFlags::CREATE | OFlags::TRUNC,
        OFlags::CREATE | OFlags::EXCL,
        OFlags::PATH,
        OFlags::TMPFILE,
        OFlags::APPEND,
    ];
    dice.choose(&how) | dice.choose(&more)
}

fn call(dice: &mut Dice) -> Call {
    const TIMES: [i64; 3] = [UTIME_NOW, UTIME_OMIT, 5];
    match dice.roll(27) {
        0 => Call::Stat,
        1 => Call::Readlink,
        2 => Call::Access(dice.roll(8) as u32),
        3..=6 => Call::Open(flags(dice), mode(dice)),
        7 => Call::List,
        8 => Call::Enter,
        9 => Call::Run,
        10 | 11 => Call::Chmod(mode(dice)),
        12 | 13 => {
            let (uid, gid) = owner(dice);
            Call::Chown(uid, gid)
        }
        14 | 15 => Call::Times(dice.choose(&TIMES), dice.choose(&TIMES)),
        16 => Call::Truncate,
        17 => Call::TruncateOpen,
        18 => Call::Mkdir(mode(dice)),
        19 => Call::Symlink,
        20 => Call::Unlink,
        21 => Call::Rmdir,
        22 => Call::Link(dice.choose(&PATHS)),
        23 => Call::Rename(dice.choose(&PATHS), dice.choose(&[0, 0, 0, 1, 2])),
        24 => Call::SetXattr,
        25 => Call::GetXattr,
        _ => Call::RemoveXattr,
    }
}

fn perform(call: Call, root: &Path, path: &Path) -> Result<(), Errno> {
    match call {
        Call::Stat => lstat(path).outcome(),
        Call::Readlink => readlink(path, []).outcome(),
        Call::Access(how) => access(path, Access::from_bits_retain(how)),
        Call::Open(flags, mode) => open(path, flags, mode.into()).outcome(),
        Call::List => std::fs::read_dir(path).outcome(),
        Call::Enter => run(Command::new("/bin/true").current_dir(path)),
        Call::Run => run(&mut Command::new(path)),
        Call::Chmod(mode) => chmod(path, mode.into()),
        Call::Chown(uid, gid) => chown(path, uid.map(Uid::from_raw), gid.map(Gid::from_raw)),
        Call::Times(last_access, last_modification) => {
            let time = |tv_nsec| Timespec { tv_sec: 7, tv_nsec };
            let times = Timestamps {
                last_access: time(last_access as _),
                last_modification: time(last_modification as _),
            };
            utimensat(CWD, path, &times, AtFlags::empty())
        }
        Call::Truncate => {
            nix::unistd::truncate(path, 3).map_err(|errno| Errno::from_raw_os_error(errno as i32))
        }
        Call::TruncateOpen => {
            let file = open(path, OFlags::WRONLY, Mode::empty())?;
            ftruncate(file, 4)
        }
        Call::Mkdir(mode) => mkdir(path, mode.into()),
        Call::Symlink => symlink("f", path),
        Call::Unlink => unlink(path),
        Call::Rmdir => rmdir(path),
        Call::Link(new) => linkat(CWD, path, CWD, root.join(new), AtFlags::empty()),
        Call::Rename(new, flags) => {
            let flags = RenameFlags::from_bits_retain(flags);
            renameat_with(CWD, path, CWD, root.join(new), flags)
        }
        Call::SetXattr => setxattr(path, "user.a", b"value", XattrFlags::empty()),
        Call::GetXattr => getxattr(path, "user.a", &mut [0; 9][..]).outcome(),
        Call::RemoveXattr => removexattr(path, "user.a"),
    }
}

/// Executes a program. One that was written a moment ago may still be open for writing in a process that is being started.
fn run(command: &mut Command) -> Result<(), Errno> {
    loop {
        match command.output().outcome() {
            Err(Errno::TXTBSY) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
}

/// Whether `got` will do where tmpfs says `expected`. What tmpfs refuses for lack of permission the kernel may refuse for
/// another reason before it asks: it looks at the kinds of what is removed (`may_delete`) and linked (`vfs_link`, where
/// `protected_hardlinks` is off), and for the old name of a rename before it looks into the directory of the new.
fn agrees(call: Call, expected: Result<(), Errno>, got: Result<(), Errno>) -> bool {
    let denied = matches!(expected, Err(Errno::ACCESS | Errno::PERM));
    let sooner = matches!(
        (call, got),
        (
            Call::Unlink | Call::Rmdir | Call::Rename(..),
            Err(Errno::ISDIR | Errno::NOTDIR)
        ) | (Call::Rename(..), Err(Errno::NOENT))
            | (Call::Link(..), Err(Errno::PERM))
    );
    expected == got || (denied && sooner)
}

/// Makes the tree of one round.
fn populate(root: &Path, dice: &mut Dice) {
    for dir in DIRS {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in FILES {
        std::fs::write(root.join(file), "#!/bin/true\n").unwrap();
    }
    symlink("f", root.join("a/l")).unwrap();
    symlink("a", root.join("b/l")).unwrap();
    let modes = [(&DIRS[..], &DIR_MODES[..]), (&FILES, &FILE_MODES)];
    for (paths, modes) in modes {
        for path in paths {
            let path = root.join(path);
            let (uid, gid) = (dice.choose(&OWNERS), dice.choose(&GROUPS));
            chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
            chmod(&path, dice.choose(modes).into()).unwrap();
        }
    }
}

type Tree = BTreeMap<PathBuf, Leaf>;

/// Where two trees differ, and how.
fn differences<'a>(left: &'a Tree, right: &'a Tree) -> Vec<(&'a Path, [Option<&'a Leaf>; 2])> {
    let paths: BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    let both = paths
        .into_iter()
        .map(|path| (path.as_path(), [left.get(path), right.get(path)]));
    both.filter(|(_, [left, right])| left != right).collect()
}

/// tmpfs, and what is compared with it.
struct Mounts {
    tmpfs: Tmpfs,
    others: [(&'static str, Daemon); 3],
}

impl Mounts {
    fn new() -> Mounts {
        Mounts {
            tmpfs: Tmpfs::new(),
            others: [
                ("the kernel decides", Daemon::start()),
                ("norefs decides", Daemon::deciding()),
                ("norefs decides, no cache", Daemon::deciding_without_cache()),
            ],
        }
    }

    /// Makes the tree of one round and random calls in it, and says how many were refused.
    fn try_round(&self, round: u64) -> usize {
        let at = |root: &Path| root.join(round.to_string());
        let roots = self.others.iter().map(|(_, daemon)| daemon.root());
        for root in roots.chain([&*self.tmpfs]) {
            std::fs::create_dir(at(root)).unwrap();
            populate(&at(root), &mut Dice::new(round));
        }
        let mut dice = Dice::new(1000 + round);
        let (mut refused, mut told) = (0, Vec::new());
        for _ in 0..CALLS {
            let (user, path, call) = (dice.choose(&USERS), dice.choose(&PATHS), call(&mut dice));
            let (uid, gid, groups) = user;
            let ask = |root: &Path| {
                let root = at(root);
                as_user(uid, gid, groups, || perform(call, &root, &root.join(path)))
            };
            let expected = ask(&self.tmpfs);
            refused += usize::from(matches!(expected, Err(Errno::ACCESS | Errno::PERM)));
            told.push(format!("{uid} {path} {call:?}: {expected:?}"));
            for (who, daemon) in &self.others {
                let got = ask(daemon.root());
                let told = told.join("\n");
                let history = || format!("round {round}:\n{told}\nbut where {who}: {got:?}");
                assert!(agrees(call, expected, got), "{}", history());
                let trees = [&self.tmpfs, daemon.root()].map(|root| tree(&at(root)));
                let differ = differences(&trees[0], &trees[1]);
                assert!(differ.is_empty(), "{}\n{differ:#?}", history());
            }
        }
        refused
    }
}

#[test]
fn random_calls_are_refused_as_on_tmpfs() {
    let (mut refused, mut round) = (0, 0);
    while round < rounds() {
        let mounts = Mounts::new();
        for _ in 0..ROUNDS {
            refused += mounts.try_round(round);
            round += 1;
        }
    }
    assert!(refused > 200, "only {refused} calls were refused");
}
