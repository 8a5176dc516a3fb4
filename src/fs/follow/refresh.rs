//! Attributes and content that the source has changed.

use super::{Following, Found, Look, Stale};
use crate::fs::data::Content;
use crate::fs::kept::Xattrs;
use crate::fs::record::{Before, Brought};
use crate::fs::{Fs, Node};
use crate::tree::{Attr, Ext, InodeRef, Kind, NodeId, Seed};

/// What became of an inode.
#[derive(Default)]
struct Change {
    attributes: bool,
    content: bool,
    conflict: bool,
}

impl Following<'_> {
    /// Has the inode of `look`, which has the name, show what was found there.
    pub fn refresh(&mut self, look: &Look) {
        let (Some(id), Some(found)) = (look.node, &look.found) else {
            return;
        };
        let change = self.fs.refresh(id, found, look.touched, look.seed);
        self.tell(id, &change);
        if change.conflict {
            let survey = self.fs.tree.survey();
            self.conflict(&survey, &look.name);
        }
    }

    /// The same of a directory itself, whose name is of no account.
    pub fn refresh_directory(&mut self, id: NodeId, found: &Found) {
        let change = self.fs.refresh(id, found, false, None);
        self.tell(id, &change);
    }

    /// Whether content of `id` has to be made anew if the source has some.
    pub fn needs_seed(&self, id: NodeId) -> bool {
        let Ok(inode) = self.fs.get(id) else {
            return false;
        };
        match inode.ext() {
            Ext::None => true,
            Ext::Seed(_) => false,
            Ext::Made(node) => node.content.read().is_in_memory() && !inode.attr().touched.content,
        }
    }

    /// From what the content of `id` is made, as far as it lies in the source.
    pub fn seed_of(&self, id: NodeId) -> Option<Seed> {
        let inode = self.fs.get(id).ok()?;
        match inode.ext() {
            Ext::None => None,
            Ext::Seed(seed) => Some(seed),
            Ext::Made(node) => node.content.read().backed_now()?.seed(),
        }
    }

    fn tell(&mut self, id: NodeId, change: &Change) {
        if change.attributes || change.content {
            self.changed();
            self.news.push(match change.content {
                true => Stale::Content(id),
                false => Stale::Attributes(id),
            });
        }
    }
}

impl Fs {
    fn refresh(&self, id: NodeId, found: &Found, touched: bool, seed: Option<Seed>) -> Change {
        let Ok(inode) = self.get(id) else {
            return Change::default();
        };
        let mut found_attr = found.attr;
        let max = self.most_bytes(&self.config.load());
        let xattrs = self.load_xattrs(found.xattrs.clone(), &mut found_attr, max);
        let node = match (&xattrs, inode.ext()) {
            (_, Ext::Made(node)) => Some(node),
            (Ok(xattrs), _) if !xattrs.is_empty() => Some(self.node(&inode)),
            _ if seed.is_some() => Some(self.node(&inode)),
            _ => None,
        };
        let mut content = node.map(|node| node.content.write());
        let mut change = Change::default();
        if let (Some(node), Ok(xattrs)) = (node, xattrs) {
            change.attributes = replace_xattrs(node, &inode, xattrs);
        }
        let other_xattrs = change.attributes;
        let merged = inode.refresh(|attr, as_loaded| match as_loaded {
            true => take(attr, &found_attr),
            false => self.merge(id, attr, &found_attr),
        });
        change.attributes |= merged.attributes;
        change.conflict = merged.conflict;
        let attr = inode.attr();
        if attr.kind == Kind::Regular && !attr.touched.content {
            change.content = merged.content || touched;
            if let Some(content) = &mut content {
                self.renew_content(content, seed, attr.size);
            }
        }
        if attr.kind == Kind::Directory {
            change.content = merged.attributes;
        }
        if other_xattrs || change.content && attr.kind == Kind::Regular {
            // Which of the attributes tells nobody that asks what changed.
            _ = inode.update(|_| Ok(()));
        }
        drop(content);
        if self.brought(id).is_some() {
            self.bring(Brought::new(id, found.origin, &found_attr));
        }
        change
    }

    fn renew_content(&self, content: &mut Content, seed: Option<Seed>, size: u64) {
        if content.has_now(size) {
            return;
        }
        if let (Some(seed), Some(origin)) = (seed, self.origin.get()) {
            *content = Content::backed(&self.quota, origin.clone().backing(seed), size);
        }
    }

    /// Of an inode that the mount changed: what it did not change becomes what was found.
    fn merge(&self, id: NodeId, attr: &mut Attr, found: &Attr) -> Change {
        let merged = self.changes.with_before(id, |before| {
            let base = before.attr();
            *before = Before::new(id, before.ino, found);
            merge(attr, &base, found)
        });
        merged.unwrap_or_default()
    }
}

/// Takes `found` as it is.
fn take(attr: &mut Attr, found: &Attr) -> Change {
    let old = *attr;
    *attr = Attr {
        kind: old.kind,
        rdev: old.rdev,
        flags: old.flags,
        btime: old.btime,
        unsettled: old.unsettled,
        touched: old.touched,
        ..*found
    };
    Change {
        attributes: *attr != old,
        content: (old.size, old.mtime) != (found.size, found.mtime),
        conflict: false,
    }
}

/// Takes of `found` what the mount left as it was.
fn merge(attr: &mut Attr, base: &Attr, found: &Attr) -> Change {
    let old = *attr;
    let mut conflict = false;
    let mut one = |mine: &mut u64, was: u64, is: u64| match *mine == was {
        true => *mine = is,
        false => conflict |= is != was && is != *mine,
    };
    let (mut perm, mut uid, mut gid) = (attr.perm.into(), attr.uid.into(), attr.gid.into());
    one(&mut perm, base.perm.into(), found.perm.into());
    one(&mut uid, base.uid.into(), found.uid.into());
    one(&mut gid, base.gid.into(), found.gid.into());
    (attr.perm, attr.uid, attr.gid) = (perm as u16, uid as u32, gid as u32);
    let directory = attr.kind == Kind::Directory;
    let changed = (base.size, base.mtime) != (found.size, found.mtime);
    match (directory, attr.touched.content) {
        (true, _) => {
            let more = found.size as i64 - base.size as i64;
            attr.size = attr.size.saturating_add_signed(more);
        }
        (false, false) => (attr.size, attr.blocks) = (found.size, found.blocks),
        (false, true) => conflict |= changed,
    }
    if attr.nlink > 0 {
        let more = i64::from(found.nlink) - i64::from(base.nlink);
        let nlink = i64::from(attr.nlink).saturating_add(more);
        attr.nlink = nlink.clamp(1, u32::MAX.into()) as u32;
    }
    if attr.mtime == base.mtime {
        attr.mtime = found.mtime;
    }
    if attr.ctime == base.ctime {
        attr.ctime = found.ctime;
    }
    Change {
        attributes: *attr != old,
        content: changed,
        conflict,
    }
}

/// Whether there are others now.
fn replace_xattrs(node: &Node, inode: &InodeRef<'_, Node>, new: Xattrs) -> bool {
    let touched = inode.attr().touched;
    if touched.xattrs || touched.acl {
        return false;
    }
    let mut kept = node.xattrs.write();
    let same = match kept.as_deref() {
        Some(kept) => kept.is_same(&new),
        None => new.is_empty(),
    };
    if !same {
        *kept = (!new.is_empty()).then(|| Box::new(new));
    }
    !same
}
