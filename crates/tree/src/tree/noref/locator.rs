//! One attempt of an operation without a reference, by node id and by path, and what takes the
//! reference in place.

use super::{Attempt, Fast, NorefOp, View};
use crate::tree::block::{Head, WORDS};
use crate::tree::outcomes::Outcome;
use crate::tree::walk::{RcuWalk, Walked};
use crate::tree::{Errno, NodeId, PathArgs, Result, Tree};
use crossbeam_epoch::Guard;

/// What leads an operation to its inode.
pub(super) trait Locator<E: Send + Sync + 'static, O: NorefOp>: Copy {
    /// Once without a reference.
    fn attempt(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Attempt;

    /// With locks and a reference: no step can fail validation.
    fn locked(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Result<()>;
}

impl<E: Send + Sync + 'static, O: NorefOp> Locator<E, O> for NodeId {
    #[inline(always)]
    fn attempt(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Attempt {
        let guard = O::FOLLOWS_POINTER.then(crossbeam_epoch::pin);
        let Some(inode) = tree.store.inodes.get(self.slot()) else {
            return Attempt::Ended(Err(Errno::STALE));
        };
        let Some((words, version)) = inode.block.read() else {
            return Attempt::Retry(Outcome::RetryAttr);
        };
        let head = Head::of(&words);
        if head.generation() != self.generation() || head.kind().is_none() {
            return Attempt::Ended(Err(Errno::STALE));
        }
        let view = tree.view(self.slot(), words, guard.as_ref());
        let answer = match op.fast(&view, out) {
            Fast::Done => Ok(()),
            Fast::Err(error) => Err(error),
            Fast::Again => return tree.legitimize_node(self),
        };
        failpoint!(BeforeNodeValidate);
        match inode.block.is(version) {
            true => Attempt::Ended(answer),
            false => Attempt::Retry(Outcome::RetryAttr),
        }
    }

    fn locked(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Result<()> {
        op.slow(&tree.get(self)?, out)
    }
}

impl<E: Send + Sync + 'static, O: NorefOp> Locator<E, O> for &PathArgs<'_> {
    #[inline(always)]
    fn attempt(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Attempt {
        tree.attempt_path(self, &crossbeam_epoch::pin(), op, out)
    }

    /// Names and permissions are kept still meanwhile, so this too is the answer of one instant.
    fn locked(self, tree: &Tree<E>, op: &O, out: &mut O::Out) -> Result<()> {
        let _still = tree.keep_still();
        op.slow(&tree.resolve(self)?, out)
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    #[inline(always)]
    fn view<'v>(&'v self, slot: u32, words: [u64; WORDS], guard: Option<&'v Guard>) -> View<'v> {
        View {
            slot,
            words,
            links: &self.store.links,
            numbers: &self.store.numbers,
            guard,
        }
    }

    /// Takes a reference on the inode that was meant; under the guard its slot is in the same life.
    fn legitimize_node(&self, id: NodeId) -> Attempt {
        let (guard, slot) = match self.pin_inode(id) {
            Ok((guard, slot, _)) => (guard, slot),
            Err(error) => return Attempt::Ended(Err(error)),
        };
        let taken = self.store.life(slot).refs.get();
        drop(guard);
        match taken {
            true => Attempt::Legitimate(slot),
            false => Attempt::Ended(Err(Errno::STALE)),
        }
    }

    #[inline(always)]
    fn attempt_path<O: NorefOp>(
        &self,
        args: &PathArgs<'_>,
        guard: &Guard,
        op: &O,
        out: &mut O::Out,
    ) -> Attempt {
        let mut walk = RcuWalk::new(self, args.cred, guard);
        let answer = match walk.run(args) {
            Walked::Retry(cause) => return Attempt::Retry(cause),
            Walked::Err(error) => Err(error),
            Walked::Found(slot) => {
                let Some(words) = walk.read_final(slot) else {
                    return Attempt::Retry(Outcome::RetryAttr);
                };
                match op.fast(&self.view(slot, words, Some(guard)), out) {
                    Fast::Done => Ok(()),
                    Fast::Err(error) => Err(error),
                    Fast::Again => return self.legitimize_walk(&walk, slot, guard),
                }
            }
        };
        failpoint!(BeforeValidate);
        match walk.validate() {
            Ok(()) => Attempt::Ended(answer),
            Err(cause) => Attempt::Retry(cause),
        }
    }

    /// Takes the reference first and validates the evidence second; the other order would let the
    /// inode be moved or replaced in between.
    pub(super) fn legitimize_walk(
        &self,
        walk: &RcuWalk<'_, '_, E>,
        slot: u32,
        guard: &Guard,
    ) -> Attempt {
        if !self.store.life(slot).refs.get() {
            return Attempt::Retry(Outcome::RetryEdge);
        }
        failpoint!(BeforeValidate);
        match walk.validate() {
            Ok(()) => Attempt::Legitimate(slot),
            Err(cause) => {
                self.put_pinned(slot, guard);
                Attempt::Retry(cause)
            }
        }
    }

    /// Gives a reference back that was taken on a slot which is not reused under `guard`.
    fn put_pinned(&self, slot: u32, guard: &Guard) {
        if self.store.life(slot).put_ref(&self.store.inode(slot).links) {
            self.store.reap_pinned(slot, guard);
        }
    }
}
