//! Which names that are gone and which that are there belong together.

use super::facts::{Facts, Found, Lost};
use super::{Base, Change, Metadata, Now, PathBytes, Seen, What};
use crate::fs::{Before, Fs, Origin};
use crate::tree::{Attr, Kind, NodeId, SurveyedInode};
use ahash::RandomState;
use std::collections::{BTreeMap, HashMap};

type Map<K, V> = HashMap<K, V, RandomState>;

/// Makes differences of facts.
pub(super) struct Pairing<'a> {
    fs: &'a Fs,
    origin: &'a dyn Origin,
    inodes: Map<NodeId, SurveyedInode>,
    before: Map<NodeId, Before>,
    changes: Vec<Change>,
}

impl<'a> Pairing<'a> {
    /// What differs, in the order of [`Delta`](super::Delta).
    pub(super) fn run(fs: &'a Fs, origin: &'a dyn Origin, facts: Facts) -> Vec<Change> {
        let Facts {
            lost,
            found,
            inodes,
            before,
        } = facts;
        let mut pairing = Pairing {
            fs,
            origin,
            inodes,
            before,
            changes: Vec::new(),
        };
        let (lost, found) = settle(lost, found);
        let (kept, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| f.base.is_some());
        let links = pairing.links(&kept, &others);
        for name in kept {
            pairing.keep(name);
        }
        let (moved, made): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|name| pairing.is_of_source(name.inode));
        let lost = pairing.carry(lost, moved, &links);
        pairing.replace(lost, made, &links);
        pairing.sorted()
    }

    fn is_of_source(&self, inode: NodeId) -> bool {
        self.inodes.get(&inode).is_some_and(|inode| inode.loaded)
    }

    /// Of each inode with several names the one that others are links to: of the source's one that it had there, if any is left.
    fn links(&self, kept: &[Found], others: &[Found]) -> Map<NodeId, PathBytes> {
        let mut first: Map<NodeId, (bool, &PathBytes)> = Map::default();
        for name in kept.iter().chain(others) {
            let made = (name.base.is_none(), &name.path);
            let best = first.entry(name.inode).or_insert(made);
            *best = made.min(*best);
        }
        let paths = first.into_iter().map(|(id, (_, path))| (id, path.clone()));
        paths.collect()
    }

    /// A name of the source's that is where it was.
    fn keep(&mut self, name: Found) {
        let Some((before, inode)) = self.both(name.inode, name.inode) else {
            return;
        };
        let (content, metadata) = compared(&before, &inode.attr);
        let what = match (content, metadata.any()) {
            (true, _) => What::Content,
            (false, true) => What::Metadata,
            (false, false) => return,
        };
        self.changes.push(Change {
            base: name.base.map(|path| self.base(path, &before)),
            now: Some(now(name.path, name.inode, &inode)),
            content,
            metadata,
            ..plain(what)
        });
    }

    /// SourceNames of inodes of the source that are not theirs there: each is one of those they lost, moved, or one more. Gives back
    /// what was lost and not moved.
    fn carry(
        &mut self,
        lost: Vec<Lost>,
        mut moved: Vec<Found>,
        links: &Map<NodeId, PathBytes>,
    ) -> Vec<Lost> {
        moved.sort_unstable_by(|a, b| b.path.cmp(&a.path));
        let mut waiting: Map<NodeId, Vec<Found>> = Map::default();
        for name in moved {
            waiting.entry(name.inode).or_default().push(name);
        }
        let mut left = Vec::new();
        for lost in lost {
            let taken = waiting.get_mut(&lost.inode).and_then(Vec::pop);
            match taken {
                Some(name) => self.moved(lost, name),
                None => left.push(lost),
            }
        }
        for name in waiting.into_values().flatten() {
            let link = further(&name, links);
            self.add(name, link);
        }
        left
    }

    fn moved(&mut self, lost: Lost, name: Found) {
        let Some((before, inode)) = self.both(lost.inode, name.inode) else {
            return;
        };
        let (content, metadata) = compared(&before, &inode.attr);
        self.changes.push(Change {
            base: Some(self.base(lost.path, &before)),
            now: Some(now(name.path, name.inode, &inode)),
            content,
            metadata,
            ..plain(What::Moved)
        });
    }

    /// SourceNames of inodes that were made: in place of one that was lost, or new.
    fn replace(&mut self, lost: Vec<Lost>, made: Vec<Found>, links: &Map<NodeId, PathBytes>) {
        // By the place in the tree first: a directory that was moved took its names along.
        let mut by_key = Map::default();
        let mut left = Vec::new();
        let mut rest: BTreeMap<PathBytes, Lost> = BTreeMap::new();
        for lost in lost {
            by_key.insert(lost.key.clone(), lost);
        }
        for name in made {
            match by_key.remove(&name.key) {
                Some(lost) => self.replaced(lost, name, links),
                None => left.push(name),
            }
        }
        rest.extend(by_key.into_values().map(|lost| (lost.path.clone(), lost)));
        for name in left {
            match rest.remove(&name.path) {
                Some(lost) => self.replaced(lost, name, links),
                None => {
                    let link = further(&name, links);
                    self.add(name, link);
                }
            }
        }
        for lost in rest.into_values() {
            self.remove(lost);
        }
    }

    fn replaced(&mut self, lost: Lost, name: Found, links: &Map<NodeId, PathBytes>) {
        let Some((before, inode)) = self.both(lost.inode, name.inode) else {
            return;
        };
        let kind = inode.attr.kind;
        let (_, mut metadata) = compared(&before, &inode.attr);
        (metadata.xattrs, metadata.acl) = self.fs.has_xattrs(name.inode);
        let retyped = before.attr().kind != kind;
        let what = match (retyped, has_content(kind)) {
            (true, _) => What::Retyped,
            (false, true) => What::Content,
            (false, false) => What::Metadata,
        };
        self.changes.push(Change {
            base: Some(self.base(lost.path, &before)),
            link: further(&name, links),
            now: Some(now(name.path, name.inode, &inode)),
            content: has_content(kind),
            metadata,
            replaced: true,
            ..plain(what)
        });
    }

    fn add(&mut self, name: Found, link: Option<PathBytes>) {
        let Some(inode) = self.inodes.get(&name.inode).copied() else {
            return;
        };
        let (xattrs, acl) = self.fs.has_xattrs(name.inode);
        self.changes.push(Change {
            now: Some(now(name.path, name.inode, &inode)),
            content: has_content(inode.attr.kind),
            metadata: Metadata {
                mode: true,
                owner: true,
                mtime: true,
                xattrs,
                acl,
            },
            link,
            ..plain(What::Added)
        });
    }

    fn remove(&mut self, lost: Lost) {
        if let Some(before) = self.before.get(&lost.inode).copied() {
            self.changes.push(Change {
                base: Some(self.base(lost.path, &before)),
                ..plain(What::Removed)
            });
        }
    }

    fn both(&self, before: NodeId, now: NodeId) -> Option<(Before, SurveyedInode)> {
        let now = self.inodes.get(&now);
        self.before.get(&before).copied().zip(now.copied())
    }

    fn base(&self, path: PathBytes, before: &Before) -> Base {
        base(self.fs, self.origin, path, before)
    }

    fn sorted(self) -> Vec<Change> {
        let removed = |change: &Change| change.what == What::Removed;
        let (mut gone, mut others): (Vec<_>, Vec<_>) = self.changes.into_iter().partition(removed);
        gone.sort_unstable_by(|a, b| b.path().cmp(a.path()));
        others.sort_unstable_by(|a, b| a.path().cmp(b.path()));
        gone.append(&mut others);
        gone
    }
}

