//! Carries out operations on the tree and on the model, and compares.

use crate::model::{self, Ino, Model};
use crate::{Op, Pick};
use norefs_tree::{
    Attr, Credential, Errno, InodeRef, Kind, LinkTarget, Mask, NewInode, NodeId, PathArgs,
    RenameMode, Renamed, Time, Tree,
};
use std::collections::HashMap;
use std::ops::ControlFlow;

const CREDS: [Credential<'static>; 3] = [
    Credential::ROOT,
    Credential {
        uid: 1,
        gid: 1,
        groups: &[],
    },
    Credential {
        uid: 2,
        gid: 2,
        groups: &[0],
    },
];

/// Carries out `ops`.
pub fn run(ops: &[Op]) {
    let root = attr(Kind::Directory, 0o755, time(0));
    let tree = Tree::new(root);
    let mut run = Run {
        tree: &tree,
        model: Model::new(root),
        ids: vec![NodeId::ROOT],
        held: Vec::new(),
        cookies: HashMap::new(),
        names: HashMap::new(),
    };
    for (number, op) in ops.iter().enumerate() {
        run.carry_out(op, time(number as i64 + 1));
    }
    run.compare_everything();
    run.empty();
}

fn time(sec: i64) -> Time {
    Time { sec, nsec: 7 }
}

fn attr(kind: Kind, perm: u16, now: Time) -> Attr {
    let nlink = if kind == Kind::Directory { 2 } else { 1 };
    Attr {
        nlink,
        ..Attr::new(kind, perm, 0, 0, now)
    }
}

struct Run<'t> {
    tree: &'t Tree,
    model: Model,
    /// The node id of each inode of the model.
    ids: Vec<NodeId>,
    held: Vec<(Ino, InodeRef<'t>)>,
    /// The cookie each name was last listed with: it keeps it.
    cookies: HashMap<u64, u64>,
    /// The name that was listed with a cookie of a directory: no other one is.
    names: HashMap<(Ino, u64), u64>,
}

type Listed = Vec<(Vec<u8>, NodeId, u64)>;

impl<'t> Run<'t> {
    fn ino(&self, pick: Pick) -> Ino {
        let inodes = &self.model.inodes;
        match pick {
            Pick::Any(n) => n % inodes.len(),
            Pick::Directory(n) => {
                let directories = (0..inodes.len()).filter(|ino| inodes[*ino].is_directory());
                let directories: Vec<Ino> = directories.collect();
                directories[n % directories.len()]
            }
        }
    }

