//! Names that the source has got, or has no more.

use super::{Following, Look, Map, Name, Set, Stale};
use crate::fs::Result;
use crate::fs::record::{Before, Gone};
use crate::fs::{Loaded, Node};
use crate::tree::{Errno, Kind, Loose, NodeId, Record, Survey};
use std::sync::atomic::Ordering::Relaxed;

/// So many directories lie in one another at most.
const DEEPEST: usize = 1 << 16;

/// So many names are taken away without others having a turn.
const TAKEN: usize = 512;

/// What the source was known to have under `name`.
pub(super) fn base(
    survey: &Survey<'_, Node>,
    gone: &Map<Name, NodeId>,
    name: &Name,
) -> Option<NodeId> {
    match survey.child(name.0, &name.1) {
        Some((id, true)) => Some(id),
        _ => gone.get(name).copied(),
    }
}

impl<'f> Following<'f> {
    /// Has each name lead where the source has it lead. What it leads to is [refreshed](Following::refresh) after that.
    /// Gives those that had other names before, by their numbers.
    pub fn settle(&mut self, looks: &mut [Look]) -> Vec<(usize, NodeId)> {
        let gone = self.gone(looks);
        let fs = self.fs;
        let survey = fs.tree.survey();
        let mut moved = Vec::new();
        for (number, look) in looks.iter_mut().enumerate() {
            let base = base(&survey, &gone, &look.name);
            if look.found.is_none() {
                self.absent
                    .extend(base.map(|base| (look.name.clone(), base)));
                continue;
            }
            self.absent.remove(&look.name);
            self.meet_again(&survey, look);
            if base.is_some() && base == look.node {
                continue;
            }
            let known = look.node;
            match self.lead(&survey, look, base) {
                Ok(true) => moved.extend(known.map(|id| (number, id))),
                // The mount has something else there. Where it is in the source counts all the same.
                Ok(false) => {
                    look.node = known;
                    moved.extend(known.map(|id| (number, id)));
                }
                Err(Errno::LOOP | Errno::STALE) => {
                    self.untaken.push(look.name.clone());
                    look.node = None;
                }
                Err(errno) => {
                    tracing::debug!(name = %look.name.1.escape_ascii(), %errno, "left as it is");
                    fs.figures.refused.fetch_add(1, Relaxed);
                    look.node = None;
                }
            }
        }
        moved
    }

    /// A new file with several names may be met by more than one of them at once.
    fn meet_again(&self, survey: &Survey<'f, Node>, look: &mut Look) {
        if let (None, Some(found)) = (look.node, &look.found)
            && let Some(id) = self.fresh.get(&found.origin)
            && found.keeps_numbers
            && self.is(survey, *id, found)
        {
            look.node = Some(*id);
        }
    }

    /// Has the name of `look` lead to what was found; false if the mount has its own there.
    fn lead(
        &mut self,
        survey: &Survey<'f, Node>,
        look: &mut Look,
        base: Option<NodeId>,
    ) -> Result<bool> {
        let name = &look.name;
        let there = survey.child(name.0, &name.1);
        let stays = match (there, base) {
            (Some((_, false)), _) | (None, Some(_)) => true,
            (Some((old, true)), _) => self.is_touched(survey, old),
            (None, None) => look.node.is_some_and(|id| self.is_elsewhere(survey, id)),
        };
        if stays {
            self.keep_the_mounts(survey, look, base);
            return Ok(false);
        }
        // What was hidden by something of the mount's is met for the first time.
        look.node = look.node.filter(|id| survey.inode(*id).is_some());
        if let Some(stays) = look
            .node
            .and_then(|id| self.comes_around(survey, name.0, id))
        {
            if !stays {
                return Err(Errno::LOOP);
            }
            self.absent.extend(base.map(|base| (name.clone(), base)));
            self.keep_the_mounts(survey, look, None);
            return Ok(false);
        }
        let loose = match look.node {
            Some(id) => self.loosen(survey, id)?,
            None => self.bring(survey, look)?,
        };
        let known = look.node.replace(loose.inode().id());
        if let (None, Some(found)) = (known, &look.found) {
            self.fresh.insert(found.origin, loose.inode().id());
        }
        let name = &look.name.clone();
        let mut loose = Some(loose);
        let put = self.put(survey, name, &mut loose, base);
        if put == Err(Errno::EXIST) {
            // The mount was first.
            drop(loose);
            look.node = known;
            self.keep_the_mounts(survey, look, base);
            return Ok(false);
        }
        if let (Err(_), Some(loose)) = (&put, loose) {
            self.limbo.push((loose, name.clone()));
        }
        put.map(|()| true)
    }

