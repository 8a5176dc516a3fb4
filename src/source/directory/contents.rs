//! The contents of a source: its files as they are open, as they were moved, and as they were found changed.

use super::ahead::ReadAhead;
use super::identity::{Device, Identity, device};
use super::meter::Meter;
use super::moved::Looks;
use super::names::Place;
use super::open_files::{OpenFile, OpenFiles, Seen};
use super::opening::{CONTENT, FOUND, open_as, open_quietly, reopen, stat_content};
use super::root::SourceRoot;
use parking_lot::Mutex;
use rustix::fs::ResolveFlags;
use rustix::io::{Errno, Result};
use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// What the content of files is asked of. Lives as long as it may be asked.
pub(super) struct Contents {
    pub(super) root: Arc<SourceRoot>,
    pub(super) looks: Looks,
    pub(super) ahead: Arc<ReadAhead>,
    /// Open files that answer at once: a serving thread may look at them, and close them.
    pub(super) nowait: OpenFiles,
    /// Other open files, of which no serving thread may get hold.
    files: OpenFiles,
    reported: Mutex<HashSet<Place>>,
    pub(super) meter: Meter,
    /// Files of which it was logged that their size is not how long they are.
    contradicting: Mutex<HashSet<Place>>,
}

impl Contents {
    pub(super) fn new(root: Arc<SourceRoot>) -> Contents {
        Contents {
            ahead: Arc::new(ReadAhead::new(root.clone())),
            root,
            looks: Looks::new(),
            nowait: OpenFiles::new(),
            files: OpenFiles::new(),
            reported: Mutex::default(),
            meter: Meter::default(),
            contradicting: Mutex::default(),
        }
    }

    /// Where a file on `device` is kept open.
    fn kept(&self, device: Device) -> &OpenFiles {
        match self.root.answers_at_once_on(device) {
            true => &self.nowait,
            false => &self.files,
        }
    }

    /// The regular file whose name stands at `place`, open for reading, if it is the recorded one. It is looked for in
    /// the way that `how` adds.
    ///
    /// # Errors
    /// `ESTALE`, with a log line the first time, if it is not; else what opening it gives.
    pub(super) fn open_file(
        &self,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<OpenFile> {
        let open = self.nowait.get(place).or_else(|| self.files.get(place));
        if let Some(file) = open {
            return Ok(file);
        }
        if let Some((file, stat)) = self.ahead.take(place)
            && self.root.is_recorded(&stat, recorded)
        {
            self.kept(device(&stat)).put(place, file.clone());
            return Ok(file);
        }
        let began = Instant::now();
        let (found, seen) = self.follow(place, recorded, how)?;
        let fd = match reopen(&found) {
            // Without /proc only the name leads there, once more.
            Err(Errno::NOENT) => {
                let read = |from: BorrowedFd<'_>, path: &[u8]| open_quietly(from, path, CONTENT);
                let file = self.root.open_beneath(place, read)?;
                let known = self.root.recognise(file, recorded)?;
                known.ok_or_else(|| self.stale(place))?.0
            }
            file => file?,
        };
        self.check_length(&fd, seen, place, how)?;
        self.ahead.took(began.elapsed());
        let (fd, changed) = (Arc::new(fd), seen.changed);
        let file = OpenFile { fd, changed };
        self.kept(seen.device).put(place, file.clone());
        Ok(file)
    }

    /// `EIO`, with a log line the first time, if an open file has more bytes than its size says, where that may be;
    /// `EAGAIN` where finding out would have to wait.
    fn check_length(
        &self,
        file: &OwnedFd,
        seen: Seen,
        place: Place,
        how: ResolveFlags,
    ) -> Result<()> {
        if how.contains(ResolveFlags::CACHED) {
            return match self.root.filesystem(seen.device, || Ok(file))?.tells_length {
                true => Ok(()),
                false => Err(Errno::AGAIN),
            };
        }
        match self.root.is_longer(file, seen.device, seen.size)?
            && stat_content(file)?.stx_size == seen.size
        {
            true => Err(self.contradicts(place, seen.size, false)),
            false => Ok(()),
        }
    }

    /// Follows the name of `file` once more, which was the recorded one, because its inode changed since it was opened. It
    /// stays open: who opened it may not be able to do so again.
    ///
    /// # Errors
    /// As [`Contents::open_file`].
    pub(super) fn follow_again(
        &self,
        file: &OpenFile,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<()> {
        let (_, seen) = self.follow(place, recorded, how)?;
        let (fd, changed) = (file.fd.clone(), seen.changed);
        let touched = OpenFile { fd, changed };
        self.kept(seen.device).put(place, touched);
        Ok(())
    }

    /// What the name at `place` leads to, not opened, and what it says of itself; `ESTALE` if it is not the recorded
    /// file.
    fn follow(
        &self,
        place: Place,
        recorded: Identity,
        how: ResolveFlags,
    ) -> Result<(OwnedFd, Seen)> {
        let find = |from: BorrowedFd<'_>, path: &[u8]| open_as(from, path, FOUND, how);
        let found = match self.root.open_beneath(place, find) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            found => self.root.recognise(found?, recorded)?,
        };
        match found {
            Some(found) => Ok(found),
            // Looking for where it went may take long.
            None if how.contains(ResolveFlags::CACHED) => Err(Errno::AGAIN),
            None => self
                .search(place, recorded)?
                .ok_or_else(|| self.stale(place)),
        }
    }

    /// Logs, once, that the file at `place` is not the recorded one any more, and gives the error
    /// for its reader.
    pub(super) fn stale(&self, place: Place) -> Errno {
        self.nowait.drop(place);
        self.files.drop(place);
        if self.reported.lock().insert(place) {
            let path = self.root.path(place);
            tracing::warn!("{}: changed since it was loaded", path.display());
        }
        Errno::STALE
    }

    /// The file at `place` is known by something else from now on: what was found out about it counts no more.
    pub(super) fn renewed(&self, place: Place) {
        self.nowait.drop(place);
        self.files.drop(place);
        self.reported.lock().remove(&place);
        self.contradicting.lock().remove(&place);
    }

    /// Logs, once, that the file at `place` has fewer bytes than the size it tells (`shorter`), or more, and gives the error for its reader.
    pub(super) fn contradicts(&self, place: Place, size: u64, shorter: bool) -> Errno {
        if self.contradicting.lock().insert(place) {
            let path = self.root.path(place);
            let bytes = if shorter { "fewer" } else { "more" };
            tracing::warn!(
                "{}: its size is {size}, but it has {bytes} bytes",
                path.display()
            );
        }
        Errno::IO
    }

    /// Whether the file at `place` was found changed before.
    pub(super) fn is_reported(&self, place: Place) -> bool {
        self.reported.lock().contains(&place)
    }

    /// How many files were found changed.
    pub(super) fn stale_files(&self) -> u64 {
        self.reported.lock().len() as u64
    }
}
