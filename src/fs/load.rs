//! What a source fills a filesystem with.
//!
//! These functions describe what is already there instead of changing something: no time moves, no
//! link is counted that was not given. They may be called from several threads, a directory before
//! what is in it.

use super::data::Backing;
use super::xattr::{Xattr, Xattrs};
use super::{Fs, Node};
use crate::tree::{Attr, Kind, NewInode, NodeId, Result};

/// An inode as a source describes it.
pub struct Loaded<'a> {
    /// As stat is to show it, nlink included.
    pub attr: Attr,
    /// The target of a symbolic link.
    pub target: Option<&'a [u8]>,
    /// Extended attributes. Names outside `user.`, `trusted.` and `security.` are left out.
    pub xattrs: Vec<Xattr>,
    /// The content of a regular file; without it the file is one hole.
    pub backing: Option<Box<dyn Backing>>,
}

impl Fs {
    /// A new inode under `parent`, whose attributes stay.
    ///
    /// # Errors
    /// EEXIST, ENOENT, ENOTDIR, EINVAL, ENAMETOOLONG, ENOSPC beyond the limits, ESTALE.
    pub fn load(&self, parent: NodeId, name: &[u8], new: Loaded<'_>) -> Result<NodeId> {
        let config = self.config.load();
        let size = new.attr.size;
        let mut ext = new
            .backing
            .filter(|_| new.attr.kind == Kind::Regular && size > 0)
            .map(|source| Node::backed(&self.ledger, source, size));
        if !new.xattrs.is_empty() {
            let xattrs = Xattrs::loaded(new.xattrs, &self.ledger, config.max_bytes)?;
            *ext.get_or_insert_with(|| Node::new(&self.ledger))
                .xattrs
                .get_mut() = Some(Box::new(xattrs));
        }
        let parent = self.get(parent)?;
        let _room = self.room_for_inode(config.max_inodes)?;
        let inode = NewInode {
            attr: new.attr,
            target: new.target,
            ext,
        };
        Ok(self.tree.create(&parent, name, inode, None)?.id())
    }

    /// One more name of an inode already loaded, whose shown nlink stays.
    ///
    /// # Errors
    /// As [`Fs::load`], and EPERM for a directory.
    pub fn load_link(&self, id: NodeId, parent: NodeId, name: &[u8]) -> Result<()> {
        let (inode, parent) = (self.get(id)?, self.get(parent)?);
        let _room = self.room_for_name(&inode, self.config.load().max_inodes)?;
        self.tree.link(&inode, &parent, name, None)
    }

