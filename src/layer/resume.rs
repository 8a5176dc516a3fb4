//! A difference that was kept, put over its source once that is loaded.
//!
//! It is made again by the changes that a caller would make, before anybody can look: so the tree knows what it differs in, and what moved
//! is the inode that the source has. Then everything gets the attributes and times that it had. What the source has become meanwhile gives
//! way to what was kept, and is known by what it was when that was made: applying it is refused as it would have been.

use super::kept::Kept;
use crate::delta::{Base, Change, Content, Now, PathBytes, Seen, Tree, What};
use crate::fs::{Backing, Became, Brought, Caller, Committed, Fs, Loaded};
use crate::tree::{Attr, Errno, Kind, NodeId, Time, Touched};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io;

/// Who makes the changes: nobody is asked whether they may be made.
const MAKER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// `RENAME_NOREPLACE`: what is to be there has made room.
const NOREPLACE: u32 = libc::RENAME_NOREPLACE;

/// What the source has become where something was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meanwhile {
    /// It is gone there.
    Gone,
    /// It is another there.
    Changed,
    /// Something is there where nothing was.
    Appeared,
}

impl fmt::Display for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Meanwhile::Gone => "it is gone in the source",
            Meanwhile::Changed => "it was changed in the source since it was kept",
            Meanwhile::Appeared => "something was made in the source since it was kept",
        })
    }
}

/// Why it cannot be put over.
#[derive(Debug, thiserror::Error)]
pub enum NotResumed {
    /// The tree has no room for it, or does not take it.
    #[error("{0}: {1}")]
    Refused(PathBytes, Errno),
    /// What was kept cannot be read.
    #[error("{0}: {1}")]
    Unread(PathBytes, #[source] io::Error),
}

/// Puts `kept` over `fs`, into which nothing but its source was loaded, and says what that has become meanwhile, by paths.
///
/// # Errors
/// See [`NotResumed`]; then `fs` is best dropped.
pub fn put_over(fs: &Fs, kept: &Kept) -> Result<Vec<(PathBytes, Meanwhile)>, NotResumed> {
    let mut over = Over {
        fs,
        kept,
        times: HashMap::new(),
        meanwhile: BTreeSet::new(),
        made: HashMap::new(),
        dressed: HashSet::new(),
    };
    let changes = &kept.delta.changes;
    let at = |change: &Change| change.path().clone();
    let mut slots = Vec::new();
    for change in changes {
        let base = change.base.as_ref();
        let slot = base.map(|base| over.find_base(slots.len(), base));
        slots.push(slot.transpose().map_err(refused(at(change)))?);
    }
    let both = || changes.iter().zip(&slots);
    let aside = over.put_aside(both()).map_err(refused(PathBytes::ROOT))?;
    for (change, slot) in both().filter(|(change, _)| change.what == What::Removed) {
        over.remove_old(slot.as_ref())
            .map_err(refused(at(change)))?;
    }
    let leaves = |change: &Change| change.replaced || change.what == What::Retyped;
    for (change, slot) in both().rev().filter(|(change, _)| leaves(change)) {
        over.remove_old(slot.as_ref())
            .map_err(refused(at(change)))?;
    }
    let mut ids = Vec::new();
    for (change, slot) in both().filter(|(change, _)| change.link.is_none()) {
        let Some(now) = &change.now else { continue };
        let id = over.make(change, now, slot.as_ref(), aside);
        ids.push((change, now, id.map_err(refused(at(change)))?));
    }
    for change in changes {
        if let (Some(now), Some(link)) = (&change.now, &change.link) {
            over.link(link, now).map_err(refused(at(change)))?;
        }
    }
    over.end_aside(aside).map_err(refused(PathBytes::ROOT))?;
    // What is in a directory before that.
    for (change, now, id) in ids.into_iter().rev() {
        over.dress(change, now, id)?;
    }
    over.put_times_back().map_err(refused(PathBytes::ROOT))?;
    Ok(over.meanwhile.into_iter().collect())
}

fn refused(path: PathBytes) -> impl FnOnce(Errno) -> NotResumed {
    move |errno| NotResumed::Refused(path, errno)
}

/// Where something of the source lies, as long as it is not moved.
struct Slot {
    directory: NodeId,
    name: Vec<u8>,
    id: NodeId,
    /// It is not what it was.
    another: bool,
    /// Which one this is.
    number: usize,
}

impl Slot {
    /// Its name while it moves.
    fn on_its_way(&self) -> Vec<u8> {
        self.number.to_string().into_bytes()
    }
}

struct Over<'a> {
    fs: &'a Fs,
    kept: &'a Kept,
    /// The times that directories had before names in them were made or taken away.
    times: HashMap<NodeId, (Time, Time)>,
    meanwhile: BTreeSet<(PathBytes, Meanwhile)>,
    /// Inodes that were made, by the node ids that they had.
    made: HashMap<u64, NodeId>,
    dressed: HashSet<NodeId>,
}

