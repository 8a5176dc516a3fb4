//! norefs twice over one tree: without a reference, and with one taken on the final inode.

use norefs::tree::{Attr, LinkTarget, NewInode, NodeId, PathArgs, RenameMode, Time, Tree};
use rustix::io::Result;

use crate::contender::{CALLER, Contender, Ids, Move, dir_attr, file_attr};
use crate::shape::Shape;

/// Builds the tree that both contenders share.
pub fn build(shape: &Shape) -> Result<(Tree, Ids<NodeId>)> {
    let tree = Tree::new(dir_attr());
    let mut dirs = vec![tree.root().id()];
    for dir in &shape.dirs[1..] {
        let parent = tree.get(dirs[dir.parent as usize])?;
        let new = NewInode::plain(dir_attr());
        dirs.push(tree.create(&parent, &dir.name, new, None)?.id());
    }
    let mut files = Vec::with_capacity(shape.files.len());
    for (index, file) in (0u32..).zip(&shape.files) {
        let parent = tree.get(dirs[file.dir as usize])?;
        let target = Shape::target(index);
        let new = NewInode {
            target: file.symlink.then_some(&target[..]),
            ..NewInode::plain(file_attr(index, file.symlink))
        };
        files.push(tree.create(&parent, &file.name, new, None)?.id());
    }
    Ok((tree, Ids { dirs, files }))
}

/// The no-reference operations.
pub struct Noref<'t>(pub &'t Tree);

impl Contender for Noref<'_> {
    const NAME: &'static str = "norefs";
    type Id = NodeId;

    fn stat(&self, path: &[u8]) -> Result<Attr> {
        Ok(self.0.stat(&args(path))?.attr)
    }

    fn getattr(&self, id: &NodeId) -> Result<Attr> {
        self.0.stat_node(*id)
    }

    fn readlink(&self, id: &NodeId, out: &mut LinkTarget) -> Result<()> {
        self.0.readlink_node(*id, out)
    }

    fn rename(&self, step: &Move<NodeId>, now: Time) -> Result<()> {
        rename(self.0, step, now)
    }
}

/// The same tree and the same walk; the final inode is referenced while it is read.
pub struct Referenced<'t>(pub &'t Tree);

impl Contender for Referenced<'_> {
    const NAME: &'static str = "with a reference";
    type Id = NodeId;

    fn stat(&self, path: &[u8]) -> Result<Attr> {
        Ok(self.0.lookup_path(&args(path))?.attr())
    }

    fn getattr(&self, id: &NodeId) -> Result<Attr> {
        Ok(self.0.get(*id)?.attr())
    }

    fn readlink(&self, id: &NodeId, out: &mut LinkTarget) -> Result<()> {
        self.0.get(*id)?.read_target(out)
    }

    fn rename(&self, step: &Move<NodeId>, now: Time) -> Result<()> {
        rename(self.0, step, now)
    }
}

fn args(path: &[u8]) -> PathArgs<'_> {
    PathArgs {
        at: NodeId::ROOT,
        path,
        cred: &CALLER,
        follow: false,
    }
}

fn rename(tree: &Tree, step: &Move<NodeId>, now: Time) -> Result<()> {
    let (from, to) = (tree.get(step.from.0)?, tree.get(step.to.0)?);
    let (from, to) = ((&from, &step.from.1[..]), (&to, &step.to.1[..]));
    tree.rename(from, to, RenameMode::NoReplace, now)?;
    Ok(())
}
