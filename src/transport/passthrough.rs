//! Files that the kernel reads by itself (`FUSE_PASSTHROUGH`, Linux 6.9): reads and memory maps of a file of the mount
//! become those of a file of the source, whose page cache is then the only one.
//!
//! The kernel demands that all who have an inode open at one time read it in the same way, and through the same
//! registered file, else open fails with EIO (`fuse_file_io_open`). So how an inode is read is decided when it is opened
//! first, and holds until its last RELEASE, which the kernel sends after it has forgotten about the file
//! (`fuse_file_put`).
//!
//! A registered file is the kernel's: none of our descriptors stays open for it.

use crate::transport::channel::Channel;
use crate::transport::wire::Agreed;
use crate::tree::{Errno, NodeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};

/// Why nothing can be passed through the connection of `channel`, if so.
pub(crate) fn check(channel: &Channel, agreed: Agreed) -> Result<(), &'static str> {
    if !agreed.passthrough {
        return Err("the kernel does not offer it, which takes Linux 6.9");
    }
    channel.check_register().map_err(|errno| match errno {
        Errno::PERM => "that takes the privilege CAP_SYS_ADMIN on the host",
        _ => "the kernel does not take files",
    })
}

/// How an open inode is read, and by how many.
struct Open {
    /// The number of the registered file; `None`: by asking us.
    id: Option<u32>,
    count: u64,
}

/// The open inodes of a mount. It does not keep the connection alive, with which all registrations end.
#[derive(Default)]
pub(crate) struct Passthrough {
    channel: OnceLock<Weak<Channel>>,
    open: Mutex<HashMap<NodeId, Open>>,
}

impl Passthrough {
    /// Gives the channel. Only the first one is kept.
    pub(crate) fn connect(&self, channel: &Arc<Channel>) {
        self.channel.get_or_init(|| Arc::downgrade(channel));
    }

    /// Counts one who opens `node`, whose content is in `file`, and gives the number of the registered file to read
    /// from. `None`: everybody who has it open asks us, because there is no file or it could not be registered when the
    /// first of them came.
    pub(crate) fn open(&self, node: NodeId, file: Option<&OwnedFd>) -> Option<u32> {
        let mut inodes = self.open.lock();
        let open = inodes.entry(node).or_insert_with(|| Open {
            id: file.and_then(|file| self.register(node, file)),
            count: 0,
        });
        open.count += 1;
        open.id
    }

    /// Counts one who has closed `node`.
    pub(crate) fn release(&self, node: NodeId) {
        let mut inodes = self.open.lock();
        let Some(open) = inodes.get_mut(&node) else {
            return;
        };
        open.count -= 1;
        if open.count == 0 {
            let id = open.id;
            inodes.remove(&node);
            id.into_iter().for_each(|id| self.unregister(id));
        }
    }

    fn channel(&self) -> Option<Arc<Channel>> {
        self.channel.get().and_then(Weak::upgrade)
    }

    fn register(&self, node: NodeId, file: &OwnedFd) -> Option<u32> {
        let registered = self.channel()?.register(file.as_fd());
        registered
            .inspect_err(
                |errno| tracing::debug!(node = node.raw(), %errno, "a file is not passed through"),
            )
            .ok()
    }

    fn unregister(&self, id: u32) {
        let done = self
            .channel()
            .map_or(Ok(()), |channel| channel.unregister(id));
        if let Err(errno) = done {
            tracing::warn!(id, %errno, "a file that was passed through stays registered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_remembered_as_long_as_somebody_has_it_open() {
        let passthrough = Passthrough::default();
        let (node, other) = (NodeId::from_raw(7), NodeId::from_raw(8));
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        assert_eq!(passthrough.open(node, None), None);
        assert_eq!(passthrough.open(node, Some(&file)), None);
        assert_eq!(passthrough.open(other, Some(&file)), None);
        for left in [2, 1, 1] {
            assert_eq!(passthrough.open.lock().len(), left);
            passthrough.release(if left == 2 { other } else { node });
        }
        assert!(passthrough.open.lock().is_empty());
        passthrough.release(node);
    }
}
