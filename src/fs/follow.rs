//! A source that lives on: the tree becomes what the source has, and that is no difference to it.
//!
//! Whoever follows a source hands over what he saw there ([`Look`]): what lies under a name now, or that nothing does. What the mount
//! changed stays as the mount has it; what both sides changed is a conflict. Either way the [record](super::record) says afterwards what the
//! source is now.
//!
//! Names change while no other name goes and no attributes change ([`Survey`]); attributes and content one inode at a time. Names that are
//! gone stay until the end ([`Following::finish`]): what went by one name may be met by another, and keeps its node. A change is
//! delivered like every other: [`News`] say what of it the kernel holds is stale.

mod names;
mod refresh;

use super::record::{ALLOCATION, Before, Changes, Gone};
use super::{Fs, Node};
use crate::fs::Xattr;
use crate::tree::{Attr, Loose, NodeId, Seed, Survey};
use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

type Map<K, V> = HashMap<K, V, RandomState>;
type Set<T> = HashSet<T, RandomState>;

/// A name: the directory that it is in, and its bytes.
pub type Name = (NodeId, Box<[u8]>);

/// What the source has under a name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its device (`st_dev`), and its number there.
    pub origin: (u64, u64),
    /// The number that it shows, or is to show.
    pub shown: Option<NonZeroU64>,
    /// Whether numbers tell files of its filesystem apart.
    pub keeps_numbers: bool,
    /// Its attributes.
    pub attr: Attr,
    /// Its extended attributes.
    pub xattrs: Vec<Xattr>,
}

/// What was seen of a name of the source.
#[derive(Clone, Debug)]
pub struct Look {
    /// The name.
    pub name: Name,
    /// What lies there; `None`: nothing does.
    pub found: Option<Found>,
    /// Its content may be another, whatever its times say.
    pub touched: bool,
    /// Which inode of the tree that is, as [`Following::recognise`] says.
    pub node: Option<NodeId>,
    /// The target of a symbolic link that is new.
    pub target: Option<Vec<u8>>,
    /// From what the content of a file is made that is new, or was empty.
    pub seed: Option<Seed>,
}

/// Something of which what the kernel holds is stale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stale {
    /// Where a name leads, or that it leads nowhere.
    Name(NodeId, Box<[u8]>),
    /// The attributes of an inode.
    Attributes(NodeId),
    /// These, and its content or listing.
    Content(NodeId),
}

/// What of it the kernel holds became stale.
#[must_use = "the kernel keeps what is stale until it is delivered"]
#[derive(Debug, Default)]
pub struct News(Vec<Stale>);

impl News {
    /// Calls `notify` for all of it, in the order in which it changed. Not under a lock: the kernel may wait for requests to be answered.
    pub fn deliver(self, notify: impl FnMut(Stale)) {
        self.0.into_iter().for_each(notify);
    }
}

/// How a followed source came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Changes of names and inodes that were taken over.
    pub changes: u64,
    /// What both sides changed.
    pub conflicts: u64,
    /// Inodes that found no room.
    pub refused: u64,
}

/// What is known of following, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Figures {
    changes: AtomicU64,
    refused: AtomicU64,
    /// Where they are in the source.
    conflicts: Mutex<BTreeSet<Box<[u8]>>>,
}

impl Figures {
    /// Conflicts that are kept by name.
    const MOST: usize = 1 << 16;
}

impl Fs {
    /// How following the source came out so far.
    pub fn followed(&self) -> Followed {
        Followed {
            changes: self.figures.changes.load(Relaxed),
            refused: self.figures.refused.load(Relaxed),
            conflicts: self.figures.conflicts.lock().len() as u64,
        }
    }

    /// The paths, below the source, of what both it and the mount changed: the mount's stays. At most 65536, in order.
    pub fn conflicts(&self) -> Vec<Box<[u8]>> {
        self.figures.conflicts.lock().iter().cloned().collect()
    }

    /// Takes over what the source has become, as one of several steps. Others wait who make the record another source's.
    pub fn follow(&self) -> Following<'_> {
        Following {
            fs: self,
            _turn: self.turn_to_rebase(),
            limbo: Vec::new(),
            absent: Map::default(),
            news: Vec::new(),
            fresh: Map::default(),
            untaken: Vec::new(),
            linked: Vec::new(),
            strayed: Vec::new(),
            left: Set::default(),
        }
    }
}

