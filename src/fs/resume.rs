//! What an inode became before, made true of it again.

use super::data::{Backing, Content};
use super::kept::Xattr;
use super::{Fs, Node};
use crate::fs::Result;
use crate::tree::{Attr, Errno, Ext, Kind, NodeId, Time, Touched};

/// What an inode became.
pub struct Became {
    /// Permission bits, owner, times and, of a regular file, its size are taken from here.
    pub attr: Attr,
    /// What counts as another than what was loaded.
    pub touched: Touched,
    /// The bytes of a regular file, `attr.size` of them, if they are others, and how many units of 512 bytes these take.
    pub content: Option<(Box<dyn Backing>, u64)>,
    /// All extended attributes, if they are known.
    pub xattrs: Option<Vec<Xattr>>,
}

impl Fs {
    /// Makes `id` what it became before, as one change of it that happened then: no time moves to now.
    ///
    /// # Errors
    /// ENOSPC, ESTALE; for an access control list those of [`Fs::setxattr`]; EINVAL for content of what is no regular file.
    pub fn become_again(&self, id: NodeId, became: Became) -> Result<()> {
        let inode = self.get(id)?;
        self.room_for_change(&inode)?;
        let Became {
            attr: mut shall,
            touched,
            content,
            xattrs,
        } = became;
        let sized = content.is_some();
        if sized && inode.attr().kind != Kind::Regular {
            return Err(Errno::INVAL);
        }
        if let Some((backing, blocks)) = content {
            shall.blocks = blocks;
            let node: &Node = self.node(&inode);
            *node.content.write() = match shall.size {
                0 => Content::new(&self.quota),
                size => Content::backed(&self.quota, backing, size),
            };
        }
        shall.acl = inode.attr().acl;
        if let Some(xattrs) = xattrs
            && (!xattrs.is_empty() || matches!(inode.ext(), Ext::Made(_)))
        {
            shall.acl = false;
            let max = self.most_bytes(&self.config());
            let xattrs = self.load_xattrs(xattrs, &mut shall, max)?;
            let some = (!xattrs.is_empty()).then(|| Box::new(xattrs));
            *self.node(&inode).xattrs.write() = some;
        }
        let change = |attr: &mut Attr| {
            *attr = Attr {
                perm: shall.perm,
                acl: shall.acl,
                uid: shall.uid,
                gid: shall.gid,
                mtime: shall.mtime,
                ctime: shall.ctime,
                size: if sized { shall.size } else { attr.size },
                blocks: if sized { shall.blocks } else { attr.blocks },
                touched: Touched {
                    content: attr.touched.content || touched.content,
                    xattrs: attr.touched.xattrs || touched.xattrs,
                    acl: attr.touched.acl || touched.acl,
                },
                ..*attr
            };
            Ok(())
        };
        inode.update(change).map(drop)
    }

    /// Sets the times of a directory in which names were made or taken away back to what they were.
    ///
    /// # Errors
    /// ESTALE.
    pub fn set_times_back(&self, id: NodeId, mtime: Time, ctime: Time) -> Result<()> {
        let set = |attr: &mut Attr| {
            (attr.mtime, attr.ctime) = (mtime, ctime);
            Ok(())
        };
        self.get(id)?.update(set).map(drop)
    }
}
