//! How paths are read.

use crate::tree::noref::PATH_MAX;
use crate::tree::{Errno, Result};
use memchr::memchr;

/// How many symbolic links a walk follows before it answers `ELOOP`, as in the kernel.
pub(super) const MAX_LINKS: usize = 40;

/// Refuses what is no path.
///
/// # Errors
/// `ENOENT` for the empty path, `ENAMETOOLONG`, `EINVAL` for one with a NUL in it.
pub(super) fn check(path: &[u8]) -> Result<()> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(())
}

/// The first component of `path` and what follows it; `None` if only slashes are left.
#[inline(always)]
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = &path[start..];
    Some(path.split_at(memchr(b'/', path).unwrap_or(path.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fall_into_components() {
        assert_eq!(split(b"//a//b/"), Some((&b"a"[..], &b"//b/"[..])));
        assert_eq!(split(b"b"), Some((&b"b"[..], &b""[..])));
        assert_eq!(split(b"//"), None);
        assert_eq!(check(b""), Err(Errno::NOENT));
        assert_eq!(check(&[b'a'; PATH_MAX]), Err(Errno::NAMETOOLONG));
        assert_eq!(check(&[b'a'; PATH_MAX - 1]), Ok(()));
    }
}
