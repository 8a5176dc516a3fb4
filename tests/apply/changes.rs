//! What differs between two shapes, found out by comparing them.

use super::shape::{Entry, Shape};
use norefs::delta::{Base, Change, Metadata, Now, PathBytes, What};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The inode in the source by that in its copy.
pub type Inodes = HashMap<u64, u64>;

/// A name by what it is in: the directory's number in the source, or none of a new one's.
type Key = (Option<u64>, Vec<u8>);

const EVERYTHING: Metadata = Metadata {
    mode: true,
    owner: true,
    mtime: true,
    xattrs: true,
    acl: true,
};

struct Difference<'a> {
    source: &'a Shape,
    copy: &'a Shape,
    inodes: &'a Inodes,
}

fn bytes(path: &Path) -> PathBytes {
    path.as_os_str().as_bytes().to_vec().into()
}

fn name(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_bytes().to_vec()
}

fn base(path: &Path, entry: &Entry) -> Base {
    Base {
        path: bytes(path),
        dev: Some(entry.dev),
        ino: Some(entry.ino),
        seen: entry.seen,
    }
}

fn now(path: &Path, entry: &Entry) -> Now {
    Now {
        path: bytes(path),
        node: entry.ino,
        ino: entry.ino,
        seen: entry.seen,
    }
}

fn metadata(was: &Entry, is: &Entry) -> Metadata {
    Metadata {
        mode: was.seen.mode != is.seen.mode,
        owner: (was.seen.uid, was.seen.gid) != (is.seen.uid, is.seen.gid),
        mtime: was.seen.mtime != is.seen.mtime,
        xattrs: was.xattrs != is.xattrs,
        acl: false,
    }
}

fn has_content(entry: &Entry) -> bool {
    [libc::S_IFREG, libc::S_IFLNK].contains(&(entry.seen.mode & libc::S_IFMT))
}

impl Difference<'_> {
    fn source_of(&self, entry: &Entry) -> Option<u64> {
        self.inodes.get(&entry.ino).copied()
    }

    fn base_key(&self, path: &Path) -> Key {
        let parent = path.parent().map(|parent| self.source[parent].ino);
        (parent, name(path))
    }

    fn now_key(&self, path: &Path) -> Key {
        let parent = path.parent().map(|parent| &self.copy[parent]);
        // The root's is told from a new directory's by its name.
        (parent.and_then(|parent| self.source_of(parent)), name(path))
    }

    /// Which of the source's names moved where.
    fn moves(&self) -> BTreeMap<PathBuf, PathBuf> {
        let mut gone: BTreeMap<u64, Vec<&PathBuf>> = BTreeMap::new();
        let mut new: BTreeMap<u64, Vec<&PathBuf>> = BTreeMap::new();
        let names = |copied: &Entry, path: &Path| (self.source_of(copied), self.now_key(path));
        let there: HashSet<_> = self
            .copy
            .iter()
            .map(|(path, entry)| names(entry, path))
            .collect();
        for (path, entry) in self.source {
            if !there.contains(&(Some(entry.ino), self.base_key(path))) {
                gone.entry(entry.ino).or_default().push(path);
            }
        }
        let were = |(path, entry): (&PathBuf, &Entry)| (Some(entry.ino), self.base_key(path));
        let were: HashSet<_> = self.source.iter().map(were).collect();
        for (path, entry) in self.copy {
            if let Some(ino) = self.source_of(entry)
                && !were.contains(&(Some(ino), self.now_key(path)))
            {
                new.entry(ino).or_default().push(path);
            }
        }
        let pairs = gone.into_iter().flat_map(|(ino, gone)| {
            let new = new.get(&ino).cloned().unwrap_or_default();
            gone.into_iter().zip(new).collect::<Vec<_>>()
        });
        pairs.map(|(from, to)| (from.clone(), to.clone())).collect()
    }
}

