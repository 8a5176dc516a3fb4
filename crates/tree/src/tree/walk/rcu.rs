//! rcu_walk: a whole path without a lock or a reference.
//!
//! Each directory is read once: its head (kind, permissions, stamp) in one validated window, then its
//! table. What was read is not read again until [`RcuWalk::validate`].
//!
//! Source: the kernel's `link_path_walk`, `lookup_fast` and `step_into` in RCU mode ("Pathname lookup"),
//! with validation at the end instead of hand over hand.

use super::evidence::{Evidence, MAX_STEPS, Step};
use super::path::{self, MAX_LINKS};
use crate::sync::Up;
use crate::tree::block::{Head, WORDS};
use crate::tree::cred::{Mask, Owner};
use crate::tree::dentry::Dentry;
use crate::tree::name::Name;
use crate::tree::outcomes::Outcome;
use crate::tree::store::Inode;
use crate::tree::{Credential, Errno, NodeId, PathArgs, Tree};
use arrayvec::ArrayVec;
use crossbeam_epoch::Guard;

/// How a walk ended. Nothing counts before [`RcuWalk::validate`], but that it must be repeated.
pub(in crate::tree) enum Walked {
    /// At the inode in this slot, still without a reference: the walk is in rcu mode.
    Found(u32),
    /// With an error.
    Err(Errno),
    /// It must be repeated for this cause; [`Outcome::Slow`]: by the locked walk.
    Retry(Outcome),
}

/// Leaves the walk early.
enum Stop {
    Err(Errno),
    Retry(Outcome),
}

type Go<T> = Result<T, Stop>;

/// One walk in rcu mode.
pub(in crate::tree) struct RcuWalk<'w, 'g, E: Send + Sync + 'static> {
    tree: &'w Tree<E>,
    cred: &'w Credential<'w>,
    guard: &'g Guard,
    evidence: Evidence<'w, E>,
}

/// Where a walk is.
struct Here<'w, E> {
    slot: u32,
    inode: &'w Inode<E>,
    head: Head,
}

impl<'w, 'g: 'w, E: Send + Sync + 'static> RcuWalk<'w, 'g, E> {
    #[inline(always)]
    pub(in crate::tree) fn new(
        tree: &'w Tree<E>,
        cred: &'w Credential<'w>,
        guard: &'g Guard,
    ) -> Self {
        RcuWalk {
            tree,
            cred,
            guard,
            evidence: Evidence::new(),
        }
    }

    /// Walks.
    #[inline(always)]
    pub(in crate::tree) fn run(&mut self, args: &PathArgs<'w>) -> Walked {
        match self.walk(args) {
            Ok(slot) => Walked::Found(slot),
            Err(Stop::Err(error)) => Walked::Err(error),
            Err(Stop::Retry(cause)) => Walked::Retry(cause),
        }
    }

    /// The attributes of the inode at the end, as further evidence.
    #[inline(always)]
    pub(in crate::tree) fn read_final(&mut self, slot: u32) -> Option<[u64; WORDS]> {
        let inode = self.tree.store.inode(slot);
        let (words, version) = inode.block.read()?;
        self.evidence.last = Some((inode, version));
        Some(words)
    }

    /// Looks at all evidence again.
    ///
    /// # Errors
    /// Why the attempt must be repeated.
    #[inline(always)]
    pub(in crate::tree) fn validate(&self) -> Result<(), Outcome> {
        self.evidence.validate()
    }

    #[inline(always)]
    fn start(&self, args: &PathArgs<'_>) -> Go<Here<'w, E>> {
        let id = match args.path.first() {
            Some(b'/') => NodeId::ROOT,
            _ => args.at,
        };
        let stale = Stop::Err(Errno::STALE);
        if self.tree.store.inodes.get(id.slot()).is_none() {
            return Err(stale);
        }
        let here = self.enter(id.slot())?;
        let head = &here.head;
        match head.generation() == id.generation() && head.kind().is_some() {
            true => Ok(here),
            false => Err(stale),
        }
    }

    #[inline(always)]
    fn enter(&self, slot: u32) -> Go<Here<'w, E>> {
        let inode = self.tree.store.inode(slot);
        match inode.head() {
            Some(head) => Ok(Here { slot, inode, head }),
            None => Err(Stop::Retry(Outcome::RetryAttr)),
        }
    }

