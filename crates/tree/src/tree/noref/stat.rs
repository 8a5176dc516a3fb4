//! `stat`, `statx` and `fstat`.

use super::{Fast, NorefOp, Pinned, View};
use crate::tree::{Attr, Entry, NodeId, PathArgs, Result, Tree};

/// The operation: the number, and all attributes of one instant, the creation time among them.
#[derive(Clone, Copy, Debug)]
pub struct Stat;

/// What statx(2) can ask for and gets here: everything of stat(2), and the creation time.
pub const STATX_ANSWERED: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

impl NorefOp for Stat {
    /// `None` before the first attempt: nothing to fill in for the usual case.
    type Out = Option<Entry>;
    const FOLLOWS_POINTER: bool = false;

    #[inline(always)]
    fn fast(&self, view: &View<'_>, out: &mut Option<Entry>) -> Fast {
        *out = Some(Entry {
            id: view.id(),
            ino: view.ino(),
            attr: view.attr(),
        });
        Fast::Done
    }

    fn slow(&self, inode: &dyn Pinned, out: &mut Option<Entry>) -> Result<()> {
        *out = Some(Entry {
            id: inode.id(),
            ino: inode.ino(),
            attr: inode.attr(),
        });
        Ok(())
    }
}

/// The attributes alone, for whoever does not want the number.
struct Attributes;

impl NorefOp for Attributes {
    type Out = Option<Attr>;
    const FOLLOWS_POINTER: bool = false;

    #[inline(always)]
    fn fast(&self, view: &View<'_>, out: &mut Option<Attr>) -> Fast {
        *out = Some(view.attr());
        Fast::Done
    }

    fn slow(&self, inode: &dyn Pinned, out: &mut Option<Attr>) -> Result<()> {
        *out = Some(inode.attr());
        Ok(())
    }
}

#[inline(always)]
fn answered<T>(answer: Option<T>) -> T {
    match answer {
        Some(answer) => answer,
        None => unreachable!("an operation that succeeds has filled in its answer"),
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// fstat by node id.
    ///
    /// # Errors
    /// `ESTALE`.
    #[inline]
    pub fn entry(&self, id: NodeId) -> Result<Entry> {
        self.noref_value(id, &Stat).map(answered)
    }

    /// The attributes alone.
    ///
    /// # Errors
    /// `ESTALE`.
    #[inline]
    pub fn stat_node(&self, id: NodeId) -> Result<Attr> {
        self.noref_value(id, &Attributes).map(answered)
    }

    /// stat of a path.
    ///
    /// # Errors
    /// As [`Tree::noref_path`].
    pub fn stat(&self, args: &PathArgs<'_>) -> Result<Entry> {
        self.noref_value(args, &Stat).map(answered)
    }

    /// statx of a path. The mask returned says which of the fields asked for in `mask` are valid; the
    /// basic ones are valid always.
    ///
    /// # Errors
    /// As [`Tree::noref_path`].
    pub fn statx(&self, args: &PathArgs<'_>, mask: u32) -> Result<(Entry, u32)> {
        let valid = (mask | libc::STATX_BASIC_STATS) & STATX_ANSWERED;
        Ok((self.stat(args)?, valid))
    }
}
