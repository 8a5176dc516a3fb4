//! What an answer rests on.

use crate::sync::{RenameStamp, Version};
use crate::tree::outcomes::Outcome;
use crate::tree::store::Store;
use arrayvec::ArrayVec;
use std::sync::atomic::{Ordering, fence};

/// How many steps are written down; a longer walk is left to the locked form.
pub(super) const MAX_STEPS: usize = 64;

/// One component: the directory that was searched, and the dentry that led on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The slot of the directory's inode; its life and permissions are those of `stamp`.
    pub(super) directory: u32,
    /// The dentry that must be live: the one found, or for `..` the one that leads to the directory.
    /// 0 if there is none: the name is missing, the root's `..`, or the search was refused.
    pub(super) dentry: u32,
    pub(super) stamp: u64,
}

/// Everything that must still hold when the answer is given.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) steps: ArrayVec<Step, MAX_STEPS>,
    /// The directory slot in which a name is missing, and its rename stamp.
    pub(super) miss: Option<(u32, RenameStamp)>,
    /// The inode at the end and the version of its attributes.
    pub(super) last: Option<(u32, Version)>,
}

impl Evidence {
    /// Looks at everything again.
    ///
    /// # Errors
    /// Why the attempt must be repeated.
    #[inline(always)]
    pub(super) fn validate<E: Send + Sync + 'static>(
        &self,
        store: &Store<E>,
    ) -> Result<(), Outcome> {
        fence(Ordering::Acquire);
        for step in &self.steps {
            if step.dentry != 0 && !store.dentry(step.dentry).live.is_live() {
                return Err(Outcome::RetryEdge);
            }
            if !store.inode(step.directory).has_stamp(step.stamp) {
                return Err(Outcome::RetryAttr);
            }
        }
        if let Some((slot, version)) = self.last
            && !store.inode(slot).block.is(version)
        {
            return Err(Outcome::RetryAttr);
        }
        if let Some((directory, stamp)) = self.miss
            && !store.directories.at(directory).renames.is(stamp)
        {
            return Err(Outcome::RetryRename);
        }
        Ok(())
    }
}
