//! What differs between a tree and the source it was loaded from.
//!
//! Nothing is kept of what did not change. The tree knows of each name and each inode whether the load brought it, and the
//! [record](crate::fs::Gone) of the filesystem knows which names of the source are gone and what its inodes were before they
//! changed. So what differs is found in one pass over all names that are there, which looks at a few bytes of each, and without a look
//! at the source.
//!
//! When differences were written to the source, [`rebase`] makes it the one from which they are told: they are no more, and what changes
//! next is told by what the source is then.

mod change;
mod content;
mod facts;
mod find;
mod names;
mod pair;
mod patch;
mod place;
mod rebase;
mod show;
#[cfg(test)]
mod tests;
mod tree;

pub use change::{Base, Change, Delta, Metadata, Now, PathBytes, Seen, Source, What};
pub use content::{Contents, Unread};
pub use find::{Unknown, of};
pub use patch::patch;
pub use place::place;
pub use rebase::{Applied, SourceEntry, rebase};
pub use tree::{Bytes, Content, Tree, Xattr};