    fn put(
        &mut self,
        survey: &Survey<'f, Node>,
        name: &Name,
        loose: &mut Option<Loose<'f, Node>>,
        over: Option<NodeId>,
    ) -> Result<()> {
        let (directory, bytes) = (name.0, &*name.1);
        let both_files = |old: NodeId| {
            let kind = loose.as_ref().map(|loose| loose.inode().kind());
            kind != Some(Kind::Directory) && !self.fs.tree.is_directory(old)
        };
        let replaced = match over {
            Some(old) if both_files(old) => survey.put((directory, bytes), loose, over, true)?,
            Some(old) => {
                let taken = survey.take(directory, bytes, old)?;
                self.limbo.push((taken, name.clone()));
                survey.put((directory, bytes), loose, None, true)?
            }
            None => survey.put((directory, bytes), loose, None, true)?,
        };
        self.limbo
            .extend(replaced.map(|replaced| (replaced, name.clone())));
        self.news.push(Stale::Name(directory, bytes.into()));
        self.changed();
        Ok(())
    }

    /// Whether `directory` is `id` or below it; then, whether the mount has it stay there: something between was moved by it, or is where
    /// it is because the mount has something else where the source has it.
    fn comes_around(
        &self,
        survey: &Survey<'f, Node>,
        directory: NodeId,
        id: NodeId,
    ) -> Option<bool> {
        let (mut here, mut stays) = (directory, false);
        for _ in 0..DEEPEST {
            if here == id {
                return Some(stays);
            }
            let (above, loaded) = survey.name_of(here, |name| (name.directory, name.loaded))?;
            stays |= !loaded || self.is_displaced(here);
            here = above;
        }
        None
    }

