//! norefs: a FUSE filesystem that holds a whole directory tree in memory and answers `stat`, `statx`,
//! `access` and `readlink` without taking a lock or a reference.
//!
//! The layers, each of which knows only those below it:
//!
//! * [`mod@bench`] measures directories from outside, by system calls and commands alone. It stands apart: it
//!   knows none of the others.
//! * [`control`] is how a running mount is asked for its counters.
//! * [`source`] loads a tree from a directory on disk.
//! * [`warm`] fills the kernel's caches with what is in a mount.
//! * [`transport`] carries the kernel's requests.
//! * [`fs`] says what each POSIX call means, over the tree.
//! * [`tree`] is the dentry tree with its lockless walks; it is usable alone.
//! * `sync` has the concurrency primitives the tree is made of. It is not public: what keeps its arrays and
//!   slots sound is how the tree uses them.

#[cfg(not(loom))]
pub mod bench;
#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
pub mod source;
mod sync;
#[cfg(not(loom))]
pub mod transport;
#[cfg(not(loom))]
pub mod tree;
#[cfg(not(loom))]
pub mod warm;
