//! The locked walk: the fallback that takes references.
//!
//! Each step holds one directory's lock, shared, just long enough to find the name, check the search
//! permission on that directory and take the child's reference. Nothing can fail validation here, so a
//! walk ends after as many steps as the path has.

use super::path::{self, MAX_LINKS};
use crate::tree::cred::{Mask, Owner};
use crate::tree::{Credential, Errno, InodeRef, Kind, PathArgs, Result, Tree};

impl<E: Send + Sync + 'static> Tree<E> {
    /// The inode a path leads to, referenced, by the locked walk.
    ///
    /// # Errors
    /// As [`Tree::noref_path`].
    pub fn resolve(&self, args: &PathArgs<'_>) -> Result<InodeRef<'_, E>> {
        path::check(args.path)?;
        let mut here = match args.path.first() {
            Some(b'/') => self.root(),
            _ => self.get(args.at)?,
        };
        let mut rest = args.path.to_vec();
        let mut links = 0;
        loop {
            let Some((component, after)) = path::split(&rest) else {
                if !rest.is_empty() && here.kind() != Kind::Directory {
                    return Err(Errno::NOTDIR);
                }
                return Ok(here);
            };
            let next = self.locked_step(&here, component, args.cred)?;
            let stop = after.is_empty() && !args.follow;
            match next.target() {
                Some(target) if !stop => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.first() == Some(&b'/') {
                        here = self.root();
                    }
                    rest = [&target, after].concat();
                }
                _ => {
                    here = next;
                    rest = after.to_vec();
                }
            }
        }
    }

    fn locked_step(
        &self,
        here: &InodeRef<'_, E>,
        component: &[u8],
        cred: &Credential<'_>,
    ) -> Result<InodeRef<'_, E>> {
        failpoint!(BeforeStep);
        let directory = self.directory(here)?;
        let search = || {
            let allowed = Owner::of(&here.attr()).allows(cred, Mask::EXECUTE);
            allowed.then_some(()).ok_or(Errno::ACCESS)
        };
        match component {
            b"." => search().and_then(|()| self.get(here.id())),
            b".." => search().and_then(|()| self.parent(here)),
            _ => {
                let name = self.name(component);
                let _names = directory.names.read();
                search()?;
                let dentry = self.find_locked(here.slot, &name?).ok_or(Errno::NOENT)?;
                InodeRef::take(self, self.store.dentry(dentry).inode()).ok_or(Errno::NOENT)
            }
        }
    }
}
