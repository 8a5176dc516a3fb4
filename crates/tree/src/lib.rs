//! A directory tree in memory whose readers take no lock and no reference.
//!
//! * `tree` is the dentry tree with its lockless walks. All of it that is public is public here.
//! * `sync` has the concurrency primitives it is made of. Of these only [`Counters`] is public: what
//!   keeps the other ones' arrays and slots sound is how the tree uses them.

mod sync;
#[cfg(not(loom))]
mod tree;

#[cfg(not(loom))]
pub use sync::Counters;
#[cfg(not(loom))]
pub use tree::*;
