//! Where to look.

use crate::tree::NodeId;
use ahash::RandomState;
use std::collections::{HashMap, VecDeque};

type Map<K, V> = HashMap<K, V, RandomState>;

/// What to look at in one directory.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// All of it.
    pub(super) all: bool,
    /// These names, and whether their content may be another.
    pub(super) names: Map<Box<[u8]>, bool>,
    /// How often it was not where it was to be.
    pub(super) tries: u32,
}

impl Place {
    /// One name.
    pub(super) fn of(name: Box<[u8]>) -> Place {
        Place {
            names: Map::from_iter([(name, false)]),
            ..Place::default()
        }
    }
}

/// Directories to look at, in the order in which that was said.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    places: Map<NodeId, Place>,
    order: VecDeque<NodeId>,
}

impl Dirty {
    /// With more names than this all of a directory is looked at.
    const MOST: usize = 4096;

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn place(&mut self, node: NodeId) -> &mut Place {
        self.places.entry(node).or_insert_with(|| {
            self.order.push_back(node);
            Place::default()
        })
    }

    /// The directory's own attributes.
    pub(super) fn itself(&mut self, node: NodeId) {
        self.place(node);
    }

    pub(super) fn all(&mut self, node: NodeId) {
        let place = self.place(node);
        place.all = true;
        place.names.clear();
    }

    /// A name; `content`: what it leads to may have been written.
    pub(super) fn name(&mut self, node: NodeId, name: &[u8], content: bool) {
        let place = self.place(node);
        if place.all {
            return;
        }
        match place.names.get_mut(name) {
            Some(known) => *known |= content,
            None => _ = place.names.insert(name.into(), content),
        }
        if place.names.len() > Dirty::MOST {
            self.all(node);
        }
    }

    /// Looks again later, behind all others.
    pub(super) fn again(&mut self, node: NodeId, place: Place) {
        match self.places.get_mut(&node) {
            Some(known) => {
                known.all |= place.all;
                known.names.extend(place.names);
                known.tries = known.tries.max(place.tries);
            }
            None => {
                self.order.push_back(node);
                self.places.insert(node, place);
            }
        }
    }

    /// The next directory.
    pub(super) fn next(&mut self) -> Option<(NodeId, Place)> {
        while let Some(node) = self.order.pop_front() {
            if let Some(place) = self.places.remove(&node) {
                return Some((node, place));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::from_raw(5);
    const B: NodeId = NodeId::from_raw(6);

    #[test]
    fn a_directory_comes_once_with_all_that_was_said_of_it() {
        let mut dirty = Dirty::default();
        dirty.name(A, b"x", false);
        dirty.itself(B);
        dirty.name(A, b"x", true);
        dirty.name(A, b"y", false);
        let (node, place) = dirty.next().unwrap();
        assert_eq!((node, place.all, place.names.len()), (A, false, 2));
        assert!(place.names[&b"x"[..]] && !place.names[&b"y"[..]]);
        dirty.again(A, place);
        assert_eq!(dirty.next().unwrap().0, B);
        assert_eq!(dirty.next().unwrap().1.names.len(), 2);
        assert!(dirty.next().is_none() && dirty.is_empty());
    }

    #[test]
    fn many_names_are_all_of_them() {
        let mut dirty = Dirty::default();
        for number in 0..=Dirty::MOST {
            dirty.name(A, number.to_string().as_bytes(), false);
        }
        dirty.name(A, b"more", true);
        let (_, place) = dirty.next().unwrap();
        assert!(place.all && place.names.is_empty());
    }
}
