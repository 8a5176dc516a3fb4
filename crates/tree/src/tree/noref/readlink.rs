//! `readlink`.

use super::{Fast, NorefOp, Pinned, View};
use crate::tree::{Errno, Kind, LinkTarget, NodeId, PathArgs, Result, Tree};

/// The operation. `EINVAL` for what is no symbolic link.
#[derive(Clone, Copy, Debug)]
pub struct Readlink;

fn copy(target: Option<&[u8]>, out: &mut LinkTarget) -> Result<()> {
    out.clear();
    let fits = target.is_some_and(|target| out.try_extend_from_slice(target).is_ok());
    fits.then_some(()).ok_or(Errno::INVAL)
}

impl NorefOp for Readlink {
    type Out = LinkTarget;
    const FOLLOWS_POINTER: bool = true;

    #[inline]
    fn fast(&self, view: &View<'_>, out: &mut LinkTarget) -> Fast {
        if view.kind() != Kind::Symlink {
            return Fast::Err(Errno::INVAL);
        }
        // The inode may have ended since it was read; then the slow form finds the error.
        match view.target() {
            Some(target) if copy(Some(target), out).is_ok() => Fast::Done,
            _ => Fast::Again,
        }
    }

    fn slow(&self, inode: &dyn Pinned, out: &mut LinkTarget) -> Result<()> {
        copy(inode.target().as_deref(), out)
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// readlink by node id, into `out`.
    ///
    /// # Errors
    /// `EINVAL` for what is no symbolic link; `ESTALE`.
    #[inline]
    pub fn readlink_node(&self, id: NodeId, out: &mut LinkTarget) -> Result<()> {
        self.noref_node(id, &Readlink, out)
    }

    /// readlink of a path, whose last component is not followed.
    ///
    /// # Errors
    /// `EINVAL`; as [`Tree::noref_path`].
    pub fn readlink(&self, args: &PathArgs<'_>, out: &mut LinkTarget) -> Result<()> {
        let args = PathArgs {
            follow: false,
            ..*args
        };
        self.noref_path(&args, &Readlink, out)
    }
}
