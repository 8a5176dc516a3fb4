//! A filesystem in a process that began as a copy of another one (fork(2)).

use super::{Fs, Result};

impl Fs {
    /// Goes on for another kernel, which knows of nothing yet, in a process that has one thread and was made while no thread of the
    /// other one did anything ([`host::Quiet`](crate::host::Quiet)).
    ///
    /// # Errors
    /// `EOVERFLOW` in a copy of a copy of a copy of more than there may be ([`Tree::begin_as_copy`](crate::tree::Tree::begin_as_copy)).
    pub fn begin_as_copy(&self) -> Result<()> {
        self.tree.begin_as_copy()?;
        self.quota.begin_as_copy();
        Ok(())
    }

    /// Ends what has no name and that only the other process's kernel had open. Takes its time; others may use the filesystem meanwhile.
    pub fn end_unknown(&self) {
        let ended = self.tree.end_unknown();
        tracing::debug!(ended, "files without a name that another mount has open");
    }
}
