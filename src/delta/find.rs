//! Finding out what differs.

use super::facts::Facts;
use super::pair::Pairing;
use super::{Delta, Source};
use crate::fs::Fs;
use crate::host::is_memory_left;
use crate::tree::Errno;
use std::os::unix::ffi::OsStrExt;

/// What a difference takes while it is looked for, and told, bytes.
pub(super) const CHANGE_BYTES: usize = 1024;

/// Why nobody knows what differs.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The tree was not loaded from a directory.
    #[error("it has no source: it began empty")]
    NoSource,
    /// The source cannot be looked at.
    #[error("its source cannot be looked at: {0}")]
    Lost(Errno),
    /// There was no memory once to remember what a change took away.
    #[error("there was no memory to remember all that changed")]
    Forgotten,
    /// There is none to look for so much.
    #[error("there is no memory to look for {0} differences")]
    TooMany(usize),
}

/// What differs between `fs` and the source it was loaded from. While that is gathered no name goes, and no attribute
/// changes: about 30 ms for a million names.
///
/// # Errors
/// See [`Unknown`].
pub fn of(fs: &Fs) -> Result<Delta, Unknown> {
    let origin = fs.origin().ok_or(Unknown::NoSource)?;
    let root = origin.root().map_err(Unknown::Lost)?;
    let root = root.ok_or(Unknown::NoSource)?;
    let kept = fs.changes_kept();
    if !is_memory_left(kept.saturating_mul(CHANGE_BYTES)) {
        return Err(Unknown::TooMany(kept));
    }
    let facts = Facts::gather(fs).map_err(|_| Unknown::Forgotten)?;
    Ok(Delta {
        source: Source {
            path: root.path.as_os_str().as_bytes().to_vec().into(),
            dev: root.dev,
            ino: root.ino,
        },
        changes: Pairing::run(fs, &**origin, facts),
    })
}
