//! Differences that were written to the source are none any more.
//!
//! The names of the source stand in the tree and in the record, each once: as a name that a load brought, or as one that is gone
//! ([`SourceNames`]). A rebase takes the old names of what was written from there and enters the new ones. Where somebody changed things in the
//! tree since, a new name is entered as one that is gone, so that the later change is told, and nothing else.

use super::facts::Paths;
use super::find::CHANGE_BYTES;
use super::names::{Key, SourceNames};
use super::pair;
use super::{Change, PathBytes, Seen, Unknown, What};
use crate::fs::{Before, Brought, Fs, Gone, Node, Origin, OriginEntry, Rewrite};
use crate::host::is_memory_left;
use crate::tree::{Errno, Kind, NodeId, Survey};
use ahash::RandomState;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

type Map<K, V> = HashMap<K, V, RandomState>;

/// A difference that was written to the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// As it was told.
    pub change: Change,
    /// What the source has there now; `None` of [`What::Removed`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<SourceEntry>,
}

/// What is found in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Its device (`st_dev`).
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
    /// Its attributes.
    #[serde(flatten)]
    pub seen: Seen,
}

/// One that may be so.
struct Claim {
    change: Change,
    found: Option<SourceEntry>,
    /// What the source has there, as the server sees it; `None` if it cannot look.
    entry: Option<OriginEntry>,
    old: Option<(Key, NodeId)>,
    /// The name in the source, once it is that.
    new: Option<Key>,
}

impl Claim {
    /// If it can be true at all.
    fn of(origin: &dyn Origin, applied: Applied) -> Option<Claim> {
        let Applied { change, found } = applied;
        let shape = (change.base.is_some(), change.now.is_some(), found.is_some());
        let right = match change.what {
            What::Removed => (true, false, false),
            What::Added => (false, true, true),
            _ => (true, true, true),
        };
        if shape != right {
            return None;
        }
        let mut entry = None;
        if let (Some(now), Some(found)) = (&change.now, &found) {
            entry = match origin.entry(now.path.as_bytes()) {
                Ok(entry) => Some(entry.filter(|entry| is_it(entry, found))?),
                Err(_) => None,
            };
            if now.seen.kind() != found.seen.kind() {
                return None;
            }
        }
        Some(Claim {
            change,
            found,
            entry,
            old: None,
            new: None,
        })
    }

    fn node(&self) -> Option<NodeId> {
        let now = self.change.now.as_ref();
        now.map(|now| NodeId::from_raw(now.node))
    }

    fn is_of_root(&self) -> bool {
        self.change.path() == &PathBytes::ROOT
    }
}

/// Whether `entry` is what was found, and has its content.
fn is_it(entry: &OriginEntry, found: &SourceEntry) -> bool {
    let (seen, directory) = (Seen::of(&entry.attr), found.seen.is_directory());
    let content = |seen: &Seen| (seen.size, seen.mtime, seen.rdev);
    (entry.dev, entry.ino, seen.kind()) == (found.dev, found.ino, found.seen.kind())
        && (directory || content(&seen) == content(&found.seen))
}

/// What is left to be done when others may go on.
#[derive(Default)]
struct Later {
    /// Where directories were, and are.
    moved: Vec<(PathBytes, PathBytes)>,
    /// Files whose content is to be read where it is now.
    contents: Vec<(NodeId, OriginEntry)>,
    /// Inodes that lost a name in the source and have another one there.
    touched: Vec<(PathBytes, Before)>,
}