    /// A link to an inode of the source that gets another name.
    fn loosen(&mut self, survey: &Survey<'f, Node>, id: NodeId) -> Result<Loose<'f, Node>> {
        let in_limbo = self
            .limbo
            .iter()
            .position(|(loose, _)| loose.inode().id() == id);
        if let Some(at) = in_limbo {
            return Ok(self.limbo.swap_remove(at).0);
        }
        if !self.fs.tree.is_directory(id) {
            return survey.link_more(id);
        }
        let old = survey.name_of(id, |name| (name.directory, Box::from(name.name)));
        let old: Name = old.ok_or(Errno::STALE)?;
        let loose = survey.take(old.0, &old.1, id)?;
        self.absent.remove(&old);
        self.news.push(Stale::Name(old.0, old.1));
        Ok(loose)
    }

    /// A new inode.
    fn bring(&self, survey: &Survey<'f, Node>, look: &Look) -> Result<Loose<'f, Node>> {
        let found = look.found.as_ref().ok_or(Errno::INVAL)?;
        let config = self.fs.config.load();
        let _last = self.fs.room_for(1, config.max_inodes);
        if _last.is_some() {
            self.fs.last_room(config.max_inodes)?;
        }
        let new = Loaded {
            attr: found.attr,
            ino: found.shown,
            target: look.target.as_deref(),
            xattrs: found.xattrs.clone(),
            backing: None,
            seed: look.seed,
        };
        let (new, seed) = self.fs.described(new, self.fs.most_bytes(&config))?;
        survey.bring(new, seed)
    }

    /// The mount has something of its own under the name of `look`, or nothing: then that is what differs from the source.
    fn keep_the_mounts(&mut self, survey: &Survey<'f, Node>, look: &Look, base: Option<NodeId>) {
        let (name, changes) = (&look.name, &self.fs.changes);
        if let Some(old) = base {
            match survey.child(name.0, &name.1) {
                Some((_, true)) => self.keep(survey, name, old),
                _ => {
                    changes.no_more_gone(&gone(name, old));
                    self.strayed.push(old);
                }
            }
        }
        let inode = match look.node {
            Some(id) => {
                self.remember(survey, id);
                Some(id)
            }
            _ => self.bring(survey, look).ok().map(|loose| {
                let (id, ino) = (loose.inode().id(), loose.inode().ino());
                changes.keep_before(Before::new(id, ino, &loose.inode().attr()));
                id
            }),
        };
        if let Some(inode) = inode {
            changes.gone(name.0, &name.1, inode);
        }
        self.conflict(survey, name);
    }

    /// What the inode is in the source is to be known also when it has ended.
    fn remember(&self, survey: &Survey<'f, Node>, id: NodeId) {
        let changes = &self.fs.changes;
        if changes.with_before(id, |_| ()).is_none()
            && let Some(inode) = survey.inode(id)
        {
            changes.keep_before(Before::new(id, inode.ino, &inode.attr));
            survey.rebase_inode(id, |_| false);
        }
    }

    /// The name and what it leads to are the mount's from now on.
    fn keep(&mut self, survey: &Survey<'f, Node>, name: &Name, inode: NodeId) {
        survey.take_name_for_made(name.0, &name.1);
        self.leave_to_the_mount(survey, inode);
        self.conflict(survey, name);
    }

    /// The inode is the mount's from now on, unless the source has it under a name that is something else here.
    fn leave_to_the_mount(&mut self, survey: &Survey<'f, Node>, inode: NodeId) {
        if !self.fs.changes.has_gone(inode) {
            survey.take_for_made(inode);
            self.fs.changes.no_more_before(inode);
            self.left.insert(inode);
        }
    }

    /// Whether the mount changed more of a file than who leads to it.
    fn is_touched(&self, survey: &Survey<'f, Node>, id: NodeId) -> bool {
        let Some(inode) = survey.inode(id) else {
            return false;
        };
        let attr = inode.attr;
        if attr.kind == Kind::Directory {
            return false;
        }
        let before = self.fs.changes.with_before(id, |before| before.attr());
        before.is_some_and(|before| {
            attr.touched != Default::default()
                || (before.perm, before.uid, before.gid) != (attr.perm, attr.uid, attr.gid)
                || (before.size, before.mtime) != (attr.size, attr.mtime)
        })
    }

    /// Whether the mount moved what the source moves as well, or removed it.
    fn is_elsewhere(&self, survey: &Survey<'f, Node>, id: NodeId) -> bool {
        survey.inode(id).is_none() || self.fs.changes.has_gone(id)
    }

    /// Ends: what the source has no more goes. True if nothing is left to be done; else this is to be called again, after
    /// the [news](Following::news) were delivered.
    pub fn finish(&mut self) -> bool {
        let fs = self.fs;
        let survey = fs.tree.survey();
        let some: Vec<Name> = self.absent.keys().take(TAKEN).cloned().collect();
        for name in some {
            let Some(inode) = self.absent.remove(&name) else {
                continue;
            };
            match survey.child(name.0, &name.1) == Some((inode, true)) {
                true => self.remove(&survey, &name, inode),
                // Neither side has it.
                false => {
                    fs.changes.no_more_gone(&gone(&name, inode));
                    self.strayed.push(inode);
                }
            }
        }
        if !self.absent.is_empty() {
            return false;
        }
        for (loose, name) in std::mem::take(&mut self.limbo) {
            let id = loose.inode().id();
            let directory = loose.inode().kind() == Kind::Directory;
            if directory && (fs.changes.has_gone(id) || !self.empty(&survey, &loose, id)) {
                self.put_beside(&survey, loose, name);
                continue;
            }
            self.end(loose);
        }
        while !self.left.is_empty() || !self.strayed.is_empty() {
            for (name, inode) in fs.changes.gone_in(&std::mem::take(&mut self.left)) {
                fs.changes.no_more_gone(&gone(&name, inode));
                self.strayed.push(inode);
            }
            for id in std::mem::take(&mut self.strayed) {
                self.strip(&survey, id);
            }
        }
        true
    }

    /// A directory that only the mount has a name for, if the source has it no more: what is left of it is the mount's.
    fn strip(&mut self, survey: &Survey<'f, Node>, id: NodeId) {
        let place = survey.name_of(id, |name| {
            (!name.loaded).then(|| (name.directory, Box::from(name.name)))
        });
        let loaded = survey.inode(id).is_some_and(|inode| inode.loaded);
        if let Some(name) = place.flatten().filter(|_| loaded)
            && !self.fs.changes.has_gone(id)
        {
            self.remove_below(survey, id);
            self.keep(survey, &name, id);
        }
    }

    /// A link goes.
    fn end(&mut self, loose: Loose<'f, Node>) {
        let id = loose.inode().id();
        if loose.inode().kind() == Kind::Directory {
            self.left.insert(id);
        }
        if loose.inode().links() > 1 {
            self.linked.push(id);
        } else if !self.fs.changes.has_gone(id) {
            // The source has nothing of it any more.
            self.fs.changes.no_more_before(id);
        }
        drop(loose);
        self.news.push(Stale::Attributes(id));
    }

    /// Whether the inode is a directory that the source has where the mount has something of its own. It stays as it is: the mount has
    /// it elsewhere.
    fn is_displaced(&self, id: NodeId) -> bool {
        self.fs.tree.is_directory(id) && self.fs.changes.has_gone(id)
    }

    /// Takes a name away that the source has no more; what of the mount's is left there stays.
    fn remove(&mut self, survey: &Survey<'f, Node>, name: &Name, inode: NodeId) {
        if self.is_touched(survey, inode) || self.is_displaced(inode) {
            return self.keep(survey, name, inode);
        }
        if let Ok(directory) = self.fs.tree.get(inode)
            && directory.kind() == Kind::Directory
        {
            self.remove_below(survey, inode);
            if survey.close(&directory).is_err() {
                return self.keep(survey, name, inode);
            }
        }
        if let Ok(loose) = survey.take(name.0, &name.1, inode) {
            self.end(loose);
            self.news.push(Stale::Name(name.0, name.1.clone()));
            self.changed();
        }
    }

    /// One directory after the other, the deepest first.
    fn remove_below(&mut self, survey: &Survey<'f, Node>, top: NodeId) {
        let mut names = Vec::new();
        let mut directories = vec![top];
        while let Some(directory) = directories.pop() {
            survey.names_in(directory, |name, id, loaded| {
                if loaded {
                    names.push(((directory, Box::from(name)), id));
                }
            });
            let below = names.iter().rev();
            let below = below.take_while(|((above, _), _)| *above == directory);
            let below =
                below.filter(|(_, id)| self.fs.tree.is_directory(*id) && !self.is_displaced(*id));
            directories.extend(below.map(|(_, id)| *id));
        }
        for (name, id) in names.into_iter().rev() {
            if self.is_displaced(id) {
                self.keep(survey, &name, id);
                continue;
            }
            if self.fs.tree.is_directory(id) {
                let Ok(directory) = self.fs.tree.get(id) else {
                    continue;
                };
                if survey.close(&directory).is_err() {
                    self.keep(survey, &name, id);
                    continue;
                }
            } else if self.is_touched(survey, id) {
                self.keep(survey, &name, id);
                continue;
            }
            if let Ok(loose) = survey.take(name.0, &name.1, id) {
                self.end(loose);
                self.news.push(Stale::Name(name.0, name.1));
                self.changed();
            }
        }
    }

    fn empty(&mut self, survey: &Survey<'f, Node>, loose: &Loose<'f, Node>, id: NodeId) -> bool {
        self.remove_below(survey, id);
        survey.close(loose.inode()).is_ok()
    }

    /// Puts a directory that holds what the mount made beside what the source has in its place.
    fn put_beside(&mut self, survey: &Survey<'f, Node>, loose: Loose<'f, Node>, name: Name) {
        let id = loose.inode().id();
        self.leave_to_the_mount(survey, id);
        let mut loose = Some(loose);
        // A directory that is gone, or lies in this one, has no room for it.
        let above = match self.comes_around(survey, name.0, id) {
            None if survey.name_of(name.0, |_| ()).is_some() => name.0,
            _ => NodeId::ROOT,
        };
        for number in 0..TAKEN {
            let mut bytes = name.1.to_vec();
            if number > 0 {
                bytes.extend_from_slice(format!("~{number}").as_bytes());
            }
            if survey.put((above, &bytes), &mut loose, None, false).is_ok() {
                self.news.push(Stale::Name(above, bytes.into()));
                break;
            }
        }
        self.conflict(survey, &name);
    }

    /// Other names of inodes that lost one since this was asked last: what they show changed too.
    pub fn other_names(&mut self) -> Vec<Name> {
        let linked: Set<NodeId> = std::mem::take(&mut self.linked).into_iter().collect();
        let mut names = Vec::new();
        if !linked.is_empty() {
            let survey = self.fs.tree.survey();
            survey.loaded_names(|directory, name, id| {
                if linked.contains(&id) {
                    names.push((directory, name.into()));
                }
            });
        }
        names
    }
}

fn gone((directory, name): &Name, inode: NodeId) -> Gone {
    Gone {
        directory: *directory,
        name: name.clone(),
        inode,
    }
}
