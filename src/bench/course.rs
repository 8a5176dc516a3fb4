//! The tree every contender gets, and the names in it that the operations visit.
//!
//! ```text
//! near00 ... near19             files at depth 1
//! a/b/c/d00000/f00 ... f18      files at depth 5; f00 holds 4 KiB, the others nothing
//! a/b/c/d00000/link             a symbolic link to f00
//! ```

use std::ffi::CString;

/// Names in one leaf directory.
pub const LISTED: usize = 20;
/// Bytes in the files that are read and written.
pub const CONTENT: usize = 4096;
/// What the symbolic links say.
pub const LINK_TARGET: &str = "f00";
/// How many names the operations that make something go round.
const SCRATCH_NAMES: usize = 64;

/// Paths relative to the root of the tree.
pub struct Course {
    /// The directories, parents first.
    pub directories: Vec<CString>,
    /// The directories of which each holds [`LISTED`] names.
    pub leaves: Vec<CString>,
    /// Files at depth 1.
    pub near: Vec<CString>,
    /// Files at depth 5.
    pub deep: Vec<CString>,
    /// Those of them with content, sorted.
    pub filled: Vec<CString>,
    /// Symbolic links at depth 5.
    pub links: Vec<CString>,
    /// Names at depth 5 that do not exist.
    pub missing: Vec<CString>,
    /// Names for what an operation makes and removes again.
    pub scratch: Vec<CString>,
}

impl Course {
    /// A tree of at least `entries` names.
    pub fn new(entries: usize) -> Course {
        let leaves = entries.div_ceil(LISTED).max(1);
        let leaves: Vec<_> = (0..leaves).map(|n| format!("a/b/c/d{n:05}")).collect();
        let in_leaves = |name: &str| named(leaves.iter().map(|leaf| format!("{leaf}/{name}")));
        let files = |leaf: &String| {
            let leaf = leaf.clone();
            (0..LISTED - 1).map(move |n| format!("{leaf}/f{n:02}"))
        };
        let trunk = ["a", "a/b", "a/b/c"].map(str::to_owned);
        Course {
            directories: named(trunk.into_iter().chain(leaves.iter().cloned())),
            near: named((0..LISTED).map(|n| format!("near{n:02}"))),
            deep: named(leaves.iter().flat_map(files)),
            filled: in_leaves("f00"),
            links: in_leaves("link"),
            missing: in_leaves("missing"),
            scratch: named((0..SCRATCH_NAMES).map(|n| format!("x{n:02}"))),
            leaves: named(leaves.into_iter()),
        }
    }

    /// Files and symbolic links.
    pub fn files(&self) -> usize {
        self.near.len() + self.deep.len() + self.links.len()
    }
}

/// None of the names has a NUL.
fn named(names: impl Iterator<Item = String>) -> Vec<CString> {
    names.filter_map(|name| CString::new(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_full_and_hold_what_was_asked_for() {
        let course = Course::new(201);
        assert_eq!(course.leaves.len(), 11);
        assert_eq!(course.deep.len() + course.links.len(), 11 * LISTED);
        let deepest = course.missing.last().unwrap().to_str().unwrap();
        assert_eq!(deepest, "a/b/c/d00010/missing");
        assert_eq!(deepest.split('/').count(), 5);
    }

    #[test]
    fn there_is_always_something_to_visit() {
        assert_eq!(Course::new(0).leaves.len(), 1);
    }
}
