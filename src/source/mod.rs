//! Where a tree comes from.
//!
//! A source fills a fresh [`Fs`](crate::fs::Fs) before it is mounted. An empty tree needs no code
//! at all; a directory is read by [`load`]: all metadata into memory, file content left where it is
//! and read, checked against what was recorded, when somebody asks for it.

mod directory;

pub use directory::{Live, LiveDirectory, Looker, Quiet, Seen, Spot, Watch, load, load_watched};

use rustix::io::Errno;
use std::path::PathBuf;
use std::time::Duration;

/// How a directory is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Whether the first unreadable entry ends the load with [`LoadError::Unreadable`].
    pub strict: bool,
    /// Whether filesystems mounted below the directory are loaded too. Otherwise a mount point is
    /// an empty directory.
    pub cross_mounts: bool,
    /// How many threads read the source at most: one for each CPU, and more where their calls wait. 0 means as many as are
    /// worth it, up to 64.
    pub threads: usize,
}

/// What a load found.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Names loaded; the root has none. The sum of the next five.
    pub entries: u64,
    /// Directories among them.
    pub directories: u64,
    /// Regular files, each counted once however many names it has.
    pub files: u64,
    /// Further names of files that have several.
    pub links: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Named pipes, sockets and devices.
    pub special: u64,
    /// Entries that could not be read in full: left out, without their content (a directory), or without
    /// their extended attributes.
    pub unreadable: u64,
    /// The first unreadable entries, at most [`LoadReport::FIRST`] of them.
    pub first_unreadable: Vec<Unreadable>,
    /// Mount points not crossed, those of filesystems that cannot be loaded among them.
    pub mounts_skipped: u64,
    /// Whether the source, or a mount below it that was loaded, forbids set-user-id bits to work.
    pub nosuid: bool,
    /// The same for device files.
    pub nodev: bool,
    /// How long the load took.
    pub elapsed: Duration,
}

impl LoadReport {
    /// How many unreadable entries are kept by name.
    pub const FIRST: usize = 16;

    /// Adds what another thread found. `elapsed` is left alone.
    fn absorb(&mut self, other: LoadReport) {
        self.entries += other.entries;
        self.directories += other.directories;
        self.files += other.files;
        self.links += other.links;
        self.symlinks += other.symlinks;
        self.special += other.special;
        self.unreadable += other.unreadable;
        self.mounts_skipped += other.mounts_skipped;
        self.first_unreadable.extend(other.first_unreadable);
        self.first_unreadable.truncate(LoadReport::FIRST);
    }
}

/// An entry of the source that could not be read in full.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its path, beginning with the source as it was given.
    pub path: PathBuf,
    /// What the system said.
    pub errno: Errno,
}

/// Why a load failed. What was loaded until then stays in the [`Fs`](crate::fs::Fs), which is best
/// dropped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The source itself cannot be opened or read: missing, not a directory, not permitted.
    #[error("cannot load {}: {errno}", path.display())]
    Source {
        /// The source as it was given.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
    },
    /// The source lies on a filesystem whose files are made up when they are read, so that nobody can say beforehand how long
    /// they are; with [`LoadOptions::strict`] and [`LoadOptions::cross_mounts`] also what is mounted below it.
    #[error("cannot load {}: {filesystem} does not tell how long its files are", path.display())]
    MadeUp {
        /// The directory, beginning with the source as it was given.
        path: PathBuf,
        /// The filesystem's type.
        filesystem: &'static str,
    },
    /// An entry cannot be read, and [`LoadOptions::strict`] was set.
    #[error("cannot read {}: {errno}", path.display())]
    Unreadable {
        /// The entry's path, beginning with the source as it was given.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
    },
    /// The filesystem's limits do not hold the source.
    #[error("no room for {}: the source has more than its limits allow, or than there is memory for", path.display())]
    Full {
        /// The first entry without room.
        path: PathBuf,
    },
}

/// Is told how a load goes on.
pub trait Progress: Sync {
    /// `total_so_far` names are loaded. Called from several threads, so that a smaller total may
    /// follow a larger one.
    fn entries(&self, total_so_far: u64);
}

/// Nobody wants to know.
impl Progress for () {
    fn entries(&self, _total_so_far: u64) {}
}
