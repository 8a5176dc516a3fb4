//! A difference kept in a directory of its own, to be looked at and applied when its mount is gone.
//!
//! The directory has what differs, as a mount tells it, and a tree with all that an apply reads of a mount: contents, extended attributes and
//! the times of directories, at the paths they have in the mount.

use super::copy;
use super::root::Root;
use crate::delta::{Change, Delta, PathBytes};
use crate::tree::Kind;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What differs, as JSON. It is written last: a directory without it is none of these.
const DELTA: &str = "delta.json";
const TREE: &str = "tree";

/// A difference that was kept.
pub struct Kept {
    /// What differs.
    pub delta: Delta,
    /// Where contents are read, in place of the mount.
    pub tree: PathBuf,
}

impl Kept {
    /// Keeps `delta`, with what an apply reads of `mount`, in the new directory `at`, which only this user can enter.
    ///
    /// # Errors
    /// `EEXIST` if `at` is there, and whatever keeps it from being written; then nothing of it stays.
    pub fn write(delta: &Delta, mount: &Root, at: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(at)?;
        write(delta, mount, at).inspect_err(|_| {
            // The first error is the one to tell.
            std::fs::remove_dir_all(at).unwrap_or_default();
        })
    }

    /// What was kept at `at`, if anything was.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn read(at: &Path) -> io::Result<Option<Kept>> {
        let file = match File::open(at.join(DELTA)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Ok(Some(Kept {
            delta: serde_json::from_reader(BufReader::new(file))?,
            tree: at.join(TREE),
        }))
    }

    /// Throws away what was kept at `at`.
    ///
    /// # Errors
    /// Nothing was, or it cannot be removed.
    pub fn discard(at: &Path) -> io::Result<()> {
        // From now on it is none, whatever becomes of the rest.
        std::fs::remove_file(at.join(DELTA))?;
        std::fs::remove_dir_all(at)
    }
}

fn write(delta: &Delta, mount: &Root, at: &Path) -> io::Result<()> {
    let tree = at.join(TREE);
    std::fs::create_dir(&tree)?;
    let tree = Root::open(&tree)?;
    let mut directories = BTreeSet::from([PathBytes::ROOT]);
    for change in &delta.changes {
        let Some(now) = &change.now else { continue };
        let above = now.path.prefixes().skip(1).map(|(above, _)| above);
        let above: Vec<_> = above.collect();
        for directory in above.into_iter().rev() {
            make_directory(&tree, &mut directories, directory)?;
        }
        match now.seen.kind() {
            Some(Kind::Directory) => make_directory(&tree, &mut directories, now.path.clone())?,
            Some(Kind::Regular | Kind::Symlink) => write_entry(&tree, mount, change, &now.path)?,
            // There is nothing to be read of others.
            _ => continue,
        }
        copy::xattrs(mount, &tree, &now.path)?;
    }
    for directory in directories.iter().rev() {
        if let Some(found) = mount.find(directory)? {
            copy::set_mtime(&tree.open_at(directory, OFlags::PATH)?, found.seen.mtime)?;
        }
    }
    let mut file = BufWriter::new(File::create_new(at.join("delta.new"))?);
    serde_json::to_writer(&mut file, delta)?;
    file.flush()?;
    tree.sync()?;
    std::fs::rename(at.join("delta.new"), at.join(DELTA))?;
    tree.sync()
}

fn make_directory(
    tree: &Root,
    directories: &mut BTreeSet<PathBytes>,
    path: PathBytes,
) -> io::Result<()> {
    if directories.contains(&path) {
        return Ok(());
    }
    let slot = tree.slot(&path)?;
    rustix::fs::mkdirat(&slot.dir, &slot.name, Mode::RWXU)?;
    directories.insert(path);
    Ok(())
}

fn write_entry(tree: &Root, mount: &Root, change: &Change, path: &PathBytes) -> io::Result<()> {
    let slot = tree.slot(path)?;
    if change
        .now
        .as_ref()
        .is_some_and(|now| now.seen.kind() == Some(Kind::Symlink))
    {
        let target = mount.link_target(path)?;
        return Ok(rustix::fs::symlinkat(target, &slot.dir, &slot.name)?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match rustix::fs::openat(&slot.dir, &slot.name, flags, mode) {
        Err(Errno::EXIST) => return Ok(()),
        file => file?,
    };
    match change.content && change.link.is_none() {
        true => copy::content(&mut copy::open(mount, path)?, &mut File::from(file)),
        false => Ok(()),
    }
}
