//! From a path to an inode.
//!
//! * [`rcu`]: **rcu_walk**, under a pinned epoch, without locks and references. What it relied on is
//!   written down as [`evidence`] and looked at once more when the operation at the end of the path has
//!   its answer.
//! * [`locked`]: the **locked walk**, one directory lock and one reference at a time.
//!
//! Both read paths alike ([`path`]) and answer alike.
//!
//! # Where a whole-path operation takes effect
//!
//! Evidence is a dentry that was live, a permission stamp or an attribute version. A dentry dies once and
//! stays dead; stamps and versions only grow. So "the same at first reading and at looking again" means
//! the same at every instant between, and there is an instant after the last first reading and before the
//! first second look: at it the whole path, all its permissions and the attributes held together. For a
//! missing name it is the instant of the miss, which lies after all first readings, since the missing
//! component is examined last.

mod evidence;
mod locked;
mod path;
mod rcu;

pub(super) use rcu::{RcuWalk, Walked};
