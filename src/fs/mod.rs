//! POSIX on top of the dentry tree: what each call means, which errno, which times change,
//! ownership, extended attributes, file data, limits. Free of any wire format: a transport decodes
//! a request, calls one function of [`Fs`] and encodes the answer.
//!
//! # Who checks what
//! The kernel strips set-group-id from new files. Permissions, by access control lists too, the sticky bit, the rules of
//! chmod and chown are checked by the kernel as well (`default_permissions`), or, without lists, by `Fs`, as
//! [`Permissions`] says. `Fs` decides what remains: ownership in set-group-id directories, permissions of new inodes,
//! lists and modes that fit, times, sizes, limits. [`Fs::access`] answers as access(2) does, whoever checks.
//!
//! # Times
//! atime changes by [`Fs::setattr`] alone, as on a filesystem mounted `noatime`. A change of
//! content moves mtime and ctime, a change of the inode ctime, a change of a directory's names its
//! mtime and ctime.
//!
//! # Stale attributes
//! Every change returns [`Committed`]: the value for the reply comes out only after the inodes whose cached attributes are
//! now wrong, and of which the kernel does not know that, were handed to a notifier. The error of a change that may fail
//! halfway is [`Failed`], which holds it back in the same way.
//!
//! # Locks
//! Each inode's content has its own lock: a read or write of one file is one step to every other.
//! The order is content (of two files: of the lower node id first), extended attributes, tree; nothing of the tree is locked while bytes are
//! copied.
//!
//! ```
//! use norefs::fs::{Caller, Config, Fs, deliver};
//! use norefs::tree::{Attr, Kind, NodeId, Time};
//!
//! let config = Config { max_bytes: 1 << 20, max_inodes: 1000, read_only: false };
//! let fs = Fs::new(config, Attr::new(Kind::Directory, 0o755, 0, 0, Time::now())).unwrap();
//! let caller = Caller { uid: 1000, gid: 1000, pid: 0, umask: 0o022 };
//!
//! let entry = fs.mknod(&caller, NodeId::ROOT, b"greeting", 0o666, 0)?.deliver(|_stale| {});
//! deliver(fs.write(&caller, entry.id, 0, b"hello", false), |_stale| {})?;
//! assert_eq!(fs.getattr(entry.id)?.size, 5);
//! # Ok::<(), norefs::tree::Errno>(())
//! ```

mod acl;
mod copy;
mod create;
mod data;
mod flags;
mod follow;
mod fork;
mod holes;
mod io;
mod kept;
mod limits;
mod lists;
mod load;
mod lookup;
mod node;
mod permission;
mod privilege;
mod quota;
mod readdir;
mod rebase;
mod record;
mod request;
mod resume;
mod setattr;
mod stat;
#[cfg(test)]
mod testing;
mod unlink;
mod waste;
mod xattr;

pub use acl::{Acl, Who};
pub use data::{Backing, OriginEntry};
pub use follow::{Followed, Following, Found, Look, Name, News, Stale};
pub use holes::Sought;
pub use kept::Xattr;
pub use limits::{Config, INODE_BYTES, InUse, StatFs};
pub use load::{Loaded, Loading, Origin, OriginRoot, Reading};
pub use node::Node;
pub use permission::Permissions;
pub use rebase::{Length, Rewrite};
pub use record::{Before, Brought, Gone};
pub use request::{Caller, Changed, Committed, Failed, ListEntry, SetAttr, SetTime, deliver};
pub use resume::Became;

use crate::host::is_memory_left;
use crate::tree::{Attr, Errno, Ext, InodeRef, NodeId, Outcomes, Tree};
use arc_swap::ArcSwap;
use limits::Removals;
use parking_lot::Mutex;
use quota::Quota;
use record::Changes;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

/// What the filesystem's operations return.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// More than the first files take beside their inodes, bytes.
const LEAST: usize = 8 << 20;

