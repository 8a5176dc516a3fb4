//! What the filesystem hangs on a tree's inode.

use super::data::{Backing, Content};
use super::kept::Xattrs;
use super::quota::Quota;
use crate::fs::Result;
use parking_lot::RwLock;
use std::sync::Arc;

/// Content and extended attributes of one inode. Made when the first of them is.
///
/// Lock order: content, then extended attributes, then whatever the tree locks for an attribute change.
pub struct Node {
    pub(super) content: RwLock<Content>,
    pub(super) xattrs: RwLock<Option<Box<Xattrs>>>,
}

impl Node {
    pub(super) fn new(quota: &Arc<Quota>) -> Node {
        Node {
            content: RwLock::new(Content::new(quota)),
            xattrs: RwLock::new(None),
        }
    }

    /// For an inode without content that holds `bytes` elsewhere, until it ends; ENOSPC.
    pub(super) fn charged(quota: &Arc<Quota>, bytes: u64, max: u64) -> Result<Node> {
        Ok(Node {
            content: RwLock::new(Content::charged(quota, bytes, max)?),
            xattrs: RwLock::new(None),
        })
    }

    pub(super) fn backed(quota: &Arc<Quota>, source: Box<dyn Backing>, size: u64) -> Node {
        Node {
            content: RwLock::new(Content::backed(quota, source, size)),
            xattrs: RwLock::new(None),
        }
    }
}

/// An inode with content costs this much beside the content.
const _: () = assert!(size_of::<Node>() <= 72);
