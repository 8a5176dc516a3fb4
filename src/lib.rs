//! A FUSE filesystem that answers `stat`, `readlink` and `access` without a lock or a reference.

pub mod sync;
