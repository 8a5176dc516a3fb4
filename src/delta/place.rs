//! Where a path of a mount leads.

use super::PathBytes;
use crate::fs::Fs;
use crate::tree::NodeId;

/// The directory at `path` in the tree, or the one above with the last name; `None` if nothing of it is there. No link is followed.
pub fn place(fs: &Fs, path: &PathBytes) -> Option<(NodeId, Option<Box<[u8]>>)> {
    let names = path.as_bytes().split(|byte| *byte == b'/');
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    let mut here = fs.tree().root();
    for (at, name) in names.iter().enumerate() {
        let child = fs.tree().child(&here, name).ok();
        match child.filter(|child| fs.tree().is_directory(child.id())) {
            Some(child) => here = child,
            None if at + 1 == names.len() => return Some((here.id(), Some((*name).into()))),
            None => return None,
        }
    }
    Some((here.id(), None))
}