/// What differs between `source` and `copy`, in the order in which a mount would tell it.
pub fn between(source: &Shape, copy: &Shape, inodes: &Inodes) -> Vec<Change> {
    let difference = Difference {
        source,
        copy,
        inodes,
    };
    let moves = difference.moves();
    let from: HashMap<&PathBuf, &PathBuf> = moves.iter().map(|(from, to)| (to, from)).collect();
    let keys: HashMap<Key, &PathBuf> = source
        .keys()
        .map(|path| (difference.base_key(path), path))
        .collect();
    let mut used: BTreeSet<&PathBuf> = moves.keys().collect();
    let mut firsts: HashMap<u64, &PathBuf> = HashMap::new();
    let mut others = Vec::new();
    let mut paths: Vec<&PathBuf> = copy.keys().collect();
    paths.sort_by_key(|path| bytes(path));
    for path in paths {
        let is = &copy[path];
        let first = *firsts.entry(is.ino).or_insert(path);
        let was = match from.get(path) {
            Some(from) => Some(*from),
            // The names of a new directory are new, whatever had them.
            None => match path
                .parent()
                .map(|parent| difference.source_of(&copy[parent]))
            {
                Some(None) => None,
                _ => keys.get(&difference.now_key(path)).copied(),
            },
        };
        let moved = from.contains_key(path);
        let was = was.filter(|was| moved || !moves.contains_key(*was));
        let same = |was: &PathBuf| difference.source_of(is) == Some(source[was].ino);
        let new = difference.source_of(is).is_none();
        // A further name of what was there stands for itself.
        let was = was.filter(|was| same(was) || new);
        let Some(was) = was else {
            let link = if new {
                Some(first).filter(|first| *first != path)
            } else {
                let names = copy
                    .iter()
                    .filter(|(other, entry)| entry.ino == is.ino && *other != path);
                let told = |other: &&PathBuf| {
                    from.contains_key(*other)
                        || keys
                            .get(&difference.now_key(other))
                            .is_some_and(|was| same(was))
                };
                names.map(|(other, _)| other).find(told)
            };
            others.push(Change {
                what: What::Added,
                base: None,
                now: Some(now(path, is)),
                content: has_content(is),
                metadata: EVERYTHING,
                link: link.map(|link| bytes(link)),
                replaced: false,
            });
            continue;
        };
        used.insert(was);
        let entry = &source[was];
        let kind = |entry: &Entry| entry.seen.mode & libc::S_IFMT;
        let content = entry.content != is.content || new && has_content(is);
        let metadata = if new { EVERYTHING } else { metadata(entry, is) };
        let what = if moved {
            What::Moved
        } else if kind(entry) != kind(is) {
            What::Retyped
        } else if content {
            What::Content
        } else if metadata.any() {
            What::Metadata
        } else {
            continue;
        };
        others.push(Change {
            what,
            base: Some(base(was, entry)),
            now: Some(now(path, is)),
            content,
            metadata,
            link: Some(first)
                .filter(|first| new && *first != path)
                .map(|first| bytes(first)),
            replaced: new,
        });
    }
    let removed = source.iter().filter(|(path, _)| !used.contains(path));
    let unchanged = |path: &&PathBuf| {
        let same = |(other, entry): (&PathBuf, &Entry)| {
            difference.source_of(entry) == Some(source[*path].ino)
                && difference.now_key(other) == difference.base_key(path)
        };
        copy.iter().any(same)
    };
    let removed = removed.filter(|(path, _)| !unchanged(path));
    let mut removed: Vec<Change> = removed
        .map(|(path, entry)| Change {
            what: What::Removed,
            base: Some(base(path, entry)),
            now: None,
            content: false,
            metadata: Metadata::default(),
            link: None,
            replaced: false,
        })
        .collect();
    removed.sort_by(|a, b| b.path().cmp(a.path()));
    removed.extend(others);
    removed
}
