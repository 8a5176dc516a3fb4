//! Three names in the root, two trees of one file each that have some of these names, and what a
//! sequential filesystem answers about them.
//!
//! Each of the two trees is a directory with a directory in it, called `b` or `c`, which has the file
//! `f`. The file comes in versions: permissions and size change together.

use norefs_check::linearize::Spec;
use norefs_tree::{
    Attr, Credential, Errno, Kind, NewInode, NodeId, PathArgs, RenameMode, Time, Tree,
};

pub const A: usize = 0;
pub const X: usize = 1;
pub const Y: usize = 2;
const NAMES: [&[u8]; 3] = [b"a", b"x", b"y"];
const INNER: [&[u8]; 2] = [b"b", b"c"];
/// The file's paths, by the name in the root and the inner name.
const PATHS: [[&[u8]; 2]; 3] = [
    [b"/a/b/f", b"/a/c/f"],
    [b"/x/b/f", b"/x/c/f"],
    [b"/y/./b/../b/f", b"/y/./c/../c/f"],
];
const USERS: [Credential<'static>; 2] = [
    Credential::ROOT,
    Credential {
        uid: 1,
        gid: 1,
        groups: &[],
    },
];

/// What was asked for. Names, trees and users by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Whole-path stat of the file, by a name in the root and an inner name, as a user.
    Stat(usize, usize, usize),
    /// LOOKUP of a name in the root.
    Lookup(usize),
    /// rename from one name in the root to another.
    Move(usize, usize),
    /// The same with both names in use.
    Exchange(usize, usize),
    /// rename that leaves a device under the old name.
    Leave(usize, usize),
    /// unlink of such a device.
    Remove(usize),
    /// rename of a tree's inner directory from its other name to this one.
    MoveInner(usize, usize),
    /// chmod of a tree's upper directory: whether user 1 may search it.
    Open(usize, bool),
    /// The same of the inner one.
    OpenInner(usize, bool),
    /// chmod and truncate of a tree's file: the version.
    Write(usize, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ret {
    Done,
    /// An error, by its number.
    Error(i32),
    Nothing,
    /// The file of a tree, in this version.
    File(usize, u8),
    /// The upper directory of a tree, open or not.
    Directory(usize, bool),
    /// What a rename left.
    Left,
    /// Attributes of two versions at once: no sequential filesystem answers so.
    Torn,
}

impl From<Errno> for Ret {
    fn from(error: Errno) -> Ret {
        Ret::Error(error.raw_os_error())
    }
}

/// In the place of a tree's number: what a rename left.
const LEFT: usize = 2;

/// The sequential filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    names: [Option<usize>; 3],
    inner: [usize; 2],
    open: [bool; 2],
    open_inner: [bool; 2],
    versions: [u8; 2],
}

impl World {
    /// Tree 0 is called `a`, tree 1 has the name with number `other`, if any.
    pub fn new(other: Option<usize>) -> World {
        let mut names = [Some(0), None, None];
        if let Some(other) = other {
            names[other] = Some(1);
        }
        World {
            names,
            inner: [0; 2],
            open: [true; 2],
            open_inner: [true; 2],
            versions: [0; 2],
        }
    }

    fn stat(&self, name: usize, inner: usize, user: usize) -> Ret {
        let Some(tree) = self.names[name] else {
            return Errno::NOENT.into();
        };
        if tree == LEFT {
            return Errno::NOTDIR.into();
        }
        if user != 0 && !self.open[tree] {
            return Errno::ACCESS.into();
        }
        if self.inner[tree] != inner {
            return Errno::NOENT.into();
        }
        if user != 0 && !self.open_inner[tree] {
            return Errno::ACCESS.into();
        }
        Ret::File(tree, self.versions[tree])
    }
}

impl Spec for World {
    type Op = Op;
    type Ret = Ret;

    fn apply(&mut self, op: Op) -> Ret {
        match op {
            Op::Stat(name, inner, user) => return self.stat(name, inner, user),
            Op::Lookup(name) => {
                return match self.names[name] {
                    None => Ret::Nothing,
                    Some(LEFT) => Ret::Left,
                    Some(tree) => Ret::Directory(tree, self.open[tree]),
                };
            }
            Op::Move(from, to) => self.names[to] = self.names[from].take(),
            Op::Exchange(one, other) => self.names.swap(one, other),
            Op::Leave(from, to) => self.names[to] = self.names[from].replace(LEFT),
            Op::Remove(name) => self.names[name] = None,
            Op::MoveInner(tree, inner) => self.inner[tree] = inner,
            Op::Open(tree, open) => self.open[tree] = open,
            Op::OpenInner(tree, open) => self.open_inner[tree] = open,
            Op::Write(tree, version) => self.versions[tree] = version,
        }
        Ret::Done
    }
}

/// The real tree, in the same state.
pub struct Real {
    pub tree: Tree,
    directories: [NodeId; 2],
    inner: [NodeId; 2],
    files: [NodeId; 2],
}

const NOW: Time = Time { sec: 1, nsec: 0 };

