//! Finding out what differs.

use super::change::{Delta, Source};
use crate::fs::Fs;
use crate::tree::Errno;
use std::os::unix::ffi::OsStrExt;

/// Why nobody knows what differs.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The tree was not loaded from a directory.
    #[error("it has no source: it began empty")]
    NoSource,
    /// The source cannot be looked at.
    #[error("its source cannot be looked at")]
    Lost(#[source] Errno),
}

/// What differs between `fs` and the source it was loaded from.
pub fn of(fs: &Fs) -> Result<Delta, Unknown> {
    let origin = fs.origin().ok_or(Unknown::NoSource)?;
    let root = origin.root().map_err(Unknown::Lost)?;
    let root = root.ok_or(Unknown::NoSource)?;
    Ok(Delta {
        source: Source {
            path: root.path.as_os_str().as_bytes().to_vec().into(),
            dev: root.dev,
            ino: root.ino,
        },
        changes: Vec::new(),
    })
}
