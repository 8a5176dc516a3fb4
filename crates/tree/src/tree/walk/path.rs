//! How paths are read.

use crate::tree::{Errno, PATH_MAX, Result};

/// How many symbolic links a walk follows before it answers `ELOOP`, as in the kernel.
pub(super) const MAX_LINKS: usize = 40;

/// Refuses what is no path.
///
/// # Errors
/// `ENOENT` for the empty path, `ENAMETOOLONG`.
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
    Some(path.split_at(end(path)))
}

/// Where the first slash is, or the length; eight bytes at a time.
#[inline(always)]
fn end(path: &[u8]) -> usize {
    let (chunks, rest) = path.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let slashes = slashes(u64::from_le_bytes(*chunk));
        if slashes != 0 {
            return index * 8 + slashes.trailing_zeros() as usize / 8;
        }
    }
    let slash = rest.iter().position(|byte| *byte == b'/');
    path.len() - rest.len() + slash.unwrap_or(rest.len())
}

/// The lowest bit set is the highest bit of the lowest byte that is a slash; 0 if there is none.
#[inline(always)]
fn slashes(word: u64) -> u64 {
    let zero_if_slash = word ^ u64::from_le_bytes([b'/'; 8]);
    zero_if_slash.wrapping_sub(0x0101_0101_0101_0101) & !zero_if_slash & 0x8080_8080_8080_8080
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fall_into_components() {
        assert_eq!(split(b"//a//b/"), Some((&b"a"[..], &b"//b/"[..])));
        assert_eq!(split(b"b"), Some((&b"b"[..], &b""[..])));
        for len in 1..40 {
            let (long, more) = ([0xAF; 40], b"/0/");
            let path = [&long[..len], more].concat();
            assert_eq!(split(&path), Some((&long[..len], &more[..])));
            assert_eq!(split(&long[..len]), Some((&long[..len], &b""[..])));
        }
        assert_eq!(split(b"//"), None);
        assert_eq!(check(b""), Err(Errno::NOENT));
        assert_eq!(check(&[b'a'; PATH_MAX]), Err(Errno::NAMETOOLONG));
        assert_eq!(check(&[b'a'; PATH_MAX - 1]), Ok(()));
    }
}