/// Makes the source the one that `fs` is compared with after `applied` was written there, in any order. Gives how many of it hold: what
/// the source, or the record of the tree, contradicts counts for nothing. What was changed since it was told is told still.
///
/// While the record is made anew no name goes, and no attribute changes. The source is asked about each entry before, and about some
/// after that.
///
/// # Errors
/// See [`Unknown`]; then nothing changed.
pub fn rebase(fs: &Fs, applied: Vec<Applied>) -> Result<usize, Unknown> {
    let origin = &**fs.origin().ok_or(Unknown::NoSource)?;
    let count = fs.changes_kept().saturating_add(applied.len());
    if !is_memory_left(count.saturating_mul(CHANGE_BYTES)) {
        return Err(Unknown::TooMany(count));
    }
    let _turn = fs.turn_to_rebase();
    let lines = applied.into_iter();
    let lines = lines.filter_map(|applied| Claim::of(origin, applied));
    let (held, later) = {
        let lines = lines.collect();
        let survey = fs.tree().survey();
        Rebase::run(fs, origin, &survey, lines).map_err(|_| Unknown::Forgotten)?
    };
    later.run(fs, origin);
    Ok(held)
}

impl Later {
    fn run(self, fs: &Fs, origin: &dyn Origin) {
        let moved = self.moved.iter();
        let moved: Vec<_> = moved
            .map(|(from, to)| (from.as_bytes(), to.as_bytes()))
            .collect();
        origin.moved(&moved);
        for (node, entry) in &self.contents {
            if let Err(errno) = fs.renew(*node, entry) {
                let path = PathBytes::from(entry.path.to_vec());
                tracing::debug!(%path, %errno, "its content is not read there");
            }
        }
        for (path, before) in self.touched {
            let Ok(Some(entry)) = origin.entry(path.as_bytes()) else {
                continue;
            };
            let base = pair::base(fs, origin, path, &before);
            let seen = Seen {
                nlink: base.seen.nlink,
                ctime: base.seen.ctime,
                ..Seen::of(&entry.attr)
            };
            // Only a name went, as far as can be seen.
            if (base.dev, base.ino, base.seen) == (Some(entry.dev), Some(entry.ino), seen) {
                let number = (entry.dev, entry.ino);
                fs.bring(Brought::new(before.inode, number, &entry.attr));
            }
        }
    }
}

/// A rebase under way, while nothing else changes.
struct Rebase<'a, 's, 't> {
    fs: &'a Fs,
    origin: &'a dyn Origin,
    survey: &'s Survey<'t, Node>,
    names: SourceNames<'s, 't>,
    before: Map<NodeId, Before>,
    lines: Vec<Claim>,
    rewrite: Rewrite,
}

impl<'a, 's, 't> Rebase<'a, 's, 't> {
    fn run(
        fs: &'a Fs,
        origin: &'a dyn Origin,
        survey: &'s Survey<'t, Node>,
        mut lines: Vec<Claim>,
    ) -> Result<(usize, Later), Errno> {
        let (gone, before) = fs.changes()?;
        let length = fs.record_length();
        lines.sort_by(|a, b| a.change.path().cmp(b.change.path()));
        let mut rebase = Rebase {
            fs,
            origin,
            survey,
            names: SourceNames::new(survey, &gone),
            before: before.into_iter().map(|one| (one.inode, one)).collect(),
            lines: Vec::new(),
            rewrite: Rewrite::default(),
        };
        rebase.lines.reserve(lines.len());
        for line in lines {
            rebase.find(line);
        }
        rebase.names.begin_changes();
        rebase.take_old_names();
        rebase.enter_new_names();
        rebase.keep_what_has_names();
        let mut later = rebase.settle();
        later.moved = rebase.moved();
        let held = rebase.lines.len();
        rebase.enter(&gone);
        fs.rewrite_record(length, rebase.rewrite);
        Ok((held, later))
    }

    /// Keeps `line` if its base is what the source is known to be.
    fn find(&mut self, mut line: Claim) {
        if line.is_of_root() {
            let is_root = line.node() == Some(NodeId::ROOT) && !line.change.replaced;
            if is_root && self.is_base(&line.change, NodeId::ROOT) {
                self.lines.push(line);
            }
            return;
        }
        if let Some(base) = &line.change.base {
            let Some(key) = self.names.key(&base.path) else {
                return;
            };
            let Some(inode) = self.names.get(&key) else {
                return;
            };
            let stays = line.change.what != What::Moved && line.node() == Some(inode);
            let leads = match line.change.what {
                What::Moved => line.node() == Some(inode),
                What::Removed => true,
                _ => line.change.replaced != stays,
            };
            let goes = stays || self.names.is_gone(&key, inode);
            if !leads || !goes || !self.is_base(&line.change, inode) {
                return;
            }
            match stays {
                true => line.new = Some(key),
                false => line.old = Some((key, inode)),
            }
        }
        self.lines.push(line);
    }

