//! The source was made what the tree is, in part: what of the [record](super::record) is true of it now.

use super::record::{ALLOCATION, Before, Brought, Changes, Gone, SHARDS};
use super::{Fs, OriginEntry};
use crate::fs::Result;
use crate::tree::{Errno, Ext, NodeId, Record};
use ahash::RandomState;
use parking_lot::MutexGuard;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

type Set<T> = HashSet<T, RandomState>;

/// How long the record was.
#[derive(Clone, Copy, Debug)]
pub struct Length([usize; SHARDS]);

/// What becomes of the record.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// Names that are no more of the source.
    pub no_names: Set<Gone>,
    /// Names that the source has got, and that are gone.
    pub gone: Vec<Gone>,
    /// Inodes that are no more what they are remembered as.
    pub outdated: Set<NodeId>,
    /// What they were since.
    pub before: Vec<Before>,
    /// What they are in the source.
    pub brought: Vec<Brought>,
    /// Inodes that are no more of the source.
    pub left: Set<NodeId>,
}

impl Changes {
    fn length(&self) -> Length {
        Length(std::array::from_fn(|number| self.before_of(number)))
    }

    fn rewrite(&self, length: Length, rewrite: Rewrite) {
        let Rewrite {
            no_names,
            gone,
            outdated,
            before,
            brought,
            left,
        } = rewrite;
        self.edit(|number, shard| {
            let mut taken = 0;
            shard.gone.retain(|gone| {
                let goes = no_names.contains(gone);
                taken += if goes {
                    gone.name.len() + ALLOCATION
                } else {
                    0
                };
                !goes
            });
            let mut at = 0;
            shard.before.retain(|before| {
                at += 1;
                // What changed for the first time since is no old one.
                at > length.0[number] || !outdated.contains(&before.inode)
            });
            for inode in &left {
                shard.brought.remove(inode);
            }
            if shard.gone.capacity() > 2 * shard.gone.len() {
                shard.gone.shrink_to_fit();
            }
            if shard.brought.capacity() > 4 * shard.brought.len() {
                shard.brought.shrink_to_fit();
            }
            if shard.before.capacity() > 2 * shard.before.len() {
                shard.before.shrink_to_fit();
            }
            taken
        });
        for gone in gone {
            self.gone(gone.directory, &gone.name, gone.inode);
        }
        for before in before {
            self.keep_before(before);
        }
        for brought in brought {
            self.bring(brought);
        }
    }

    fn bring(&self, brought: Brought) {
        let mut shard = self.shard(brought.inode()).lock();
        let bytes = shard.bytes();
        match shard.brought.try_reserve(1) {
            Ok(()) => _ = shard.brought.insert(brought.inode(), brought),
            Err(_) => self.lost.store(true, Relaxed),
        }
        self.grew(shard.bytes() - bytes);
    }
}

impl Fs {
    /// The turn to make the record that of another source.
    pub fn turn_to_rebase(&self) -> MutexGuard<'_, ()> {
        self.changes.rebasing.lock()
    }

    /// How long the record is: to be asked before anything is taken for loaded.
    pub fn record_length(&self) -> Length {
        self.changes.length()
    }

    /// Makes the record true of the source as it is now. What was entered since it had that `length` stays. Nobody may look at the record
    /// meanwhile: under a survey.
    pub fn rewrite_record(&self, length: Length, rewrite: Rewrite) {
        self.changes.rewrite(length, rewrite);
    }

    /// What `inode` is in the source, if it was brought there since that was loaded.
    pub fn brought(&self, inode: NodeId) -> Option<Brought> {
        self.changes
            .shard(inode)
            .lock()
            .brought
            .get(&inode)
            .copied()
    }

    /// Enters what an inode is in the source.
    pub fn bring(&self, brought: Brought) {
        self.changes.bring(brought);
    }

    /// Has the content of the file `id`, as far as it still lies in the source, read from `entry` from now on.
    ///
    /// # Errors
    /// ESTALE if there is no such inode, or `entry` is another by now; what looking at it fails with.
    pub fn renew(&self, id: NodeId, entry: &OriginEntry) -> Result<()> {
        let inode = self.get(id)?;
        let renewed = match inode.ext() {
            Ext::None => true,
            Ext::Seed(seed) => match self.origin.get() {
                Some(origin) => origin.clone().backing(seed).renew(entry)?,
                None => true,
            },
            Ext::Made(node) => {
                let backed = node.content.read().backed_now();
                backed.map_or(Ok(true), |backed| backed.renew(entry))?
            }
        };
        renewed.then_some(()).ok_or(Errno::STALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, ROOT, stale};
    use crate::fs::{Backing, Origin, SetAttr};
    use crate::tree::Seed;
    use std::sync::Arc;

    struct Nothing;

    impl Origin for Nothing {
        fn backing(self: Arc<Nothing>, _: Seed) -> Box<dyn Backing> {
            unreachable!("nothing has a seed")
        }
    }

    fn bed() -> Bed {
        let bed = Bed::new();
        bed.fs.set_origin(Arc::new(Nothing)).unwrap();
        bed
    }

    fn chmod(bed: &Bed, id: NodeId, perm: u16) {
        let change = SetAttr {
            perm: Some(perm),
            ..SetAttr::default()
        };
        stale(bed.fs.setattr(&ROOT, id, &change));
    }

    fn take_for_loaded(bed: &Bed, id: NodeId) {
        let same = bed.fs.tree().survey().rebase_inode(id, |_| true);
        assert_eq!(same, Some(true));
    }

    fn rewrite(bed: &Bed, length: Length, id: NodeId) {
        let outdated = Set::from_iter([id]);
        let rewrite = Rewrite {
            outdated,
            ..Rewrite::default()
        };
        bed.fs.rewrite_record(length, rewrite);
    }

    #[test]
    fn what_changes_before_the_record_is_made_anew_stays_in_it() {
        let bed = bed();
        let id = bed.file("f");
        take_for_loaded(&bed, id);
        chmod(&bed, id, 0o600);
        let length = bed.fs.record_length();
        take_for_loaded(&bed, id);
        chmod(&bed, id, 0o644);
        assert_eq!(bed.fs.changes_kept(), 2);
        rewrite(&bed, length, id);
        let (_, before) = bed.fs.changes().unwrap();
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].attr().perm, 0o600);
        rewrite(&bed, bed.fs.record_length(), id);
        assert_eq!(bed.fs.changes_kept(), 0);
    }

    #[test]
    fn what_is_remembered_counts_as_memory_until_it_goes() {
        let bed = bed();
        let ids: Vec<_> = (0..1000)
            .map(|number| bed.file(&number.to_string()))
            .collect();
        let before = bed.fs.memory();
        for id in &ids {
            let attr = bed.attr(*id);
            bed.fs.bring(Brought::new(*id, (1, 2), &attr));
        }
        let brought = bed.fs.brought(ids[7]).unwrap();
        assert_eq!((brought.dev, brought.ino, brought.inode()), (1, 2, ids[7]));
        assert_eq!(brought.attr().mtime, bed.attr(ids[7]).mtime);
        let more = bed.fs.memory() - before;
        assert!((1000 * 100..1000 * 400).contains(&more), "{more}");
        let rewrite = Rewrite {
            left: ids.iter().copied().collect(),
            ..Rewrite::default()
        };
        bed.fs.rewrite_record(bed.fs.record_length(), rewrite);
        assert_eq!(bed.fs.memory(), before);
        assert_eq!(bed.fs.brought(ids[7]), None);
    }
}
