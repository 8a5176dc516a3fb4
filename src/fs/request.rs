//! The plain values requests and answers are made of.

use crate::fs::Result;
use crate::tree::{Attr, Errno, Kind, NodeId, Time};
use arrayvec::ArrayVec;

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Filesystem user id.
    pub uid: u32,
    /// Filesystem group id.
    pub gid: u32,
    /// Thread id in the daemon's pid namespace, 0 if it cannot be seen from there.
    pub pid: u32,
    /// Permissions its new inodes do not get, unless their directory has a list of its own to begin with
    /// ([`Acl::DEFAULT`](super::Acl::DEFAULT)). Where the kernel took them away already this changes nothing.
    pub umask: u32,
}

/// A change that is committed, and the inodes of which the kernel now caches old attributes.
///
/// The value can only be taken by handing those inodes to a notifier first: a GETATTR reply already
/// under way would otherwise bring the old attributes back after the reply, for good.
#[must_use = "the kernel keeps stale attributes until the change is delivered"]
#[derive(Debug)]
pub struct Committed<T> {
    value: T,
    stale: ArrayVec<NodeId, 4>,
}

impl<T> Committed<T> {
    /// `value`, with up to four `stale` inodes; repeated ones are kept once.
    pub(super) fn new(value: T, stale: impl IntoIterator<Item = NodeId>) -> Committed<T> {
        let mut unique = ArrayVec::new();
        for id in stale {
            if !unique.contains(&id) {
                unique.push(id);
            }
        }
        Committed {
            value,
            stale: unique,
        }
    }

    /// The same with one inode more.
    pub(super) fn and(mut self, stale: NodeId) -> Committed<T> {
        if !self.stale.contains(&stale) {
            self.stale.push(stale);
        }
        self
    }

    /// Calls `notify` for each inode the kernel must drop the attributes of, then gives the value
    /// for the reply.
    pub fn deliver(self, mut notify: impl FnMut(NodeId)) -> T {
        for id in &self.stale {
            notify(*id);
        }
        self.value
    }
}

/// A change that failed, and changed something all the same: room was allocated, or content was copied into memory before it.
///
/// The error comes out as the value of a [`Committed`] does.
#[must_use = "the kernel keeps stale attributes until the failure is delivered"]
#[derive(Debug)]
pub struct Failed {
    errno: Errno,
    stale: Option<NodeId>,
}

impl Failed {
    pub(super) fn new(errno: Errno, stale: Option<NodeId>) -> Failed {
        Failed { errno, stale }
    }

    /// Calls `notify` for the inode the kernel must drop the attributes of, if there is one, then gives the error for the
    /// reply.
    pub fn deliver(self, notify: impl FnMut(NodeId)) -> Errno {
        self.stale.into_iter().for_each(notify);
        self.errno
    }
}

/// It failed before anything changed.
impl From<Errno> for Failed {
    fn from(errno: Errno) -> Failed {
        Failed::new(errno, None)
    }
}

/// What comes of a change that may fail halfway.
pub type Changed<T> = std::result::Result<Committed<T>, Failed>;

/// Calls `notify` for each inode the kernel must drop the attributes of, whatever came of `change`, then gives what to reply.
///
/// # Errors
/// Those of the change.
pub fn deliver<T>(change: Changed<T>, notify: impl FnMut(NodeId)) -> Result<T> {
    match change {
        Ok(committed) => Ok(committed.deliver(notify)),
        Err(failed) => Err(failed.deliver(notify)),
    }
}

/// A requested change of attributes: `None` leaves one alone.
///
/// A request without any is what `chown(path, -1, -1)` sends: it moves ctime and, sent by the owner
/// or uid 0, clears set-user-id and set-group-id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, `0o7777` at most.
    pub perm: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the content.
    pub mtime: Option<SetTime>,
    /// Last change of the inode; now if not given.
    pub ctime: Option<Time>,
    /// The size is set through a descriptor, which is open for writing.
    pub by_descriptor: bool,
    /// Clear set-user-id, and set-group-id if the group may execute: asked for with a size by an
    /// unprivileged caller.
    pub kill_suidgid: bool,
}

impl SetAttr {
    /// Both times become now, which takes no more than writing would.
    pub(super) fn is_touch(&self) -> bool {
        let now = Some(SetTime::Now);
        self.atime == now && self.mtime == now
    }

    /// Times become others than [now](SetAttr::is_touch).
    pub(super) fn sets_times(&self) -> bool {
        let times = self.atime.is_some() || self.mtime.is_some() || self.ctime.is_some();
        times && !self.is_touch()
    }
}

/// A requested time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The daemon's clock at the change.
    Now,
    /// This time.
    At(Time),
}

impl SetTime {
    pub(super) fn resolve(self, now: Time) -> Time {
        match self {
            SetTime::Now => now,
            SetTime::At(time) => time,
        }
    }
}

/// One name a listing hands out, `"."` and `".."` included.
#[derive(Debug)]
pub struct ListEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode.
    pub id: NodeId,
    /// Its number.
    pub ino: u64,
    /// Its type.
    pub kind: Kind,
    /// The position after this entry: pass it on to continue.
    pub cookie: u64,
    /// The attributes if they were asked for; `None` for `"."` and `".."`, which do not count as a
    /// lookup.
    pub attr: Option<Attr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_notifies_each_inode_once_before_it_gives_its_value() {
        let [a, b] = [NodeId::from_raw(7), NodeId::from_raw(9)];
        let mut told = Vec::new();
        let value = Committed::new(5, [a, b, a, a, b]).deliver(|id| told.push(id));
        assert_eq!((value, told), (5, vec![a, b]));
    }

    #[test]
    fn a_failure_notifies_of_what_changed_before_it_gives_its_error() {
        let id = NodeId::from_raw(7);
        let told = |failed: Failed| {
            let mut told = Vec::new();
            let errno = failed.deliver(|id| told.push(id));
            (errno, told)
        };
        let halfway = Failed::new(Errno::NOSPC, Some(id));
        assert_eq!(told(halfway), (Errno::NOSPC, vec![id]));
        assert_eq!(told(Errno::STALE.into()), (Errno::STALE, vec![]));
    }
}
