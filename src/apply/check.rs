//! Whether the target is still what the source was when it was loaded, looked at before anything is written.

use super::ledger::Ledger;
use super::moves::Moves;
use super::root::Root;
use crate::delta::{Base, Change, Now, PathBytes, SourceEntry, Tree, What};
use crate::tree::Kind;
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// What of an entry's identity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// All that was seen when the source was loaded.
    Exact,
    /// All but the time of the last change of the inode, which an apply that was cut off may have moved.
    Resumed,
    /// Kind, size and mtime: the target is a copy of the source.
    Copy,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// What was there is there no more.
    Gone,
    /// It was changed, or replaced, since it was loaded.
    Changed,
    /// There is something where nothing was.
    Appeared,
    /// A directory that is to be removed has an entry that was not there.
    NotEmpty(PathBytes),
    /// The name is the one norefs keeps what is on its way under.
    Reserved,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clash::Gone => f.write_str("it is gone there"),
            Clash::Changed => f.write_str("it was changed there since it was loaded"),
            Clash::Appeared => f.write_str("something was made there since it was loaded"),
            Clash::NotEmpty(path) => write!(f, "{path} was made there since it was loaded"),
            Clash::Reserved => f.write_str("norefs uses this name while it applies"),
        }
    }
}

/// What is to be done about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To make it.
    Todo,
    /// Nothing: the target has it.
    Done,
    /// Nothing without being told to.
    Clash(Clash),
}

/// What looks at the target.
pub(super) struct Check<'a, 'd> {
    pub mount: &'a dyn Tree,
    pub target: &'a Root,
    pub moves: &'a Moves<'d>,
    pub ledger: Option<&'a Ledger>,
    pub strictness: Strictness,
    /// Base paths whose names go away: removed, moved, or of another kind.
    pub leaving: &'a HashSet<&'d PathBytes>,
    /// The times that inodes of the source get, by their numbers there.
    pub times: &'a HashSet<(u64, i64, u32)>,
}

impl Check<'_, '_> {
    /// What is to be done about `change`.
    ///
    /// # Errors
    /// The target, or the mount, cannot be looked at.
    pub(super) fn of(&self, change: &Change) -> io::Result<Verdict> {
        let clash = |clash| Ok(Verdict::Clash(clash));
        match (change.what, &change.base, &change.now) {
            (What::Removed, Some(base), _) => self.removed(base),
            (What::Added, _, Some(now)) => self.added(change, now),
            (What::Moved, Some(base), Some(now)) => self.moved(base, now),
            (_, Some(base), Some(now)) if change.what == What::Metadata => {
                self.metadata(change, base, now)
            }
            (_, Some(base), Some(now)) => self.replaced(base, now),
            _ => clash(Clash::Changed),
        }
    }

    /// Whether what was found is as `base` was, or as an apply that was cut off made it.
    fn is_base(&self, found: &SourceEntry, base: &Base) -> bool {
        let mut seen = *found;
        let mtime = found.seen.mtime;
        if self.ledger.is_some() && self.times.contains(&(found.ino, mtime.sec, mtime.nsec)) {
            seen.seen.mtime = base.seen.mtime;
        }
        is_base(&seen, base, self.strictness)
    }

    fn removed(&self, base: &Base) -> io::Result<Verdict> {
        let at = self.moves.at_base(&base.path);
        let Some(found) = self.target.find(&at)? else {
            return Ok(Verdict::Done);
        };
        // What has the name since, as it shall.
        if self.is_placed(&at, &found)? {
            return Ok(Verdict::Done);
        }
        if !self.is_base(&found, base) {
            return Ok(Verdict::Clash(Clash::Changed));
        }
        if base.seen.is_directory()
            && let Some(left) = self.left(&base.path, &at)?
        {
            return Ok(Verdict::Clash(Clash::NotEmpty(left)));
        }
        Ok(Verdict::Todo)
    }

