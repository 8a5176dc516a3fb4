//! Inode numbers that are not node ids: those of a source, which a tree that was loaded from it shows.
//!
//! They lie beside the inodes, under the same slots, so that a tree without a source pays nothing for them and one
//! with a source eight bytes an inode. A number is written before its inode can be found and stays as long as the
//! inode lives; whoever reads one finds out from the attribute block, read before and looked at again afterwards,
//! whether it was of the life that was meant.
//!
//! What is made later must never be taken for something of the source, whatever appears there meanwhile. So its
//! numbers come from a range in which the source has none, each at most once. They begin at a place in it that
//! differs from mount to mount: a program that remembers a number from one mount should not find another
//! file under it in the next.

use super::NodeId;
use crate::sync::{Segmented, Segments};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number in whose place the node id stands has this bit, and the next one not.
const OWN: u64 = 1 << 63;
/// The bits of a node id that are kept then.
const KEPT: u64 = (1 << 62) - 1;

/// The number of the inode in one slot; 0 if none was given.
#[derive(Debug, Default)]
struct Number(AtomicU64);

impl Segmented for Number {
    const SEGMENT_BITS: u32 = 18;
}

/// The numbers of a tree of which some inodes were given one.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    given: Segments<Number>,
    own: OnceLock<Own>,
}

/// Where the numbers come from that are given to inodes without.
#[derive(Debug)]
struct Own {
    range: Range<u64>,
    start: u64,
    taken: AtomicU64,
}

impl Own {
    fn next(&self) -> Option<NonZeroU64> {
        let length = self.range.end - self.range.start;
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let number = || self.range.start + (self.start + taken) % length;
        (taken < length).then(number).and_then(NonZeroU64::new)
    }
}

impl Numbers {
    /// Takes numbers for inodes without from `range`, which is not empty and ends below 2^63. The first call counts.
    pub(crate) fn set_own(&self, range: Range<u64>) {
        let length = range.end - range.start;
        self.own.get_or_init(|| Own {
            start: fastrand::u64(..length),
            range,
            taken: AtomicU64::new(0),
        });
    }

    /// Gives the inode that begins in `slot` the number `asked`, or one of the tree's own. False without memory.
    pub(crate) fn give(&self, slot: u32, asked: Option<NonZeroU64>) -> bool {
        if self.given.reach(slot).is_err() {
            return false;
        }
        let number = asked.or_else(|| self.own.get().and_then(Own::next));
        // Release: whoever sees this sees that the slot's last life is over (`SeqBlock::is`).
        let number = number.map_or(0, NonZeroU64::get);
        self.given.at(slot).0.store(number, Ordering::Release);
        true
    }

    /// The number of `id`, if the inode is found to be alive afterwards.
    #[inline(always)]
    pub(crate) fn of(&self, id: NodeId) -> u64 {
        let given = self.given.get(id.slot());
        match given.map_or(0, |number| number.0.load(Ordering::Relaxed)) {
            0 => OWN | id.raw() & KEPT,
            number => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::noref::{Fast, NorefOp, Pinned, View};
    use crate::tree::{Attr, Credential, Errno, InodeRef, Kind, NewInode, PathArgs};
    use crate::tree::{RenameMode, Result, Time, Tree};
    use std::collections::HashSet;
    use std::ops::ControlFlow;

    const FILE: NodeId = NodeId::new(7, 3);

    #[test]
    fn a_given_number_is_shown_and_without_one_the_marked_node_id() {
        let numbers = Numbers::default();
        assert_eq!(numbers.of(FILE), OWN | FILE.raw());
        assert!(numbers.give(7, NonZeroU64::new(99)));
        assert_eq!(numbers.of(FILE), 99);
        assert!(numbers.give(7, None));
        assert_eq!(numbers.of(FILE), OWN | FILE.raw());
        let worn = NodeId::new(7, u32::MAX);
        assert_eq!(numbers.of(worn) >> 62, 0b10);
    }

    #[test]
    fn own_numbers_are_all_of_the_range_once_and_then_node_ids() {
        let numbers = Numbers::default();
        numbers.set_own(100..140);
        numbers.set_own(1..2);
        let own = (1..=40).map(|slot| {
            assert!(numbers.give(slot, None));
            numbers.of(NodeId::new(slot, 0))
        });
        let own: HashSet<u64> = own.collect();
        assert_eq!(own, (100..140).collect());
        assert!(numbers.give(41, None) && numbers.give(42, NonZeroU64::new(5)));
        assert_eq!(numbers.of(NodeId::new(41, 0)), OWN | 41);
        assert_eq!(numbers.of(NodeId::new(42, 0)), 5);
    }

    #[test]
    fn two_trees_begin_in_different_places() {
        let first = || {
            let numbers = Numbers::default();
            numbers.set_own(0..1 << 62);
            assert!(numbers.give(1, None));
            numbers.of(NodeId::ROOT)
        };
        assert_ne!(first(), first());
    }

    const NOW: Option<Time> = Some(Time { sec: 1, nsec: 0 });

    fn numbered(root: u64) -> Tree {
        let tree = Tree::new(Attr::new(Kind::Directory, 0o755, 0, 0, Time::default()));
        tree.number(NonZeroU64::new(root)).unwrap();
        tree
    }

    /// A file of `ino` bytes.
    fn create<'t>(tree: &'t Tree, name: &str, ino: u64) -> InodeRef<'t> {
        let attr = Attr::new(Kind::Regular, 0o644, 0, 0, Time::default());
        let new = NewInode {
            ino: NonZeroU64::new(ino),
            ..NewInode::plain(Attr { size: ino, ..attr })
        };
        tree.create(&tree.root(), name.as_bytes(), new, NOW)
            .unwrap()
    }

