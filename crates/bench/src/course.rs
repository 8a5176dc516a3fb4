//! The tree for the operations, and the names in it that they visit.
//!
//! ```text
//! near00 ... near19             files at depth 1
//! a/b/c/d00000/f00 ... f18      files at depth 5; f00 holds 4 KiB, the others nothing
//! a/b/c/d00000/link             a symbolic link to f00
//! client0000/steady             what a client changes is in a directory of its own
//! ```

use super::files::{CONTENT, create, open_directory};
use super::lane::{Lane, Room};
use super::{Error, Stop};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, mkdirat, symlinkat};
use std::ffi::{CStr, CString};
use std::io;

/// Names in one leaf directory.
pub const LISTED: usize = 20;
/// The file in each client's own directory that stays.
pub const STEADY: &CStr = c"steady";
/// The root of the tree, in the lane.
const TREE: &CStr = c"operations";
/// What the symbolic links say.
const LINK_TARGET: &str = "f00";
/// How many names the operations that make something go round.
const SCRATCH_NAMES: usize = 64;
/// How many names a cold pass over single names visits.
const COLD_NAMES: usize = 5000;
/// Another seed would be as good; it has to stay the same.
const SEED: u64 = 0x6e6f_7265_6673;

/// Paths relative to the root of the tree.
pub struct Course {
    /// The root itself.
    pub root: [CString; 1],
    /// The directories, parents first.
    directories: Vec<CString>,
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
    /// Of `deep`, `leaves` and `filled`: some, in random order.
    pub random_deep: Vec<CString>,
    pub random_leaves: Vec<CString>,
    pub random_filled: Vec<CString>,
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
        let deep = named(leaves.iter().flat_map(files));
        let filled = in_leaves("f00");
        Course {
            root: [c".".to_owned()],
            directories: named(trunk.into_iter().chain(leaves.iter().cloned())),
            near: named((0..LISTED).map(|n| format!("near{n:02}"))),
            links: in_leaves("link"),
            missing: in_leaves("missing"),
            scratch: named((0..SCRATCH_NAMES).map(|n| format!("x{n:02}"))),
            random_deep: shuffled(&deep),
            random_leaves: shuffled(&named(leaves.iter().cloned())),
            random_filled: shuffled(&filled),
            leaves: named(leaves.into_iter()),
            deep,
            filled,
        }
    }

    /// Files and symbolic links.
    pub fn files(&self) -> usize {
        self.near.len() + self.deep.len() + self.links.len()
    }

    /// What the tree takes.
    pub fn room(&self, clients: usize) -> Room {
        let inodes = self.files() + self.directories.len() + 2 * clients;
        Room {
            inodes: inodes as u64,
            bytes: (self.filled.len() * CONTENT) as u64,
        }
    }

    /// Builds the tree in a lane.
    pub fn lay_out(&self, lane: &Lane, clients: usize, stop: Stop) -> Result<Grounds, Error> {
        let built = self.build(lane, clients, stop);
        stop.check()?;
        built.map_err(|error| lane.failed("building the tree", error))
    }

    fn build(&self, lane: &Lane, clients: usize, stop: Stop) -> io::Result<Grounds> {
        mkdirat(lane.root(), TREE, Mode::RWXU)?;
        let root = open_directory(lane.root(), TREE)?;
        for directory in &self.directories {
            mkdirat(&root, directory, Mode::RWXU)?;
        }
        for file in self.near.iter().chain(&self.deep) {
            if stop.asked() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let filled = self.filled.binary_search(file).is_ok();
            create(&root, file, if filled { CONTENT } else { 0 })?;
        }
        for link in &self.links {
            symlinkat(LINK_TARGET, &root, link)?;
        }
        let own = |client| {
            let name = CString::new(format!("client{client:04}"))?;
            mkdirat(&root, &name, Mode::RWXU)?;
            let own = open_directory(&root, &name)?;
            create(&own, STEADY, 0)?;
            Ok(own)
        };
        let own = (0..clients).map(own).collect::<io::Result<_>>()?;
        Ok(Grounds { root, own })
    }
}

/// Where a client calls.
pub struct Place<'a> {
    /// The root of the tree.
    pub root: BorrowedFd<'a>,
    /// The directory in which this client changes something.
    pub own: &'a OwnedFd,
}

/// The tree in one lane.
pub struct Grounds {
    root: OwnedFd,
    own: Vec<OwnedFd>,
}

impl Grounds {
    /// Where a client calls.
    pub fn place(&self, client: usize) -> Place<'_> {
        Place {
            root: self.root.as_fd(),
            own: &self.own[client],
        }
    }
}

/// None of the names has a NUL.
fn named(names: impl Iterator<Item = String>) -> Vec<CString> {
    names.filter_map(|name| CString::new(name).ok()).collect()
}

fn shuffled(names: &[CString]) -> Vec<CString> {
    let mut names = names.to_vec();
    fastrand::Rng::with_seed(SEED).shuffle(&mut names);
    names.truncate(COLD_NAMES);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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

    #[test]
    fn the_random_order_is_the_same_in_every_run_and_no_order() {
        let course = Course::new(2000);
        assert_eq!(course.random_deep, Course::new(2000).random_deep);
        assert_ne!(course.random_deep, course.deep);
        let sorted = |names: &[CString]| names.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&course.random_deep), sorted(&course.deep));
        assert_eq!(Course::new(20_000).random_deep.len(), COLD_NAMES);
    }
}