fn directory_perm(open: bool) -> u16 {
    if open { 0o755 } else { 0o700 }
}

fn file_attr(version: u8) -> (u16, u64) {
    (u16::from(version), u64::from(version))
}

impl Real {
    pub fn new(world: &World) -> Real {
        let attr = |kind, perm| Attr::new(kind, perm, 0, 0, NOW);
        let tree = Tree::new(attr(Kind::Directory, 0o755));
        let ids = [0, 1].map(|number| {
            let name = world.names.iter().position(|tree| *tree == Some(number));
            let name = name.map_or(&b"unused"[..], |name| NAMES[name]);
            let new = |kind, perm| NewInode::plain(attr(kind, perm));
            let root = tree.root();
            let upper = tree
                .create(&root, name, new(Kind::Directory, 0o755), None)
                .unwrap();
            let inner = tree
                .create(&upper, b"b", new(Kind::Directory, 0o755), None)
                .unwrap();
            let file = tree
                .create(&inner, b"f", new(Kind::Regular, 0), None)
                .unwrap();
            [upper.id(), inner.id(), file.id()]
        });
        let pick = |level: usize| [ids[0][level], ids[1][level]];
        Real {
            directories: pick(0),
            inner: pick(1),
            files: pick(2),
            tree,
        }
    }

    /// Carries out `op`.
    pub fn apply(&self, op: Op) -> Ret {
        let root = NodeId::ROOT;
        match op {
            Op::Stat(name, inner, user) => self.stat(PATHS[name][inner], &USERS[user]),
            Op::Lookup(name) => self.lookup(NAMES[name]),
            Op::Move(from, to) => self.rename(root, NAMES[from], NAMES[to], RenameMode::NoReplace),
            Op::Exchange(one, other) => {
                self.rename(root, NAMES[one], NAMES[other], RenameMode::Exchange)
            }
            Op::Leave(from, to) => self.leave(NAMES[from], NAMES[to]),
            Op::Remove(name) => {
                let removed = self.tree.unlink(&self.tree.root(), NAMES[name], NOW);
                removed.map_or_else(Ret::from, |_| Ret::Done)
            }
            Op::MoveInner(tree, inner) => {
                let (from, to) = (INNER[1 - inner], INNER[inner]);
                self.rename(self.directories[tree], from, to, RenameMode::Replace)
            }
            Op::Open(tree, open) => self.update(self.directories[tree], |attr| {
                attr.perm = directory_perm(open)
            }),
            Op::OpenInner(tree, open) => {
                self.update(self.inner[tree], |attr| attr.perm = directory_perm(open))
            }
            Op::Write(tree, version) => self.update(self.files[tree], |attr| {
                (attr.perm, attr.size) = file_attr(version)
            }),
        }
    }

    fn rename(&self, directory: NodeId, from: &[u8], to: &[u8], mode: RenameMode) -> Ret {
        let directory = self.tree.get(directory).expect("it has a name");
        let renamed = self
            .tree
            .rename((&directory, from), (&directory, to), mode, NOW);
        renamed.map_or_else(Ret::from, |_| Ret::Done)
    }

    fn leave(&self, from: &[u8], to: &[u8]) -> Ret {
        let (root, mode) = (self.tree.root(), RenameMode::NoReplace);
        let left = NewInode::plain(Attr::new(Kind::CharDevice, 0, 0, 0, NOW));
        let renamed = self
            .tree
            .rename_leaving((&root, from), (&root, to), mode, left, NOW);
        renamed.map_or_else(Ret::from, |_| Ret::Done)
    }

    fn update(&self, id: NodeId, change: impl FnOnce(&mut Attr)) -> Ret {
        let inode = self.tree.get(id).expect("it has a name");
        let updated = inode.update(|attr| {
            change(attr);
            Ok(())
        });
        updated.map_or_else(Ret::from, |_| Ret::Done)
    }

    fn stat(&self, path: &[u8], cred: &Credential<'_>) -> Ret {
        let entry = match self.tree.stat(&PathArgs {
            at: NodeId::ROOT,
            path,
            cred,
            follow: true,
        }) {
            Ok(entry) => entry,
            Err(error) => return error.into(),
        };
        let tree = self
            .files
            .iter()
            .position(|id| *id == entry.id)
            .expect("one of the two");
        let version = entry.attr.perm as u8;
        match file_attr(version) == (entry.attr.perm, entry.attr.size) {
            true => Ret::File(tree, version),
            false => Ret::Torn,
        }
    }

    fn lookup(&self, name: &[u8]) -> Ret {
        let Some(entry) = self
            .tree
            .lookup(NodeId::ROOT, name)
            .expect("the root is there")
        else {
            return Ret::Nothing;
        };
        assert!(self.tree.forget(entry.id, 1));
        if entry.attr.kind == Kind::CharDevice {
            return Ret::Left;
        }
        let tree = self
            .directories
            .iter()
            .position(|id| *id == entry.id)
            .expect("one of the two");
        Ret::Directory(tree, entry.attr.perm == directory_perm(true))
    }
}
