//! Rename: names that change hands.
//!
//! Locks, from first to last: the rename lock of the tree if two directories are involved, which makes
//! ancestry stand still; the two directories, an ancestor before its descendant, else in the order of
//! their slots; a replaced directory, which is below the new parent. Everything that can fail happens
//! before the first name dies; then [`hand_over`] kills the old names and publishes the new.
//!
//! Source: the kernel's `lock_rename` and `vfs_rename` ("Directory Locking").

use super::block::Head;
use super::name::Name;
use super::writer::{Position, Writer};
use super::{Attr, Errno, InodeRef, Kind, NewInode, NodeId, Result, Time, Tree};
use crate::sync::{Live, Up, hand_over};
use arrayvec::ArrayVec;
use crossbeam_epoch::Guard;

/// What becomes of a file that already has the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// It loses the name.
    Replace,
    /// It keeps it: `EEXIST`.
    NoReplace,
    /// It gets the old name. It must exist.
    Exchange,
}

/// What a rename did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The inode that was moved.
    pub moved: NodeId,
    /// The inode it changed names with.
    pub exchanged: Option<NodeId>,
    /// The inode that lost the new name.
    pub replaced: Option<NodeId>,
    /// False if both names led to the same inode: then POSIX wants nothing to happen.
    pub changed: bool,
}

/// How two different directories lie to each other. The slot is the child of the upper one on the way to
/// the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Unrelated,
    FromAbove(u32),
    ToAbove(u32),
}

/// Both directories, locked. `to` is `None` if it is the same one.
struct Both<'t, E: Send + Sync + 'static> {
    from: Writer<'t, E>,
    to: Option<Writer<'t, E>>,
}

impl<'t, E: Send + Sync + 'static> Both<'t, E> {
    fn to(&mut self) -> &mut Writer<'t, E> {
        self.to.as_mut().unwrap_or(&mut self.from)
    }

    /// Makes room for that many more names on each side.
    fn reserve(&mut self, from: usize, to: usize) -> Result<()> {
        match &mut self.to {
            None => self.from.reserve(from + to),
            Some(other) => {
                other.reserve(to)?;
                self.from.reserve(from)
            }
        }
    }

    fn hand_over(&mut self, kills: &[&Live], publish: impl FnOnce(&mut Both<'t, E>)) {
        let one = &self.from.directory.renames;
        let publish = |both: &mut Both<'t, E>| {
            failpoint!(InHandOver);
            publish(both);
            failpoint!(InHandOver);
        };
        match self.to.as_ref().map(|to| &to.directory.renames) {
            None => hand_over(&[one], kills, || publish(self)),
            Some(other) => hand_over(&[one, other], kills, || publish(self)),
        }
        failpoint!(AfterHandOver);
    }
}

/// One side: the name, the dentry that has it now, and the inode that leads to.
struct Resolved<'n, 't, E: Send + Sync + 'static> {
    name: Name<'n>,
    dentry: u32,
    inode: InodeRef<'t, E>,
}

impl<E: Send + Sync + 'static> Resolved<'_, '_, E> {
    fn is_directory(&self) -> bool {
        self.inode.kind() == Kind::Directory
    }
}

/// A rename whose two names were found, both directories being locked.
struct Plan<'n, 't, E: Send + Sync + 'static> {
    tree: &'t Tree<E>,
    from: &'n InodeRef<'t, E>,
    to: &'n InodeRef<'t, E>,
    moved: Resolved<'n, 't, E>,
    new_name: Name<'n>,
    target: Option<Resolved<'n, 't, E>>,
    /// What gets the old name; it has no other.
    left: Option<&'n InodeRef<'t, E>>,
    now: Time,
}

