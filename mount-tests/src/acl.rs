//! POSIX access control lists, by the calls underneath setfacl and getfacl.

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, removexattr, setxattr};
use rustix::io::Errno;
use std::path::Path;

/// The list that decides about the inode itself.
pub const ACCESS: &str = "system.posix_acl_access";
/// The list that new inodes of a directory begin with.
pub const DEFAULT: &str = "system.posix_acl_default";

const TAGS: [(&str, u16, u16); 4] = [("u", 1, 2), ("g", 4, 8), ("m", 16, 16), ("o", 32, 32)];
const BITS: [(char, u16); 4] = [('r', 4), ('w', 2), ('x', 1), ('-', 0)];

/// The value of the list that is written as for setfacl, but in the order of the entries:
/// `u::rw-,u:1000:r--,g::r--,g:5:---,m::rw-,o::---`. It need not be a valid one.
#[track_caller]
pub fn list(text: &str) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let fields: Vec<&str> = entry.split(':').collect();
        let [tag, id, bits] = fields[..] else {
            panic!("{entry} is no entry");
        };
        let (_, base, named) = TAGS.into_iter().find(|(name, ..)| *name == tag).unwrap();
        let tag = if id.is_empty() { base } else { named };
        let bit = |letter| {
            BITS.into_iter()
                .find(|(name, _)| *name == letter)
                .unwrap()
                .1
        };
        let bits: u16 = bits.chars().map(bit).sum();
        let id: u32 = if id.is_empty() {
            u32::MAX
        } else {
            id.parse().unwrap()
        };
        value.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        value.extend(id.to_le_bytes());
    }
    value
}

/// Sets a list.
pub fn set(path: &Path, name: &str, text: &str) -> Result<(), Errno> {
    setxattr(path, name, &list(text), XattrFlags::empty())
}

/// The value of a list, which is not followed if `path` is a symbolic link.
pub fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let length = lgetxattr(path, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// Takes a list away.
pub fn remove(path: &Path, name: &str) -> Result<(), Errno> {
    removexattr(path, name)
}

/// The names of the extended attributes as they are listed.
pub fn names(path: &Path) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0; 65_536];
    let length = llistxattr(path, &mut names[..])?;
    names.truncate(length);
    Ok(names)
}

/// What an inode shows of who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rights {
    pub mode: u16,
    pub owner: (u32, u32),
    pub access: Result<Vec<u8>, Errno>,
    pub default: Result<Vec<u8>, Errno>,
    pub names: Result<Vec<u8>, Errno>,
}

/// What `path` shows.
#[track_caller]
pub fn rights(path: &Path) -> Rights {
    let seen = crate::posix::seen(path);
    Rights {
        mode: seen.mode,
        owner: (seen.uid, seen.gid),
        access: get(path, ACCESS),
        default: get(path, DEFAULT),
        names: names(path),
    }
}
