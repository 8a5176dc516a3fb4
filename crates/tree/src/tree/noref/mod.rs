//! The no-reference operations, and the one driver that runs them all.
//!
//! An operation comes in two forms, both of which it must have (the trait has no default bodies):
//!
//! * [`NorefOp::fast`] reads an inode through a [`View`] in which every word and pointer was sampled
//!   once. It has no side effect of any kind: no lock, no reference, no allocation, no system call, no
//!   log line. It ends with an answer, an error, or [`Fast::Again`].
//! * [`NorefOp::slow`] gives the same answer on an inode that is referenced, and may wait.
//!
//! The driver's sequence, for all operations:
//!
//! 1. Pin the epoch. Find the inode: by node id, or by walking a path and collecting evidence.
//! 2. Run `fast`.
//! 3. An answer or an error counts only after **all** evidence was looked at again and is unchanged;
//!    errors are no exception. Then unpin, and only then does anything leave.
//! 4. `Again`: legitimize in place, that is, take the reference first and validate second, then run
//!    `slow`. The path is not walked again.
//! 5. Failed evidence: start over, at most [`ATTEMPTS`] times. Then the locked walk, whose steps cannot
//!    fail validation because they hold locks, and `slow`; both while names and permissions are kept
//!    still, so that this too is the answer of one instant.
//!
//! By node id the evidence is the version of one attribute block, and inode slots are type-stable: an
//! operation that follows no pointer needs no epoch at all. The block says whether the slot is still in
//! the life that the id names.
//!
//! Source: Torvalds and Guzik on the Linux kernel list, July 2024 (finish `stat` while still in RCU mode,
//! take the reference only when that fails); the two-callback form answers the hazards found in trials
//! of it: pointers read twice, errors not validated, hooks that may block.

mod access;
mod locator;
mod readlink;
mod stat;

pub use access::Access;
pub use readlink::Readlink;
pub use stat::Stat;

use super::block::{self, Head, WORDS};
use super::cred::Owner;
use super::numbers::Numbers;
use super::outcomes::{Outcome, OutcomeCounters};
use super::store::{self, Link};
use super::walk::{RcuWalk, Walked};
use super::{Attr, Credential, Errno, InodeRef, Kind, Mask, NodeId, PathArgs, Result, Tree};
use crate::sync::Slab;
use crossbeam_epoch::Guard;
use locator::Locator;
use std::sync::OnceLock;

/// How often an operation tries without a reference before it takes the locked walk.
pub const ATTEMPTS: usize = 3;

/// How the fast form of an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fast {
    /// The answer is in `out`.
    Done,
    /// The answer is this error.
    Err(Errno),
    /// Only the slow form can tell.
    Again,
}

/// An operation on one inode that can be answered without a reference to it.
///
/// ```
/// use norefs_tree::noref::{Fast, NorefOp, Pinned, View};
/// use norefs_tree::{Attr, Errno, Kind, NodeId, Time, Tree};
///
/// /// The size alone.
/// struct Size;
///
/// impl NorefOp for Size {
///     type Out = u64;
///     const FOLLOWS_POINTER: bool = false;
///
///     fn fast(&self, view: &View<'_>, out: &mut u64) -> Fast {
///         *out = view.attr().size;
///         Fast::Done
///     }
///
///     fn slow(&self, inode: &dyn Pinned, out: &mut u64) -> Result<(), Errno> {
///         *out = inode.attr().size;
///         Ok(())
///     }
/// }
///
/// let tree = Tree::new(Attr::new(Kind::Directory, 0o755, 0, 0, Time::now()));
/// let mut size = 1;
/// tree.noref_node(NodeId::ROOT, &Size, &mut size)?;
/// assert_eq!(size, 0);
/// # Ok::<(), norefs_tree::Errno>(())
/// ```
///
/// One form without the other does not compile. Without `slow`:
///
/// ```compile_fail,E0046
/// use norefs_tree::noref::{Fast, NorefOp, View};
///
/// struct Size;
///
/// impl NorefOp for Size {
///     type Out = u64;
///     const FOLLOWS_POINTER: bool = false;
///
///     fn fast(&self, view: &View<'_>, out: &mut u64) -> Fast {
///         *out = view.attr().size;
///         Fast::Done
///     }
/// }
/// ```
///
/// Without `fast`:
///
/// ```compile_fail,E0046
/// use norefs_tree::Errno;
/// use norefs_tree::noref::{NorefOp, Pinned};
///
/// struct Size;
///
/// impl NorefOp for Size {
///     type Out = u64;
///     const FOLLOWS_POINTER: bool = false;
///
///     fn slow(&self, inode: &dyn Pinned, out: &mut u64) -> Result<(), Errno> {
///         *out = inode.attr().size;
///         Ok(())
///     }
/// }
/// ```
pub trait NorefOp {
    /// Where the answer goes. The caller owns it; after a failed attempt it holds rubbish that the next
    /// attempt overwrites.
    type Out;