    /// The root's own attributes, whose kind stays a directory, and extended attributes; those are
    /// left out if they do not fit.
    pub fn load_root(&self, attr: Attr, xattrs: Vec<Xattr>) {
        let root = self.tree.root();
        let mut done = root.update(|root| {
            *root = Attr {
                kind: root.kind,
                rdev: root.rdev,
                ..attr
            };
            Ok(())
        });
        if !xattrs.is_empty() {
            let max = self.config.load().max_bytes;
            match Xattrs::loaded(xattrs, &self.ledger, max) {
                Ok(xattrs) => *self.node(&root).xattrs.write() = Some(Box::new(xattrs)),
                Err(errno) => done = Err(errno),
            }
        }
        if let Err(errno) = done {
            tracing::warn!(%errno, "the root was not loaded as described");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::SetAttr;
    use crate::fs::testing::{Bed, Broken, Fixed, ROOT, USER};
    use crate::tree::{Errno, Time};

    const THEN: Time = Time {
        sec: 1_000,
        nsec: 7,
    };

    fn described(kind: Kind, nlink: u32, size: u64) -> Attr {
        Attr {
            nlink,
            size,
            blocks: size.div_ceil(512),
            ..Attr::new(kind, 0o640, 3, 4, THEN)
        }
    }

    fn loaded(attr: Attr) -> Loaded<'static> {
        Loaded {
            attr,
            target: None,
            xattrs: Vec::new(),
            backing: None,
        }
    }

    fn backed(bed: &Bed, name: &[u8], data: &[u8]) -> NodeId {
        let new = Loaded {
            backing: Some(Box::new(Fixed(data.to_vec()))),
            ..loaded(described(Kind::Regular, 1, data.len() as u64))
        };
        bed.fs.load(bed.root(), name, new).unwrap()
    }

    #[test]
    fn everything_stays_as_described() {
        let bed = Bed::new();
        let root = described(Kind::Directory, 9, 4096);
        let pair = |name: &[u8], value: &[u8]| (name.into(), value.into());
        bed.fs.load_root(root, vec![pair(b"user.r", b"1")]);
        let dir_attr = described(Kind::Directory, 5, 4096);
        let dir = bed.fs.load(bed.root(), b"d", loaded(dir_attr)).unwrap();
        let file_attr = described(Kind::Regular, 3, 100);
        let new = Loaded {
            xattrs: vec![
                pair(b"user.b", b"2"),
                pair(b"system.acl", b"no"),
                pair(b"user.a", b"1"),
            ],
            ..loaded(file_attr)
        };
        let file = bed.fs.load(dir, b"f", new).unwrap();
        bed.fs.load_link(file, dir, b"again").unwrap();
        assert_eq!(bed.attr(bed.root()), root);
        assert_eq!(bed.attr(dir), dir_attr);
        assert_eq!(bed.attr(file), file_attr);
        assert_eq!(bed.fs.listxattr(&USER, bed.root()).unwrap(), b"user.r\0");
        assert_eq!(bed.fs.listxattr(&USER, file).unwrap(), b"user.a\0user.b\0");
        assert_eq!(
            bed.fs.lookup(&USER, dir, b"again").unwrap().unwrap().id,
            file
        );
        assert_eq!(bed.read(file, 0, 200), [0; 100]);
        bed.fs.unlink(&USER, dir, b"f").unwrap().deliver(drop);
        assert_eq!(bed.attr(file).nlink, 2);
    }

    #[test]
    fn backed_content_is_read_through_and_copied_by_the_first_write() {
        let bed = Bed::new();
        let file = backed(&bed, b"f", b"from elsewhere");
        assert_eq!(bed.read(file, 5, 100), b"elsewhere");
        assert_eq!(bed.fs.ledger.used(), 0);
        bed.write(file, 0, b"FROM");
        assert_eq!(bed.read(file, 0, 100), b"FROM elsewhere");
        assert_eq!(bed.fs.ledger.used(), 14);
        assert_eq!(bed.attr(file).blocks, 1);
    }

    #[test]
    fn cutting_backed_content_reads_nothing() {
        let bed = Bed::new();
        let attr = described(Kind::Regular, 1, 5000);
        let new = Loaded {
            backing: Some(Box::new(Broken)),
            ..loaded(attr)
        };
        let file = bed.fs.load(bed.root(), b"f", new).unwrap();
        let size = |size| {
            let change = SetAttr {
                size: Some(size),
                ..SetAttr::default()
            };
            bed.fs.setattr(&ROOT, file, &change).unwrap().deliver(drop)
        };
        assert_eq!((size(600).size, size(600).blocks), (600, 2));
        assert_eq!(bed.fs.write(&ROOT, file, 0, b"x", false), Err(Errno::STALE));
        assert_eq!(bed.fs.read(file, 0, &mut [0; 9]), Err(Errno::STALE));
        assert_eq!(size(0).blocks, 0);
        bed.write(file, 0, b"fresh");
        assert_eq!(bed.read(file, 0, 9), b"fresh");
    }

    #[test]
    fn cut_content_does_not_come_back_when_it_grows() {
        let bed = Bed::new();
        let file = backed(&bed, b"f", b"abcdef");
        for size in [3, 6] {
            let change = SetAttr {
                size: Some(size),
                ..SetAttr::default()
            };
            bed.fs.setattr(&ROOT, file, &change).unwrap().deliver(drop);
        }
        assert_eq!(bed.read(file, 0, 9), b"abc\0\0\0");
        bed.write(file, 5, b"F");
        assert_eq!(bed.read(file, 0, 9), b"abc\0\0F");
    }

    #[test]
    fn a_write_that_cannot_copy_changes_nothing() {
        let bed = Bed::new();
        let attr = described(Kind::Regular, 1, 5000);
        let new = Loaded {
            backing: Some(Box::new(Broken)),
            ..loaded(attr)
        };
        let file = bed.fs.load(bed.root(), b"f", new).unwrap();
        assert_eq!(bed.fs.write(&ROOT, file, 9, b"x", true), Err(Errno::STALE));
        assert_eq!(
            bed.fs.fallocate(&ROOT, file, 0, 9, 0).err(),
            Some(Errno::STALE)
        );
        assert_eq!(bed.attr(file), attr);
        assert_eq!(bed.fs.ledger.used(), 0);
    }
}
