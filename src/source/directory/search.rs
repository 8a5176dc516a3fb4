//! How a file is found whose recorded name does not lead to it any more.

use super::contents::Contents;
use super::identity::{Directory, Identity};
use super::moved::Index;
use super::names::Place;
use super::open_files::{Changed, Seen};
use super::opening::stat_content;
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};

/// The file, not opened, and what it says of itself.
type Found = (OwnedFd, Seen);

/// What became of one recorded name.
enum Trace {
    /// It leads to the recorded file.
    Found(Found),
    /// Its directory has something else under that name.
    Replaced,
    /// The next directory on the way, or the name, is missing in this directory, which changed last then.
    Lost(Directory, Changed),
}

impl Contents {
    /// Looks for the recorded file in directories that were moved and under other names; `None` if it is gone. May take as
    /// long as listing all directories of the source.
    ///
    /// # Errors
    /// What the source fails with.
    pub(super) fn search(&self, place: Place, recorded: Identity) -> Result<Option<Found>> {
        // A file that was missed before is not waited for.
        let patient = !self.is_reported(place);
        let mut places = self.root.further_names(place);
        places.insert(0, place);
        // Somebody may move things while they are looked for.
        for _ in 0..3 {
            let (index, number) = self.looks.last();
            let mut lost = Vec::new();
            for &place in &places {
                match self.trace(place, recorded, &index)? {
                    Trace::Found(found) => return Ok(Some(found)),
                    Trace::Replaced => (),
                    Trace::Lost(directory, changed) => lost.push((directory, changed)),
                }
            }
            if let Some(found) = self.under_new_name(&lost, recorded, &index)? {
                return Ok(Some(found));
            }
            lost.retain(|(directory, changed)| !index.has_seen(*directory, *changed));
            if lost.is_empty() || !self.looks.look_after(number, &self.root, patient) {
                break;
            }
        }
        Ok(None)
    }

    /// Follows one name through the recorded directories, wherever they are now.
    fn trace(&self, place: Place, recorded: Identity, index: &Index) -> Result<Trace> {
        let way = self.root.way(place);
        let mut here: Option<OwnedFd> = None;
        for (number, (directory, name)) in way.iter().enumerate() {
            let next = way.get(number + 1).map(|(next, _)| *next);
            let found = missing_is_none(
                self.root
                    .find_inside(here.as_ref().map(AsFd::as_fd), name.to_bytes()),
            )?;
            let Some(next) = next else {
                return match found {
                    Some(found) => Ok(match self.root.recognise(found, recorded)? {
                        Some(found) => Trace::Found(found),
                        None => Trace::Replaced,
                    }),
                    None => self.lost(here, *directory),
                };
            };
            let stands = match found {
                Some(found) => self.as_directory(found, next)?,
                None => None,
            };
            let moved = || match index.directory(next) {
                Some(path) => match missing_is_none(self.root.find_inside(None, path))? {
                    Some(found) => self.as_directory(found, next),
                    None => Ok(None),
                },
                None => Ok(None),
            };
            here = match stands.map_or_else(moved, |found| Ok(Some(found)))? {
                Some(found) => Some(found),
                None => return self.lost(here, *directory),
            };
        }
        Ok(Trace::Replaced)
    }

    /// `found`, if it is that directory.
    fn as_directory(&self, found: OwnedFd, directory: Directory) -> Result<Option<OwnedFd>> {
        let stat = stat_content(&found)?;
        Ok((self.root.directory(&stat) == directory).then_some(found))
    }

    fn lost(&self, here: Option<OwnedFd>, directory: Directory) -> Result<Trace> {
        let here = here.as_ref().map_or(self.root.fd(), AsFd::as_fd);
        let changed = Changed::of(&stat_content(here)?);
        Ok(Trace::Lost(directory, changed))
    }

    /// Looks among the names that were not there when their directories were loaded.
    fn under_new_name(
        &self,
        lost: &[(Directory, Changed)],
        recorded: Identity,
        index: &Index,
    ) -> Result<Option<Found>> {
        let number = recorded.number().filter(|_| !lost.is_empty());
        for path in number.into_iter().flat_map(|number| index.files(number)) {
            let Some(found) = missing_is_none(self.root.find_inside(None, &path))? else {
                continue;
            };
            if let Some(found) = self.root.recognise(found, recorded)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A name that leads nowhere, or not to where it did.
fn missing_is_none(found: Result<OwnedFd>) -> Result<Option<OwnedFd>> {
    match found {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::directory::filesystem::LOCAL;
    use crate::source::directory::names::NameList;
    use crate::source::directory::root::SourceRoot;
    use std::fs::{remove_file, rename, write};
    use std::sync::Arc;

    /// A source of files `a`, `b` and `c`, with the places and identities of each.
    fn source(dir: &std::path::Path) -> (Contents, Vec<(Place, Identity)>) {
        let root = SourceRoot::open(dir, false).unwrap();
        let names = ["a", "b", "c"];
        for name in names {
            write(dir.join(name), name).unwrap();
        }
        let inode = root.directory(&root.stat().unwrap());
        let first = root.add(Place::ROOT, inode, NameList::new(b"a\0b\0c\0"), 3);
        let first = first.unwrap();
        root.complete();
        let identity = |name: &str| {
            let found = root.find_inside(None, name.as_bytes()).unwrap();
            root.identity(&stat_content(&found).unwrap(), LOCAL)
        };
        let files = (0..).zip(names);
        let files = files.map(|(number, name)| (first.plus(number), identity(name)));
        let files = files.collect();
        (Contents::new(Arc::new(root)), files)
    }

    #[test]
    fn the_source_is_looked_through_once_for_all_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (contents, files) = source(dir.path());
        let looks = || contents.looks.last().1;
        rename(dir.path().join("a"), dir.path().join("new")).unwrap();
        remove_file(dir.path().join("b")).unwrap();
        remove_file(dir.path().join("c")).unwrap();
        for _ in 0..3 {
            for ((place, identity), is_there) in files.iter().zip([true, false, false]) {
                let found = contents.search(*place, *identity).unwrap();
                assert_eq!(found.is_some(), is_there);
            }
            assert_eq!(looks(), 1);
        }
        rename(dir.path().join("new"), dir.path().join("newer")).unwrap();
        let (place, identity) = files[0];
        assert!(contents.search(place, identity).unwrap().is_some());
        assert_eq!(looks(), 2, "the directory changed");
    }

    #[test]
    fn a_file_that_was_missed_before_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (contents, files) = source(dir.path());
        let (place, identity) = files[0];
        remove_file(dir.path().join("a")).unwrap();
        assert!(contents.search(place, identity).unwrap().is_none());
        contents.stale(place);
        contents.looks.pause(std::time::Duration::from_secs(600));
        remove_file(dir.path().join("b")).unwrap();
        assert!(contents.search(place, identity).unwrap().is_none());
        assert_eq!(contents.looks.last().1, 1, "it is too early");
    }
}
