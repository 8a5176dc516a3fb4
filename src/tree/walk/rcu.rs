//! rcu_walk: a whole path without a lock or a reference.
//!
//! Each directory is read once: its head (kind, permissions, stamp) in one validated window, then its
//! table. What was read is not read again until [`RcuWalk::validate`].
//!
//! Source: the kernel's `link_path_walk`, `lookup_fast` and `step_into` in RCU mode ("Pathname lookup"),
//! with validation at the end instead of hand over hand.

use super::evidence::{Evidence, MAX_STEPS, Step};
use super::path::{self, MAX_LINKS};
use crate::tree::block::{Head, WORDS};
use crate::tree::cred::Mask;
use crate::tree::directory::Up;
use crate::tree::name::Name;
use crate::tree::noref::{PathArgs, owner, seam};
use crate::tree::outcomes::Outcome;
use crate::tree::{Credential, Errno, NodeId, Tree};
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
    evidence: Evidence,
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
            evidence: Evidence::default(),
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
        let (words, version) = self.tree.store.inode(slot).block.read()?;
        self.evidence.last = Some((slot, version));
        Some(words)
    }

    /// Looks at all evidence again.
    ///
    /// # Errors
    /// Why the attempt must be repeated.
    #[inline(always)]
    pub(in crate::tree) fn validate(&self) -> Result<(), Outcome> {
        self.evidence.validate(&self.tree.store)
    }

    fn start(&self, args: &PathArgs<'_>) -> Go<(u32, Head)> {
        let id = match args.path.first() {
            Some(b'/') => NodeId::ROOT,
            _ => args.at,
        };
        let stale = Stop::Err(Errno::STALE);
        if self.tree.store.inodes.get(id.slot()).is_none() {
            return Err(stale);
        }
        let head = self.head(id.slot())?;
        match head.generation() == id.generation() && head.kind().is_some() {
            true => Ok((id.slot(), head)),
            false => Err(stale),
        }
    }

    #[inline(always)]
    fn head(&self, slot: u32) -> Go<Head> {
        let head = self.tree.store.inode(slot).head();
        head.ok_or(Stop::Retry(Outcome::RetryAttr))
    }

    #[inline(always)]
    fn walk(&mut self, args: &PathArgs<'w>) -> Go<u32> {
        path::check(args.path).map_err(Stop::Err)?;
        let (mut slot, mut head) = self.start(args)?;
        // Paths still to be walked: the given one, under the targets of links met on the way.
        let mut paths = ArrayVec::<&'w [u8], { MAX_LINKS + 1 }>::new();
        let mut rest: &'w [u8] = args.path;
        let mut links = 0;
        loop {
            let Some((component, after)) = path::split(rest) else {
                if !rest.is_empty() && !head.is_directory() {
                    return Err(Stop::Err(Errno::NOTDIR));
                }
                match paths.pop() {
                    Some(path) => rest = path,
                    None => return Ok(slot),
                }
                continue;
            };
            rest = after;
            let next = self.step(slot, &head, component)?;
            if rest.is_empty() && paths.is_empty() && !args.follow {
                return Ok(next);
            }
            let next_head = self.head(next)?;
            if !next_head.is_symlink() {
                (slot, head) = (next, next_head);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Stop::Err(Errno::LOOP));
            }
            let target = self.target(&next_head)?;
            if !rest.is_empty() {
                paths.push(rest);
            }
            if target.first() == Some(&b'/') {
                slot = NodeId::ROOT.slot();
                head = self.head(slot)?;
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

    /// From the directory `slot` through one component.
    #[inline(always)]
    fn step(&mut self, slot: u32, head: &Head, component: &[u8]) -> Go<u32> {
        seam!(BeforeStep);
        if !head.is_directory() {
            return Err(Stop::Err(Errno::NOTDIR));
        }
        if self.evidence.steps.len() == MAX_STEPS {
            return Err(Stop::Retry(Outcome::Slow));
        }
        let at = self.evidence.steps.len();
        self.evidence.steps.push(Step {
            directory: slot,
            dentry: 0,
            stamp: head.stamp(),
        });
        if !owner(head).allows(self.cred, Mask::EXECUTE) {
            return Err(Stop::Err(Errno::ACCESS));
        }
        let (dentry, next) = match component {
            b"." => (0, slot),
            b".." => self.up(slot, head)?,
            _ => self.down(slot, head, component)?,
        };
        self.evidence.steps[at].dentry = dentry;
        Ok(next)
    }

    fn up(&self, slot: u32, head: &Head) -> Go<(u32, u32)> {
        match self.tree.store.directories.at(head.aux()).up() {
            Up::Root => Ok((0, slot)),
            Up::Dentry(dentry) => Ok((dentry, self.tree.store.dentry(dentry).parent())),
            Up::Removed => Err(Stop::Err(Errno::NOENT)),
        }
    }

    #[inline(always)]
    fn down(&mut self, slot: u32, head: &Head, component: &[u8]) -> Go<(u32, u32)> {
        let name = Name::new(component, &self.tree.hasher).map_err(Stop::Err)?;
        let find = || {
            let dentry = self.tree.find(slot, &name, self.guard)?;
            Some((dentry, self.tree.store.dentry(dentry).inode()))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        // Only a miss needs the rename sequence, and pays for it with a second probe.
        let renames = &self.tree.store.directories.at(head.aux()).renames;
        seam!(BeforeStamp);
        let stamp = renames.stamp().ok_or(Stop::Retry(Outcome::RetryRename))?;
        seam!(BeforeSecondProbe);
        if let Some(found) = find() {
            return Ok(found);
        }
        self.evidence.miss = Some((head.aux(), stamp));
        Err(Stop::Err(Errno::NOENT))
    }
}
