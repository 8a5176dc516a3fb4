//! Directories as they are: looked at, and compared.

use norefs::delta::Seen;
use norefs::tree::Time;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dev: u64,
    pub ino: u64,
    pub seen: Seen,
    /// Bytes of a file, or the target of a link.
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Every name below a directory, its own the empty one.
pub type Shape = BTreeMap<PathBuf, Entry>;

/// What `root` is now.
pub fn of(root: &Path) -> Shape {
    let mut shape = Shape::new();
    add(root, Path::new(""), &mut shape);
    shape
}

fn add(root: &Path, path: &Path, shape: &mut Shape) {
    let full = match path.as_os_str().is_empty() {
        true => root.to_owned(),
        false => root.join(path),
    };
    let stat = fs::symlink_metadata(&full).unwrap();
    let kind = stat.file_type();
    let content = if kind.is_file() {
        fs::read(&full).unwrap()
    } else if kind.is_symlink() {
        let target = fs::read_link(&full).unwrap();
        target.as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let xattrs = if kind.is_file() || kind.is_dir() {
        xattrs(&full)
    } else {
        BTreeMap::new()
    };
    let time = |sec: i64, nsec: i64| Time {
        sec,
        nsec: u32::try_from(nsec).unwrap(),
    };
    let entry = Entry {
        dev: stat.dev(),
        ino: stat.ino(),
        seen: Seen {
            mode: stat.mode(),
            uid: stat.uid(),
            gid: stat.gid(),
            nlink: u32::try_from(stat.nlink()).unwrap(),
            rdev: stat.rdev(),
            size: if kind.is_dir() { 0 } else { stat.size() },
            mtime: time(stat.mtime(), stat.mtime_nsec()),
            ctime: time(stat.ctime(), stat.ctime_nsec()),
        },
        content,
        xattrs,
    };
    shape.insert(path.to_owned(), entry);
    if kind.is_dir() {
        for entry in fs::read_dir(&full).unwrap() {
            add(root, &path.join(entry.unwrap().file_name()), shape);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap_or(0);
    let names = list[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// Fails if the two differ in anything that a tool sees, but for numbers and the time of the last change of an inode.
pub fn assert_same(one: &Shape, other: &Shape, what: &str) {
    let paths = |shape: &Shape| shape.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(one), paths(other), "{what}: names");
    // Which names are of one inode.
    let groups = |shape: &Shape| {
        let mut first = BTreeMap::new();
        let of = |(path, entry): (&PathBuf, &Entry)| {
            first
                .entry(entry.ino)
                .or_insert_with(|| path.clone())
                .clone()
        };
        shape.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(groups(one), groups(other), "{what}: hard links");
    for (path, a) in one {
        let b = &other[path];
        let plain = |entry: &Entry| {
            let seen = entry.seen;
            let numbers = (
                seen.mode, seen.uid, seen.gid, seen.rdev, seen.size, seen.nlink,
            );
            (
                numbers,
                seen.mtime,
                entry.content.clone(),
                entry.xattrs.clone(),
            )
        };
        assert_eq!(plain(a), plain(b), "{what}: {}", path.display());
    }
}
