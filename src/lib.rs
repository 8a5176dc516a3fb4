//! norefs: a FUSE filesystem that holds a whole directory tree in memory and answers `stat`, `statx`,
//! `access` and `readlink` without taking a lock or a reference.
//!
//! The layers, each of which knows only those below it:
//!
//! * [`telemetry`] tells the figures of a mount, and serves them as metrics.
//! * [`control`] is how a running mount is asked for its counters, and what differs from its source.
//! * [`doctor`] says whether all of that works on this machine, and what to do where it does not.
//! * [`apply`] writes what differs to the source.
//! * [`layer`] writes what differs as one file, and reads it.
//! * [`journal`] numbers the changes of a tree, and tells which paths changed.
//! * [`delta`] finds out what differs between a tree and its source.
//! * [`follow`] has the tree become what a source has become since.
//! * [`source`] loads a tree from a directory on disk.
//! * [`warm`] fills the kernel's caches with what is in a mount.
//! * [`transport`] carries the kernel's requests.
//! * [`fs`] says what each POSIX call means, over the tree.
//! * `host` is memory and threads of the machine the daemon runs on.
//! * [`tree`] is the dentry tree with its lockless walks: a crate of its own, `norefs-tree`.

pub mod apply;
pub mod control;
pub mod delta;
pub mod doctor;
pub mod follow;
pub mod fs;
pub mod host;
pub mod journal;
pub mod layer;
pub mod source;
pub mod telemetry;
pub mod transport;
pub mod warm;

pub use norefs_tree as tree;
