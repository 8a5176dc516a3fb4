//! Who is told of every change.
//!
//! A change holds the tree's stillness, shared, from before anybody can see it until the witness was told. So for a
//! [`Survey`](super::Survey), which holds it alone, no change is half made: either nobody saw it, or it was told.

use super::NodeId;

/// Is told of changes, by the thread that makes them and before whoever asked for them is answered. Must not call the tree.
///
/// That the names in a directory change moves its times, of which it is not told beside.
pub trait Witness: Send + Sync {
    /// The name `name` in `directory` came, went, or leads elsewhere; `inode` is what it leads to, or led to if it went. With
    /// `below` the same has happened to all that is below.
    fn named(&self, directory: NodeId, name: &[u8], inode: NodeId, below: bool);

    /// `inode` has other attributes, or other things that belong to it.
    fn changed(&self, inode: NodeId);
}