impl Over<'_> {
    fn child(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>, Errno> {
        let tree = self.fs.tree();
        match tree.child(&tree.get(directory)?, name) {
            Ok(child) => Ok(Some(child.id())),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn attr(&self, id: NodeId) -> Result<Attr, Errno> {
        Ok(self.fs.tree().get(id)?.attr())
    }

    /// What `base` was; if the source has nothing like it any more, something that stands for it.
    fn find_base(&mut self, number: usize, base: &Base) -> Result<Slot, Errno> {
        let (parent, name) = base.path.split();
        if name.is_empty() {
            return Ok(Slot {
                directory: NodeId::ROOT,
                name: Vec::new(),
                id: NodeId::ROOT,
                another: false,
                number,
            });
        }
        let directory = self.directory(&parent)?;
        let found = self.child(directory, name)?;
        let kind = base.seen.kind().ok_or(Errno::INVAL)?;
        let mut same = false;
        let id = match found {
            Some(id) if self.attr(id)?.kind == kind => {
                same = self.is_base(id, base)?;
                id
            }
            Some(other) => {
                self.remove_all(directory, name, other)?;
                self.load(directory, name, base.seen.attr())?
            }
            None => self.load(directory, name, base.seen.attr())?,
        };
        if !same {
            let gone = found.is_none();
            let what = if gone {
                Meanwhile::Gone
            } else {
                Meanwhile::Changed
            };
            self.note(&base.path, what);
            self.bring(id, base.dev.zip(base.ino), &base.seen.attr());
        }
        Ok(Slot {
            directory,
            name: name.to_vec(),
            id,
            another: !same,
            number,
        })
    }

    /// The directory `path` of the source; one that is gone is made, as if it had been loaded.
    fn directory(&mut self, path: &PathBytes) -> Result<NodeId, Errno> {
        let mut here = NodeId::ROOT;
        let above: Vec<_> = path.prefixes().map(|(above, _)| above).collect();
        for path in above.iter().rev().skip(1) {
            let (_, name) = path.split();
            let found = self.child(here, name)?;
            here = match found {
                Some(id) if self.attr(id)?.kind == Kind::Directory => id,
                found => {
                    self.note(path, Meanwhile::Gone);
                    if let Some(found) = found {
                        self.remove_all(here, name, found)?;
                    }
                    let attr = Attr::new(Kind::Directory, 0o755, 0, 0, Time::default());
                    self.load(here, name, attr)?
                }
            };
        }
        Ok(here)
    }

    /// Something loaded without content.
    fn load(&self, directory: NodeId, name: &[u8], attr: Attr) -> Result<NodeId, Errno> {
        let nlink = if attr.kind == Kind::Directory { 2 } else { 1 };
        let attr = Attr { nlink, ..attr };
        let target: Option<&[u8]> = (attr.kind == Kind::Symlink).then_some(b"gone");
        let new = Loaded {
            attr,
            ino: None,
            target,
            xattrs: Vec::new(),
            backing: None,
            seed: None,
        };
        self.fs.load(directory, name, new)
    }

    /// Whether `id`, of the same kind, is what `base` was. Names in a directory come and go.
    fn is_base(&self, id: NodeId, base: &Base) -> Result<bool, Errno> {
        let entry = self.fs.tree().get(id)?.entry();
        let origin = self.fs.origin();
        let (dev, ino) = origin
            .and_then(|origin| origin.number_of(entry.ino))
            .unzip();
        let known = |was: Option<u64>, is: Option<u64>| was.is_none() || is.is_none() || was == is;
        if !known(base.dev, dev) || !known(base.ino, ino) {
            return Ok(false);
        }
        let content = |seen: &Seen| (seen.size, seen.mtime, seen.ctime, seen.rdev);
        Ok(base.seen.is_directory() || content(&Seen::of(&entry.attr)) == content(&base.seen))
    }

    fn note(&mut self, path: &PathBytes, what: Meanwhile) {
        self.meanwhile.insert((path.clone(), what));
    }

    /// Has the source told to have had what `attr` says; without a number what it cannot have.
    fn bring(&self, id: NodeId, number: Option<(u64, u64)>, attr: &Attr) {
        let number = number.unwrap_or_default();
        self.fs.bring(Brought::new(id, number, attr));
    }

    /// Takes what is there away with all that is in it. It was not there when the difference was kept: no apply may take it for granted.
    fn remove_all(&mut self, directory: NodeId, name: &[u8], id: NodeId) -> Result<(), Errno> {
        let mut waiting = vec![(directory, name.to_vec(), id, false)];
        while let Some((directory, name, id, emptied)) = waiting.pop() {
            let attr = self.attr(id)?;
            if attr.kind == Kind::Directory && !emptied {
                waiting.push((directory, name, id, true));
                for (name, below) in self.names(id)? {
                    waiting.push((id, name, below, false));
                }
                continue;
            }
            self.bring(id, None, &attr);
            self.remove(directory, &name, attr.kind)?;
        }
        Ok(())
    }

    fn names(&self, directory: NodeId) -> Result<Vec<(Vec<u8>, NodeId)>, Errno> {
        let tree = self.fs.tree();
        let mut names = Vec::new();
        tree.read_dir(&tree.get(directory)?, 0, |entry| {
            names.push((entry.name.to_vec(), entry.id));
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    /// Remembers the times of a directory in which a name comes or goes.
    fn before_naming(&mut self, directory: NodeId) -> Result<(), Errno> {
        let attr = self.attr(directory)?;
        self.times
            .entry(directory)
            .or_insert((attr.mtime, attr.ctime));
        Ok(())
    }

    fn remove(&mut self, directory: NodeId, name: &[u8], kind: Kind) -> Result<(), Errno> {
        self.before_naming(directory)?;
        let removed = match kind {
            Kind::Directory => self.fs.rmdir(&MAKER, directory, name),
            _ => self.fs.unlink(&MAKER, directory, name),
        };
        removed.map(done)
    }

    /// Removes what was in the source. What the source has got since in a directory goes along.
    fn remove_old(&mut self, slot: Option<&Slot>) -> Result<(), Errno> {
        let Some(slot) = slot else { return Ok(()) };
        let attr = self.attr(slot.id)?;
        if attr.kind == Kind::Directory {
            for (name, id) in self.names(slot.id)? {
                let path = self.path(slot.id, &name);
                self.note(&path, Meanwhile::Appeared);
                self.remove_all(slot.id, &name, id)?;
            }
        }
        self.remove(slot.directory, &slot.name, attr.kind)
    }

    /// Where `name` is in `directory`, at the time.
    fn path(&self, directory: NodeId, name: &[u8]) -> PathBytes {
        let tree = self.fs.tree();
        let mut names = vec![name.to_vec()];
        let mut here = directory;
        while here != NodeId::ROOT {
            let Some(above) = tree
                .get(here)
                .and_then(|inode| Ok(tree.parent(&inode)?.id()))
                .ok()
            else {
                break;
            };
            let siblings = self.names(above).unwrap_or_default();
            names.extend(
                siblings
                    .into_iter()
                    .find(|(_, id)| *id == here)
                    .map(|(name, _)| name),
            );
            here = above;
        }
        names.reverse();
        PathBytes::from(names.join(&b'/'))
    }

    /// Moves all that moves into a directory of its own, which is made for that: nothing is in the way of anything then.
    fn put_aside<'c>(
        &mut self,
        changes: impl Iterator<Item = (&'c Change, &'c Option<Slot>)>,
    ) -> Result<NodeId, Errno> {
        self.before_naming(NodeId::ROOT)?;
        let name = self.aside_name()?;
        let aside = self.fs.mkdir(&MAKER, NodeId::ROOT, &name, 0o700)?;
        let aside = self.known(done(aside).id);
        for (change, slot) in changes {
            let Some(slot) = slot.as_ref().filter(|_| change.what == What::Moved) else {
                continue;
            };
            self.before_naming(slot.directory)?;
            let to = slot.on_its_way();
            let from = (slot.directory, &*slot.name);
            self.fs
                .rename(&MAKER, from, (aside, &to), NOREPLACE)
                .map(done)?;
        }
        Ok(aside)
    }

    fn aside_name(&self) -> Result<Vec<u8>, Errno> {
        for number in 0_u32.. {
            let name = format!(".norefs-resume-{number}").into_bytes();
            if self.child(NodeId::ROOT, &name)?.is_none() {
                return Ok(name);
            }
        }
        Err(Errno::NOSPC)
    }

    fn end_aside(&mut self, aside: NodeId) -> Result<(), Errno> {
        let names = self.names(NodeId::ROOT)?;
        let name = names.into_iter().find(|(_, id)| *id == aside);
        let (name, _) = name.ok_or(Errno::NOENT)?;
        self.fs.rmdir(&MAKER, NodeId::ROOT, &name).map(done)
    }

    /// Gives back the count of one who asked.
    fn known(&self, id: NodeId) -> NodeId {
        self.fs.forget(id, 1);
        id
    }

    /// The directory in which `path` is to be, and the name there, which is free.
    fn place<'p>(&mut self, path: &'p PathBytes) -> Result<(NodeId, &'p [u8]), Errno> {
        let (parent, name) = path.split();
        let mut here = NodeId::ROOT;
        let above: Vec<_> = parent.prefixes().map(|(above, _)| above).collect();
        for path in above.iter().rev().skip(1) {
            let (_, name) = path.split();
            here = match self.child(here, name)? {
                Some(id) => id,
                None => {
                    self.note(path, Meanwhile::Gone);
                    self.before_naming(here)?;
                    let made = self.fs.mkdir(&MAKER, here, name, 0o755)?;
                    self.known(done(made).id)
                }
            };
        }
        if let Some(id) = self.child(here, name)? {
            self.note(path, Meanwhile::Appeared);
            self.remove_all(here, name, id)?;
        }
        self.before_naming(here)?;
        Ok((here, name))
    }

    /// Makes `now` be there. Its attributes come later.
    fn make(
        &mut self,
        change: &Change,
        now: &Now,
        slot: Option<&Slot>,
        aside: NodeId,
    ) -> Result<Made, Errno> {
        let stays = |slot: &Slot| Made {
            id: slot.id,
            whole: slot.another,
        };
        match (slot, change.what) {
            (Some(slot), What::Moved) => {
                let to = self.place(&now.path)?;
                self.fs
                    .rename(&MAKER, (aside, &slot.on_its_way()), to, NOREPLACE)
                    .map(done)?;
                return Ok(stays(slot));
            }
            (Some(slot), What::Content | What::Metadata) if !change.replaced => {
                return Ok(stays(slot));
            }
            _ => {}
        }
        let (parent, name) = self.place(&now.path)?;
        let kind = now.seen.kind().ok_or(Errno::INVAL)?;
        let made = match kind {
            Kind::Directory => self.fs.mkdir(&MAKER, parent, name, 0o700),
            Kind::Symlink => {
                let target = self.kept.link_target(&now.path);
                let target = target.map_err(|_| Errno::IO)?;
                self.fs.symlink(&MAKER, parent, name, target.to_bytes())
            }
            _ => {
                let rdev = now.seen.attr().rdev;
                self.fs
                    .mknod(&MAKER, parent, name, kind.bits() | 0o600, rdev)
            }
        };
        let id = self.known(done(made?).id);
        self.made.insert(now.node, id);
        Ok(Made { id, whole: true })
    }

    /// Makes a further name of what has the name `first`.
    fn link(&mut self, first: &PathBytes, now: &Now) -> Result<(), Errno> {
        let id = match self.made.get(&now.node) {
            Some(id) => *id,
            None => {
                let mut names = first.as_bytes().split(|byte| *byte == b'/');
                names.try_fold(NodeId::ROOT, |here, name| {
                    self.child(here, name)?.ok_or(Errno::NOENT)
                })?
            }
        };
        let (parent, name) = self.place(&now.path)?;
        let linked = self.fs.link(&MAKER, id, parent, name)?;
        self.known(done(linked).id);
        Ok(())
    }

    /// Gives `made` all that it had.
    fn dress(&mut self, change: &Change, now: &Now, made: Made) -> Result<(), NotResumed> {
        if !self.dressed.insert(made.id) {
            return Ok(());
        }
        let unread = |error| NotResumed::Unread(now.path.clone(), error);
        let attr = now.seen.attr();
        let has = self.kept.has(&now.path);
        let new = change.content || made.whole && has;
        let content = match attr.kind {
            Kind::Regular if new => {
                let content = self.kept.content(&now.path).map_err(unread)?;
                let blocks = content.stored().map_err(unread)?.div_ceil(512);
                let backing: Box<dyn Backing> = Box::new(KeptFile(content));
                Some((backing, blocks))
            }
            _ => None,
        };
        let xattrs = self.kept.xattrs(&now.path).map_err(unread)?.into_iter();
        let xattrs = xattrs.map(|(name, value)| (name.into(), value.into()));
        let became = Became {
            attr,
            touched: Touched {
                content: content.is_some(),
                xattrs: change.metadata.xattrs,
                acl: change.metadata.acl,
            },
            content,
            xattrs: has.then(|| xattrs.collect()),
        };
        self.times.remove(&made.id);
        let became = self.fs.become_again(made.id, became);
        became.map_err(refused(now.path.clone()))
    }

    fn put_times_back(&mut self) -> Result<(), Errno> {
        for (directory, (mtime, ctime)) in std::mem::take(&mut self.times) {
            match self.fs.set_times_back(directory, mtime, ctime) {
                // It was removed later.
                Ok(()) | Err(Errno::STALE) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// An inode that has its name.
#[derive(Clone, Copy)]
struct Made {
    id: NodeId,
    /// All of it comes from what was kept.
    whole: bool,
}

fn done<T>(committed: Committed<T>) -> T {
    // Nobody has looked yet.
    committed.deliver(drop)
}

/// The bytes of a file in what was kept.
struct KeptFile(Content);

fn errno(error: io::Error) -> Errno {
    match error.raw_os_error() {
        Some(raw) => Errno::from_raw_os_error(raw),
        // It was cut.
        None => Errno::STALE,
    }
}

impl Backing for KeptFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let left = self.0.size().saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.0
            .read_exact_at(offset, &mut buf[..length])
            .map_err(errno)?;
        Ok(length)
    }

    fn next_data(&self, offset: u64) -> Result<Option<u64>, Errno> {
        let run = self.0.data(offset).map_err(errno)?;
        Ok(run.map(|run| run.start))
    }

    fn next_hole(&self, offset: u64) -> Result<Option<u64>, Errno> {
        match self.0.data(offset).map_err(errno)? {
            Some(run) if run.start > offset => Ok(Some(offset)),
            Some(run) => Ok((run.end < self.0.size()).then_some(run.end)),
            None => Ok(Some(offset)),
        }
    }
}
