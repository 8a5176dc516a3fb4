//! Where things are in the target while some of them move.

use super::ledger::{Ledger, staging};
use super::root::Root;
use crate::delta::{Base, Change, Now, PathBytes, SourceEntry, What};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has its old name.
    Here,
    /// It lies among what is on its way.
    Staged,
    /// It has its new name.
    Placed,
}

/// An entry that gets another name.
#[derive(Debug)]
pub(super) struct Move<'d> {
    pub base: &'d Base,
    pub now: &'d Now,
    pub state: State,
    /// Where it lies on its way.
    pub staged: PathBytes,
}

/// All moves of a difference.
#[derive(Debug, Default)]
pub(super) struct Moves<'d> {
    /// By base path.
    list: BTreeMap<&'d PathBytes, Move<'d>>,
    /// By present path: what has the name then.
    now: HashMap<&'d PathBytes, &'d Change>,
}

impl<'d> Moves<'d> {
    /// The moves among `changes`, none of which has begun.
    pub(super) fn new(changes: &[&'d Change]) -> Moves<'d> {
        let mut moves = Moves::default();
        for change in changes {
            if let Some(now) = &change.now {
                moves.now.insert(&now.path, change);
            }
            if let (What::Moved, Some(base), Some(now)) = (change.what, &change.base, &change.now) {
                let state = State::Here;
                let staged = PathBytes::ROOT;
                let moved = Move {
                    base,
                    now,
                    state,
                    staged,
                };
                moves.list.insert(&base.path, moved);
            }
        }
        moves.name();
        moves
    }

    /// Says where each lies on its way: under names that are the same when an apply goes on.
    fn name(&mut self) {
        let mut names: HashMap<Option<u64>, u64> = HashMap::new();
        for moved in self.list.values_mut() {
            let number = names.entry(moved.base.ino).or_default();
            let name = format!("moved-{}-{number}", moved.base.ino.unwrap_or_default());
            *number += 1;
            moved.staged = staging().join(name.as_bytes());
        }
    }

    /// Finds out how far each one has come, after an apply was cut off: `is_it` says whether what was found is the inode that
    /// moves.
    pub(super) fn look(
        &mut self,
        target: &Root,
        is_it: impl Fn(&SourceEntry, &Base) -> bool,
    ) -> io::Result<()> {
        let bases: Vec<_> = self.list.keys().copied().collect();
        for path in bases {
            let moved = &self.list[path];
            let is_at = |path: &PathBytes| -> io::Result<bool> {
                let found = target.find(path)?;
                Ok(found.is_some_and(|found| is_it(&found, moved.base)))
            };
            let state = if is_at(&moved.staged)? {
                State::Staged
            } else if is_at(&moved.now.path)? {
                State::Placed
            } else {
                State::Here
            };
            self.set(path, state);
        }
        Ok(())
    }

    /// Says how far the move of what was at `base` has come.
    pub(super) fn set(&mut self, base: &PathBytes, state: State) {
        if let Some(moved) = self.list.get_mut(base) {
            moved.state = state;
        }
    }

    /// The move of what was at `base`.
    pub(super) fn of(&self, base: &PathBytes) -> Option<&Move<'d>> {
        self.list.get(base)
    }

    /// What was at these paths and moves, what is in a directory before the directory.
    pub(super) fn bases_from_below(&self) -> Vec<&'d PathBytes> {
        self.list.keys().rev().copied().collect()
    }

    /// Where what had the path `base` is at present.
    pub(super) fn at_base(&self, base: &PathBytes) -> PathBytes {
        for (above, rest) in base.prefixes() {
            match self.list.get(&above) {
                Some(moved) if moved.state == State::Staged => return moved.staged.append(rest),
                Some(moved) if moved.state == State::Placed => return moved.now.path.append(rest),
                _ => {}
            }
        }
        base.clone()
    }

    /// Which base path the name `now` had, whether or not anything had it; `None` if it lies in a directory that is new.
    pub(super) fn base_of(&self, now: &PathBytes) -> Option<PathBytes> {
        for (above, rest) in now.prefixes().skip(1) {
            let Some(change) = self.now.get(&above) else {
                continue;
            };
            return match (change.what, &change.base) {
                (What::Added | What::Retyped, _) | (_, None) => None,
                (_, Some(base)) => Some(base.path.append(rest)),
            };
        }
        Some(now.clone())
    }

    /// Where what shall have the path `now` is looked for at present; `None` if a directory above is still to be made.
    pub(super) fn at_now(&self, now: &PathBytes, ledger: Option<&Ledger>) -> Option<PathBytes> {
        if let Some(base) = self.base_of(now) {
            // What had the name itself may have moved; the name did not.
            let (directory, name) = base.split();
            return Some(self.at_base(&directory).append(name));
        }
        let (parent, _) = now.split();
        let made = ledger.is_some_and(|ledger| ledger.was_making(&parent));
        made.then(|| now.clone())
    }

    /// What shall have the path `now`, if that is not what it has.
    pub(super) fn becomes(&self, now: &PathBytes) -> Option<&'d Change> {
        self.now.get(now).copied()
    }
}
