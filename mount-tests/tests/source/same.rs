//! Whether a mount shows what its source has.

use rustix::fs::{getxattr, lgetxattr, llistxattr};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is compared of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub ino: u64,
    pub mode: u32,
    pub owner: (u32, u32),
    pub nlink: u64,
    pub size: u64,
    pub times: [(i64, i64); 2],
    pub rdev: u64,
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All names below `root`, but for what is at and below those that `leave_out` says.
pub fn entries(root: &Path, leave_out: &dyn Fn(&Path) -> bool) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if leave_out(&path) {
                continue;
            }
            let entry = entry_at(&root.join(&path));
            if entry.mode & libc::S_IFMT == libc::S_IFDIR {
                directories.push(path.clone());
            }
            found.insert(path, entry);
        }
    }
    found.insert(PathBuf::new(), entry_at(root));
    found
}

fn entry_at(path: &Path) -> Entry {
    let stat = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let kind = stat.mode() & libc::S_IFMT;
    let content = match kind {
        libc::S_IFREG => fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}")),
        libc::S_IFLNK => fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Entry {
        ino: stat.ino(),
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        nlink: stat.nlink(),
        size: stat.size(),
        times: [
            (stat.mtime(), stat.mtime_nsec()),
            (stat.ctime(), stat.ctime_nsec()),
        ],
        rdev: stat.rdev(),
        content,
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = lgetxattr(path, name, &mut value[..])
            .or_else(|_| getxattr(path, name, &mut value[..]))
            .unwrap();
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.map(value).collect()
}

/// Everything is the same, times, numbers and link counts too.
#[track_caller]
pub fn same(source: &Path, mount: &Path) {
    let all = |_: &Path| false;
    compare(entries(source, &all), entries(mount, &all));
}

/// The same of what was gathered.
#[track_caller]
pub fn compare(source: BTreeMap<PathBuf, Entry>, mount: BTreeMap<PathBuf, Entry>) {
    for (path, entry) in &source {
        let there = mount.get(path);
        assert!(there.is_some(), "{path:?} is not in the mount");
        assert_eq!(there, Some(entry), "{path:?}, the mount's first");
    }
    for path in mount.keys() {
        assert!(source.contains_key(path), "{path:?} is in the mount alone");
    }
}
