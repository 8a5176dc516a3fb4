//! Making changes true of the target, one step after the other.

use super::check::{Strictness, is_base};
use super::copy::{self, Dress};
use super::ledger::{Ledger, staging};
use super::moves::{Moves, State};
use super::root::{Root, Slot, found, remove};
use super::{Failed, Step, Watch};
use crate::delta::{Base, Change, Metadata, Now, PathBytes, SourceEntry, Tree, What};
use crate::tree::Kind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// How many new files, and bytes of them, wait for the disk together before they get their names.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;

/// What a new entry gets.
const EVERYTHING: Metadata = Metadata {
    mode: true,
    owner: true,
    mtime: true,
    xattrs: true,
    acl: true,
};

/// A file that is whole, and has no name of its own yet.
struct Waiting<'d> {
    staged: PathBytes,
    now: &'d Now,
    /// What has the name; if nothing has, nothing may.
    over: Option<&'d Base>,
}

/// What writes.
pub(super) struct Writer<'a, 'd> {
    pub mount: &'a dyn Tree,
    pub target: &'a Root,
    pub moves: Moves<'d>,
    pub ledger: Ledger,
    /// What is in the way is taken away.
    pub overwrites: bool,
    /// How what is replaced is compared once more.
    pub strictness: Strictness,
    pub watch: &'a mut dyn Watch,
    waiting: Vec<Waiting<'d>>,
    waiting_bytes: u64,
    /// How many files were staged.
    staged: u64,
    /// Where inodes with several names have the first one, by node id.
    written: HashMap<u64, PathBytes>,
    /// Inodes of the target, by their numbers, whose attributes are no more those that were looked at.
    dressed: HashSet<u64>,
}

impl<'a, 'd> Writer<'a, 'd> {
    pub(super) fn new(
        (mount, target): (&'a dyn Tree, &'a Root),
        moves: Moves<'d>,
        ledger: Ledger,
        (overwrites, strictness): (bool, Strictness),
        watch: &'a mut dyn Watch,
    ) -> Self {
        Writer {
            mount,
            target,
            moves,
            ledger,
            overwrites,
            strictness,
            watch,
            waiting: Vec::new(),
            waiting_bytes: 0,
            staged: 0,
            written: HashMap::new(),
            dressed: HashSet::new(),
        }
    }

