//! Baseline: a mutex in every node, over its attributes and, in a directory, its table of names.
//!
//! A walk locks one node at a time and carries a reference from each to the next. A node id is the
//! node's own address, kept alive by the client's reference: reading by id needs no table.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use ahash::AHasher;
use norefs::tree::{Attr, Errno, LinkTarget, Time};
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Result;

use crate::contender::{CALLER, Contender, Ids, Move, components, dir_attr, file_attr, may_search};
use crate::shape::Shape;

type Names = HashMap<Box<[u8]>, Arc<Node>, BuildHasherDefault<AHasher>>;

/// The root of a tree of nodes.
pub struct PerNode {
    root: Arc<Node>,
}

/// One inode.
pub struct Node(Mutex<State>);

struct State {
    attr: Attr,
    body: Body,
}

enum Body {
    File,
    Directory(Names),
    Symlink(Box<[u8]>),
}

impl Node {
    fn new(attr: Attr, body: Body) -> Arc<Node> {
        Arc::new(Node(Mutex::new(State { attr, body })))
    }

    fn directory() -> Arc<Node> {
        Node::new(dir_attr(), Body::Directory(Names::default()))
    }

    fn child(&self, name: &[u8]) -> Result<Arc<Node>> {
        let state = self.0.lock();
        let Body::Directory(names) = &state.body else {
            return Err(Errno::NOTDIR);
        };
        may_search(&state.attr, &CALLER)?;
        names.get(name).cloned().ok_or(Errno::NOENT)
    }
}

impl State {
    fn names(&mut self) -> Result<&mut Names> {
        match &mut self.body {
            Body::Directory(names) => Ok(names),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn touch(&mut self, now: Time) {
        (self.attr.mtime, self.attr.ctime) = (now, now);
    }
}

impl PerNode {
    pub fn build(shape: &Shape) -> (PerNode, Ids<Arc<Node>>) {
        let link = |parent: &Arc<Node>, name: &[u8], child: &Arc<Node>| {
            if let Body::Directory(names) = &mut parent.0.lock().body {
                names.insert(name.into(), child.clone());
            }
        };
        let mut dirs = vec![Node::directory()];
        for dir in &shape.dirs[1..] {
            let node = Node::directory();
            link(&dirs[dir.parent as usize], &dir.name, &node);
            dirs.push(node);
        }
        let mut files = Vec::with_capacity(shape.files.len());
        for (index, file) in (0u32..).zip(&shape.files) {
            let body = if file.symlink {
                Body::Symlink(Shape::target(index).into())
            } else {
                Body::File
            };
            let node = Node::new(file_attr(index, file.symlink), body);
            link(&dirs[file.dir as usize], &file.name, &node);
            files.push(node);
        }
        let root = dirs[0].clone();
        (PerNode { root }, Ids { dirs, files })
    }

    fn resolve(&self, path: &[u8]) -> Result<Arc<Node>> {
        let mut names = components(path);
        let Some(first) = names.next() else {
            return Ok(self.root.clone());
        };
        let mut at = self.root.child(first)?;
        for name in names {
            at = at.child(name)?;
        }
        Ok(at)
    }
}

/// Locks two directories in the order of their addresses.
fn lock_both<'n>(
    a: &'n Arc<Node>,
    b: &'n Arc<Node>,
) -> (MutexGuard<'n, State>, MutexGuard<'n, State>) {
    if Arc::as_ptr(a) < Arc::as_ptr(b) {
        let a = a.0.lock();
        (a, b.0.lock())
    } else {
        let b = b.0.lock();
        (a.0.lock(), b)
    }
}

impl Contender for PerNode {
    const NAME: &'static str = "mutex per node";
    type Id = Arc<Node>;

    fn stat(&self, path: &[u8]) -> Result<Attr> {
        Ok(self.resolve(path)?.0.lock().attr)
    }

    fn getattr(&self, id: &Arc<Node>) -> Result<Attr> {
        Ok(id.0.lock().attr)
    }

    fn readlink(&self, id: &Arc<Node>, out: &mut LinkTarget) -> Result<()> {
        let state = id.0.lock();
        let Body::Symlink(target) = &state.body else {
            return Err(Errno::INVAL);
        };
        out.clear();
        out.try_extend_from_slice(target)
            .map_err(|_| Errno::NAMETOOLONG)
    }

    fn rename(&self, step: &Move<Arc<Node>>, now: Time) -> Result<()> {
        let ((from, old), (to, new)) = (&step.from, &step.to);
        if Arc::ptr_eq(from, to) {
            let mut dir = from.0.lock();
            let names = dir.names()?;
            if names.contains_key(&new[..]) {
                return Err(Errno::EXIST);
            }
            let moved = names.remove(&old[..]).ok_or(Errno::NOENT)?;
            moved.0.lock().attr.ctime = now;
            names.insert(new[..].into(), moved);
            dir.touch(now);
            return Ok(());
        }
        let (mut from, mut to) = lock_both(from, to);
        if to.names()?.contains_key(&new[..]) {
            return Err(Errno::EXIST);
        }
        let moved = from.names()?.remove(&old[..]).ok_or(Errno::NOENT)?;
        moved.0.lock().attr.ctime = now;
        to.names()?.insert(new[..].into(), moved);
        from.touch(now);
        to.touch(now);
        Ok(())
    }
}