    fn is_base(&self, change: &Change, inode: NodeId) -> bool {
        let (Some(base), Some(before)) = (&change.base, self.before.get(&inode)) else {
            return false;
        };
        pair::base(self.fs, self.origin, base.path.clone(), before) == *base
    }

    fn take_old_names(&mut self) {
        let names = &mut self.names;
        self.lines.retain(|line| match &line.old {
            Some((key, _)) => names.remove(key).is_some(),
            None => true,
        });
    }

    fn enter_new_names(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain_mut(|line| {
            let entered = self.enter_new_name(line);
            if let Some((key, inode)) = line.old.take_if(|_| !entered) {
                self.names.put(key, inode);
            }
            entered
        });
        self.lines = lines;
    }

    /// False if the name cannot be one of the source's.
    fn enter_new_name(&mut self, line: &mut Claim) -> bool {
        let (Some(node), Some(now)) = (line.node(), &line.change.now) else {
            return true;
        };
        if line.is_of_root() {
            return true;
        }
        if let Some(key) = &line.new {
            self.names.take(key, node);
            return true;
        }
        let Some(key) = self.names.key(&now.path) else {
            return false;
        };
        if self.names.get(&key).is_some() {
            return false;
        }
        let is = self.survey.inode(node);
        let kind = is.map(|inode| inode.attr.kind);
        if kind.is_some() && kind != now.seen.kind() {
            return false;
        }
        if !self.names.take(&key, node) {
            // What the source has, and the tree has no more.
            if line.entry.is_none() {
                return false;
            }
            self.names.put(key.clone(), node);
        }
        line.new = Some(key);
        true
    }

    /// A directory of the source that has names there is not removed.
    fn keep_what_has_names(&mut self) {
        let mut directories = self.names.directories();
        let names = &mut self.names;
        // What is in a directory before the directory.
        self.lines.reverse();
        self.lines.retain_mut(|line| {
            let stays = line.old.take_if(|(key, inode)| {
                let removed = line.change.what == What::Removed && directories.contains(inode);
                removed && names.get(key).is_none()
            });
            let removed = stays.is_none();
            if let Some((key, inode)) = stays {
                directories.insert(key.0);
                names.put(key, inode);
            }
            removed
        });
    }

    /// Says of each inode that was written, or lost a name, what it is now.
    fn settle(&mut self) -> Later {
        let mut written: Map<NodeId, Vec<usize>> = Map::default();
        for (at, line) in self.lines.iter().enumerate() {
            if let Some(node) = line.node() {
                written.entry(node).or_default().push(at);
            }
        }
        let lost = self.lines.iter().filter_map(|line| line.old.as_ref());
        let lost: HashSet<NodeId, RandomState> = lost.map(|(_, inode)| *inode).collect();
        let names = self.names_of(|inode| written.contains_key(&inode) || lost.contains(&inode));
        let mut later = Later::default();
        for (&node, lines) in &written {
            let names = names.get(&node).map_or(&[][..], Vec::as_slice);
            self.settle_written(node, lines, names);
            later.contents.extend(self.content(node, lines));
        }
        let mut paths = Paths::new(self.survey, &self.all_gone());
        for inode in lost {
            match names.get(&inode).and_then(|names| names.first()) {
                None if !written.contains_key(&inode) => {
                    self.survey.take_for_made(inode);
                    self.rewrite.outdated.insert(inode);
                    self.rewrite.left.insert(inode);
                }
                Some((directory, name)) if !written.contains_key(&inode) => {
                    let path = paths.of_base(*directory).map(|path| path.join(name));
                    let before = self.before.get(&inode).copied();
                    later.touched.extend(path.zip(before));
                }
                _ => {}
            }
        }
        later
    }

