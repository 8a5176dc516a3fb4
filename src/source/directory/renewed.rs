//! Files of the source that were changed, or moved, by who wrote there what the tree has: where they are now, and what they are known
//! by since.

use super::identity::Identity;
use super::names::Place;
use ahash::RandomState;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a file is, from the root on, and what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    /// `None`: where its name stands now.
    pub(super) path: Option<Box<[u8]>>,
    pub(super) identity: Identity,
}

/// All such files, by the places of their recorded names.
#[derive(Default)]
pub(super) struct Renewed {
    /// There are some. Mostly there are none, and nobody waits.
    any: AtomicBool,
    files: RwLock<HashMap<Place, Renewal, RandomState>>,
}

impl Renewed {
    /// What is known of the file with the name at `place`. Relaxed: whoever was told that it was renewed was told by a lock.
    pub(super) fn get(&self, place: Place) -> Option<Renewal> {
        match self.any.load(Ordering::Relaxed) {
            true => self.files.read().get(&place).cloned(),
            false => None,
        }
    }

    pub(super) fn put(&self, place: Place, renewal: Renewal) {
        let mut files = self.files.write();
        files.insert(place, renewal);
        self.any.store(true, Ordering::Relaxed);
    }

    /// The file with the name at `place` is where that stands now.
    pub(super) fn stands(&self, place: Place) {
        if self.any.load(Ordering::Relaxed)
            && let Some(file) = self.files.write().get_mut(&place)
        {
            file.path = None;
        }
    }

    /// Directories that were at the first paths are at the second ones. A file went with the lowest that it was below.
    pub(super) fn moved(&self, directories: &[(&[u8], &[u8])]) {
        let to: HashMap<&[u8], &[u8], RandomState> = directories.iter().copied().collect();
        if to.is_empty() {
            return;
        }
        for file in self.files.write().values_mut() {
            let Some(path) = &mut file.path else {
                continue;
            };
            let slashes = |at: &usize| path[*at] == b'/';
            let mut above = (0..path.len()).rev().filter(slashes);
            let found = above.find_map(|at| Some((at, *to.get(&path[..at])?)));
            if let Some((at, to)) = found {
                *path = [to, &path[at..]].concat().into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_with_the_lowest_directory_that_moved() {
        let renewed = Renewed::default();
        let paths: [&[u8]; 4] = [b"a/b/f", b"a/f", b"ab/f", b"f"];
        assert_eq!(renewed.get(Place(0)), None);
        for (number, path) in paths.into_iter().enumerate() {
            let renewal = Renewal {
                path: Some(path.into()),
                identity: Identity(number as u64),
            };
            renewed.put(Place(number as u32), renewal);
        }
        renewed.moved(&[(b"a", b"ab"), (b"a/b", b"x/y"), (b"ab", b"a"), (b"f", b"g")]);
        let path = |number| renewed.get(Place(number)).unwrap().path.unwrap();
        let expected: [&[u8]; 4] = [b"x/y/f", b"ab/f", b"a/f", b"f"];
        assert_eq!(
            [0, 1, 2, 3].map(path).each_ref().map(|path| &**path),
            expected
        );
        renewed.moved(&[]);
        assert_eq!(renewed.get(Place(0)).unwrap().identity, Identity(0));
    }
}
