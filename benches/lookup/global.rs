//! Baseline: one reader-writer lock around one hash table of (parent, name) and a list of inodes.
//!
//! A walk holds the lock shared once, for all its components; so does a read by node id.

use ahash::RandomState;
use hashbrown::HashTable;
use norefs::tree::{Attr, Errno, Kind, LinkTarget, Time};
use parking_lot::RwLock;
use rustix::io::Result;

use crate::contender::{CALLER, Contender, Ids, Move, components, dir_attr, file_attr, may_search};
use crate::shape::Shape;

/// One lock, one table.
pub struct Global(RwLock<Table>);

struct Table {
    links: HashTable<Link>,
    hasher: RandomState,
    /// Indexed by node id; the root is 0.
    inodes: Vec<Inode>,
}

struct Link {
    parent: u32,
    child: u32,
    name: Box<[u8]>,
}

struct Inode {
    attr: Attr,
    target: Option<Box<[u8]>>,
}

impl Table {
    fn hash(&self, parent: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    fn child(&self, parent: u32, name: &[u8]) -> Result<u32> {
        self.links
            .find(self.hash(parent, name), |link| {
                link.parent == parent && *link.name == *name
            })
            .map(|link| link.child)
            .ok_or(Errno::NOENT)
    }

    fn link(&mut self, parent: u32, name: &[u8], child: u32) {
        let link = Link {
            parent,
            child,
            name: name.into(),
        };
        let hash = self.hash(parent, name);
        let hasher = &self.hasher;
        self.links.insert_unique(hash, link, |link| {
            hasher.hash_one((link.parent, &*link.name))
        });
    }

    fn unlink(&mut self, parent: u32, name: &[u8]) -> Result<u32> {
        let same = |link: &Link| link.parent == parent && *link.name == *name;
        match self.links.find_entry(self.hash(parent, name), same) {
            Ok(found) => Ok(found.remove().0.child),
            Err(_) => Err(Errno::NOENT),
        }
    }

    fn inode(&self, id: u32) -> Result<&Inode> {
        self.inodes.get(id as usize).ok_or(Errno::STALE)
    }

    fn resolve(&self, path: &[u8]) -> Result<&Inode> {
        let mut id = 0;
        let mut inode = self.inode(id)?;
        for name in components(path) {
            if inode.attr.kind != Kind::Directory {
                return Err(Errno::NOTDIR);
            }
            may_search(&inode.attr, &CALLER)?;
            id = self.child(id, name)?;
            inode = self.inode(id)?;
        }
        Ok(inode)
    }

    fn add(&mut self, inode: Inode) -> u32 {
        self.inodes.push(inode);
        (self.inodes.len() - 1) as u32
    }
}

impl Global {
    pub fn build(shape: &Shape) -> (Global, Ids<u32>) {
        let mut table = Table {
            links: HashTable::new(),
            hasher: RandomState::new(),
            inodes: Vec::new(),
        };
        let directory = || Inode {
            attr: dir_attr(),
            target: None,
        };
        let mut dirs = vec![table.add(directory())];
        for dir in &shape.dirs[1..] {
            let id = table.add(directory());
            table.link(dirs[dir.parent as usize], &dir.name, id);
            dirs.push(id);
        }
        let mut files = Vec::with_capacity(shape.files.len());
        for (index, file) in (0u32..).zip(&shape.files) {
            let id = table.add(Inode {
                attr: file_attr(index, file.symlink),
                target: file.symlink.then(|| Shape::target(index).into()),
            });
            table.link(dirs[file.dir as usize], &file.name, id);
            files.push(id);
        }
        (Global(RwLock::new(table)), Ids { dirs, files })
    }
}

impl Contender for Global {
    const NAME: &'static str = "RwLock<HashMap>";
    type Id = u32;

    fn stat(&self, path: &[u8]) -> Result<Attr> {
        Ok(self.0.read().resolve(path)?.attr)
    }

    fn getattr(&self, id: &u32) -> Result<Attr> {
        Ok(self.0.read().inode(*id)?.attr)
    }

    fn readlink(&self, id: &u32, out: &mut LinkTarget) -> Result<()> {
        let table = self.0.read();
        let target = table.inode(*id)?.target.as_deref().ok_or(Errno::INVAL)?;
        out.clear();
        out.try_extend_from_slice(target)
            .map_err(|_| Errno::NAMETOOLONG)
    }

    fn rename(&self, step: &Move<u32>, now: Time) -> Result<()> {
        let mut table = self.0.write();
        if table.child(step.to.0, &step.to.1).is_ok() {
            return Err(Errno::EXIST);
        }
        let moved = table.unlink(step.from.0, &step.from.1)?;
        table.link(step.to.0, &step.to.1, moved);
        for dir in [step.from.0, step.to.0] {
            let attr = &mut table.inodes[dir as usize].attr;
            (attr.mtime, attr.ctime) = (now, now);
        }
        table.inodes[moved as usize].attr.ctime = now;
        Ok(())
    }
}