    /// Makes all of `changes`, which stand in the order of a difference; `done` are true already.
    pub(super) fn run(&mut self, changes: &[&'d Change], done: &[bool]) -> Result<(), Failed> {
        for (change, done) in changes.iter().zip(done) {
            let first = change
                .now
                .as_ref()
                .filter(|now| *done && now.seen.nlink > 1);
            if let (Some(now), true) = (first, change.content) {
                self.written.insert(now.node, now.path.clone());
            }
            if let (true, Some(base)) = (*done, &change.base) {
                self.moves.set(&base.path, State::Placed);
            }
        }
        let todo = || changes.iter().copied().zip(done);
        let todo = || todo().filter(|(_, done)| !**done).map(|(change, _)| change);
        for base in self.moves.bases_from_below() {
            self.step(base, Step::Stage, |writer| writer.stage(base))?;
        }
        for change in todo().filter(|change| change.what == What::Removed) {
            let Some(base) = &change.base else { continue };
            self.step(&base.path, Step::Remove, |writer| writer.remove(base))?;
        }
        let others = || todo().filter(|change| change.what != What::Removed);
        let (links, others): (Vec<_>, Vec<_>) = others().partition(|change| change.link.is_some());
        for changes in others.chunks(BATCH) {
            // Files are told of when they get their names.
            self.tell(changes.iter().filter(|change| is_new_directory(change)))?;
            for change in changes {
                let Some(now) = &change.now else { continue };
                self.step(&now.path, Step::Make, |writer| writer.make(change, now))?;
            }
        }
        self.flush()?;
        for changes in links.chunks(BATCH) {
            self.tell(changes)?;
            for change in changes {
                let (Some(now), Some(link)) = (&change.now, &change.link) else {
                    continue;
                };
                self.step(&now.path, Step::Make, |writer| match change.base {
                    Some(_) => writer.link_over(link, now),
                    None => writer.link(link, now),
                })?;
            }
        }
        let directories = changes.iter().rev().filter_map(|change| directory(change));
        for (now, metadata) in directories {
            self.step(&now.path, Step::Attributes, |writer| {
                writer.dress(&now.path, now, metadata)
            })?;
        }
        self.put_modes_back(changes)?;
        self.put_times_back(changes)
    }

    /// Says that what `changes` make is about to be made.
    fn tell<'c>(&mut self, changes: impl IntoIterator<Item = &'c &'d Change>) -> Result<(), Failed>
    where
        'd: 'c,
    {
        let paths = changes
            .into_iter()
            .filter_map(|change| Some(&change.now.as_ref()?.path));
        let paths: Vec<_> = paths.collect();
        let Some(first) = paths.first().copied() else {
            return Ok(());
        };
        let told = self
            .ledger
            .making(paths.iter().copied())
            .and_then(|()| self.ledger.sync());
        told.map_err(|error| Failed::Step(Step::Make, first.clone(), error))
    }

    /// Gives directories in which names were made the times they have in the mount: there a file may have been written to in place.
    fn put_times_back(&mut self, changes: &[&Change]) -> Result<(), Failed> {
        let parents = changes.iter().filter_map(|change| change.now.as_ref());
        let parents: BTreeSet<PathBytes> = parents.map(|now| now.path.split().0).collect();
        for path in parents.iter().rev() {
            self.step(path, Step::Attributes, |writer| {
                let there = writer.mount.find(path)?;
                if let Some(found) = there.filter(|found| found.seen.is_directory()) {
                    let fd = writer.target.open_at(path, OFlags::PATH)?;
                    copy::set_mtime(&fd, found.seen.mtime)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Does one step, which those who watch may end before it begins.
    fn step(
        &mut self,
        path: &PathBytes,
        step: Step,
        work: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), Failed> {
        let failed = |error| Failed::Step(step, path.clone(), error);
        if self.watch.step(step, path).is_break() {
            return Err(Failed::Stopped);
        }
        work(self).map_err(failed)?;
        if self.waiting.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn next_staged(&mut self) -> PathBytes {
        self.staged += 1;
        let name = format!("new-{}", self.staged);
        staging().join(name.as_bytes())
    }

    /// Takes what moves away from its old name.
    fn stage(&mut self, base: &PathBytes) -> io::Result<()> {
        let at = self.moves.at_base(base);
        let Some(moved) = self.moves.of(base) else {
            return Ok(());
        };
        if moved.state != State::Here {
            return Ok(());
        }
        self.check_again(&at, moved.base)?;
        let to = moved.staged.clone();
        match self.rename(&at, &to, true) {
            Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
                return Err(io::Error::new(
                    error.kind(),
                    "it lies on another filesystem than the root of the source",
                ));
            }
            renamed => renamed?,
        }
        self.moves.set(base, State::Staged);
        Ok(())
    }

    fn remove(&mut self, base: &Base) -> io::Result<()> {
        let at = self.moves.at_base(&base.path);
        self.check_again(&at, base)?;
        self.remove_at(&at)
    }

    /// Whether what is at `at` still is what everything was found out of.
    fn check_again(&self, at: &PathBytes, base: &Base) -> io::Result<()> {
        let there = self.target.find(at)?;
        let there = there.filter(|there| !self.dressed.contains(&there.ino));
        let changed = there.is_some_and(|there| !is_base(&there, base, self.strictness));
        match changed && !self.overwrites {
            true => Err(io::Error::other("it was changed meanwhile")),
            false => Ok(()),
        }
    }

    /// Removes what is there, whatever it is.
    fn remove_at(&mut self, at: &PathBytes) -> io::Result<()> {
        let Some(found) = self.target.find(at)? else {
            return Ok(());
        };
        let directory = found.seen.is_directory();
        if directory && self.overwrites {
            for name in self.target.names(at)? {
                self.remove_at(&at.join(&name))?;
            }
        }
        let target = self.target;
        self.in_directory(at, || remove(&target.slot(at)?, directory))
    }

    fn make(&mut self, change: &'d Change, now: &'d Now) -> io::Result<()> {
        if let (What::Moved, Some(base)) = (change.what, &change.base) {
            self.place(base, now)?;
        }
        if now.seen.is_directory() {
            return match change.what {
                What::Added | What::Retyped => self.make_directory(now),
                _ => Ok(()),
            };
        }
        let new = matches!(change.what, What::Added | What::Retyped);
        let old = match new {
            true => None,
            false => self.target.find(&now.path)?,
        };
        if !new && !change.content && !self.is_overwritten(change, old) {
            return match change.metadata.any() {
                true => self.dress(&now.path, now, change.metadata),
                false => Ok(()),
            };
        }
        if let Some(first) = self.written.get(&now.node) {
            let first = first.clone();
            self.flush_now()?;
            self.ledger.making([&now.path])?;
            self.ledger.sync()?;
            return self.link_over(&first, now);
        }
        if now.seen.nlink > 1 {
            self.written.insert(now.node, now.path.clone());
        }
        let kept = old.filter(|_| !change.replaced);
        self.create(change, now, kept)
    }

    /// Whether content that did not change is written all the same, over another one.
    fn is_overwritten(&self, change: &Change, old: Option<SourceEntry>) -> bool {
        let Some(base) = change.base.as_ref().filter(|_| self.overwrites) else {
            return false;
        };
        old.is_none_or(|old| !is_base(&old, base, self.strictness))
    }

    /// Gives what moves its new name.
    fn place(&mut self, base: &Base, now: &Now) -> io::Result<()> {
        let at = self.moves.at_base(&base.path);
        if at != now.path {
            self.clear(&now.path)?;
            self.rename(&at, &now.path, true)?;
        }
        self.moves.set(&base.path, State::Placed);
        Ok(())
    }

    /// What has a name that is to be free is taken away, if it may.
    fn clear(&mut self, path: &PathBytes) -> io::Result<()> {
        match self.overwrites {
            true => self.remove_at(path),
            false => Ok(()),
        }
    }

    fn make_directory(&mut self, now: &Now) -> io::Result<()> {
        let there = self.target.find(&now.path)?;
        if there.is_some_and(|there| there.seen.is_directory()) && self.ledger.was_making(&now.path)
        {
            return Ok(());
        }
        if there.is_some() {
            self.remove_at(&now.path)?;
        }
        let target = self.target;
        self.in_directory(&now.path, || {
            let slot = target.slot(&now.path)?;
            Ok(rustix::fs::mkdirat(&slot.dir, &slot.name, Mode::RWXU)?)
        })
    }

    /// Makes what is no directory, under a name on its way.
    fn create(
        &mut self,
        change: &'d Change,
        now: &'d Now,
        kept: Option<SourceEntry>,
    ) -> io::Result<()> {
        let staged = self.next_staged();
        let slot = self.target.slot(&staged)?;
        remove_if_there(&slot)?;
        let mode = Mode::RUSR | Mode::WUSR;
        match now.seen.kind() {
            Some(Kind::Regular) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&slot.dir, &slot.name, flags, mode)?;
                copy::content(&self.mount.content(&now.path)?, &mut File::from(fd))?;
            }
            Some(Kind::Symlink) => {
                let to = self.mount.link_target(&now.path)?;
                rustix::fs::symlinkat(to, &slot.dir, &slot.name)?;
            }
            _ => {
                let kind = FileType::from_raw_mode(now.seen.mode);
                rustix::fs::mknodat(&slot.dir, &slot.name, kind, mode, now.seen.rdev)?;
            }
        }
        let like = match kept {
            Some(found) => Some((self.target.slot(&now.path)?, found)),
            None => None,
        };
        let metadata = match like {
            Some(_) => change.metadata,
            None => EVERYTHING,
        };
        let dress = Dress {
            mount: self.mount,
            now,
            metadata,
            mtime: true,
            like: like.as_ref().map(|(slot, found)| (slot, *found)),
        };
        dress.put_on(&slot)?;
        self.waiting_bytes += now.seen.size;
        self.waiting.push(Waiting {
            staged,
            now,
            over: change.base.as_ref(),
        });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let Some(first) = self.waiting.first() else {
            return Ok(());
        };
        let path = first.now.path.clone();
        if self.watch.step(Step::Name, &path).is_break() {
            return Err(Failed::Stopped);
        }
        let named = self.flush_now();
        named.map_err(|error| Failed::Step(Step::Name, path, error))
    }

    /// Gives files that are whole their names, once they are on disk.
    fn flush_now(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.ledger
            .making(self.waiting.iter().map(|file| &file.now.path))?;
        // The ledger lies on the same filesystem.
        self.target.sync()?;
        self.waiting_bytes = 0;
        for Waiting { staged, now, over } in std::mem::take(&mut self.waiting) {
            if let Some(base) = over {
                self.check_again(&now.path, base)?;
            }
            let there = self.target.find(&now.path)?;
            let directory = there.is_some_and(|there| there.seen.is_directory());
            if directory || over.is_none() && self.overwrites {
                self.remove_at(&now.path)?;
            }
            self.rename(&staged, &now.path, over.is_none())?;
        }
        Ok(())
    }

    /// Makes a further name of what has the name `first` in the end.
    fn link(&mut self, first: &PathBytes, now: &Now) -> io::Result<()> {
        let target = self.target;
        if let (Some(one), Some(other)) = (target.find(first)?, target.find(&now.path)?)
            && one.ino == other.ino
        {
            return Ok(());
        }
        self.clear(&now.path)?;
        self.in_directory(&now.path, || {
            let (from, to) = (target.slot(first)?, target.slot(&now.path)?);
            let flags = AtFlags::empty();
            Ok(rustix::fs::linkat(
                &from.dir, &from.name, &to.dir, &to.name, flags,
            )?)
        })
    }

    /// The same where the name has something that goes.
    fn link_over(&mut self, first: &PathBytes, now: &Now) -> io::Result<()> {
        let there = self.target.find(&now.path)?;
        if there.is_some_and(|there| there.seen.is_directory()) {
            self.remove_at(&now.path)?;
        }
        let staged = self.next_staged();
        let (from, to) = (self.target.slot(first)?, self.target.slot(&staged)?);
        remove_if_there(&to)?;
        rustix::fs::linkat(&from.dir, &from.name, &to.dir, &to.name, AtFlags::empty())?;
        self.rename(&staged, &now.path, false)?;
        // Of two names of one inode the first stays where it was.
        remove_if_there(&to)
    }

    fn rename(&mut self, from: &PathBytes, to: &PathBytes, fresh: bool) -> io::Result<()> {
        let target = self.target;
        let work = || {
            let (from, to) = (target.slot(from)?, target.slot(to)?);
            let flags = match fresh {
                true => RenameFlags::NOREPLACE,
                false => RenameFlags::empty(),
            };
            Ok(rustix::fs::renameat_with(
                &from.dir, &from.name, &to.dir, &to.name, flags,
            )?)
        };
        match self.in_directory(to, work) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.in_directory(from, work)
            }
            done => done,
        }
    }

    fn dress(&mut self, path: &PathBytes, now: &Now, metadata: Metadata) -> io::Result<()> {
        let dress = Dress {
            mount: self.mount,
            now,
            metadata,
            mtime: metadata.mtime,
            like: None,
        };
        let slot = self.target.slot(path)?;
        self.dressed.insert(found(slot.open()?)?.ino);
        dress.put_on(&slot)
    }

    /// Does `work`, which changes names in the directory of `path`. One that does not let its owner is opened up for a while.
    fn in_directory(
        &mut self,
        path: &PathBytes,
        work: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let refused = match work() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
            done => return done,
        };
        let (parent, _) = path.split();
        let fd: OwnedFd = self.target.open_at(&parent, OFlags::PATH)?;
        let mode = found(&fd)?.seen.mode & 0o7777;
        if mode & 0o700 == 0o700 {
            return Err(refused);
        }
        self.ledger.opening(&parent, mode)?;
        copy::chmod(&fd, mode | 0o700).map_err(|_| refused)?;
        work()
    }

    /// Puts back what was changed for a while.
    fn put_modes_back(&mut self, changes: &[&Change]) -> Result<(), Failed> {
        let set = |path: &PathBytes| {
            let change = changes.iter().filter(|change| change.path() == path);
            change.into_iter().any(|change| change.metadata.mode)
        };
        for (path, mode) in self.ledger.opened().filter(|(path, _)| !set(path)) {
            let put = || -> io::Result<()> {
                if self.target.find(path)?.is_some() {
                    copy::chmod(&self.target.open_at(path, OFlags::PATH)?, mode)?;
                }
                Ok(())
            };
            put().map_err(|error| Failed::Step(Step::Attributes, path.clone(), error))?;
        }
        Ok(())
    }
}

/// Removes what is no directory, if anything has the name.
fn remove_if_there(slot: &Slot) -> io::Result<()> {
    match remove(slot, false) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a directory is to be made.
fn is_new_directory(change: &Change) -> bool {
    let new = matches!(change.what, What::Added | What::Retyped);
    let is_directory = |now: &Now| now.seen.is_directory();
    new && change.now.as_ref().is_some_and(is_directory)
}

/// What is to be set of a directory once nothing is made in it any more.
fn directory(change: &Change) -> Option<(&Now, Metadata)> {
    let now = change.now.as_ref().filter(|now| now.seen.is_directory())?;
    let metadata = match change.what {
        What::Added | What::Retyped => EVERYTHING,
        _ => change.metadata,
    };
    metadata.any().then_some((now, metadata))
}
