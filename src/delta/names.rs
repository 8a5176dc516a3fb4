//! The names that the source has, as far as the tree knows: those that a load brought and that are there, and those that are gone.

use super::PathBytes;
use crate::fs::{Gone, Node};
use crate::tree::{NodeId, Survey};
use ahash::RandomState;
use std::collections::{HashMap, HashSet};

type Map<K, V> = HashMap<K, V, RandomState>;

/// A directory, and a name in it.
pub(super) type Key = (NodeId, Box<[u8]>);

/// All names of the source. Each stands in it once, so each path leads to one inode.
pub(super) struct SourceNames<'s, 't> {
    survey: &'s Survey<'t, Node>,
    /// Those that are gone, with the inodes that they led to.
    gone: Map<Key, NodeId>,
    /// Directories that were looked for.
    found: Map<PathBytes, Option<NodeId>>,
}

/// What is before the last slash of `path`, and what is behind it.
fn split(path: &PathBytes) -> (PathBytes, &[u8]) {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (bytes[..slash].to_vec().into(), &bytes[slash + 1..]),
        None => (PathBytes::ROOT, bytes),
    }
}

impl<'s, 't> SourceNames<'s, 't> {
    pub(super) fn new(survey: &'s Survey<'t, Node>, gone: &[Gone]) -> Self {
        let key = |gone: &Gone| ((gone.directory, gone.name.clone()), gone.inode);
        SourceNames {
            survey,
            gone: gone.iter().map(key).collect(),
            found: Map::default(),
        }
    }

    /// What the name leads to in the source.
    pub(super) fn get(&self, key: &Key) -> Option<NodeId> {
        if let Some(inode) = self.gone.get(key) {
            return Some(*inode);
        }
        let (inode, loaded) = self.survey.child(key.0, &key.1)?;
        loaded.then_some(inode)
    }

    /// Whether the name is gone, and led to `inode`.
    pub(super) fn is_gone(&self, key: &Key, inode: NodeId) -> bool {
        self.gone.get(key) == Some(&inode)
    }

    /// The name that `path` ends with, in the directory of the source that the rest leads to. Not of the root, which has none.
    pub(super) fn key(&mut self, path: &PathBytes) -> Option<Key> {
        let (above, name) = split(path);
        let directory = match self.found.get(&above) {
            Some(found) => *found,
            None => {
                let found = self.directory(&above);
                self.found.insert(above, found);
                found
            }
        };
        (!name.is_empty()).then_some((directory?, name.into()))
    }

    fn directory(&self, path: &PathBytes) -> Option<NodeId> {
        if path.as_bytes().is_empty() {
            return Some(NodeId::ROOT);
        }
        let mut names = path.as_bytes().split(|byte| *byte == b'/');
        names.try_fold(NodeId::ROOT, |directory, name| {
            self.get(&(directory, name.into()))
        })
    }

    /// SourceNames change: what was found is no more where it was.
    pub(super) fn begin_changes(&mut self) {
        self.found.clear();
    }

    /// Takes a name that is gone from the source.
    pub(super) fn remove(&mut self, key: &Key) -> Option<NodeId> {
        self.gone.remove(key)
    }

    /// Gives the source the name `key` of `inode`, which is gone.
    pub(super) fn put(&mut self, key: Key, inode: NodeId) {
        self.gone.insert(key, inode);
    }

    /// Gives the source the name `key`, which it has not, or has for `inode`, if that is what it leads to in the tree.
    pub(super) fn take(&mut self, key: &Key, inode: NodeId) -> bool {
        let taken = self.survey.take_for_loaded(key.0, &key.1, inode);
        if taken {
            self.gone.remove(key);
        }
        taken
    }

    /// The directories that have names which are gone.
    pub(super) fn directories(&self) -> HashSet<NodeId, RandomState> {
        self.gone.keys().map(|key| key.0).collect()
    }

    /// All names that are gone.
    pub(super) fn all_gone(&self) -> impl Iterator<Item = (&Key, NodeId)> {
        self.gone.iter().map(|(key, inode)| (key, *inode))
    }
}