/// The tree while it is made what the source is.
pub struct Following<'f> {
    fs: &'f Fs,
    _turn: MutexGuard<'f, ()>,
    /// What lost its name to something else, and where that was.
    limbo: Vec<(Loose<'f, Node>, Name)>,
    /// Names that the source has no more, and what they lead to.
    absent: Map<Name, NodeId>,
    news: Vec<Stale>,
    /// What is new, by device and number in the source.
    fresh: Map<(u64, u64), NodeId>,
    /// Names that could not be as they were seen.
    untaken: Vec<Name>,
    /// Inodes that lost a name and have others.
    linked: Vec<NodeId>,
    /// Inodes that lost a name of the source's that the mount did not have any more.
    strayed: Vec<NodeId>,
    /// Inodes that ended or are the mount's now: as directories they have no names of the source any more.
    left: Set<NodeId>,
}

impl std::fmt::Debug for Following<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following")
            .field("absent", &self.absent.len())
            .finish_non_exhaustive()
    }
}

impl<'f> Following<'f> {
    /// What is stale by now: names first, then listings with such names, which the kernel keeps apart.
    pub fn news(&mut self) -> News {
        let mut news = std::mem::take(&mut self.news);
        let listing = |stale: &Stale| match stale {
            Stale::Name(directory, _) => Some(*directory),
            _ => None,
        };
        let listings: Set<NodeId> = news.iter().filter_map(listing).collect();
        news.retain(|stale| !matches!(stale, Stale::Content(id) if listings.contains(id)));
        news.extend(listings.into_iter().map(Stale::Content));
        News(news)
    }

    /// Whether `found` is what the directory `id` came from, by its number.
    pub fn is_still(&self, id: NodeId, found: &Found) -> bool {
        let Ok(inode) = self.fs.get(id) else {
            return false;
        };
        match self.fs.brought(id) {
            Some(brought) => (brought.dev, brought.ino) == found.origin,
            None => {
                let births = [inode.attr().btime, found.attr.btime];
                let born = births[0] == births[1] || births.contains(&Default::default());
                let number = found.shown.is_some_and(|shown| shown.get() == inode.ino());
                !found.keeps_numbers || born && number
            }
        }
    }

    /// Names that could not be as they were seen, because something else was not there yet where it was to be: to be looked at again.
    pub fn untaken(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.untaken)
    }

    /// Whether something lost its name, and may have got another one.
    pub fn has_lost_names(&self) -> bool {
        !self.absent.is_empty() || !self.limbo.is_empty()
    }

    /// The names that the source had in `directory`.
    pub fn names(&self, directory: NodeId) -> Vec<Box<[u8]>> {
        let mut names = Vec::new();
        let survey = self.fs.tree.survey();
        survey.names_in(directory, |name, _, loaded| {
            if loaded {
                names.push(name.into());
            }
        });
        drop(survey);
        let gone = self.fs.changes.gone_in(&Set::from_iter([directory]));
        names.extend(gone.into_keys().map(|(_, name)| name));
        names
    }

    /// Says of each look which inode of the tree it was that is there now.
    pub fn recognise(&self, looks: &mut [Look]) {
        let gone = self.gone(looks);
        let survey = self.fs.tree.survey();
        let mut wanted: Map<u64, Vec<usize>> = Map::default();
        for (number, look) in looks.iter_mut().enumerate() {
            let Some(found) = &look.found else {
                continue;
            };
            let base = names::base(&survey, &gone, &look.name);
            look.node = base.filter(|base| self.is(&survey, *base, found));
            if let Some(shown) = found
                .shown
                .filter(|_| look.node.is_none() && found.keeps_numbers)
            {
                wanted.entry(shown.get()).or_default().push(number);
            }
        }
        if wanted.is_empty() {
            return;
        }
        let mut candidates = Vec::new();
        survey.loaded_inodes(|id, ino| {
            let numbers = wanted.get(&ino).into_iter().flatten();
            candidates.extend(numbers.map(|number| (*number, id)));
        });
        candidates.extend(self.fs.changes.remembered(&wanted, looks));
        for (number, id) in candidates {
            let look = &mut looks[number];
            if let Some(found) = &look.found
                && self.is(&survey, id, found)
            {
                look.node = Some(id);
            }
        }
    }

    fn gone(&self, looks: &[Look]) -> Map<Name, NodeId> {
        let directories = looks.iter().map(|look| look.name.0);
        self.fs.changes.gone_in(&directories.collect())
    }

    /// Whether `found` is what the inode `id` came from.
    fn is(&self, survey: &Survey<'_, Node>, id: NodeId, found: &Found) -> bool {
        let Some(inode) = survey.inode(id) else {
            // It has ended, and is remembered as what it was.
            let before = self.fs.changes.with_before(id, |before| *before);
            return before.is_some_and(|before| {
                before.attr().kind == found.attr.kind
                    && found.shown.is_some_and(|shown| shown.get() == before.ino)
            });
        };
        if !inode.loaded || inode.attr.kind != found.attr.kind {
            return false;
        }
        if !found.keeps_numbers {
            return true;
        }
        if let Some(brought) = self.fs.brought(id) {
            return (brought.dev, brought.ino) == found.origin;
        }
        let births = [inode.attr.btime, found.attr.btime];
        let born = births[0] == births[1] || births.contains(&Default::default());
        born && found.shown.is_some_and(|shown| shown.get() == inode.ino)
    }

    /// The inode is in conflict: where it is in the source.
    fn conflict(&self, survey: &Survey<'_, Node>, (directory, name): &Name) {
        let mut path = vec![&**name];
        let mut above: Vec<Box<[u8]>> = Vec::new();
        let mut here = *directory;
        while let Some(next) = survey.name_of(here, |up| {
            above.push(up.name.into());
            up.directory
        }) {
            here = next;
        }
        path.extend(above.iter().map(|name| &**name));
        path.reverse();
        let mut conflicts = self.fs.figures.conflicts.lock();
        if conflicts.len() < Figures::MOST {
            conflicts.insert(path.join(&b'/').into());
        }
    }

    fn changed(&self) {
        self.fs.figures.changes.fetch_add(1, Relaxed);
    }
}