    #[inline(always)]
    fn walk(&mut self, args: &PathArgs<'w>) -> Go<u32> {
        path::check(args.path).map_err(Stop::Err)?;
        let mut here = self.start(args)?;
        // Paths still to be walked: the given one, under the targets of links met on the way.
        let mut paths = ArrayVec::<&'w [u8], { MAX_LINKS + 1 }>::new();
        let mut rest: &'w [u8] = args.path;
        let mut links = 0;
        loop {
            let Some((component, after)) = path::split(rest) else {
                if !rest.is_empty() && !here.head.is_directory() {
                    return Err(Stop::Err(Errno::NOTDIR));
                }
                match paths.pop() {
                    Some(path) => rest = path,
                    None => return Ok(here.slot),
                }
                continue;
            };
            rest = after;
            let next = self.step(&here, component)?;
            if rest.is_empty() && paths.is_empty() && !args.follow {
                return Ok(next);
            }
            let next = self.enter(next)?;
            if !next.head.is_symlink() {
                here = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Stop::Err(Errno::LOOP));
            }
            let target = self.target(&next.head)?;
            if !rest.is_empty() {
                paths.push(rest);
            }
            if target.first() == Some(&b'/') {
                here = self.enter(NodeId::ROOT.slot())?;
            }
            rest = target;
        }
    }

    fn target(&self, head: &Head) -> Go<&'w [u8]> {
        let link = self.tree.store.links.at(head.aux());
        match link.target.get(self.guard) {
            Some(target) => Ok(target),
            None => Err(Stop::Retry(Outcome::RetryEdge)),
        }
    }

    /// From the directory `here` through one component.
    #[inline(always)]
    fn step(&mut self, here: &Here<'w, E>, component: &[u8]) -> Go<u32> {
        failpoint!(BeforeStep);
        if !here.head.is_directory() {
            return Err(Stop::Err(Errno::NOTDIR));
        }
        let step = |dentry| Step {
            directory: here.inode,
            stamp: here.head.stamp(),
            dentry,
        };
        if self.evidence.steps.len() == MAX_STEPS {
            return Err(Stop::Retry(Outcome::Slow));
        }
        let found = match Owner::of_head(&here.head).allows(self.cred, Mask::EXECUTE) {
            true => self.pass(here, component),
            false => Err(Stop::Err(Errno::ACCESS)),
        };
        let dentry = found.as_ref().map_or(None, |(dentry, _)| *dentry);
        self.evidence.steps.push(step(dentry));
        found.map(|(_, next)| next)
    }

    /// The dentry that leads on, if one does, and where it leads.
    #[inline(always)]
    fn pass(&mut self, here: &Here<'w, E>, component: &[u8]) -> Go<(Option<&'w Dentry>, u32)> {
        match component {
            b"." => Ok((None, here.slot)),
            b".." => self.up(here),
            _ => self.down(here, component),
        }
    }

    fn up(&self, here: &Here<'w, E>) -> Go<(Option<&'w Dentry>, u32)> {
        let store = &self.tree.store;
        match store.directories.at(here.head.aux()).up.get() {
            Up::Root => Ok((None, here.slot)),
            Up::Name(dentry) => {
                let dentry = store.dentry(dentry);
                Ok((Some(dentry), dentry.parent()))
            }
            Up::Removed => Err(Stop::Err(Errno::NOENT)),
        }
    }

    #[inline(always)]
    fn down(&mut self, here: &Here<'w, E>, component: &[u8]) -> Go<(Option<&'w Dentry>, u32)> {
        Name::check(component).map_err(Stop::Err)?;
        let name = Name::checked(component, &self.tree.hasher);
        match self.tree.find_in(here.inode, &name, self.guard) {
            Some((_, dentry)) => Ok((Some(dentry), dentry.inode())),
            None => self.down_again(here, name),
        }
    }

    /// Only a miss needs the rename sequence, and pays for it with a second probe.
    #[inline(never)]
    fn down_again(&mut self, here: &Here<'w, E>, name: Name<'_>) -> Go<(Option<&'w Dentry>, u32)> {
        let directory = self.tree.store.directories.at(here.head.aux());
        failpoint!(BeforeStamp);
        let stamp = directory.renames.stamp();
        let stamp = stamp.ok_or(Stop::Retry(Outcome::RetryRename))?;
        failpoint!(BeforeSecondProbe);
        if let Some((_, dentry)) = self.tree.find_in(here.inode, &name, self.guard) {
            return Ok((Some(dentry), dentry.inode()));
        }
        self.evidence.miss = Some((directory, stamp));
        Err(Stop::Err(Errno::NOENT))
    }
}
