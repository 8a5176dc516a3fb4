//! `access`.

use super::{Fast, NorefOp, Pinned, View};
use crate::tree::cred::Owner;
use crate::tree::{Credential, Errno, Mask, NodeId, PathArgs, Result, Tree};

/// The operation for a caller whose supplementary groups are known only after asking for them, which
/// may wait. `EACCES` if the caller may not.
///
/// Most answers do not depend on those groups; the fast form gives these and leaves the others to the
/// slow one.
#[derive(Clone, Copy, Debug)]
pub struct Access<G> {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// What is asked for.
    pub mask: Mask,
    /// Tells the supplementary groups. Called in the slow form only.
    pub groups: G,
}

const fn granted(allowed: bool) -> Result<()> {
    if allowed { Ok(()) } else { Err(Errno::ACCESS) }
}

impl<G: Fn() -> Vec<u32>> NorefOp for Access<G> {
    type Out = ();
    const FOLLOWS_POINTER: bool = false;

    #[inline]
    fn fast(&self, view: &View<'_>, _out: &mut ()) -> Fast {
        match view.allows_without_groups(self.uid, self.gid, self.mask) {
            Some(true) => Fast::Done,
            Some(false) => Fast::Err(Errno::ACCESS),
            None => Fast::Again,
        }
    }

    fn slow(&self, inode: &dyn Pinned, _out: &mut ()) -> Result<()> {
        let groups = (self.groups)();
        let cred = Credential {
            uid: self.uid,
            gid: self.gid,
            groups: &groups,
        };
        granted(Owner::of(&inode.attr()).allows(&cred, self.mask))
    }
}

impl<E: Send + Sync + 'static> Tree<E> {
    /// access by node id. `groups` is called if the answer depends on the supplementary groups, and may
    /// wait.
    ///
    /// # Errors
    /// `EACCES`, `ESTALE`.
    pub fn access_node(
        &self,
        id: NodeId,
        uid: u32,
        gid: u32,
        mask: Mask,
        groups: impl Fn() -> Vec<u32>,
    ) -> Result<()> {
        let access = Access {
            uid,
            gid,
            mask,
            groups,
        };
        self.noref_node(id, &access, &mut ())
    }

    /// access of a path for the credential of `args`.
    ///
    /// # Errors
    /// `EACCES`; as [`Tree::noref_path`].
    pub fn access(&self, args: &PathArgs<'_>, mask: Mask) -> Result<()> {
        let access = KnownAccess {
            cred: args.cred,
            mask,
        };
        self.noref_path(args, &access, &mut ())
    }
}

/// The operation for a caller whose groups are all known.
struct KnownAccess<'a> {
    cred: &'a Credential<'a>,
    mask: Mask,
}

impl NorefOp for KnownAccess<'_> {
    type Out = ();
    const FOLLOWS_POINTER: bool = false;

    #[inline]
    fn fast(&self, view: &View<'_>, _out: &mut ()) -> Fast {
        match view.allows(self.cred, self.mask) {
            true => Fast::Done,
            false => Fast::Err(Errno::ACCESS),
        }
    }

    fn slow(&self, inode: &dyn Pinned, _out: &mut ()) -> Result<()> {
        granted(Owner::of(&inode.attr()).allows(self.cred, self.mask))
    }
}