    /// Whether the name `path` has what it shall have in the end: an apply that was cut off got that far.
    fn is_placed(&self, path: &PathBytes, found: &SourceEntry) -> io::Result<bool> {
        let Some(change) = self.moves.becomes(path) else {
            return Ok(false);
        };
        let (Some(now), Some(ledger)) = (&change.now, self.ledger) else {
            return Ok(false);
        };
        let moved = change.base.as_ref().filter(|_| change.what == What::Moved);
        let moved = moved.is_some_and(|base| self.is_base(found, base));
        Ok(moved || ledger.was_making(&now.path) && self.is_there(found, now, path)?)
    }

    /// A name in a directory that is to go which does not go itself.
    fn left(&self, base: &PathBytes, at: &PathBytes) -> io::Result<Option<PathBytes>> {
        let names = self.target.names(at)?;
        let mut paths = names.iter().map(|name| base.join(name));
        Ok(paths.find(|path| !self.leaving.contains(path)))
    }

    fn added(&self, change: &Change, now: &Now) -> io::Result<Verdict> {
        let Some(at) = self.moves.at_now(&now.path, self.ledger) else {
            return Ok(Verdict::Todo);
        };
        let Some(found) = self.target.find(&at)? else {
            return Ok(Verdict::Todo);
        };
        if self.leaves(now) && !self.was_making(&now.path) {
            return Ok(Verdict::Todo);
        }
        let made = self.was_making(&now.path);
        if now.seen.is_directory() {
            return Ok(match made && found.seen.is_directory() {
                // Its attributes are still to be set.
                true => Verdict::Todo,
                false if self.leaves(now) => Verdict::Todo,
                false => Verdict::Clash(Clash::Appeared),
            });
        }
        if self.is_there(&found, now, &at)? && (change.link.is_none() || made) {
            return Ok(Verdict::Done);
        }
        match self.leaves(now) {
            true => Ok(Verdict::Todo),
            false => Ok(Verdict::Clash(Clash::Appeared)),
        }
    }

    /// Whether what had the name in the source goes away.
    fn leaves(&self, now: &Now) -> bool {
        let base = self.moves.base_of(&now.path);
        base.is_some_and(|base| self.leaving.contains(&base))
    }

    fn was_making(&self, path: &PathBytes) -> bool {
        self.ledger.is_some_and(|ledger| ledger.was_making(path))
    }

    fn moved(&self, base: &Base, now: &Now) -> io::Result<Verdict> {
        // With other content it is another inode since.
        if self.was_making(&now.path)
            && let Some(found) = self.target.find(&now.path)?
            && self.is_there(&found, now, &now.path)?
        {
            return Ok(Verdict::Done);
        }
        let at = self.moves.at_base(&base.path);
        let Some(found) = self.target.find(&at)? else {
            return Ok(Verdict::Clash(Clash::Gone));
        };
        let same = self.is_base(&found, base);
        if !same {
            return Ok(Verdict::Clash(Clash::Changed));
        }
        let to = self.moves.at_now(&now.path, self.ledger);
        let there = match &to {
            Some(to) if *to != at => self.target.find(to)?,
            _ => None,
        };
        match there {
            Some(_) if !self.leaves(now) => Ok(Verdict::Clash(Clash::Appeared)),
            _ => Ok(Verdict::Todo),
        }
    }

    /// Content or kind are others.
    fn replaced(&self, base: &Base, now: &Now) -> io::Result<Verdict> {
        let at = self.moves.at_base(&base.path);
        let Some(found) = self.target.find(&at)? else {
            return Ok(match self.was_making(&now.path) {
                true => Verdict::Todo,
                false => Verdict::Clash(Clash::Gone),
            });
        };
        let same = self.is_base(&found, base);
        if !same && now.seen.is_directory() && self.was_making(&now.path) {
            return Ok(Verdict::Todo);
        }
        if !same {
            return Ok(match self.is_there(&found, now, &at)? {
                true => Verdict::Done,
                false => Verdict::Clash(Clash::Changed),
            });
        }
        if base.seen.is_directory()
            && !now.seen.is_directory()
            && let Some(left) = self.left(&base.path, &at)?
        {
            return Ok(Verdict::Clash(Clash::NotEmpty(left)));
        }
        Ok(Verdict::Todo)
    }

