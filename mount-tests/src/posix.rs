//! Short forms of calls and expectations.

use crate::{Daemon, Tmpfs};
use rustix::fs::{
    AtFlags, CWD, Gid, SeekFrom, Statx, StatxFlags, Timespec, Timestamps, Uid, seek, statx,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The extended attribute with file capabilities, the one whose values the kernel reads itself.
pub const CAPABILITY: &str = "security.capability";

/// A value of [`CAPABILITY`] that the kernel takes: version 2, CAP_CHOWN permitted and effective.
pub const CAPABLE: [u8; 20] = [1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Longer than the kernel's coarse clock stands still.
const CLOCK_TICK: Duration = Duration::from_millis(11);

/// A call's result of which only success or errno matter.
pub trait Outcome {
    /// Success or errno.
    fn outcome(self) -> Result<(), Errno>;
}

impl<T> Outcome for Result<T, Errno> {
    fn outcome(self) -> Result<(), Errno> {
        self.map(drop)
    }
}

impl<T> Outcome for io::Result<T> {
    fn outcome(self) -> Result<(), Errno> {
        self.map(drop)
            .map_err(|error| Errno::from_io_error(&error).expect("an error of the system"))
    }
}

/// Expects a call to fail with `errno`.
#[track_caller]
pub fn fails(errno: Errno, call: impl Outcome) {
    assert_eq!(call.outcome(), Err(errno));
}

/// Takes the same steps in an empty norefs, with and without the kernel's cache, and in an empty
/// tmpfs, and expects the same report of them.
#[track_caller]
pub fn same_as_tmpfs<T: PartialEq + Debug>(steps: impl Fn(&Path) -> T) {
    same_as_tmpfs_with("", steps);
}

/// As [`same_as_tmpfs`], with more mount options.
#[track_caller]
pub fn same_as_tmpfs_with<T: PartialEq + Debug>(options: &str, steps: impl Fn(&Path) -> T) {
    same(steps, &[options]);
}

/// As [`same_as_tmpfs`], also where norefs decides about permissions.
#[track_caller]
pub fn same_whoever_decides<T: PartialEq + Debug>(steps: impl Fn(&Path) -> T) {
    same(steps, &["", "permissions=daemon"]);
}

#[track_caller]
fn same<T: PartialEq + Debug>(steps: impl Fn(&Path) -> T, options: &[&str]) {
    let expected = steps(&Tmpfs::new());
    let uncached = |options: &&str| format!("{options},cache=none");
    let uncached: Vec<String> = options.iter().map(uncached).collect();
    for options in options
        .iter()
        .copied()
        .chain(uncached.iter().map(String::as_str))
    {
        let daemon = Daemon::start_with(options);
        let report = steps(daemon.root());
        if report != expected {
            show_difference(&format!("{report:#?}"), &format!("{expected:#?}"));
        }
    }
}

#[track_caller]
fn show_difference(norefs: &str, tmpfs: &str) {
    let (norefs, tmpfs): (Vec<_>, Vec<_>) = (norefs.lines().collect(), tmpfs.lines().collect());
    let same = norefs
        .iter()
        .zip(&tmpfs)
        .take_while(|(left, right)| left == right)
        .count();
    let around =
        |lines: &[&str]| lines[same.saturating_sub(10)..lines.len().min(same + 5)].join("\n");
    panic!("norefs:\n{}\ntmpfs:\n{}", around(&norefs), around(&tmpfs));
}

/// Opens the file at `path` for reading and writing, and makes it if it is missing.
#[track_caller]
pub fn read_write(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

/// Runs `work` with the credentials of an ordinary user. Only the calling thread's are changed.
pub fn as_user<T: Send>(uid: u32, gid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let become_user = move || {
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            become_user().expect("only root can become another user");
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// As [`as_user`], for a user with a umask. Only the calling thread's umask and directory are changed.
pub fn as_user_with_umask<T: Send>(
    umask: u32,
    uid: u32,
    gid: u32,
    groups: &[u32],
    work: impl FnOnce() -> T + Send,
) -> T {
    as_user(uid, gid, groups, || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("every thread may");
        rustix::process::umask(umask.into());
        work()
    })
}

/// The attributes of a file, its access time apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Seen {
    pub ino: u64,
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub blocks: u64,
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
}

impl Seen {
    fn new(statx: &Statx) -> Seen {
        Seen {
            ino: statx.stx_ino,
            mode: statx.stx_mode,
            nlink: statx.stx_nlink,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            blocks: statx.stx_blocks,
            mtime: (statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            ctime: (statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
        }
    }
}

/// The attributes as an ordinary lstat shows them: from the kernel's cache where it holds them.
#[track_caller]
pub fn seen(path: impl AsRef<Path>) -> Seen {
    look(path.as_ref(), AtFlags::empty())
}

/// The attributes as the daemon has them.
#[track_caller]
pub fn forced(path: impl AsRef<Path>) -> Seen {
    look(path.as_ref(), AtFlags::STATX_FORCE_SYNC)
}

#[track_caller]
fn look(path: &Path, flags: AtFlags) -> Seen {
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW;
    match statx(CWD, path, flags, StatxFlags::BASIC_STATS) {
        Ok(statx) => Seen::new(&statx),
        Err(error) => panic!("statx {}: {error}", path.display()),
    }
}

/// Sets both times of `path` to one second of 2001, so that a later change of a time shows.
#[track_caller]
pub fn age(path: impl AsRef<Path>) {
    let old = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 1,
    };
    let times = Timestamps {
        last_access: old,
        last_modification: old,
    };
    rustix::fs::utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    std::thread::sleep(CLOCK_TICK);
}

/// What one path of a tree is, without what differs between any two filesystems.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaf {
    pub mode: u16,
    pub nlink: u32,
    pub owner: (u32, u32),
    pub content: Vec<u8>,
}

/// Every path below `root`, with what is there.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Leaf> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let path = entry.path();
            if kind.is_dir() {
                pending.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().to_owned(), leaf(&path));
        }
    }
    found
}

