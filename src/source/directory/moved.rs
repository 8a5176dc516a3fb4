//! Where directories and files of the source went that are not where they were found.
//!
//! A directory keeps its inode number wherever it is moved to, and so does a file. So when a recorded name leads nowhere, or
//! through other directories than the recorded ones, the source is looked through once: every directory is listed, and
//! what was moved is kept in an [`Index`]. That is done for all names that are missing at once, and again only when a directory in
//! which a name is missing has changed since.

use super::identity::{Directory, Number};
use super::names::Place;
use super::open_files::Changed;
use super::root::{Recorded, SourceRoot};
use ahash::RandomState;
use parking_lot::Mutex;
use rustix::fs::{FileType, RawDir};
use rustix::io::Result;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Map<K, V> = HashMap<K, V, RandomState>;

/// What a look through the source found.
#[derive(Default)]
pub(super) struct Index {
    /// Paths, from the root on, of directories that stand elsewhere than recorded.
    directories: Map<Directory, Arc<[u8]>>,
    /// Paths of files under names that were not there when their directory was loaded.
    files: Map<Number, Vec<Found>>,
    /// Every directory, with the time of its last change.
    seen: Map<Directory, Changed>,
}

/// A name in a directory.
struct Found {
    directory: Arc<[u8]>,
    name: Box<[u8]>,
}

impl Index {
    /// Names that are kept at most.
    const MOST: usize = 1 << 20;

    /// Where the directory is now, if it was moved.
    pub(super) fn directory(&self, directory: Directory) -> Option<&[u8]> {
        self.directories.get(&directory).map(|path| &**path)
    }

    /// The paths under which a file with this number may be.
    pub(super) fn files(&self, number: Number) -> impl Iterator<Item = Vec<u8>> {
        let found = self.files.get(&number).into_iter().flatten();
        found.map(|found| below(&found.directory, &found.name))
    }

    /// Whether `directory` was looked at when it had changed at `changed` last. What is missing in it was moved before then,
    /// and would have been found.
    pub(super) fn has_seen(&self, directory: Directory, changed: Changed) -> bool {
        self.seen.get(&directory) == Some(&changed)
    }
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, name].join(&b'/'),
    }
}

/// The last look through the source, and when the next one may be.
pub(super) struct Looks {
    last: Mutex<Last>,
    /// Held while somebody looks.
    looking: Mutex<()>,
}

struct Last {
    index: Arc<Index>,
    number: u64,
    /// Not before then.
    next: Option<Instant>,
}

impl Looks {
    /// A look that takes longer ends with what it has.
    const LONGEST: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Looks {
        Looks {
            last: Mutex::new(Last {
                index: Arc::default(),
                number: 0,
                next: None,
            }),
            looking: Mutex::new(()),
        }
    }

    /// What the last look found, and its number; 0 if nobody looked so far.
    pub(super) fn last(&self) -> (Arc<Index>, u64) {
        let last = self.last.lock();
        (last.index.clone(), last.number)
    }

    /// Makes sure that a look after the one of that number has been taken; false if it is too early for one and the caller is
    /// not `patient`. For as long as a look took nobody looks again.
    pub(super) fn look_after(&self, number: u64, root: &SourceRoot, patient: bool) -> bool {
        let _turn = self.looking.lock();
        let next = {
            let last = self.last.lock();
            if last.number > number {
                return true;
            }
            last.next
        };
        let wait = next.map_or(Duration::ZERO, |next| {
            next.saturating_duration_since(Instant::now())
        });
        if !wait.is_zero() {
            if !patient {
                return false;
            }
            std::thread::sleep(wait);
        }
        let began = Instant::now();
        let index = Look::new(root, began + Looks::LONGEST).through();
        let took = began.elapsed();
        tracing::debug!(?took, "looked through the source for what was moved");
        let mut last = self.last.lock();
        last.index = Arc::new(index);
        last.number += 1;
        last.next = Some(Instant::now() + took);
        true
    }
}

#[cfg(test)]
impl Looks {
    /// Nobody looks before that time has passed.
    pub(super) fn pause(&self, pause: Duration) {
        self.last.lock().next = Some(Instant::now() + pause);
    }
}

/// A look under way.
struct Look<'r> {
    root: &'r SourceRoot,
    deadline: Instant,
    recorded: Recorded,
    index: Index,
    files: usize,
    dirents: Box<[MaybeUninit<u8>]>,
}

/// A directory to be looked at.
struct Waiting {
    path: Vec<u8>,
    /// Where the directory above stands, if it is a recorded one.
    above: Option<Place>,
}

impl<'r> Look<'r> {
    const DIRENT_BYTES: usize = 32 * 1024;

    fn new(root: &'r SourceRoot, deadline: Instant) -> Look<'r> {
        Look {
            root,
            deadline,
            recorded: root.recorded(),
            index: Index::default(),
            files: 0,
            dirents: vec![MaybeUninit::uninit(); Self::DIRENT_BYTES].into(),
        }
    }

    fn through(mut self) -> Index {
        let mut waiting = vec![Waiting {
            path: Vec::new(),
            above: None,
        }];
        while let Some(next) = waiting.pop() {
            if Instant::now() > self.deadline {
                tracing::warn!("the source is too large to be looked through for what was moved");
                break;
            }
            let path = next.path.clone();
            if let Err(errno) = self.list(next, &mut waiting) {
                let path = String::from_utf8_lossy(&path);
                tracing::debug!(%path, %errno, "not looked through for what was moved");
            }
        }
        self.index
    }

    fn list(&mut self, here: Waiting, waiting: &mut Vec<Waiting>) -> Result<()> {
        let root = self.root;
        let Some((fd, stat)) = root.open_inside(&here.path)? else {
            return Ok(());
        };
        let directory = root.directory(&stat);
        self.index.seen.insert(directory, Changed::of(&stat));
        let place = self.recorded.places.get(&directory).copied();
        let path: Arc<[u8]> = here.path.into();
        if place.is_some_and(|place| !root.stands(place, here.above, &path)) {
            self.index.directories.insert(directory, path.clone());
        }
        let names = place.and_then(|place| self.recorded.names.get(&place));
        let recorded: HashSet<&[u8], RandomState> = names
            .into_iter()
            .flatten()
            .flat_map(|names| names.iter().map(|name| name.to_bytes()))
            .collect();
        let mut entries = RawDir::new(fd.as_fd(), &mut self.dirents);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = entry.file_type();
            if matches!(kind, FileType::Directory | FileType::Unknown) {
                waiting.push(Waiting {
                    path: below(&path, name),
                    above: place,
                });
            }
            let new = matches!(kind, FileType::RegularFile | FileType::Unknown)
                && !recorded.contains(name);
            if new && self.files < Index::MOST {
                self.files += 1;
                let found = Found {
                    directory: path.clone(),
                    name: name.into(),
                };
                let number = root.number(&stat, entry.ino());
                self.index.files.entry(number).or_default().push(found);
            }
        }
        Ok(())
    }
}
