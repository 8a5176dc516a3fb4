//! The dentry tree: a whole directory tree in memory whose readers take no lock and no reference.
//!
//! ```
//! use norefs_tree::{Attr, Credential, Kind, NewInode, NodeId, PathArgs, Time, Tree};
//!
//! let now = Time::now();
//! let tree = Tree::new(Attr::new(Kind::Directory, 0o755, 0, 0, now));
//! let etc = NewInode::plain(Attr::new(Kind::Directory, 0o755, 0, 0, now));
//! let etc = tree.create(&tree.root(), b"etc", etc, Some(now))?;
//! let hosts = NewInode::plain(Attr::new(Kind::Regular, 0o644, 0, 0, now));
//! tree.create(&etc, b"hosts", hosts, Some(now))?;
//!
//! let path = PathArgs {
//!     at: NodeId::ROOT,
//!     path: b"/etc/../etc/hosts",
//!     cred: &Credential { uid: 1000, gid: 1000, groups: &[] },
//!     follow: true,
//! };
//! let hosts = tree.stat(&path)?;
//! assert_eq!(hosts.attr.mode(), 0o100644);
//! assert_eq!(tree.stat_node(hosts.id)?, hosts.attr);
//! assert_eq!(tree.outcomes().fast, 2);
//! # Ok::<(), norefs_tree::Errno>(())
//! ```
//!
//! # What is where
//!
//! * An **inode** has attributes (one block of words behind a sequence counter), a kind, and what its kind needs:
//!   a directory has a table of names, a link its target.
//! * A **dentry** is one name of one inode in one directory. It never changes but that it dies once; a
//!   rename kills dentries and makes others.
//! * Everything lies in type-stable slabs and is joined by 32-bit slot numbers. A [`NodeId`] is a slot
//!   with a generation, so a stale one is noticed and never reaches another inode.
//! * What readers read and what is written all the time (references, `nlookup`) share no cache line.
//!
//! # Who may do what
//!
//! * Readers pin the epoch and use [`noref`]: `stat`, `readlink`, `access`, by node id or by path.
//! * Changes hold the lock of the directory concerned and references to the inodes ([`InodeRef`]).
//! * Locks, from first to last: the tree's stillness; its rename lock; directories from the root downwards; an inode's
//!   lock, under which nothing else is locked. An epoch is never pinned while a lock is waited for, but an inode's.
//!
//! # Modules
//!
//! * `tree` is the dentry tree with its walks. All of it that is public is public here.
//! * `sync` has the concurrency primitives it is made of. Of these only [`Counters`] and [`Gate`] are public: what
//!   keeps the other ones' arrays and slots sound is how the tree uses them.

mod sync;
#[cfg(not(loom))]
mod tree;

#[cfg(not(loom))]
pub use sync::{Counters, Gate, Seat};
#[cfg(not(loom))]
pub use tree::*;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