/// Expects the same tree below both directories, and shows only the paths at which they differ.
#[track_caller]
pub fn same_trees(left: &Path, right: &Path) {
    let (left, right) = (tree(left), tree(right));
    let paths: BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    let different: Vec<_> = paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .collect();
    assert!(different.is_empty(), "the trees differ at {different:#?}");
}

fn leaf(path: &Path) -> Leaf {
    let kind = std::fs::symlink_metadata(path).unwrap().file_type();
    let content = if kind.is_file() {
        std::fs::read(path).unwrap()
    } else if kind.is_symlink() {
        std::fs::read_link(path)
            .unwrap()
            .into_os_string()
            .into_encoded_bytes()
    } else {
        Vec::new()
    };
    let seen = seen(path);
    Leaf {
        mode: seen.mode,
        nlink: seen.nlink,
        owner: (seen.uid, seen.gid),
        content,
    }
}

/// One thing of each kind, made at `path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Make {
    Nothing,
    File,
    EmptyDir,
    FullDir,
    Symlink,
    Fifo,
}

impl Make {
    /// Each of them.
    pub const ALL: [Make; 6] = [
        Make::Nothing,
        Make::File,
        Make::EmptyDir,
        Make::FullDir,
        Make::Symlink,
        Make::Fifo,
    ];

    /// Makes it.
    #[track_caller]
    pub fn at(self, path: &Path) {
        match self {
            Make::Nothing => {}
            Make::File => {
                std::fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap()
            }
            Make::EmptyDir => std::fs::create_dir(path).unwrap(),
            Make::FullDir => {
                std::fs::create_dir(path).unwrap();
                std::fs::write(path.join("inner"), "inner").unwrap();
            }
            Make::Symlink => rustix::fs::symlink("target of nothing", path).unwrap(),
            Make::Fifo => fifo(path, 0o644).unwrap(),
        }
        debug_assert!(
            self != Make::Fifo
                || std::fs::symlink_metadata(path)
                    .unwrap()
                    .file_type()
                    .is_fifo()
        );
    }
}

/// mkfifo(3).
pub fn fifo(path: &Path, mode: u32) -> Result<(), Errno> {
    rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, mode.into(), 0)
}

/// Where data starts and ends, as SEEK_DATA and SEEK_HOLE tell.
pub fn extents(file: &File) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(start) = seek(file, SeekFrom::Data(at)) {
        at = seek(file, SeekFrom::Hole(start)).unwrap();
        found.push((start, at));
    }
    found
}
