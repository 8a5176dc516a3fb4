//! What is kept of what was loaded, once it becomes something else.
//!
//! A tree remembers of each name and each inode whether a load brought it: a bit that costs no memory. Whoever wants to know
//! later what differs from what was loaded keeps a [`Record`], which is told of each loaded name once, when it goes, and of each
//! loaded inode once, before it first changes. What did not change is found nowhere and costs nothing; what was made is
//! recognised by the bits it lacks ([`Survey`](super::Survey)).
//!
//! A name that dies is told of under its directory's lock, an inode under its own: before anybody is answered who asked for
//! the change.

use super::{Attr, NodeId};

/// Is told of loaded names that go, and of loaded inodes that change. Must not call the tree.
pub trait Record: Send + Sync {
    /// The name `name` in `directory`, which was loaded and led to `inode`, is gone. A name that comes back is another one.
    fn gone(&self, directory: NodeId, name: &[u8], inode: NodeId);

    /// `inode`, which shows the number `ino`, still had the attributes `before` that it was loaded with, and has others from
    /// now on.
    fn changed(&self, inode: NodeId, ino: u64, before: &Attr);
}

/// Whether what a record is about differs. Reading moves atime and settles holes.
pub(super) fn differs(before: &Attr, after: &Attr) -> bool {
    let same = Attr {
        atime: after.atime,
        blocks: after.blocks,
        unsettled: after.unsettled,
        ..*before
    };
    same != *after
}