impl Changes {
    /// The names of the source in `directories` that are gone, and what they led to.
    fn gone_in(&self, directories: &Set<NodeId>) -> Map<Name, NodeId> {
        let mut found = Map::default();
        self.edit(|_, shard| {
            let gone = shard
                .gone
                .iter()
                .filter(|gone| directories.contains(&gone.directory));
            found.extend(gone.map(|gone| ((gone.directory, gone.name.clone()), gone.inode)));
            0
        });
        found
    }

    /// Forgets that a name of the source is gone.
    fn no_more_gone(&self, gone: &Gone) {
        let mut shard = self.shard(gone.inode).lock();
        if let Some(at) = shard.gone.iter().position(|one| one == gone) {
            shard.gone.swap_remove(at);
            self.shrank(gone.name.len() + ALLOCATION);
        }
    }

    /// Whether names that led to `inode` are gone.
    fn has_gone(&self, inode: NodeId) -> bool {
        let shard = self.shard(inode).lock();
        shard.gone.iter().any(|gone| gone.inode == inode)
    }

    /// What `edit` gives for what `inode` is remembered as.
    fn with_before<T>(&self, inode: NodeId, edit: impl FnOnce(&mut Before) -> T) -> Option<T> {
        let mut shard = self.shard(inode).lock();
        let mut before = shard.before.iter_mut();
        before.find(|before| before.inode == inode).map(edit)
    }

    /// Forgets what `inode` was.
    fn no_more_before(&self, inode: NodeId) {
        let mut shard = self.shard(inode).lock();
        shard.before.retain(|before| before.inode != inode);
        shard.brought.remove(&inode);
    }

    /// Inodes that are remembered with one of the numbers `wanted`, or were brought from what a look found.
    fn remembered(&self, wanted: &Map<u64, Vec<usize>>, looks: &[Look]) -> Vec<(usize, NodeId)> {
        let mut found = Vec::new();
        let origin = |number: &usize| looks[*number].found.as_ref().map(|found| found.origin);
        let all = || wanted.values().flatten();
        let origins: Map<_, _> = all()
            .filter_map(|number| Some((origin(number)?, *number)))
            .collect();
        self.edit(|_, shard| {
            for before in &shard.before {
                let numbers = wanted.get(&before.ino).into_iter().flatten();
                found.extend(numbers.map(|number| (*number, before.inode)));
            }
            for (id, brought) in &shard.brought {
                let number = origins.get(&(brought.dev, brought.ino));
                found.extend(number.map(|number| (*number, *id)));
            }
            0
        });
        found
    }
}