/// SourceNames that went and came back to the same inode, in the same directory, are taken for what they were. What was lost comes
/// in the order of its paths.
fn settle(mut lost: Vec<Lost>, mut found: Vec<Found>) -> (Vec<Lost>, Vec<Found>) {
    lost.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let made = found.iter().enumerate();
    let made = made.filter(|(_, name)| name.base.is_none());
    let made: Map<_, _> = made.map(|(at, name)| (name.key.clone(), at)).collect();
    lost.retain(|lost| {
        let back = made.get(&lost.key).map(|at| &mut found[*at]);
        let Some(name) = back.filter(|name| name.inode == lost.inode) else {
            return true;
        };
        name.base = Some(lost.path.clone());
        false
    });
    (lost, found)
}

/// The first name of what `name` leads to, unless it is that itself.
fn further(name: &Found, links: &Map<NodeId, PathBytes>) -> Option<PathBytes> {
    let first = links.get(&name.inode);
    first.filter(|first| **first != name.path).cloned()
}

/// What was at `path`, an inode that was `before` when it was loaded, or brought to the source since.
pub(super) fn base(fs: &Fs, origin: &dyn Origin, path: PathBytes, before: &Before) -> Base {
    if let Some(brought) = fs.brought(before.inode) {
        return Base {
            path,
            dev: Some(brought.dev),
            ino: Some(brought.ino),
            seen: Seen::of(&brought.attr()),
        };
    }
    let (dev, ino) = origin.number_of(before.ino).unzip();
    Base {
        path,
        dev,
        ino,
        seen: Seen::of(&before.attr()),
    }
}

fn plain(what: What) -> Change {
    Change {
        what,
        base: None,
        now: None,
        content: false,
        metadata: Metadata::default(),
        link: None,
        replaced: false,
    }
}

fn now(path: PathBytes, id: NodeId, inode: &SurveyedInode) -> Now {
    Now {
        path,
        node: id.raw(),
        ino: inode.ino,
        seen: Seen::of(&inode.attr),
    }
}

fn has_content(kind: Kind) -> bool {
    matches!(kind, Kind::Regular | Kind::Symlink) || kind.is_device()
}

/// Whether the content of an inode, and which of its attributes, are others than `before`.
fn compared(before: &Before, now: &Attr) -> (bool, Metadata) {
    let then = before.attr();
    let metadata = Metadata {
        mode: then.perm != now.perm,
        owner: (then.uid, then.gid) != (now.uid, now.gid),
        mtime: then.mtime != now.mtime,
        xattrs: now.touched.xattrs,
        acl: now.touched.acl,
    };
    (now.touched.content, metadata)
}
