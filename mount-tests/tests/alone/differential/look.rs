//! What is there after a step: every path and every open file, in terms that two filesystems can share.

use crate::content::digest;
use crate::perform::Files;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, statx};
use rustix::io::Result;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Everything there is, by path, or by slot.
pub type Tree = BTreeMap<String, Seen>;

/// Bytes of a file that are read from its beginning.
const READ: usize = 512 << 10;

/// Times before this are such as only utimensat sets, seconds since 1970.
const RECENT: i64 = 1_600_000_000;

/// One inode, as one of its names or descriptors shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub mode: u16,
    pub nlink: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub device: (u32, u32),
    pub blocks: u64,
    /// Whether bytes that are not zero take room.
    pub takes_room: bool,
    /// The first of its names or descriptors.
    pub first: String,
    /// Whether it was there at the last look.
    pub known: bool,
    pub atime: Shown,
    pub mtime: Shown,
    pub ctime: Shown,
    pub content: String,
    pub xattrs: Vec<String>,
}

impl Seen {
    /// The type of the file.
    pub fn kind(&self) -> FileType {
        kind(self.mode)
    }
}

fn kind(mode: u16) -> FileType {
    FileType::from_raw_mode(mode.into())
}

/// A time: what was set, or whether the clock's time changed since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    Set(i64, u32),
    Moved,
    Still,
}

type Times = [StatxTimestamp; 3];

/// Looks at one root again and again.
#[derive(Default)]
pub struct Looker {
    times: HashMap<u64, Times>,
}

impl Looker {
    /// What is below the working directory, and open.
    pub fn look(&mut self, files: &Files) -> Tree {
        let mut found = Round::default();
        let mut pending = vec![".".to_owned()];
        while let Some(path) = pending.pop() {
            let seen = self.path(&path, &mut found);
            if seen.kind() == FileType::Directory {
                pending.extend(
                    names(&path)
                        .into_iter()
                        .map(|name| format!("{path}/{name}")),
                );
            }
            found.tree.insert(path, seen);
        }
        for (slot, file) in files.open() {
            let name = format!("slot {slot}");
            let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).unwrap();
            let mut seen = self.seen(&name, &stat, &mut found);
            if seen.kind() == FileType::RegularFile {
                seen.content = content(file, seen.size);
                seen.takes_room = true;
            }
            found.tree.insert(name, seen);
        }
        self.times = found.times;
        found.tree
    }

    fn path(&self, path: &str, found: &mut Round) -> Seen {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = statx(CWD, path, flags, StatxFlags::BASIC_STATS)
            .unwrap_or_else(|error| panic!("{path} is listed but not there: {error}"));
        let mut seen = self.seen(path, &stat, found);
        seen.xattrs = xattrs(path).unwrap();
        match seen.kind() {
            FileType::RegularFile => {
                let file = File::open(path).unwrap();
                seen.content = content(&file, seen.size);
                seen.takes_room = stat.stx_blocks > 0 || is_zero(&file);
            }
            FileType::Symlink => {
                let target = rustix::fs::readlink(path, []).unwrap();
                seen.content = target.to_string_lossy().into_owned();
            }
            _ => {}
        }
        seen
    }

    fn seen(&self, name: &str, stat: &Statx, found: &mut Round) -> Seen {
        let times = [stat.stx_atime, stat.stx_mtime, stat.stx_ctime];
        let before = self.times.get(&stat.stx_ino);
        found.times.insert(stat.stx_ino, times);
        let first = found.first.entry(stat.stx_ino).or_insert(name.to_owned());
        let shown = |which: usize| {
            let StatxTimestamp {
                tv_sec, tv_nsec, ..
            } = times[which];
            let same = |old: &Times| (old[which].tv_sec, old[which].tv_nsec) == (tv_sec, tv_nsec);
            match before.is_some_and(same) {
                _ if tv_sec < RECENT => Shown::Set(tv_sec, tv_nsec),
                true => Shown::Still,
                false => Shown::Moved,
            }
        };
        Seen {
            mode: stat.stx_mode,
            nlink: stat.stx_nlink,
            owner: (stat.stx_uid, stat.stx_gid),
            size: match kind(stat.stx_mode) {
                FileType::Directory => 0,
                _ => stat.stx_size,
            },
            device: (stat.stx_rdev_major, stat.stx_rdev_minor),
            blocks: match kind(stat.stx_mode) {
                FileType::RegularFile => stat.stx_blocks,
                _ => 0,
            },
            takes_room: true,
            first: first.clone(),
            known: before.is_some(),
            atime: shown(0),
            mtime: shown(1),
            ctime: shown(2),
            content: String::new(),
            xattrs: Vec::new(),
        }
    }
}

/// What one look has come to so far.
#[derive(Default)]
struct Round {
    tree: Tree,
    first: HashMap<u64, String>,
    times: HashMap<u64, Times>,
}

/// The names in a directory, in order; each once, or the listing is wrong.
fn names(dir: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty()).unwrap();
    let mut names: Vec<String> = rustix::fs::Dir::new(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    names.sort_unstable_by(|left, right| right.cmp(left));
    let listed = names.len();
    names.dedup();
    assert_eq!(names.len(), listed, "a name is listed twice");
    names
}

fn content(file: &File, size: u64) -> String {
    let mut bytes = vec![0; READ.min(size as usize)];
    match file.read_at(&mut bytes, 0) {
        Ok(length) => bytes.truncate(length),
        Err(error) => return error.to_string(),
    }
    let mut end = [0; 4096];
    let length = file.read_at(&mut end, size.saturating_sub(4096)).unwrap();
    format!("{}; {}", digest(&bytes), digest(&end[..length]))
}

fn is_zero(file: &File) -> bool {
    let mut bytes = vec![0; 1 << 16];
    let length = file.read_at(&mut bytes, 0).unwrap();
    bytes[..length].iter().all(|byte| *byte == 0)
}

fn xattrs(path: &str) -> Result<Vec<String>> {
    let mut list = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut list[..])?;
    let names = list[..length].split(|byte| *byte == 0);
    let mut pairs = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        // The kernel cannot show file capabilities without bytes, which it lets be set.
        let shown = match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) => digest(&value[..length]),
            Err(errno) => errno.to_string(),
        };
        pairs.push(format!("{} = {shown}", String::from_utf8_lossy(name)));
    }
    pairs.sort_unstable();
    Ok(pairs)
}
