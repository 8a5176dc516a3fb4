//! Where the repository can be worked in.

use crate::repository;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Room of each tmpfs, as mount(8) takes it.
const ROOM: &std::ffi::CStr = c"size=4g,nr_inodes=1m";

/// One contender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The repository itself, on disk.
    Source,
    /// One that was copied to a tmpfs before anything is measured.
    Tmpfs,
    /// A fresh norefs mount of the source.
    Norefs,
    /// A fresh copy of the source in a tmpfs.
    Copy,
}

impl Place {
    pub const ALL: [Place; 4] = [Place::Source, Place::Tmpfs, Place::Norefs, Place::Copy];

    pub fn label(self) -> &'static str {
        match self {
            Place::Source => "source on disk",
            Place::Tmpfs => "source on tmpfs",
            Place::Norefs => "norefs mount of the source",
            Place::Copy => "cp -a to tmpfs",
        }
    }
}

/// Directories for all contenders.
pub struct Stand {
    source: PathBuf,
    tmpfs: PathBuf,
    copy: PathBuf,
    fresh: PathBuf,
    options: String,
}

impl Stand {
    /// Builds a repository of `files` files below `scratch`, and a copy of it in a tmpfs.
    pub fn new(scratch: &Path, files: usize, options: &str) -> anyhow::Result<Stand> {
        let path = |name| scratch.join(name);
        let stand = Stand {
            source: path("source"),
            tmpfs: path("tmpfs"),
            copy: path("copy"),
            fresh: path("fresh"),
            options: options.to_owned(),
        };
        for directory in [&stand.source, &stand.tmpfs, &stand.copy, &stand.fresh] {
            std::fs::create_dir(directory)?;
        }
        repository::build(&stand.source, files)?;
        mount("tmpfs", &stand.copy, "tmpfs", MountFlags::empty(), ROOM)?;
        mount("tmpfs", &stand.tmpfs, "tmpfs", MountFlags::empty(), ROOM)?;
        copy(&stand.source, &stand.tmpfs)?;
        // A copy has other inode numbers: its index is brought up to date before anything is measured.
        for tree in [&stand.source, &stand.tmpfs] {
            repository::git(tree, &["status", "--porcelain"])?;
        }
        Ok(stand)
    }

    /// The tree of a contender for the part `number` of a round, and how many milliseconds it took to make. A tmpfs loses
    /// nothing between parts: its copy is made for the first one alone.
    pub fn fresh(&self, place: Place, number: usize) -> anyhow::Result<(Tree<'_>, f64)> {
        let began = Instant::now();
        let (path, made) = match place {
            Place::Source => (&self.source, false),
            Place::Tmpfs => (&self.tmpfs, false),
            Place::Norefs => {
                self.mount()?;
                (&self.fresh, true)
            }
            Place::Copy => {
                if number == 0 {
                    unmount(&self.copy, UnmountFlags::empty())?;
                    mount("tmpfs", &self.copy, "tmpfs", MountFlags::empty(), ROOM)?;
                    copy(&self.source, &self.copy)?;
                }
                (&self.copy, false)
            }
        };
        let took = began.elapsed().as_secs_f64() * 1e3;
        Ok((Tree { path, made }, took))
    }

    fn mount(&self) -> anyhow::Result<()> {
        let mut mount = Command::new(env!("CARGO_BIN_EXE_norefs"));
        mount.arg("mount");
        if !self.options.is_empty() {
            mount.args(["-o", &self.options]);
        }
        let status = mount.args([&self.source, &self.fresh]).status()?;
        anyhow::ensure!(status.success(), "norefs mount: {status}");
        Ok(())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for tmpfs in [&self.tmpfs, &self.copy] {
            unmount(tmpfs, UnmountFlags::DETACH).unwrap_or_default();
        }
    }
}

/// A tree to work in. What was mounted for it goes with it.
pub struct Tree<'a> {
    path: &'a Path,
    made: bool,
}

impl Tree<'_> {
    pub fn path(&self) -> &Path {
        self.path
    }

    /// Takes away what was made.
    pub fn end(mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.made) {
            unmount(self.path, UnmountFlags::empty())?;
        }
        Ok(())
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        if self.made {
            unmount(self.path, UnmountFlags::DETACH).unwrap_or_default();
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()?;
    anyhow::ensure!(status.success(), "cp -a: {status}");
    Ok(())
}
