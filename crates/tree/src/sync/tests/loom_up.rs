//! Stories of `..`, on the real table, live bits, sequences and way back.

use super::super::primitive::{AtomicU32, Guard, Ordering, fence};
use super::super::{Live, RenameSeq, Table, Up, UpWord, hand_over};
use super::explore;
use loom::sync::Arc;
use loom::thread;

const A: u32 = 1;
const B: u32 = 2;
const OLD: u32 = 1;
const NEW: u32 = 2;

#[derive(Default)]
struct Name {
    live: Live,
    /// The directory it stands in.
    parent: AtomicU32,
}

/// Directory A, in which the name [`OLD`] leads to a thing, and B, where [`NEW`] will.
#[derive(Default)]
struct Tree {
    tables: [Table; 2],
    seqs: [RenameSeq; 2],
    names: [Name; 3],
    up: UpWord,
}

impl Tree {
    fn new() -> Arc<Tree> {
        let tree = Tree::default();
        for table in &tree.tables {
            drop(table.rebuild(1, &Guard).unwrap());
        }
        tree.publish(OLD, A);
        tree.up.set(Up::Name(OLD));
        Arc::new(tree)
    }

    fn name(&self, number: u32) -> &Name {
        &self.names[number as usize]
    }

    fn publish(&self, number: u32, parent: u32) {
        let name = self.name(number);
        name.parent.store(parent, Ordering::Relaxed);
        name.live.begin(0);
        self.tables[parent as usize - 1].insert(0, number, &Guard);
    }

    /// As `Plan::move_over` does it.
    fn rename(&self) {
        let seqs = [&self.seqs[0], &self.seqs[1]];
        hand_over(&seqs, &[&self.name(OLD).live], || {
            self.publish(NEW, B);
            self.up.set(Up::Name(NEW));
        });
        self.tables[0].remove(0, OLD, &Guard);
    }

    /// As `Tree::rmdir` does it.
    fn rmdir(&self) {
        self.name(OLD).live.kill();
        self.up.set(Up::Removed);
        self.tables[0].remove(0, OLD, &Guard);
    }

    /// The live name of the thing in a directory.
    fn find(&self, directory: u32) -> Option<u32> {
        let table = &self.tables[directory as usize - 1];
        let mut names = table.groups(&Guard).values(0);
        names.find(|number| self.name(*number).live.is_live())
    }

    /// `directory/NAME/..`, or `..` from the thing itself: where that leads, `Some(None)` if nowhere, or nothing if an
    /// answer cannot be vouched for or the name is not there.
    fn back(&self, directory: Option<u32>) -> Option<Option<u32>> {
        let came = match directory {
            Some(directory) => Some(self.find(directory)?),
            None => None,
        };
        let (way, parent) = match self.up.get() {
            Up::Name(way) => (Some(way), self.name(way).parent.load(Ordering::Relaxed)),
            Up::Removed => (None, 0),
            Up::Root => unreachable!("the thing is not the root"),
        };
        fence(Ordering::Acquire);
        let mut evidence = came.iter().chain(&way);
        let holds = evidence.all(|number| self.name(*number).live.is_live());
        holds.then(|| way.map(|_| parent))
    }
}

fn beside(name: &str, write: fn(&Tree), read: fn(&Tree)) {
    explore(name, None, move || {
        let tree = Tree::new();
        let writer = {
            let tree = Arc::clone(&tree);
            thread::spawn(move || write(&tree))
        };
        read(&tree);
        writer.join().unwrap();
    });
}

#[test]
fn whoever_came_in_by_a_name_does_not_go_back_by_another() {
    beside("up: move, old name and back", Tree::rename, |tree| {
        let back = tree.back(Some(A));
        assert!(matches!(back, None | Some(Some(A))), "{back:?}");
    });
    beside("up: move, new name and back", Tree::rename, |tree| {
        let back = tree.back(Some(B));
        assert!(matches!(back, None | Some(Some(B))), "{back:?}");
    });
}

#[test]
fn the_way_back_from_a_moved_thing_is_the_old_or_the_new_one() {
    beside("up: move, back twice", Tree::rename, |tree| {
        let (first, second) = (tree.back(None), tree.back(None));
        for back in [first, second] {
            assert!(matches!(back, None | Some(Some(A | B))), "{back:?}");
        }
        assert!((first, second) != (Some(Some(B)), Some(Some(A))));
    });
}

#[test]
fn the_way_back_and_the_names_change_in_one_step() {
    beside("up: move, new name, then back", Tree::rename, |tree| {
        if tree.find(B).is_some() {
            assert_ne!(tree.back(None), Some(Some(A)));
        }
    });
    beside("up: move, back, then old name", Tree::rename, |tree| {
        if tree.back(None) == Some(Some(B)) {
            assert_eq!(tree.find(A), None);
        }
    });
}

#[test]
fn from_a_removed_thing_no_way_leads_back() {
    beside("up: removal, name and back", Tree::rmdir, |tree| {
        let back = tree.back(Some(A));
        assert!(matches!(back, None | Some(Some(A))), "{back:?}");
    });
    beside("up: removal, back, then name", Tree::rmdir, |tree| {
        if tree.back(None) == Some(None) {
            assert_eq!(tree.find(A), None);
        }
    });
}