    /// Whether `fast` reads what lies behind a pointer, such as a link's target. If not, an operation
    /// by node id runs without an epoch.
    const FOLLOWS_POINTER: bool;

    /// Answers from what `view` shows. Reads only.
    fn fast(&self, view: &View<'_>, out: &mut Self::Out) -> Fast;

    /// Answers from a referenced inode. May lock, allocate and wait, but must change nothing of the tree:
    /// at the end of a locked walk such changes are kept away.
    ///
    /// # Errors
    /// The operation's own.
    fn slow(&self, inode: &dyn Pinned, out: &mut Self::Out) -> Result<()>;
}

/// A referenced inode as the slow form of an operation sees it.
pub trait Pinned {
    /// The node id.
    fn id(&self) -> NodeId;

    /// The number, `st_ino`.
    fn ino(&self) -> u64;

    /// The attributes, read under the inode's lock.
    fn attr(&self) -> Attr;

    /// The target of a symbolic link.
    fn target(&self) -> Option<Vec<u8>>;
}

impl<E: Send + Sync + 'static> Pinned for InodeRef<'_, E> {
    fn id(&self) -> NodeId {
        InodeRef::id(self)
    }

    fn ino(&self) -> u64 {
        InodeRef::ino(self)
    }

    fn attr(&self) -> Attr {
        let _lock = self.inode().lock.lock();
        block::decode(&self.inode().block.read_locked())
    }

    fn target(&self) -> Option<Vec<u8>> {
        InodeRef::target(self)
    }
}

/// An inode as the fast form of an operation sees it: its attributes of one instant, already sampled,
/// and the target of a link. Nothing here is read a second time.
#[derive(Debug)]
pub struct View<'v> {
    slot: u32,
    words: [u64; WORDS],
    links: &'v Slab<Link>,
    numbers: &'v OnceLock<Numbers>,
    guard: Option<&'v Guard>,
}

impl View<'_> {
    /// The attributes.
    #[inline(always)]
    pub fn attr(&self) -> Attr {
        block::decode(&self.words)
    }

    /// The node id.
    #[inline(always)]
    pub fn id(&self) -> NodeId {
        NodeId::new(self.slot, Head::of(&self.words).generation())
    }

    /// The number, `st_ino`.
    #[inline(always)]
    pub fn ino(&self) -> u64 {
        store::shown(self.numbers, self.id())
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        Head::of(&self.words).kind().unwrap_or(Kind::Regular)
    }

    /// The target of a symbolic link, if this is one and the epoch is pinned.
    pub fn target(&self) -> Option<&[u8]> {
        let head = Head::of(&self.words);
        let link = head.is_symlink().then(|| self.links.at(head.aux()))?;
        link.target.get(self.guard?).map(|target| &**target)
    }

    /// Whether `cred` may do `mask`.
    pub fn allows(&self, cred: &Credential<'_>, mask: Mask) -> bool {
        self.owner().allows(cred, mask)
    }

    /// The same without the supplementary groups; `None` if these would decide.
    pub fn allows_without_groups(&self, uid: u32, gid: u32, mask: Mask) -> Option<bool> {
        self.owner().allows_without_groups(uid, gid, mask)
    }

    fn owner(&self) -> Owner {
        Owner::of_head(&Head::of(&self.words))
    }
}

/// How one attempt ended.
enum Attempt {
    Ended(Result<()>),
    Retry(Outcome),
    /// `Again` was answered and the inode is referenced and validated.
    Legitimate(u32),
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// Runs `op` on the inode `id`.
    ///
    /// # Errors
    /// `ESTALE` if there is no such inode; those of the operation.
    #[inline]
    pub fn noref_node<O: NorefOp>(&self, id: NodeId, op: &O, out: &mut O::Out) -> Result<()> {
        self.noref(id, op, out)
    }