    fn inode(&self, pick: Pick) -> Result<InodeRef<'t>, Errno> {
        self.tree.get(self.ids[self.ino(pick)])
    }

    fn carry_out(&mut self, op: &Op, now: Time) {
        match op {
            Op::Create {
                dir,
                name,
                kind,
                perm,
            } => {
                self.create(*dir, name, attr(*kind, *perm, now), None, now);
            }
            Op::CreateNameless { kind, perm } => {
                let attr = attr(*kind, *perm, now);
                let real = self.tree.create_nameless(NewInode::plain(attr));
                let expected = self.model.create_nameless(model::Inode::new(attr));
                assert_eq!(real.as_ref().err(), expected.as_ref().err());
                if let (Ok(real), Ok(ino)) = (real, expected) {
                    self.ids.push(real.id());
                    self.held.push((ino, real));
                }
            }
            Op::Symlink { dir, name, target } => {
                let attr = attr(Kind::Symlink, 0o777, now);
                self.create(*dir, name, attr, Some(target), now);
            }
            Op::Link { inode, dir, name } => {
                let real = self
                    .inode(*inode)
                    .and_then(|inode| self.tree.link(&inode, &self.inode(*dir)?, name, Some(now)));
                let (ino, dir) = (self.ino(*inode), self.ino(*dir));
                assert_eq!(real, self.model.link(ino, dir, name, now));
            }
            Op::Unlink { dir, name } => {
                let real = self
                    .inode(*dir)
                    .and_then(|dir| self.tree.unlink(&dir, name, now));
                let expected = self.model.unlink(self.ino(*dir), name, now);
                self.same(real.map(|inode| inode.id()), expected);
            }
            Op::Rmdir { dir, name } => {
                let real = self
                    .inode(*dir)
                    .and_then(|dir| self.tree.rmdir(&dir, name, now));
                let expected = self.model.rmdir(self.ino(*dir), name, now);
                self.same(real.map(|inode| inode.id()), expected);
            }
            Op::RemoveTree { dir, name } => {
                let real = self
                    .inode(*dir)
                    .and_then(|dir| self.tree.remove_tree(&dir, name, now));
                let expected = self.model.remove_tree(self.ino(*dir), name, now);
                self.same(real.map(|inode| inode.id()), expected);
            }
            Op::Rename {
                from,
                to,
                mode,
                left,
            } => {
                let left = left.map(|kind| attr(kind, 0, now));
                self.rename(from, to, *mode, left, now);
            }
            Op::Chmod { inode, perm, uid } => self.chmod(*inode, *perm, *uid, now),
            Op::Path {
                at,
                path,
                cred,
                follow,
            } => self.path(*at, path, &CREDS[*cred], *follow),
            Op::ReadDir { dir, position } => self.read_dir(self.ino(*dir), *position),
            other => self.keep_count(other),
        }
    }

    fn create(&mut self, dir: Pick, name: &[u8], attr: Attr, target: Option<&[u8]>, now: Time) {
        let new = NewInode {
            target,
            ..NewInode::plain(attr)
        };
        let real = self
            .inode(dir)
            .and_then(|dir| self.tree.create(&dir, name, new, Some(now)));
        let real = real.map(|inode| inode.id());
        let target = target.map(<[u8]>::to_vec);
        let new = model::Inode {
            target,
            ..model::Inode::new(attr)
        };
        let expected = self.model.create(self.ino(dir), name, new, now);
        if let (Ok(id), Ok(ino)) = (real, expected) {
            assert_eq!(ino, self.ids.len());
            assert!(!self.ids.contains(&id), "a node id was used twice");
            self.ids.push(id);
        }
        self.same(real, expected);
        if expected.is_ok() {
            self.read_dir(self.ino(dir), 0);
        }
    }

    /// What changes who knows of an inode, and nothing else.
    fn keep_count(&mut self, op: &Op) {
        match op {
            Op::Lookup { dir, name } => {
                let ino = self.ino(*dir);
                let real = self.tree.lookup(self.ids[ino], name);
                let expected = self.model.lookup(ino, name);
                let entry = |ino: Ino| (self.ids[ino], self.model.inodes[ino].attr);
                let real = real.map(|found| found.map(|entry| (entry.id, entry.attr)));
                assert_eq!(real, expected.map(|found| found.map(entry)));
            }
            Op::Raise { inode } => {
                let real = self.inode(*inode).and_then(|inode| inode.raise_lookup());
                assert_eq!(real, self.model.raise_lookup(self.ino(*inode)));
            }
            Op::Forget { inode, n } => {
                let ino = self.ino(*inode);
                let real = self.tree.forget(self.ids[ino], *n);
                assert_eq!(real, self.model.forget(ino, *n));
            }
            Op::Parent { dir } => {
                let real = self.inode(*dir).and_then(|dir| self.tree.parent(&dir));
                self.same(
                    real.map(|inode| inode.id()),
                    self.model.parent(self.ino(*dir)),
                );
            }
            Op::Hold { inode } => {
                if let Ok(held) = self.inode(*inode) {
                    let ino = self.ino(*inode);
                    self.model.inodes[ino].holds += 1;
                    self.held.push((ino, held));
                }
            }
            Op::Release { which } if !self.held.is_empty() => {
                let (ino, _) = self.held.swap_remove(which % self.held.len());
                self.model.inodes[ino].holds -= 1;
            }
            _ => {}
        }
    }

    fn rename(
        &mut self,
        from: &(Pick, Vec<u8>),
        to: &(Pick, Vec<u8>),
        mode: RenameMode,
        left: Option<Attr>,
        now: Time,
    ) {
        let real = self.inode(from.0).and_then(|dir| {
            let to_dir = self.inode(to.0)?;
            let (old, new) = ((&dir, &from.1[..]), (&to_dir, &to.1[..]));
            match left.map(NewInode::plain) {
                None => self.tree.rename(old, new, mode, now),
                Some(left) => self.tree.rename_leaving(old, new, mode, left, now),
            }
        });
        let (from, to) = ((self.ino(from.0), &from.1[..]), (self.ino(to.0), &to.1[..]));
        let expected = self.model.rename(from, to, mode, left, now);
        assert_eq!(real, expected.map(|renamed| self.renamed(renamed)));
        if self.model.inodes.len() > self.ids.len() {
            let dir = self.tree.get(self.ids[from.0]).unwrap();
            let left = self.tree.child(&dir, from.1).unwrap().id();
            assert!(!self.ids.contains(&left), "a node id was used twice");
            self.ids.push(left);
        }
        if expected.is_ok() {
            self.read_dir(from.0, 0);
            self.read_dir(to.0, 0);
        }
    }

    fn same(&self, real: Result<NodeId, Errno>, expected: Result<Ino, Errno>) {
        assert_eq!(real, expected.map(|ino| self.ids[ino]));
    }

    fn renamed(&self, renamed: model::Renamed) -> Renamed {
        Renamed {
            moved: self.ids[renamed.moved],
            exchanged: renamed.exchanged.map(|ino| self.ids[ino]),
            replaced: renamed.replaced.map(|ino| self.ids[ino]),
            changed: renamed.changed,
        }
    }

    fn chmod(&mut self, inode: Pick, perm: u16, uid: u32, now: Time) {
        let change = |attr: &mut Attr| {
            (attr.perm, attr.uid, attr.ctime) = (perm, uid, now);
            // A change that fails changes nothing.
            if perm == 0o644 {
                Err(Errno::PERM)
            } else {
                Ok(())
            }
        };
        let real = self.inode(inode).and_then(|inode| inode.update(change));
        let ino = self.ino(inode);
        let mut attr = self.model.inodes[ino].attr;
        let expected = self.model.get(ino).and_then(|_| change(&mut attr));
        if expected.is_ok() {
            self.model.inodes[ino].attr = attr;
        }
        assert_eq!(real, expected.map(|()| ((), attr)));
    }

    fn path(&self, at: Pick, path: &[u8], cred: &Credential<'_>, follow: bool) {
        let ino = self.ino(at);
        let args = PathArgs {
            at: self.ids[ino],
            path,
            cred,
            follow,
        };
        let expected = self.model.walk(ino, path, cred, follow);
        let attrs = expected.map(|ino| (self.ids[ino], self.model.inodes[ino].attr));
        let tree = self.tree;
        assert_eq!(tree.stat(&args).map(|entry| (entry.id, entry.attr)), attrs);
        let slow = |inode: InodeRef<'_>| (inode.id(), inode.attr());
        assert_eq!(tree.resolve(&args).map(slow), attrs);
        assert_eq!(tree.lookup_path(&args).map(slow), attrs);
        assert_eq!(tree.access(&args, Mask::EXISTS), expected.map(|_| ()));
        let mut target = LinkTarget::new();
        let read = tree.readlink(&args, &mut target).map(|()| target.to_vec());
        let link = self.model.walk(ino, path, cred, false);
        let link = link.and_then(|ino| self.model.inodes[ino].target.clone().ok_or(Errno::INVAL));
        assert_eq!(read, link);
    }

    fn list(&self, dir: &InodeRef<'_>, from: u64) -> Result<Listed, Errno> {
        let mut listed = Vec::new();
        self.tree.read_dir(dir, from, |entry| {
            assert_eq!(entry.attr.kind, entry.kind);
            listed.push((entry.name.to_vec(), entry.id, entry.cookie));
            ControlFlow::Continue(())
        })?;
        Ok(listed)
    }

    fn read_dir(&mut self, ino: Ino, position: usize) {
        let Ok(dir) = self.tree.get(self.ids[ino]) else {
            return assert_eq!(self.model.get(ino).err(), Some(Errno::STALE));
        };
        if !self.model.inodes[ino].is_directory() {
            return assert_eq!(self.list(&dir, 0), Err(Errno::NOTDIR));
        }
        let listed = self.list(&dir, 0).unwrap();
        assert!(listed.is_sorted_by_key(|(_, _, cookie)| *cookie));
        assert!(
            listed
                .iter()
                .all(|(_, _, cookie)| (3..1 << 31).contains(cookie))
        );
        // The youngest comes first, so that nobody meets what is made while he lists.
        let born = |(name, ..): &(Vec<u8>, _, _)| self.model.inodes[ino].names[name].birth;
        assert!(listed.is_sorted_by_key(|entry| std::cmp::Reverse(born(entry))));
        let names = &self.model.inodes[ino].names;
        assert_eq!(listed.len(), names.len());
        for (name, id, cookie) in &listed {
            let edge = names[name];
            assert_eq!(*id, self.ids[edge.ino]);
            let kept = *self.cookies.entry(edge.birth).or_insert(*cookie);
            assert_eq!(kept, *cookie, "a name moved in the listing");
            let named = *self.names.entry((ino, *cookie)).or_insert(edge.birth);
            assert_eq!(named, edge.birth, "a cookie was used twice");
        }
        // Going on from any position, also that of a name which is gone, gives what follows it.
        let (from, rest) = match listed.get(position) {
            Some((_, _, cookie)) => (*cookie, &listed[position + 1..]),
            None => (
                position as u64,
                &listed[listed.partition_point(|l| l.2 <= position as u64)..],
            ),
        };
        assert_eq!(self.list(&dir, from).unwrap(), rest);
    }

    fn compare_everything(&mut self) {
        for ino in 0..self.ids.len() {
            let (id, inode) = (self.ids[ino], &self.model.inodes[ino]);
            if !inode.lives() {
                assert_eq!(self.tree.stat_node(id), Err(Errno::STALE));
                assert_eq!(self.tree.get(id).err(), Some(Errno::STALE));
                continue;
            }
            assert_eq!(self.tree.stat_node(id), Ok(inode.attr));
            assert_eq!(self.tree.counts(id), Ok((inode.holds, inode.nlookup)));
            let real = self.tree.get(id).unwrap();
            assert_eq!(
                (real.links(), real.target()),
                (inode.links, inode.target.clone())
            );
            self.read_dir(ino, 0);
        }
        let living = self
            .model
            .inodes
            .iter()
            .filter(|inode| inode.lives())
            .count();
        assert_eq!(self.tree.inodes(), living as u64);
    }

    /// Nothing is left when nobody knows of anything any more.
    fn empty(mut self) {
        for (name, edge) in std::mem::take(&mut self.model.inodes[0].names) {
            let root = self.tree.root();
            let removed = match self.model.inodes[edge.ino].is_directory() {
                true => self.tree.remove_tree(&root, &name, time(0)),
                false => self.tree.unlink(&root, &name, time(0)),
            };
            assert_eq!(removed.map(|inode| inode.id()), Ok(self.ids[edge.ino]));
        }
        self.held.clear();
        for (id, inode) in self.ids.iter().zip(&self.model.inodes) {
            if inode.nlookup > 0 {
                assert!(self.tree.forget(*id, inode.nlookup));
            }
        }
        assert_eq!(self.tree.inodes(), 1);
    }
}
