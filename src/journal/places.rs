//! From entries of the log to paths.

use super::ChangedPath;
use super::log::Note;
use crate::delta::PathBytes;
use crate::tree::{Errno, Kind, NodeId, Survey, SurveyedName};
use ahash::RandomState;
use std::collections::{HashMap, HashSet};

/// The longest path that is told, bytes. If one is longer everything may have changed.
const LONGEST: usize = 64 << 10;

type Map<K, V> = HashMap<K, V, RandomState>;

/// A directory, and a name in it.
type Key = (NodeId, Box<[u8]>);

/// Where things are below one directory, while nothing changes.
pub(super) struct Places<'s, 't, E: Send + Sync + 'static> {
    survey: &'s Survey<'t, E>,
    except: Option<PathBytes>,
    /// Of directories; `None` of those that are elsewhere, or removed.
    paths: Map<NodeId, Option<PathBytes>>,
}

/// A path is too long.
struct TooLong;

impl<'s, 't, E: Send + Sync + 'static> Places<'s, 't, E> {
    /// Of what is below `top`, but for the name `except` in it.
    ///
    /// # Errors
    /// ESTALE, ENOTDIR.
    pub(super) fn below(
        survey: &'s Survey<'t, E>,
        top: NodeId,
        except: Option<&PathBytes>,
    ) -> Result<Self, Errno> {
        let inode = survey.inode(top).ok_or(Errno::STALE)?;
        if inode.attr.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(Places {
            survey,
            except: except.cloned(),
            paths: Map::from_iter([(top, Some(PathBytes::ROOT))]),
        })
    }

    /// The paths of what `entries` are about, in order; `None` if one is too long.
    pub(super) fn tell<'e>(
        mut self,
        entries: impl Iterator<Item = Note<'e>>,
    ) -> Option<Vec<ChangedPath>> {
        let mut names: Map<Key, bool> = Map::default();
        let mut hints: Vec<(NodeId, Key)> = Vec::new();
        let mut inodes: HashSet<NodeId> = HashSet::new();
        for entry in entries {
            match entry {
                Note::Inode(inode) => _ = inodes.insert(inode),
                Note::Name {
                    directory,
                    name,
                    inode,
                    below,
                } => {
                    let key: Key = (directory, name.into());
                    hints.push((inode, key.clone()));
                    *names.entry(key).or_default() |= below;
                }
            }
        }
        let mut told: Map<PathBytes, ChangedPath> = Map::default();
        for inode in self.find(inodes, hints, &mut names) {
            // A directory, which has one name, or is the one that was asked about.
            let path = self.path(inode).ok()?;
            self.add(&mut told, path, Some(inode), false);
        }
        for ((directory, name), below) in names {
            let Some(above) = self.path(directory).ok()? else {
                continue;
            };
            if above.as_bytes().len() > LONGEST {
                return None;
            }
            let now = self.survey.child(directory, &name).map(|(id, _)| id);
            self.add(&mut told, Some(above.join(&name)), now, below);
        }
        let mut told: Vec<_> = told.into_values().collect();
        told.sort_unstable();
        Some(told)
    }

    /// Adds all names of `inodes` to `names`, and gives those that are directories. `hints` are names that led to some of them.
    fn find(
        &self,
        mut inodes: HashSet<NodeId>,
        hints: Vec<(NodeId, Key)>,
        names: &mut Map<Key, bool>,
    ) -> Vec<NodeId> {
        let mut add = |key: Key| _ = names.entry(key).or_default();
        let survey = self.survey;
        let is_directory = |id: &NodeId| {
            let inode = survey.inode(*id);
            inode.is_some_and(|inode| inode.attr.kind == Kind::Directory)
        };
        let directories = inodes.extract_if(is_directory).collect();
        let by_hint: Map<NodeId, Key> = hints
            .into_iter()
            .filter(|(inode, (directory, name))| {
                let leads = inodes
                    .contains(inode)
                    .then(|| survey.child(*directory, name));
                leads.flatten().is_some_and(|(id, _)| id == *inode)
            })
            .collect();
        inodes.retain(|id| match survey.links(*id) {
            None | Some(0) => false,
            // All names are needed, so one that is known is enough only of one.
            Some(1) => {
                let known = by_hint.get(id).cloned();
                let known = known.or_else(|| survey.first_name(*id, key_of));
                known.map(&mut add).is_none()
            }
            Some(_) => true,
        });
        if !inodes.is_empty() {
            survey.names_of(&inodes, |name| add(key_of(name)));
        }
        directories
    }

    fn add(
        &self,
        told: &mut Map<PathBytes, ChangedPath>,
        path: Option<PathBytes>,
        now: Option<NodeId>,
        below: bool,
    ) {
        let except = |path: &PathBytes| {
            let except = self.except.as_ref();
            except.is_some_and(|except| path.is_at_or_below(except))
        };
        let Some(path) = path.filter(|path| !except(path)) else {
            return;
        };
        let is_directory = |id| {
            let inode = self.survey.inode(id);
            inode.is_some_and(|inode| inode.attr.kind == Kind::Directory)
        };
        let directory = now.is_some_and(is_directory);
        let entry = told.entry(path.clone()).or_insert(ChangedPath {
            path,
            directory,
            below,
        });
        entry.below |= below;
    }

    /// The path of a directory; `None` if it is not below the one that was asked about.
    fn path(&mut self, directory: NodeId) -> Result<Option<PathBytes>, TooLong> {
        let mut chain = Vec::new();
        let mut here = directory;
        let mut path = loop {
            if let Some(known) = self.paths.get(&here) {
                break known.clone();
            }
            match self.survey.name_of(here, key_of) {
                Some((above, name)) => {
                    chain.push((here, name));
                    here = above;
                }
                None => {
                    self.paths.insert(here, None);
                    break None;
                }
            }
        };
        for (id, name) in chain.into_iter().rev() {
            path = path.map(|above| above.join(&name));
            if path
                .as_ref()
                .is_some_and(|path| path.as_bytes().len() > LONGEST)
            {
                return Err(TooLong);
            }
            self.paths.insert(id, path.clone());
        }
        Ok(path)
    }
}

fn key_of(name: &SurveyedName<'_>) -> Key {
    (name.directory, name.name.into())
}