/// What a plan comes to.
enum Effect {
    Nothing,
    Move,
    Exchange,
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Gives what is called `from` the name `to`, as one step for every reader.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` (a directory over something else); `EISDIR` (something else over a directory);
    /// `ENOTEMPTY`; `EEXIST`; `EINVAL` for a directory into itself or a name nothing can have;
    /// `ENAMETOOLONG`; `ENOSPC`.
    pub fn rename<'t>(
        &'t self,
        from: (&InodeRef<'t, E>, &[u8]),
        to: (&InodeRef<'t, E>, &[u8]),
        mode: RenameMode,
        now: Time,
    ) -> Result<Renamed> {
        self.rename_with(from, to, mode, None, now)
    }

    /// As [`Tree::rename`], but the new inode `left` gets the old name in the same step, if the rename changes
    /// anything.
    ///
    /// # Errors
    /// Those of [`Tree::rename`]; `EINVAL` if `left` is a directory or `mode` leaves no name free.
    pub fn rename_leaving<'t>(
        &'t self,
        from: (&InodeRef<'t, E>, &[u8]),
        to: (&InodeRef<'t, E>, &[u8]),
        mode: RenameMode,
        left: NewInode<'_, E>,
        now: Time,
    ) -> Result<Renamed> {
        if mode == RenameMode::Exchange || left.attr.kind == Kind::Directory {
            return Err(Errno::INVAL);
        }
        let left = self.begin(left, 1)?;
        let renamed = self.rename_with(from, to, mode, Some(&left), now);
        if !renamed.is_ok_and(|renamed| renamed.changed) {
            self.drop_link(&left);
        }
        renamed
    }

    fn rename_with<'t>(
        &'t self,
        from: (&InodeRef<'t, E>, &[u8]),
        to: (&InodeRef<'t, E>, &[u8]),
        mode: RenameMode,
        left: Option<&InodeRef<'t, E>>,
        now: Time,
    ) -> Result<Renamed> {
        let old_name = self.fresh_name(from.1)?;
        let new_name = self.fresh_name(to.1)?;
        self.directory(from.0)?;
        self.directory(to.0)?;
        let change = self.change();
        let two = from.0.slot != to.0.slot;
        let still = two.then(|| self.rename_lock.lock());
        let relation = match two {
            true => self.relation(from.0.slot, to.0.slot)?,
            false => Relation::Unrelated,
        };
        failpoint!(BeforeBothLocks);
        let mut both = self.lock_both(from.0, to.0, relation)?;
        let plan = Plan {
            tree: self,
            from: from.0,
            to: to.0,
            moved: self.side(&both.from, old_name)?.ok_or(Errno::NOENT)?,
            new_name,
            target: self.side(both.to(), new_name)?,
            left,
            now,
        };
        let renamed = match plan.check(relation, mode)? {
            Effect::Nothing => Ok(plan.renamed(false)),
            Effect::Move => plan.move_over(&mut both),
            Effect::Exchange => plan.exchange(&mut both),
        };
        // A replaced file may end with the plan: not under the locks.
        drop((both, still, change));
        renamed
    }

    /// The slot of the directory that `slot` is in. Under the rename lock, and under a guard from before `slot` was found:
    /// directories may be removed meanwhile, and their slots get another life otherwise.
    fn slot_above(&self, slot: u32, _guard: &Guard) -> Result<Option<u32>> {
        let head = Head::of(&self.store.inode(slot).words());
        if !head.is_directory() {
            return Err(Errno::NOENT);
        }
        match self.store.directories.at(head.aux()).up.get() {
            Up::Root => Ok(None),
            Up::Removed => Err(Errno::NOENT),
            Up::Name(dentry) => Ok(Some(self.store.dentry(dentry).parent())),
        }
    }

    fn relation(&self, from: u32, to: u32) -> Result<Relation> {
        let climb = |bottom: u32, top: u32| {
            let guard = crossbeam_epoch::pin();
            let mut here = bottom;
            while let Some(above) = self.slot_above(here, &guard)? {
                if above == top {
                    return Ok(Some(here));
                }
                here = above;
            }
            Ok(None)
        };
        if let Some(child) = climb(to, from)? {
            return Ok(Relation::FromAbove(child));
        }
        Ok(match climb(from, to)? {
            Some(child) => Relation::ToAbove(child),
            None => Relation::Unrelated,
        })
    }

    fn lock_both<'t>(
        &'t self,
        from: &InodeRef<'t, E>,
        to: &InodeRef<'t, E>,
        relation: Relation,
    ) -> Result<Both<'t, E>> {
        if from.slot == to.slot {
            let from = Writer::lock(self, from)?;
            return Ok(Both { from, to: None });
        }
        let from_first = match relation {
            Relation::FromAbove(_) => true,
            Relation::ToAbove(_) => false,
            Relation::Unrelated => from.slot < to.slot,
        };
        let (from, to) = if from_first {
            let from = Writer::lock(self, from)?;
            (from, Writer::lock(self, to)?)
        } else {
            let to = Writer::lock(self, to)?;
            (Writer::lock(self, from)?, to)
        };
        Ok(Both { from, to: Some(to) })
    }

    fn side<'n, 't>(
        &'t self,
        names: &Writer<'t, E>,
        name: Name<'n>,
    ) -> Result<Option<Resolved<'n, 't, E>>> {
        let Some(dentry) = names.find(&name) else {
            return Ok(None);
        };
        let inode = InodeRef::take(self, self.store.dentry(dentry).inode()).ok_or(Errno::NOENT)?;
        Ok(Some(Resolved {
            name,
            dentry,
            inode,
        }))
    }
}

impl<'t, E: Send + Sync + 'static> Plan<'_, 't, E> {
    fn check(&self, relation: Relation, mode: RenameMode) -> Result<Effect> {
        if relation == Relation::FromAbove(self.moved.inode.slot) {
            return Err(Errno::INVAL);
        }
        let Some(target) = &self.target else {
            return match mode {
                RenameMode::Exchange => Err(Errno::NOENT),
                _ => Ok(Effect::Move),
            };
        };
        let trapped = relation == Relation::ToAbove(target.inode.slot);
        match mode {
            RenameMode::NoReplace => Err(Errno::EXIST),
            RenameMode::Exchange if trapped => Err(Errno::INVAL),
            RenameMode::Replace if trapped => Err(Errno::NOTEMPTY),
            _ if self.moved.inode.slot == target.inode.slot => Ok(Effect::Nothing),
            RenameMode::Exchange => Ok(Effect::Exchange),
            RenameMode::Replace => match (self.moved.is_directory(), target.is_directory()) {
                (true, false) => Err(Errno::NOTDIR),
                (false, true) => Err(Errno::ISDIR),
                _ => Ok(Effect::Move),
            },
        }
    }

    fn renamed(&self, changed: bool) -> Renamed {
        Renamed {
            moved: self.moved.inode.id(),
            exchanged: None,
            replaced: None,
            changed,
        }
    }

    fn live(&self, side: &Resolved<'_, '_, E>) -> &'t Live {
        &self.tree.store.dentry(side.dentry).live
    }

    /// Gives the moved side the new name, over the target if there is one.
    fn move_over(&self, both: &mut Both<'t, E>) -> Result<Renamed> {
        let (tree, moved, target) = (self.tree, &self.moved, self.target.as_ref());
        both.reserve(self.left.iter().len(), 1)?;
        let (new, left) = self.new_dentries()?;
        if let Some(target) = target.filter(|target| target.is_directory()) {
            tree.kill_empty(&target.inode).inspect_err(|_| {
                let unused = [Some(new), left].into_iter().flatten();
                unused.for_each(|dentry| tree.store.free_dentry(dentry));
            })?;
        }
        let kills: ArrayVec<_, 2> = [Some(moved), target]
            .into_iter()
            .flatten()
            .map(|side| self.live(side))
            .collect();
        both.hand_over(&kills, |both| {
            both.to().publish(new, &self.new_name, self.place());
            if let Some(left) = left {
                both.from
                    .publish(left, &moved.name, Position::Of(moved.dentry));
            }
            tree.set_up(&moved.inode, Up::Name(new));
            if let Some(target) = target {
                tree.set_up(&target.inode, Up::Removed);
            }
        });
        both.from.withdraw(moved.dentry, &moved.name);
        if let Some(target) = target {
            both.to().withdraw(target.dentry, &target.name);
            tree.lose_name(&target.inode, self.now);
        }
        self.touch_moved(both);
        self.tell(moved.is_directory());
        tree.tell_other_names(&moved.inode);
        both.from.tidy();
        tree.retire([Some(moved), target]);
        Ok(Renamed {
            replaced: target.map(|target| target.inode.id()),
            ..self.renamed(true)
        })
    }

    /// Where the new name is listed: a name that is there all the time stays where it is, and so does a file that only changes its name.
    fn place(&self) -> Position {
        match &self.target {
            Some(target) => Position::Of(target.dentry),
            None if self.from.slot == self.to.slot && self.left.is_none() => {
                Position::Of(self.moved.dentry)
            }
            None => Position::New,
        }
    }

    /// Dentries that no table has yet: of the moved inode, and of the one left behind.
    fn new_dentries(&self) -> Result<(u32, Option<u32>)> {
        let (tree, old_name) = (self.tree, &self.moved.name);
        let new = tree.new_dentry(self.to, self.moved.inode.slot, &self.new_name)?;
        let left = self.left.map(|left| left.slot);
        let left = left.map(|left| tree.new_dentry(self.from, left, old_name));
        let left = left.transpose();
        Ok((new, left.inspect_err(|_| tree.store.free_dentry(new))?))
    }

    /// Tells that both names lead elsewhere now; with `below` so does what is below them.
    fn tell(&self, below: bool) {
        let (store, moved) = (&self.tree.store, &self.moved);
        let old = (self.from.slot, moved.name.as_bytes());
        for (directory, name) in [old, (self.to.slot, self.new_name.as_bytes())] {
            store.tell_named(directory, name, moved.inode.id(), below);
        }
    }

    fn touch_moved(&self, both: &Both<'t, E>) {
        let (now, target) = (self.now, self.target.as_ref());
        let left = i64::from(self.left.is_some());
        let directories = i32::from(self.moved.is_directory());
        let gone = i32::from(target.is_some_and(Resolved::is_directory));
        match &both.to {
            None => both
                .from
                .touch(now, left - i64::from(target.is_some()), -gone),
            Some(to) => {
                both.from.touch(now, left - 1, -directories);
                to.touch(now, i64::from(target.is_none()), directories - gone);
            }
        }
        let store = &self.tree.store;
        store.touch(self.moved.inode.slot, |attr| attr.ctime = now);
    }

    /// Lets the two sides change names.
    fn exchange(&self, both: &mut Both<'t, E>) -> Result<Renamed> {
        let (tree, one) = (self.tree, &self.moved);
        let other = self.target.as_ref().ok_or(Errno::NOENT)?;
        both.reserve(1, 1)?;
        let there = tree.new_dentry(self.to, one.inode.slot, &other.name)?;
        let back = tree
            .new_dentry(self.from, other.inode.slot, &one.name)
            .inspect_err(|_| tree.store.free_dentry(there))?;
        both.hand_over(&[self.live(one), self.live(other)], |both| {
            both.to()
                .publish(there, &other.name, Position::Of(other.dentry));
            both.from.publish(back, &one.name, Position::Of(one.dentry));
            tree.set_up(&one.inode, Up::Name(there));
            tree.set_up(&other.inode, Up::Name(back));
        });
        both.from.withdraw(one.dentry, &one.name);
        both.to().withdraw(other.dentry, &other.name);
        let more = i32::from(one.is_directory()) - i32::from(other.is_directory());
        match &both.to {
            None => both.from.touch(self.now, 0, 0),
            Some(to) => {
                both.from.touch(self.now, 0, -more);
                to.touch(self.now, 0, more);
            }
        }
        for side in [one, other] {
            let touch = |attr: &mut Attr| attr.ctime = self.now;
            tree.store.touch(side.inode.slot, touch);
            tree.tell_other_names(&side.inode);
        }
        self.tell(one.is_directory() || other.is_directory());
        tree.retire([Some(one), Some(other)]);
        Ok(Renamed {
            exchanged: Some(other.inode.id()),
            ..self.renamed(true)
        })
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    pub(super) fn set_up(&self, inode: &InodeRef<'_, E>, up: Up) {
        if let Ok(directory) = self.directory(inode) {
            directory.up.set(up);
        }
    }

    /// Gives dead dentries back; nothing leads to them any more.
    fn retire(&self, sides: [Option<&Resolved<'_, '_, E>>; 2]) {
        let guard = crossbeam_epoch::pin();
        for side in sides.into_iter().flatten() {
            self.store.retire_dentry(side.dentry, &guard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, NewInode};
    use parking_lot::Mutex;
    use std::sync::{Arc, Weak};

    /// Tells, when its file ends, whether the locks of the tree are free.
    struct Asks(Weak<Tree<Asks>>, Arc<Mutex<Vec<bool>>>);

    impl Drop for Asks {
        fn drop(&mut self) {
            if let Some(tree) = self.0.upgrade() {
                let still = tree.still.try_write().is_ok();
                let free = still && tree.rename_lock.try_lock().is_some();
                self.1.lock().push(free);
            }
        }
    }

    #[test]
    fn a_replaced_file_ends_under_no_lock() {
        let directory = Attr::new(Kind::Directory, 0o755, 0, 0, Time::default());
        let tree = Arc::new(Tree::with_extension(directory).unwrap());
        let (root, free) = (tree.root(), Arc::default());
        let below = tree.create(&root, b"d", NewInode::plain(directory), None);
        let below = below.unwrap();
        let new = NewInode {
            ext: Some(Asks(Arc::downgrade(&tree), Arc::clone(&free))),
            ..NewInode::plain(Attr::default())
        };
        tree.create(&below, b"old", new, None).unwrap();
        let new = NewInode::plain(Attr::default());
        tree.create(&root, b"new", new, None).unwrap();
        let (from, to) = ((&root, &b"new"[..]), (&below, &b"old"[..]));
        let renamed = tree.rename(from, to, RenameMode::Replace, Time::default());
        assert!(renamed.unwrap().replaced.is_some());
        assert_eq!(*free.lock(), [true]);
    }
}