    /// The names in the source of those inodes that `wanted` says, but such as are there and lead to what did not change.
    fn names_of(&self, wanted: impl Fn(NodeId) -> bool) -> Map<NodeId, Vec<Key>> {
        let mut names: Map<NodeId, Vec<Key>> = Map::default();
        self.survey.changed_names(|name| {
            if name.loaded && wanted(name.id) {
                let key = (name.directory, name.name.into());
                names.entry(name.id).or_default().push(key);
            }
        });
        for (key, inode) in self.names.all_gone().filter(|(_, inode)| wanted(*inode)) {
            names.entry(inode).or_default().push(key.clone());
        }
        names
    }

    fn settle_written(&mut self, node: NodeId, lines: &[usize], names: &[Key]) {
        let lines: Vec<&Claim> = lines.iter().map(|at| &self.lines[*at]).collect();
        let last = lines.iter().filter_map(|line| {
            let now = line.change.now.as_ref()?;
            Some((line.found?, now))
        });
        let last = last.max_by_key(|(found, _)| found.seen.ctime);
        let Some((found, now)) = last else { return };
        let number = (found.dev, found.ino);
        let all = |key: &Key| lines.iter().any(|line| line.new.as_ref() == Some(key));
        let known = self.before.get(&node);
        let known = known.map(|before| pair::base(self.fs, self.origin, PathBytes::ROOT, before));
        let same =
            known.is_some_and(|base| (base.dev, base.ino) == (Some(number.0), Some(number.1)));
        if !same && !names.iter().all(all) {
            // Another name leads in the source to what it was before: it differs still.
            return;
        }
        let told = now.seen;
        let as_told = self
            .survey
            .rebase_inode(node, |attr| Seen::of(attr) == told);
        self.rewrite.outdated.insert(node);
        let attr = found.seen.attr();
        self.rewrite.brought.push(Brought::new(node, number, &attr));
        if as_told != Some(true) {
            let before = Before::new(node, now.ino, &told.attr());
            self.rewrite.before.push(before);
        }
    }

    fn content(&self, node: NodeId, lines: &[usize]) -> Option<(NodeId, OriginEntry)> {
        let mut entries = lines.iter().filter_map(|at| self.lines[*at].entry.clone());
        entries
            .next()
            .filter(|entry| entry.attr.kind == Kind::Regular)
            .map(|entry| (node, entry))
    }

    fn moved(&self) -> Vec<(PathBytes, PathBytes)> {
        let moved = self.lines.iter().map(|line| &line.change);
        let moved = moved.filter(|change| change.what == What::Moved);
        let moved = moved.filter_map(|change| change.base.as_ref().zip(change.now.as_ref()));
        let moved = moved.filter(|(_, now)| now.seen.is_directory());
        moved
            .map(|(base, now)| (base.path.clone(), now.path.clone()))
            .collect()
    }

    fn all_gone(&self) -> Vec<Gone> {
        let gone = self.names.all_gone();
        let gone = gone.map(|((directory, name), inode)| Gone {
            directory: *directory,
            name: name.clone(),
            inode,
        });
        gone.collect()
    }

    /// Enters in what of the names that were `gone` the source has other ones now.
    fn enter(&mut self, gone: &[Gone]) {
        let now: HashSet<Gone, RandomState> = self.all_gone().into_iter().collect();
        let then: HashSet<&Gone, RandomState> = gone.iter().collect();
        let ended = gone.iter().filter(|gone| !now.contains(*gone)).cloned();
        self.rewrite.no_names = ended.collect();
        self.rewrite.gone = now
            .into_iter()
            .filter(|gone| !then.contains(gone))
            .collect();
    }
}
