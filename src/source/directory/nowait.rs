//! Files of the source that can be opened and looked at without waiting for anything.
//!
//! No call to a filesystem behind a network, or to one that a program serves, is certain to come back. So a thread that
//! serves everybody asks only one that answers from memory about an inode it has in memory, which is known of the whole
//! filesystem, and only by a name that the kernel has in memory too (`RESOLVE_CACHED`). It must not cross to another
//! mount (`RESOLVE_NO_XDEV`), which may have been made there since. Whatever is not that plain is left to the form that
//! may wait, errors included.

use super::contents::Contents;
use super::identity::Identity;
use super::names::Place;
use super::open_files::OpenFile;
use super::opening::{FOUND, open_as, reopen, stat_content};
use crate::tree::PATH_MAX;
use rustix::fs::ResolveFlags;
use std::sync::Arc;

const HOW: ResolveFlags = ResolveFlags::CACHED.union(ResolveFlags::NO_XDEV);

impl Contents {
    /// The recorded file whose name stands at `place`, open for reading, if that takes no waiting. Nor does looking at it.
    pub(super) fn file_nowait(&self, place: Place, recorded: Identity) -> Option<OpenFile> {
        if let Some(file) = self.nowait.get(place) {
            return Some(file);
        }
        if !self.root.answers_at_once {
            return None;
        }
        let path = self.root.path_below(place);
        if path.len() >= PATH_MAX {
            return None;
        }
        let found = open_as(self.root.fd(), &path, FOUND, HOW).ok()?;
        let stat = stat_content(&found).ok()?;
        if !self.root.is_recorded(&stat, recorded) {
            return None;
        }
        let fd = Arc::new(reopen(&found).ok()?);
        let file = OpenFile::new(fd, &stat);
        self.nowait.put(place, file.clone());
        Some(file)
    }
}
