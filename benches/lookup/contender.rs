//! What is asked of every contender.

use norefs::tree::{Attr, Credential, Errno, Kind, LinkTarget, Time};
use rustix::io::Result;

use crate::shape::{Name, Shape};

/// Who asks: neither the owner nor in the group of any directory, so that every search check goes
/// through all three classes.
pub const CALLER: Credential<'static> = Credential {
    uid: 1000,
    gid: 1000,
    groups: &[],
};

/// Moves one file from one name to another.
pub struct Move<Id> {
    pub from: (Id, Name),
    pub to: (Id, Name),
}

/// A tree in memory that can be asked by path and by node id.
pub trait Contender: Sync {
    /// The heading of its column.
    const NAME: &'static str;
    /// What a client holds to name an inode.
    type Id: Clone + Send + Sync;

    /// The attributes of what the absolute `path` leads to, not following a final symbolic link.
    /// Each directory on the way must be searchable by [`CALLER`].
    fn stat(&self, path: &[u8]) -> Result<Attr>;
    /// The attributes of an inode.
    fn getattr(&self, id: &Self::Id) -> Result<Attr>;
    /// Copies the target of a symbolic link into `out`.
    fn readlink(&self, id: &Self::Id, out: &mut LinkTarget) -> Result<()>;
    /// Renames a file to a name that does not exist yet; moves both directories' mtime and ctime
    /// and the file's ctime.
    fn rename(&self, step: &Move<Self::Id>, now: Time) -> Result<()>;
}

/// Node ids of a built tree, parallel to the lists of its [`Shape`].
pub struct Ids<Id> {
    pub dirs: Vec<Id>,
    pub files: Vec<Id>,
}

/// The attributes a directory starts with.
pub fn dir_attr() -> Attr {
    let now = Time::now();
    Attr {
        nlink: 2,
        ..Attr::new(Kind::Directory, 0o755, 0, 0, now)
    }
}

/// The attributes `shape.files[file]` starts with.
pub fn file_attr(file: u32, symlink: bool) -> Attr {
    let kind = if symlink {
        Kind::Symlink
    } else {
        Kind::Regular
    };
    Attr {
        nlink: 1,
        size: Shape::size(file),
        blocks: 8,
        ..Attr::new(kind, 0o644, 0, 0, Time::now())
    }
}

/// The components of an absolute path without "." and "..", as the baselines split it.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|component| !component.is_empty())
}

/// Whether `cred` may search a directory with attributes `attr`.
pub fn may_search(attr: &Attr, cred: &Credential<'_>) -> Result<()> {
    let shift = if cred.uid == attr.uid {
        6
    } else if cred.gid == attr.gid || cred.groups.contains(&attr.gid) {
        3
    } else {
        0
    };
    if attr.perm >> shift & 1 != 0 || cred.uid == 0 {
        Ok(())
    } else {
        Err(Errno::ACCESS)
    }
}