/// The filesystem.
pub struct Fs {
    tree: Tree<Node>,
    config: ArcSwap<Config>,
    permissions: Permissions,
    /// Inodes may have access control lists.
    acls: bool,
    quota: Arc<Quota>,
    /// See [`Fs::allow_beside`].
    beside: AtomicU64,
    removals: Removals,
    /// Some inode has, or had, a [`LABEL`](xattr::LABEL).
    labelled: AtomicBool,
    /// Some inode has, or had, flags.
    flagged: AtomicBool,
    /// Held while an inode is created close to the limit.
    last_inodes: Mutex<()>,
    /// What the seeds of loaded files mean.
    origin: OnceLock<Arc<dyn Origin>>,
    /// What was loaded and is another now.
    changes: Arc<Changes>,
    /// Of following the source.
    figures: follow::Figures,
}

impl Fs {
    /// An empty tree whose root has the attributes `root` (of a directory). A root without links
    /// gets the two of an empty directory. Permissions are the kernel's affair.
    ///
    /// # Errors
    /// `ENOSPC` without memory to begin with.
    pub fn new(config: Config, root: Attr) -> Result<Fs> {
        let nlink = if root.nlink == 0 { 2 } else { root.nlink };
        // Small pieces are not asked for one by one: nobody could go on without them.
        let pieces = || is_memory_left(LEAST).then_some(()).ok_or(Errno::NOSPC);
        pieces()?;
        let tree = Tree::with_extension(Attr { nlink, ..root })?;
        pieces()?;
        Ok(Fs {
            tree,
            config: ArcSwap::from_pointee(config),
            permissions: Permissions::default(),
            acls: false,
            quota: Arc::default(),
            beside: AtomicU64::new(u64::MAX),
            removals: Removals::new(),
            labelled: AtomicBool::new(false),
            flagged: AtomicBool::new(false),
            last_inodes: Mutex::new(()),
            origin: OnceLock::new(),
            changes: Arc::default(),
            figures: follow::Figures::default(),
        })
    }

    /// The same, with permissions decided as `permissions` says.
    pub fn with_permissions(self, permissions: Permissions) -> Fs {
        Fs {
            permissions,
            ..self
        }
    }

    /// Who decides about permissions.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// The same with access control lists, which whoever checks permissions has to know of: without this they are
    /// refused. To be called before anything is loaded.
    pub fn with_acls(mut self) -> Fs {
        self.acls = true;
        self
    }