    #[test]
    fn every_way_to_an_inode_shows_its_number() {
        let tree = numbered(2);
        let (file, other) = (create(&tree, "f", 77), create(&tree, "o", 78));
        tree.link(&file, &tree.root(), b"g", NOW).unwrap();
        let (root, now) = (tree.root(), Time::default());
        tree.rename((&root, b"f"), (&root, b"o"), RenameMode::Exchange, now)
            .unwrap();
        let stat = |path| {
            let args = PathArgs {
                at: NodeId::ROOT,
                path,
                cred: &Credential::ROOT,
                follow: true,
            };
            tree.stat(&args).unwrap().ino
        };
        assert_eq!([&b"."[..], b"f", b"g", b"o"].map(stat), [2, 78, 77, 77]);
        let lookup = |name| tree.lookup(NodeId::ROOT, name).unwrap().unwrap().ino;
        assert_eq!([&b"f"[..], b"g", b"o"].map(lookup), [78, 77, 77]);
        let mut listed = Vec::new();
        let list = |entry: &crate::tree::DirEntry<'_>| {
            listed.push((entry.name.to_vec(), entry.ino));
            ControlFlow::Continue(())
        };
        tree.read_dir(&root, 0, list).unwrap();
        listed.sort();
        let expected = [(&b"f"[..], 78), (b"g", 77), (b"o", 77)];
        assert_eq!(listed, expected.map(|(name, ino)| (name.to_vec(), ino)));
        assert_eq!(tree.entry(other.id()).unwrap(), other.entry());
        assert_eq!((root.ino(), file.ino(), other.ino()), (2, 77, 78));
    }

    #[test]
    fn without_a_source_the_number_is_the_node_id() {
        let tree = Tree::new(Attr::default());
        let file = create(&tree, "f", 77);
        assert_eq!((tree.root().ino(), file.ino()), (1, file.id().raw()));
        tree.set_own_numbers(5..6);
        assert_eq!(create(&tree, "g", 0).ino(), 3);
    }

    /// Gives the number after something has come in between.
    struct Interrupted<F>(F);

    impl<F: Fn()> NorefOp for Interrupted<F> {
        type Out = u64;
        const FOLLOWS_POINTER: bool = false;

        fn fast(&self, view: &View<'_>, out: &mut u64) -> Fast {
            (self.0)();
            *out = view.ino();
            Fast::Done
        }

        fn slow(&self, inode: &dyn Pinned, out: &mut u64) -> Result<()> {
            *out = inode.ino();
            Ok(())
        }
    }

    #[test]
    fn the_number_of_the_next_life_of_a_slot_is_no_answer() {
        let tree = numbered(1);
        let id = create(&tree, "f", 77).id();
        let reuse = || {
            let remove = || tree.unlink(&tree.root(), b"f", Time::default());
            // Whatever was in the slot ends, until another inode is in it.
            while remove().is_ok_and(|_| create(&tree, "f", 78).id().slot() != id.slot()) {}
        };
        let mut out = 0;
        let answer = tree.noref_node(id, &Interrupted(reuse), &mut out);
        assert_eq!((out, answer), (78, Err(Errno::STALE)));
        let now = tree.lookup(NodeId::ROOT, b"f").unwrap().unwrap();
        assert_eq!((now.id.slot(), now.ino), (id.slot(), 78));
    }
}
