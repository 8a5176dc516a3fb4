//! What differs between a tree and the source it was loaded from.

mod change;
mod find;

pub use change::{Base, Change, Delta, Metadata, Now, PathBytes, Seen, Source, What};
pub use find::{Unknown, of};