    /// Whether inodes may have access control lists.
    pub fn keeps_acls(&self) -> bool {
        self.acls
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Replaces the configuration; requests already begun end under the old one. Limits below what
    /// is held free nothing; [`Fs::reconfigure`] refuses them.
    pub fn set_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// The tree underneath.
    pub fn tree(&self) -> &Tree<Node> {
        &self.tree
    }

    /// How no-reference operations ended so far.
    pub fn outcomes(&self) -> Outcomes {
        self.tree.outcomes()
    }

    /// How lookups ended so far, which begin without a reference too and end with a count.
    pub fn lookups(&self) -> Outcomes {
        self.tree.lookups()
    }

    /// The configuration, if it allows changes; EROFS.
    fn writable(&self) -> Result<arc_swap::Guard<Arc<Config>>> {
        let config = self.config.load();
        if config.read_only {
            return Err(Errno::ROFS);
        }
        Ok(config)
    }

    /// The most inodes and bytes, if changes are allowed; EROFS.
    fn writable_limits(&self) -> Result<(u64, u64)> {
        let config = self.writable()?;
        Ok((config.max_inodes, self.most_bytes(&config)))
    }

    fn node<'a>(&self, inode: &'a InodeRef<'_, Node>) -> &'a Node {
        inode.ext_or_insert_with(|seed| match seed {
            Some(seed) => self.grown(seed, inode.attr().size),
            None => Node::new(&self.quota),
        })
    }

    /// The node of an inode that has content; of any other perhaps none.
    fn content_node<'a>(&self, inode: &'a InodeRef<'_, Node>) -> Option<&'a Node> {
        match inode.ext() {
            Ext::Made(node) => Some(node),
            Ext::Seed(_) => Some(self.node(inode)),
            Ext::None => None,
        }
    }

    fn get(&self, id: NodeId) -> Result<InodeRef<'_, Node>> {
        self.tree.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{self, Bed, value};
    use super::*;

    #[test]
    fn names_that_cannot_be() {
        let bed = Bed::new();
        let file = bed.file("f");
        let (fs, c, root) = (&bed.fs, &testing::USER, bed.root());
        let long = [b'x'; 256];
        let bad = [&b""[..], b".", b"..", b"a/b", b"a\0b", b"/"];
        let bad = bad.map(|name| (name, Errno::INVAL));
        for (name, errno) in bad.into_iter().chain([(&long[..], Errno::NAMETOOLONG)]) {
            let refused = Some(errno);
            assert_eq!(fs.mknod(c, root, name, 0o644, 0).err(), refused);
            assert_eq!(fs.mkdir(c, root, name, 0o755).err(), refused);
            assert_eq!(fs.symlink(c, root, name, b"t").err(), refused);
            assert_eq!(fs.link(c, file, root, name).err(), refused);
            assert_eq!(fs.unlink(c, root, name).err(), refused);
            assert_eq!(fs.rmdir(c, root, name).err(), refused);
            for flags in [0, 4] {
                let to = fs.rename(c, (root, b"f"), (root, name), flags);
                let from = fs.rename(c, (root, name), (root, b"g"), flags);
                assert_eq!((from.err(), to.err()), (refused, refused));
            }
        }
        assert_eq!(fs.tree().inodes(), 2);
        for good in [&b"..."[..], b".hidden", b"\xff\xfe", &[b'x'; 255]] {
            fs.mknod(c, root, good, 0o644, 0).unwrap().deliver(drop);
        }
    }

    #[test]
    fn read_only_refuses_every_change() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.fs.set_config(Config {
            read_only: true,
            ..testing::config()
        });
        let (fs, c, root) = (&bed.fs, &testing::ROOT, bed.root());
        let rofs = Some(Errno::ROFS);
        assert_eq!(fs.mknod(c, root, b"x", 0o644, 0).err(), rofs);
        assert_eq!(fs.mkdir(c, root, b"x", 0o755).err(), rofs);
        assert_eq!(fs.symlink(c, root, b"x", b"t").err(), rofs);
        assert_eq!(fs.tmpfile(c, root, 0o644).err(), rofs);
        assert_eq!(fs.link(c, file, root, b"x").err(), rofs);
        assert_eq!(fs.unlink(c, root, b"f").err(), rofs);
        assert_eq!(fs.rmdir(c, root, b"f").err(), rofs);
        assert_eq!(fs.rename(c, (root, b"f"), (root, b"g"), 0).err(), rofs);
        assert_eq!(fs.setattr(c, file, &SetAttr::default()).err(), rofs);
        assert_eq!(value(fs.write(c, file, 0, b"x", false)).err(), rofs);
        assert_eq!(value(fs.fallocate(c, file, 0, 1, 0)).err(), rofs);
        assert_eq!(value(fs.copy_range(c, file, 0, file, 9, 1)).err(), rofs);
        assert_eq!(fs.setxattr(c, file, b"user.a", b"", 0, false).err(), rofs);
        assert_eq!(fs.removexattr(c, file, b"user.a").err(), rofs);
        assert_eq!(fs.open(c, file, libc::O_RDWR).err(), rofs);
        assert_eq!(fs.access(c, file, 2).err(), rofs);
        assert_eq!(fs.open(c, file, libc::O_RDONLY), Ok(()));
        assert_eq!(fs.access(c, file, 4), Ok(()));
    }
}
