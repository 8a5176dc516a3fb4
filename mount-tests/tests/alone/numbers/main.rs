//! Inode numbers: those of a source are shown, and nothing made later has one of them. Programs that tell files by their
//! attributes take the mount for the source.

mod made;
mod shown;
mod tools;

use mount_tests::Daemon;
use mount_tests::posix::{forced, seen};
use rustix::fs::{Dir, Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mounts `source` for all users.
fn load(source: &Path) -> Daemon {
    load_with(source, &[])
}

fn load_with(source: &Path, arguments: &[&str]) -> Daemon {
    let source = source.to_str().unwrap();
    Daemon::with(&[arguments, &["-o", "allow_other", source]].concat())
}

/// The numbers of one name: as listed, as stat shows it, and as the filesystem itself has it.
type Numbers = [u64; 3];

/// Those of everything below `root`; `.` and `..` of each directory as listed, but that the root's `..` is its own business.
fn numbers(root: &Path) -> BTreeMap<PathBuf, Numbers> {
    let mut found = BTreeMap::from([(PathBuf::new(), [seen(root).ino; 3])]);
    let mut waiting = vec![PathBuf::new()];
    while let Some(within) = waiting.pop() {
        let path = root.join(&within);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let dir = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        for entry in Dir::read_from(&dir).unwrap() {
            let entry = entry.unwrap();
            let name = within.join(OsStr::from_bytes(entry.file_name().to_bytes()));
            let (listed, path) = (entry.ino(), root.join(&name));
            let dots = matches!(entry.file_name().to_bytes(), b"." | b"..");
            if dots && within.as_os_str().is_empty() {
                continue;
            }
            let is_directory = || match path.symlink_metadata() {
                Ok(found) => found.is_dir(),
                Err(error) => panic!("{}: {error}", path.display()),
            };
            if !dots && is_directory() {
                waiting.push(name.clone());
            }
            found.insert(name, [listed, seen(&path).ino, forced(&path).ino]);
        }
    }
    found
}

/// What `dir` lists for `name`.
fn listed(dir: &Path, name: &str) -> u64 {
    let dir = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    let mut entries = Dir::read_from(dir).unwrap().map(Result::unwrap);
    let found = entries.find(|entry| entry.file_name().to_bytes() == name.as_bytes());
    found.unwrap().ino()
}
