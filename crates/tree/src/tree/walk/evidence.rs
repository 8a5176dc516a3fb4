//! What an answer rests on.

use crate::sync::{RenameStamp, Version};
use crate::tree::dentry::Dentry;
use crate::tree::directory::Directory;
use crate::tree::outcomes::Outcome;
use crate::tree::store::Inode;
use arrayvec::ArrayVec;
use std::sync::atomic::{Ordering, fence};

/// How many steps are written down; a longer walk is left to the locked form.
pub(super) const MAX_STEPS: usize = 64;

/// One component: the directory that was searched, and the dentry that led on.
#[derive(Debug)]
pub(super) struct Step<'w, E> {
    /// The directory's inode; its life and permissions are those of `stamp`.
    pub(super) directory: &'w Inode<E>,
    pub(super) stamp: u64,
    /// The dentry that must be live: the one found, or for `..` the one that leads to the directory.
    /// `None`: the name is missing, the root's `..`, or the search was refused.
    pub(super) dentry: Option<&'w Dentry>,
}

/// Everything that must still hold when the answer is given.
#[derive(Debug)]
pub(super) struct Evidence<'w, E> {
    pub(super) steps: ArrayVec<Step<'w, E>, MAX_STEPS>,
    /// The directory in which a name is missing, and its rename stamp.
    pub(super) miss: Option<(&'w Directory, RenameStamp)>,
    /// The inode at the end and the version of its attributes.
    pub(super) last: Option<(&'w Inode<E>, Version)>,
}

impl<E> Evidence<'_, E> {
    pub(super) fn new() -> Self {
        Evidence {
            steps: ArrayVec::new(),
            miss: None,
            last: None,
        }
    }

    /// Looks at everything again.
    ///
    /// # Errors
    /// Why the attempt must be repeated.
    #[inline(always)]
    pub(super) fn validate(&self) -> Result<(), Outcome> {
        fence(Ordering::Acquire);
        for step in &self.steps {
            if step.dentry.is_some_and(|dentry| !dentry.live.is_live()) {
                return Err(Outcome::RetryEdge);
            }
            if !step.directory.has_stamp(step.stamp) {
                return Err(Outcome::RetryAttr);
            }
        }
        if let Some((inode, version)) = self.last
            && !inode.block.is(version)
        {
            return Err(Outcome::RetryAttr);
        }
        if let Some((directory, stamp)) = self.miss
            && !directory.renames.is(stamp)
        {
            return Err(Outcome::RetryRename);
        }
        Ok(())
    }
}
