//! The names of a source: all are numbered, and kept with their directory.

use super::identity::Directory;
use ahash::RandomState;
use rustix::io::{Errno, Result};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

/// A name below the root: all names of the source are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(pub(super) u32);

impl Place {
    /// The root's, which has no name.
    pub(super) const ROOT: Place = Place(u32::MAX);

    /// Of the name that many after this.
    pub(super) fn plus(self, names: u32) -> Place {
        Place(self.0 + names)
    }
}

/// Some names of one directory, each ended by NUL. They are looked through from the first to the last, so there
/// are not many.
#[derive(Clone)]
pub(super) struct NameList(Arc<[u8]>);

impl NameList {
    pub(super) fn new(bytes: &[u8]) -> NameList {
        NameList(bytes.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        let names = self.0.split_inclusive(|byte| *byte == 0);
        names.map(|name| CStr::from_bytes_with_nul(name).unwrap_or_default())
    }

    /// The name that many after the first; empty if there are fewer.
    fn nth(&self, number: u32) -> &CStr {
        self.iter().nth(number as usize).unwrap_or_default()
    }
}

/// Some names of one directory.
pub(super) struct Part {
    /// The first one's.
    first: Place,
    /// Where the directory's own name stands.
    pub(super) directory: Place,
    /// What the directory is found by if it is moved.
    pub(super) inode: Directory,
    pub(super) names: NameList,
}

/// All names that were read, in the order of their places.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) all: Vec<Part>,
    next: u32,
    /// Names of directories that stand elsewhere since, or are others: where they stand, and what they are.
    moved: HashMap<Place, (Place, CString), RandomState>,
}

impl Parts {
    /// Enters `count` names of the directory `inode`, whose own name stands at `directory`. Returns the first one's place.
    pub(super) fn add(
        &mut self,
        directory: Place,
        inode: Directory,
        names: NameList,
        count: u32,
    ) -> Result<Place> {
        let first = Place(self.next);
        let next = self.next.checked_add(count).filter(|next| *next < u32::MAX);
        self.next = next.ok_or(Errno::OVERFLOW)?;
        self.all.push(Part {
            first,
            directory,
            inode,
            names,
        });
        Ok(first)
    }

    /// The directory whose name stands at `place` stands in the one at `directory` now, as `name`.
    pub(super) fn moved(&mut self, place: Place, directory: Place, name: &CStr) {
        self.moved.insert(place, (directory, name.to_owned()));
    }

    /// Where the directory's name stands that the name at `place` is in now, and the name.
    pub(super) fn above(&self, place: Place) -> (Place, &CStr) {
        match self.moved.get(&place) {
            Some((directory, name)) => (*directory, name),
            None => {
                let (part, name) = self.find(place);
                (part.directory, name)
            }
        }
    }

    /// The numbers of the names in the part with a place that was given out.
    pub(super) fn beside(&self, place: Place) -> Range<u32> {
        let after = self.all.partition_point(|part| part.first <= place);
        let end = self.all.get(after).map_or(self.next, |next| next.first.0);
        self.all[after - 1].first.0..end
    }

    /// The part with a place that was given out, and the name there.
    pub(super) fn find(&self, place: Place) -> (&Part, &CStr) {
        let after = self.all.partition_point(|part| part.first <= place);
        let part = &self.all[after - 1];
        (part, part.names.nth(place.0 - part.first.0))
    }
}