    /// Runs `op` on the inode a path leads to.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`; `ESTALE` if there is no inode `at`;
    /// those of the operation.
    pub fn noref_path<O: NorefOp>(
        &self,
        args: &PathArgs<'_>,
        op: &O,
        out: &mut O::Out,
    ) -> Result<()> {
        self.noref(args, op, out)
    }

    #[inline(always)]
    fn noref<P: Locator<E, O>, O: NorefOp>(
        &self,
        place: P,
        op: &O,
        out: &mut O::Out,
    ) -> Result<()> {
        match place.attempt(self, op, out) {
            Attempt::Ended(answer) => self.ended(answer),
            first => self.noref_on(place, op, out, first),
        }
    }

    /// The same with the answer as a value. It takes no place in memory before it is known, which
    /// makes the usual case a straight line from the block's words to the caller's.
    #[inline(always)]
    fn noref_value<P: Locator<E, O>, O: NorefOp<Out: Default>>(
        &self,
        place: P,
        op: &O,
    ) -> Result<O::Out> {
        let mut out = O::Out::default();
        match place.attempt(self, op, &mut out) {
            Attempt::Ended(answer) => self.ended(answer).map(|()| out),
            first => {
                let mut out = O::Out::default();
                self.noref_on(place, op, &mut out, first).map(|()| out)
            }
        }
    }

    /// What follows a first attempt that did not end.
    #[cold]
    #[inline(never)]
    fn noref_on<P: Locator<E, O>, O: NorefOp>(
        &self,
        place: P,
        op: &O,
        out: &mut O::Out,
        first: Attempt,
    ) -> Result<()> {
        let mut attempt = first;
        for left in (0..ATTEMPTS).rev() {
            match attempt {
                Attempt::Ended(answer) => return self.ended(answer),
                Attempt::Legitimate(slot) => return self.again(slot, op, out),
                Attempt::Retry(Outcome::Slow) => break,
                Attempt::Retry(cause) => retry(&self.outcomes, cause),
            }
            if left == 0 {
                break;
            }
            attempt = place.attempt(self, op, out);
        }
        self.outcomes.count(Outcome::Slow);
        place.locked(self, op, out)
    }

    #[inline(always)]
    fn ended(&self, answer: Result<()>) -> Result<()> {
        self.outcomes.count(match answer {
            Ok(()) => Outcome::Fast,
            Err(_) => Outcome::FastError,
        });
        answer
    }

    fn again<O: NorefOp>(&self, slot: u32, op: &O, out: &mut O::Out) -> Result<()> {
        self.outcomes.count(Outcome::Again);
        op.slow(&InodeRef::adopt(self, slot), out)
    }

    /// The inode a path leads to, referenced: walked without references and legitimized at the end, or
    /// by the locked walk after [`ATTEMPTS`] attempts.
    ///
    /// # Errors
    /// As [`Tree::noref_path`].
    pub fn lookup_path(&self, args: &PathArgs<'_>) -> Result<InodeRef<'_, E>> {
        for _ in 0..ATTEMPTS {
            match self.attempt_reference(args) {
                Attempt::Legitimate(slot) => {
                    self.lookups.count(Outcome::Fast);
                    return Ok(InodeRef::adopt(self, slot));
                }
                Attempt::Ended(answer) => {
                    self.lookups.count(Outcome::FastError);
                    answer?;
                }
                Attempt::Retry(Outcome::Slow) => break,
                Attempt::Retry(cause) => retry(&self.lookups, cause),
            }
        }
        self.lookups.count(Outcome::Slow);
        let _still = self.keep_still();
        self.resolve(args)
    }

    fn attempt_reference(&self, args: &PathArgs<'_>) -> Attempt {
        let guard = crossbeam_epoch::pin();
        let mut walk = RcuWalk::new(self, args.cred, &guard);
        match walk.run(args) {
            Walked::Retry(cause) => Attempt::Retry(cause),
            Walked::Found(slot) => self.legitimize_walk(&walk, slot, &guard),
            Walked::Err(error) => match walk.validate() {
                Ok(()) => Attempt::Ended(Err(error)),
                Err(cause) => Attempt::Retry(cause),
            },
        }
    }
}

/// Before an operation is tried once more.
fn retry(counters: &OutcomeCounters, cause: Outcome) {
    counters.count(cause);
    std::hint::spin_loop();
}