    fn metadata(&self, change: &Change, base: &Base, now: &Now) -> io::Result<Verdict> {
        let at = self.moves.at_base(&base.path);
        let Some(found) = self.target.find(&at)? else {
            return Ok(Verdict::Clash(Clash::Gone));
        };
        let (seen, was, shall) = (&found.seen, &base.seen, &now.seen);
        let which = change.metadata;
        if self.strictness == Strictness::Exact && is_base(&found, base, Strictness::Exact) {
            return Ok(Verdict::Todo);
        }
        let same = is_inode(&found, base, self.strictness)
            && (!which.mode || permissions(seen.mode, was.mode, shall.mode))
            && (!which.owner
                || [was, shall]
                    .iter()
                    .any(|a| (a.uid, a.gid) == (seen.uid, seen.gid)));
        // The times of a directory move with every name.
        let moves = seen.is_directory() || !which.mtime;
        let same = same && (moves || [was.mtime, shall.mtime].contains(&seen.mtime));
        match same {
            true => Ok(Verdict::Todo),
            false => Ok(Verdict::Clash(Clash::Changed)),
        }
    }

    /// Whether what was found is, but for what only metadata says, what `now` is in the mount.
    fn is_there(&self, found: &SourceEntry, now: &Now, at: &PathBytes) -> io::Result<bool> {
        let (seen, shall) = (&found.seen, &now.seen);
        if seen.kind() != shall.kind() {
            return Ok(false);
        }
        match shall.kind() {
            Some(Kind::Directory) => Ok(true),
            Some(Kind::Regular) if seen.size != shall.size || seen.mtime != shall.mtime => {
                Ok(false)
            }
            Some(Kind::Regular) => self.same_content(now, at),
            Some(Kind::Symlink) => {
                Ok(self.target.link_target(at)? == self.mount.link_target(&now.path)?)
            }
            _ => Ok(seen.rdev == shall.rdev),
        }
    }

    fn same_content(&self, now: &Now, at: &PathBytes) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let one = File::from(self.target.open_at(at, flags)?);
        let other = self.mount.content(&now.path)?;
        same_bytes(one, other)
    }
}

/// Whether both give the same bytes.
fn same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut first, mut second) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let got = one.read(&mut first)?;
        if got == 0 {
            return Ok(other.read(&mut second)? == 0);
        }
        match other.read_exact(&mut second[..got]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if first[..got] != second[..got] {
            return Ok(false);
        }
    }
}

fn permissions(seen: u32, was: u32, shall: u32) -> bool {
    // A directory on its way is open to its owner.
    [was & 0o7777, shall & 0o7777, 0o700 | was & 0o7777].contains(&(seen & 0o7777))
}

/// Whether what was found is the inode `base` was, whatever became of it.
pub(super) fn is_inode(found: &SourceEntry, base: &Base, strictness: Strictness) -> bool {
    let known = |was: Option<u64>, is: u64| was.is_none_or(|was| was == is);
    let same = known(base.dev, found.dev) && known(base.ino, found.ino);
    found.seen.kind() == base.seen.kind() && (same || strictness == Strictness::Copy)
}

/// Whether what was found is as `base` was.
pub(super) fn is_base(found: &SourceEntry, base: &Base, strictness: Strictness) -> bool {
    let (seen, was) = (&found.seen, &base.seen);
    let same = is_inode(found, base, strictness);
    if seen.is_directory() {
        // Names in it come and go; whether that matters is asked for each.
        return same;
    }
    let content = seen.size == was.size && seen.mtime == was.mtime && seen.rdev == was.rdev;
    same && content && (strictness != Strictness::Exact || seen.ctime == was.ctime)
}
