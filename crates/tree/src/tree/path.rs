//! What is given of a path, and what a link gives.

use super::{Credential, NodeId};
use arrayvec::ArrayVec;

/// The longest path, its terminating NUL included, in bytes.
pub const PATH_MAX: usize = 4096;

/// A link's target on the stack.
pub type LinkTarget = ArrayVec<u8, { PATH_MAX - 1 }>;

/// Where a path operation starts and what it may do on the way.
#[derive(Clone, Copy, Debug)]
pub struct PathArgs<'a> {
    /// The directory that a relative path starts at.
    pub at: NodeId,
    /// The path; absolute ones start at the root of the tree.
    pub path: &'a [u8],
    /// Who needs search permission on the way.
    pub cred: &'a Credential<'a>,
    /// Whether a symbolic link at the end is followed (the opposite of `AT_SYMLINK_NOFOLLOW`).
    pub follow: bool,
}
