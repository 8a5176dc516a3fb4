//! What is known of names and inodes that differ, gathered at one instant.

use super::PathBytes;
use crate::fs::{Before, Fs, Gone, Node};
use crate::tree::{Errno, NodeId, Survey, SurveyedInode};
use ahash::RandomState;
use std::collections::{HashMap, HashSet};

type Map<K, V> = HashMap<K, V, RandomState>;

/// A name of the source that is gone.
pub(super) struct Lost {
    /// The directory that it was in, and its name there.
    pub(super) key: (NodeId, Box<[u8]>),
    /// Where that was in the source.
    pub(super) path: PathBytes,
    /// The inode that it led to.
    pub(super) inode: NodeId,
}

/// A name that is there.
pub(super) struct Found {
    /// The directory that it is in, and its name there.
    pub(super) key: (NodeId, Box<[u8]>),
    /// Where it is.
    pub(super) path: PathBytes,
    /// Where it was in the source, if it is a name of the source's.
    pub(super) base: Option<PathBytes>,
    /// The inode that it leads to.
    pub(super) inode: NodeId,
}

/// Everything that may be a difference.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) lost: Vec<Lost>,
    /// SourceNames that are not the source's, and those that lead to an inode of the source's that changed.
    pub(super) found: Vec<Found>,
    /// What those inodes are that names lead to.
    pub(super) inodes: Map<NodeId, SurveyedInode>,
    /// What inodes of the source were that changed since.
    pub(super) before: Map<NodeId, Before>,
}

impl Facts {
    /// Gathers them.
    ///
    /// # Errors
    /// ENOSPC without memory, or if there was none once to remember something.
    pub(super) fn gather(fs: &Fs) -> Result<Facts, Errno> {
        let survey = fs.tree().survey();
        let (gone, before) = fs.changes()?;
        let mut facts = Facts {
            before: before.into_iter().map(|one| (one.inode, one)).collect(),
            ..Facts::default()
        };
        let mut names = Vec::new();
        survey.changed_names(|name| {
            names.push((name.directory, Box::from(name.name), name.id, name.loaded));
        });
        let mut paths = Paths::new(&survey, &gone);
        for (directory, name, id, loaded) in names {
            facts.find(&mut paths, (directory, name), id, loaded);
        }
        if facts.before.contains_key(&NodeId::ROOT) {
            facts.find_root(&survey);
        }
        for gone in gone {
            let Some(directory) = paths.of_base(gone.directory) else {
                continue;
            };
            facts.lost.push(Lost {
                path: directory.join(&gone.name),
                key: (gone.directory, gone.name),
                inode: gone.inode,
            });
        }
        Ok(facts)
    }

    fn find(
        &mut self,
        paths: &mut Paths<'_, '_>,
        (directory, name): (NodeId, Box<[u8]>),
        id: NodeId,
        loaded: bool,
    ) {
        let base = loaded.then(|| paths.of_base(directory)).flatten();
        let found = paths.of_present(directory).zip(paths.survey.inode(id));
        // Else it is being made and has not come far.
        if let Some((above, inode)) = found {
            self.inodes.insert(id, inode);
            self.found.push(Found {
                path: above.join(&name),
                base: base.map(|base| base.join(&name)),
                key: (directory, name),
                inode: id,
            });
        }
    }

    /// The root is there without a name.
    fn find_root(&mut self, survey: &Survey<'_, Node>) {
        if let Some(inode) = survey.inode(NodeId::ROOT) {
            self.inodes.insert(NodeId::ROOT, inode);
            self.found.push(Found {
                path: PathBytes::ROOT,
                base: Some(PathBytes::ROOT),
                key: (NodeId::ROOT, Box::default()),
                inode: NodeId::ROOT,
            });
        }
    }
}

/// Where directories are, and were.
pub(super) struct Paths<'s, 't> {
    survey: &'s Survey<'t, Node>,
    /// The names that directories, and others, had in the source and have no more. A directory had one.
    gone: Map<NodeId, (NodeId, Box<[u8]>)>,
    present: Map<NodeId, PathBytes>,
    base: Map<NodeId, PathBytes>,
}

impl<'s, 't> Paths<'s, 't> {
    pub(super) fn new(survey: &'s Survey<'t, Node>, gone: &[Gone]) -> Paths<'s, 't> {
        let gone = gone.iter();
        let root = |map: &mut Map<_, _>| _ = map.insert(NodeId::ROOT, PathBytes::ROOT);
        let mut paths = Paths {
            survey,
            gone: gone
                .map(|gone| (gone.inode, (gone.directory, gone.name.clone())))
                .collect(),
            present: Map::default(),
            base: Map::default(),
        };
        root(&mut paths.present);
        root(&mut paths.base);
        paths
    }

    /// Where `directory` is; `None` if nowhere.
    fn of_present(&mut self, directory: NodeId) -> Option<PathBytes> {
        let survey = self.survey;
        climb(&mut self.present, directory, |directory| {
            survey.name_of(directory, |name| (name.directory, Box::from(name.name)))
        })
    }

    /// Where `directory` was in the source; `None` if nowhere.
    pub(super) fn of_base(&mut self, directory: NodeId) -> Option<PathBytes> {
        let (survey, gone) = (self.survey, &self.gone);
        climb(&mut self.base, directory, |directory| {
            if let Some(gone) = gone.get(&directory) {
                return Some(gone.clone());
            }
            let place = survey.name_of(directory, |name| {
                name.loaded.then(|| (name.directory, Box::from(name.name)))
            });
            place.flatten()
        })
    }
}

/// The path of `directory`, with those of all above it entered in `known`, which has the root's. `above` gives the directory that
/// one is in, and its name there. `None` also if it comes around, as it may while a source is followed.
fn climb(
    known: &mut Map<NodeId, PathBytes>,
    directory: NodeId,
    above: impl Fn(NodeId) -> Option<(NodeId, Box<[u8]>)>,
) -> Option<PathBytes> {
    let mut here = directory;
    let mut below = Vec::new();
    let mut met = HashSet::<_, RandomState>::default();
    let mut path = loop {
        if let Some(path) = known.get(&here) {
            break path.clone();
        }
        if !met.insert(here) {
            return None;
        }
        let (parent, name) = above(here)?;
        below.push((here, name));
        here = parent;
    };
    for (directory, name) in below.into_iter().rev() {
        path = path.join(&name);
        known.insert(directory, path.clone());
    }
    Some(path)
}
