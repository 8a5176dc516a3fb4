//! POSIX access control lists (`-o acl`): as on tmpfs.

mod coherence;
mod decide;
mod inherit;
mod lists;
mod options;
mod random;
mod source;
mod tools;

use rustix::io::Errno;
use std::path::Path;

/// A list that names a user and a group.
const NAMING: &str = "u::rw-,u:1000:rwx,g::r--,g:500:-w-,m::rw-,o::---";

/// Makes the tests' usual inhabitants in `root`.
fn inhabit(root: &Path) -> [std::path::PathBuf; 3] {
    let paths = ["file", "dir", "fifo"].map(|name| root.join(name));
    std::fs::write(&paths[0], "content").unwrap();
    std::fs::create_dir(&paths[1]).unwrap();
    mount_tests::posix::fifo(&paths[2], 0o644).unwrap();
    paths
}

/// What a call gave: only success and errno matter.
fn outcome<T>(result: Result<T, Errno>) -> Result<(), Errno> {
    result.map(drop)
}
