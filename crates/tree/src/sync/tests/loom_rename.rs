//! Stories of names that change hands, on the real table, live bits and sequences.

use super::super::primitive::{AtomicU32, Guard, Ordering};
use super::super::{Live, RenameSeq, Table, hand_over};
use super::explore;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

const A: usize = 0;
const B: usize = 1;

/// Two directories, one with the name A, the other with the name B; dentries 1 to 4.
#[derive(Default)]
struct Tree {
    tables: [Table; 2],
    seqs: [RenameSeq; 2],
    dentries: [Dentry; 5],
}

#[derive(Default)]
struct Dentry {
    live: Live,
    inode: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Inode(u32),
    Nothing,
    /// A rename is or was under way: the miss proves nothing.
    Unclear,
}

impl Tree {
    /// A leads to inode 1 by dentry 1; B, if it is there, to inode 2 by dentry 2.
    fn new(with_b: bool) -> Arc<Tree> {
        let tree = Tree::default();
        for table in &tree.tables {
            drop(table.rebuild(1, &Guard).unwrap());
        }
        tree.publish(A, 1, 1);
        if with_b {
            tree.publish(B, 2, 2);
        }
        Arc::new(tree)
    }

    fn publish(&self, name: usize, dentry: u32, inode: u32) {
        let new = &self.dentries[dentry as usize];
        new.inode.store(inode, Ordering::Relaxed);
        new.live.begin(0);
        self.tables[name].insert(0, dentry, &Guard);
    }

    fn lookup(&self, name: usize) -> Found {
        let stamp = self.seqs[name].stamp();
        let hit = self.tables[name]
            .groups(&Guard)
            .values(0)
            .find_map(|dentry| {
                let dentry = &self.dentries[dentry as usize];
                let live = dentry.live.is_live();
                live.then(|| dentry.inode.load(Ordering::Relaxed))
            });
        match (hit, stamp) {
            (Some(inode), _) => Found::Inode(inode),
            (None, Some(stamp)) if self.seqs[name].is(stamp) => Found::Nothing,
            _ => Found::Unclear,
        }
    }

    fn live(&self, dentry: u32) -> &Live {
        &self.dentries[dentry as usize].live
    }

    fn rename(&self) {
        let seqs = [&self.seqs[A], &self.seqs[B]];
        hand_over(&seqs, &[self.live(1)], || self.publish(B, 3, 1));
        self.tables[A].remove(0, 1, &Guard);
    }

    fn replace(&self) {
        let seqs = [&self.seqs[A], &self.seqs[B]];
        hand_over(&seqs, &[self.live(1), self.live(2)], || {
            self.publish(B, 3, 1)
        });
        self.tables[B].remove(0, 2, &Guard);
    }

    fn exchange(&self) {
        let seqs = [&self.seqs[A], &self.seqs[B]];
        hand_over(&seqs, &[self.live(1), self.live(2)], || {
            self.publish(B, 3, 1);
            self.publish(A, 4, 2);
        });
    }
}

/// A reader looks up `names` in this order beside `write`; `allowed` judges what it found.
fn beside(
    name: &str,
    with_b: bool,
    write: fn(&Tree),
    names: [usize; 2],
    allowed: fn(Found, Found) -> bool,
) {
    explore(name, None, move || {
        let tree = Tree::new(with_b);
        let writer = {
            let tree = Arc::clone(&tree);
            thread::spawn(move || write(&tree))
        };
        let (first, second) = (tree.lookup(names[0]), tree.lookup(names[1]));
        assert!(allowed(first, second), "{first:?}, then {second:?}");
        writer.join().unwrap();
    });
}

use Found::{Inode, Nothing, Unclear};

#[test]
fn a_moved_name_is_not_at_both_places() {
    beside(
        "rename: move, new then old",
        false,
        Tree::rename,
        [B, A],
        |b, a| (b, a) != (Inode(1), Inode(1)),
    );
}

#[test]
fn a_moved_name_is_at_one_place() {
    beside(
        "rename: move, old then new",
        false,
        Tree::rename,
        [A, B],
        |a, b| (a, b) != (Nothing, Nothing),
    );
}

#[test]
fn a_replaced_name_is_there_all_along() {
    beside(
        "rename: replace, target twice",
        true,
        Tree::replace,
        [B, B],
        |first, second| {
            first != Nothing && second != Nothing && (first, second) != (Inode(1), Inode(2))
        },
    );
}

#[test]
fn replacement_and_removal_are_one_step() {
    beside(
        "rename: replace, old then target",
        true,
        Tree::replace,
        [A, B],
        |a, b| a != Nothing || matches!(b, Inode(1) | Unclear),
    );
    beside(
        "rename: replace, target then old",
        true,
        Tree::replace,
        [B, A],
        |b, a| b != Inode(1) || matches!(a, Nothing | Unclear),
    );
}

#[test]
fn exchanged_names_swap_in_one_step() {
    beside("rename: exchange", true, Tree::exchange, [A, B], |a, b| {
        a != Nothing && b != Nothing && (a != Inode(2) || b != Inode(2))
    });
}

/// What one reader saw holds for another that it told.
#[test]
fn a_second_reader_does_not_see_an_older_tree() {
    explore(
        "rename: move, seen new by one, then looked up old by another",
        None,
        || {
            let tree = Tree::new(false);
            let told = Arc::new(AtomicBool::new(false));
            let writer = {
                let tree = Arc::clone(&tree);
                thread::spawn(move || tree.rename())
            };
            let first = {
                let (tree, told) = (Arc::clone(&tree), Arc::clone(&told));
                thread::spawn(move || {
                    if tree.lookup(B) == Inode(1) {
                        told.store(true, Ordering::Release);
                    }
                })
            };
            if told.load(Ordering::Acquire) {
                assert_ne!(tree.lookup(A), Inode(1), "under both names");
            }
            writer.join().unwrap();
            first.join().unwrap();
        },
    );
}

/// rmdir marks the directory dead under its lock before it looks whether it is empty is not enough:
/// create must look at the mark under the same lock.
#[test]
fn no_name_is_made_in_a_removed_directory() {
    explore("create beside rmdir", None, || {
        let dir = Arc::new(Directory::default());
        let remover = {
            let dir = Arc::clone(&dir);
            thread::spawn(move || dir.rmdir())
        };
        let created = dir.create();
        let removed = remover.join().unwrap();
        assert_ne!(created, removed, "exactly one of the two must succeed");
        let found = dir.table.groups(&Guard).values(0).next();
        assert_eq!(found.is_some(), created);
    });
}

/// A directory as `create` and `rmdir` see it: the mark and the names change under one lock.
#[derive(Default)]
struct Directory {
    lock: super::super::primitive::Mutex<()>,
    live: AtomicU32,
    names: AtomicU32,
    table: Table,
}

impl Directory {
    fn create(&self) -> bool {
        let _alone = self.lock.lock();
        let alive = self.live.load(Ordering::Relaxed) == 0;
        if alive {
            self.names.store(1, Ordering::Relaxed);
            drop(self.table.rebuild(1, &Guard).unwrap());
            self.table.insert(0, 1, &Guard);
        }
        alive
    }

    fn rmdir(&self) -> bool {
        let _alone = self.lock.lock();
        let empty = self.names.load(Ordering::Relaxed) == 0;
        if empty {
            self.live.store(1, Ordering::Relaxed);
        }
        empty
    }
}
