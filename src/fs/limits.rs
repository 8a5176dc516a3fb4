//! What a filesystem may hold: the live configuration, the quota of bytes, `statfs`.
//!
//! Inodes and names take memory too, of which the tree keeps count. So that they cannot take all there is, everything
//! together is bounded ([`Fs::allow_beside`]).
//!
//! File data is charged by the bytes allocated for it (the capacity of its chunks), extended
//! attributes by their names and values and what it takes to keep them. Whoever allocates holds a
//! [`Charge`](super::quota::Charge); dropping it gives everything back, so freeing an inode needs no bookkeeping.

use super::{Fs, Node};
use crate::fs::Result;
use crate::tree::{Errno, InodeRef, NAME_MAX};
use parking_lot::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The live configuration: replaced as a whole at run time, read on every request.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of file data and extended attributes held in memory at most, `u64::MAX` for no limit. Source-backed
    /// content counts once it is copied.
    pub max_bytes: u64,
    /// Inodes held at most, the root included, `u64::MAX` for no limit. Each further name of an inode counts as one
    /// more.
    pub max_inodes: u64,
    /// Refuse every change with EROFS.
    pub read_only: bool,
}

/// Why limits were not lowered: more is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InUse {
    /// That many bytes.
    #[error("{0} bytes are in use")]
    Bytes(u64),
    /// That many inodes.
    #[error("{0} inodes are in use")]
    Inodes(u64),
}

/// What `statfs` reports. Where there is no limit the numbers are 0, as on tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes of one block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks not in use.
    pub blocks_free: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes not in use.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

const BLOCK_SIZE: u32 = 4096;

/// Closer to the limit than this, inodes are created one at a time so that the limit is exact. More
/// than the number of requests ever being served at once.
const INODE_MARGIN: u64 = 1024;

/// How long after a name was removed the kernel may still be about to forget its inode. It does so
/// after the removal was answered, and what is forgotten comes by another way than what is asked.
const PARTING: Duration = Duration::from_millis(if cfg!(feature = "fuzzing") {
    0
} else if cfg!(test) {
    // Longer than a busy machine keeps a test waiting.
    1000
} else {
    50
});

/// How long whoever finds no memory waits at most for what is being freed.
const FREEING: Duration = Duration::from_secs(1);

/// When a name was last removed.
#[derive(Debug)]
pub(super) struct Removals {
    since: Instant,
    /// Milliseconds after `since`, and one; 0 if nothing was removed yet.
    last: AtomicU64,
}

impl Removals {
    pub(super) fn new() -> Removals {
        Removals {
            since: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64 + 1
    }

    pub(super) fn note(&self) {
        self.last.store(self.now(), Relaxed);
    }

    fn recent(&self) -> bool {
        let last = self.last.load(Relaxed);
        // Not `<`: what is left of the milliseconds may be nearly one of them.
        last != 0 && self.now() - last.min(self.now()) <= PARTING.as_millis() as u64
    }
}

/// What an inode or a further name is reckoned with when memory is asked for, more than it takes with the longest name.
pub const INODE_BYTES: u64 = 1024;

/// What `statfs` reckons a new inode with where memory is what bounds them: one with a name of usual length.
const USUAL_BYTES: u64 = 256;

impl Fs {
    /// Whether room may be about to come for who first asked at `asked`: a name was removed a moment ago, and the
    /// kernel may not have forgotten its inode yet, or large content is being freed. Whoever is told ENOSPC may then try
    /// again, for at most 50 ms and one second, however much is removed meanwhile.
    pub fn room_may_come(&self, asked: Instant) -> bool {
        let waited = asked.elapsed();
        waited < PARTING && self.removals.recent() || waited < FREEING && self.quota.is_freeing()
    }

    /// Lets inodes and names take `bytes` of memory beside [`Config::max_bytes`], and beyond that what content leaves of
    /// those: all together takes no more than both. Without this they may take whatever [`Config::max_inodes`] allows.
    pub fn allow_beside(&self, bytes: u64) {
        self.beside.store(bytes, Relaxed);
    }

    /// As [`Fs::allow_beside`], unless more was allowed.
    pub fn allow_more_beside(&self, bytes: u64) {
        self.beside.fetch_max(bytes, Relaxed);
    }

    /// Bytes of memory in use: content, attributes, inodes and names.
    pub fn memory(&self) -> u64 {
        self.quota.used().saturating_add(self.other_memory())
    }

    /// What is in use by anything but the bytes that [`Config::max_bytes`] bounds.
    fn other_memory(&self) -> u64 {
        let beside = self.quota.owners() + self.changes.bytes();
        self.tree.memory().saturating_add(beside)
    }

    /// The most bytes of content and attributes there may be now: inodes and names may have taken what they were to have.
    pub(super) fn most_bytes(&self, config: &Config) -> u64 {
        let most = self.most_memory(config).saturating_sub(self.other_memory());
        config.max_bytes.min(most)
    }

    fn most_memory(&self, config: &Config) -> u64 {
        config.max_bytes.saturating_add(self.beside.load(Relaxed))
    }

    fn memory_left(&self, config: &Config) -> u64 {
        self.most_memory(config).saturating_sub(self.memory())
    }

    /// Whether there is memory for so many inodes, whatever their names.
    pub(super) fn has_memory(&self, inodes: u64) -> bool {
        inodes.saturating_mul(INODE_BYTES) <= self.memory_left(&self.config.load())
    }

    /// Blocks of memory by `max_bytes`, inodes by `max_inodes`; of either no more is free than there is memory for.
    pub fn statfs(&self) -> StatFs {
        let config = self.config.load();
        let block = u64::from(BLOCK_SIZE);
        let left = self.memory_left(&config);
        let (bytes, bytes_free) = total_and_free(config.max_bytes, self.quota.used(), left);
        let files_left = left / USUAL_BYTES;
        let (files, files_free) =
            total_and_free(config.max_inodes, self.inodes_charged(), files_left);
        StatFs {
            block_size: BLOCK_SIZE,
            blocks: bytes / block,
            blocks_free: bytes_free / block,
            files,
            files_free,
            name_max: NAME_MAX as u32,
        }
    }

    /// Bytes of file data and extended attributes held in memory, as `max_bytes` counts them.
    pub fn bytes(&self) -> u64 {
        self.quota.used()
    }

    /// Replaces the configuration, unless it lowers a limit below what is in use.
    ///
    /// # Errors
    /// What is in use; nothing changed then.
    pub fn reconfigure(&self, config: Config) -> std::result::Result<(), InUse> {
        let now = self.config.load();
        let (bytes, inodes) = (self.quota.used(), self.inodes_charged());
        if config.max_bytes < now.max_bytes.min(bytes) {
            return Err(InUse::Bytes(bytes));
        }
        if config.max_inodes < now.max_inodes.min(inodes) {
            return Err(InUse::Inodes(inodes));
        }
        self.set_config(config);
        Ok(())
    }

    /// Further names count as inodes do: they hold memory that nothing else would limit.
    fn inodes_charged(&self) -> u64 {
        self.tree.inodes().saturating_add(self.tree.further_names())
    }

    /// Room for one more inode; ENOSPC. Keep what it returns until that exists.
    pub(super) fn room_for_inode(&self, max_inodes: u64) -> Result<Option<MutexGuard<'_, ()>>> {
        self.room_if(max_inodes, || true)
    }

    /// Room for one more name of `inode`; its first one needs none. ENOSPC. Keep what it returns until that exists.
    pub(super) fn room_for_name(
        &self,
        inode: &InodeRef<'_, Node>,
        max_inodes: u64,
    ) -> Result<Option<MutexGuard<'_, ()>>> {
        self.room_if(max_inodes, || inode.links() > 0)
    }

    fn room_if(
        &self,
        max_inodes: u64,
        needed: impl FnOnce() -> bool,
    ) -> Result<Option<MutexGuard<'_, ()>>> {
        if !self.has_memory(1) || !self.quota.may_grow(INODE_BYTES) {
            return Err(Errno::NOSPC);
        }
        let guard = self.room_for(1, max_inodes);
        if guard.is_some() && needed() {
            self.last_room(max_inodes)?;
        }
        Ok(guard)
    }

    /// Room for `names` more, which may be made without looking again. Else the turn to make as many as there is
    /// [`last_room`](Fs::last_room) for, one after the other.
    pub(super) fn room_for(&self, names: u64, max_inodes: u64) -> Option<MutexGuard<'_, ()>> {
        let margin = names.saturating_mul(INODE_MARGIN);
        let far = self.inodes_charged().saturating_add(margin) < max_inodes;
        (!far).then(|| self.last_inodes.lock())
    }

    /// Whether one more fits, for whoever has the turn; ENOSPC.
    pub(super) fn last_room(&self, max_inodes: u64) -> Result<()> {
        let fits = self.inodes_charged() < max_inodes;
        fits.then_some(()).ok_or(Errno::NOSPC)
    }
}

/// What `statfs` tells of a limit and what is used of it, where nothing but `left` can be had.
fn total_and_free(max: u64, used: u64, left: u64) -> (u64, u64) {
    match max {
        u64::MAX => (0, 0),
        max => (max, max.saturating_sub(used).min(left)),
    }
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{self, Bed, USER};

    #[test]
    fn statfs_counts_bytes_and_inodes() {
        let bed = Bed::with(Config {
            max_bytes: 1 << 20,
            max_inodes: 10,
            ..testing::config()
        });
        let empty = bed.fs.statfs();
        assert_eq!((empty.blocks, empty.blocks_free), (256, 256));
        assert_eq!((empty.files, empty.files_free), (10, 9));
        let file = bed.file("f");
        bed.write(file, 0, &[1; 8192]);
        let used = bed.fs.statfs();
        assert_eq!((used.blocks_free, used.files_free), (254, 8));
    }

    #[test]
    fn statfs_shows_no_limit_as_zero() {
        let bed = Bed::with(Config {
            max_bytes: u64::MAX,
            max_inodes: u64::MAX,
            ..testing::config()
        });
        let all = bed.fs.statfs();
        assert_eq!((all.blocks, all.blocks_free), (0, 0));
        assert_eq!((all.files, all.files_free), (0, 0));
    }

    #[test]
    fn no_limit_is_lowered_below_what_is_in_use() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.write(file, 0, &[1; 8192]);
        let limits = |max_bytes, max_inodes| {
            bed.fs.reconfigure(Config {
                max_bytes,
                max_inodes,
                ..testing::config()
            })
        };
        assert_eq!(limits(8191, 9), Err(InUse::Bytes(8192)));
        assert_eq!(limits(9000, 1), Err(InUse::Inodes(2)));
        assert_eq!(bed.fs.statfs().files, testing::config().max_inodes);
        assert_eq!(limits(8192, 2), Ok(()));
        bed.fs.set_config(Config {
            max_bytes: 5,
            ..testing::config()
        });
        assert_eq!(limits(5, 2), Ok(()), "not lowered");
        assert_eq!(limits(4, 2), Err(InUse::Bytes(8192)));
        assert_eq!(limits(7, u64::MAX), Ok(()), "raised");
    }

    #[test]
    fn further_names_count_as_inodes() {
        let bed = Bed::with(Config {
            max_inodes: 4,
            ..testing::config()
        });
        let file = bed.file("f");
        let link = |name: &str| {
            let made = bed.fs.link(&USER, file, bed.root(), name.as_bytes());
            made.map(|made| made.deliver(drop).attr.nlink)
        };
        assert_eq!((link("a"), link("b")), (Ok(2), Ok(3)));
        assert_eq!(link("c"), Err(Errno::NOSPC));
        let made = bed.fs.mkdir(&USER, bed.root(), b"d", 0o755);
        assert_eq!(made.err(), Some(Errno::NOSPC));
        assert_eq!(bed.fs.statfs().files_free, 0);
        assert_eq!(
            bed.fs.load_link(file, bed.root(), b"c").err(),
            Some(Errno::NOSPC)
        );
        bed.fs
            .unlink(&USER, bed.root(), b"f")
            .unwrap()
            .deliver(drop);
        assert_eq!(bed.fs.statfs().files_free, 1);
        assert_eq!(link("b"), Err(Errno::EXIST));
        assert_eq!(link("c"), Ok(3));
        for name in [&b"a"[..], b"b", b"c"] {
            bed.fs
                .unlink(&USER, bed.root(), name)
                .unwrap()
                .deliver(drop);
        }
        assert_eq!(bed.fs.tree().further_names(), 0);
    }

    #[test]
    fn nothing_is_left_when_all_is_gone() {
        let bed = Bed::new();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let bed = &bed;
                scope.spawn(move || {
                    for turn in 0..100u64 {
                        let name = format!("{thread}-{turn}");
                        let file = bed.file(&name);
                        bed.write(file, turn * 1000, &[thread; 5000]);
                        bed.write(file, 70_000 * turn, &vec![thread; 70_000]);
                        testing::stale(bed.fs.setxattr(
                            &testing::ROOT,
                            file,
                            b"user.x",
                            b"value",
                            0,
                            false,
                        ));
                        bed.remove(&name);
                    }
                });
            }
        });
        assert_eq!((bed.fs.quota.used(), bed.fs.tree().inodes()), (0, 1));
        assert_eq!(bed.attr(bed.root()).nlink, 2);
    }

    #[test]
    fn of_many_at_once_one_gets_the_last_inode() {
        const THREADS: usize = 4;
        let bed = Bed::with(Config {
            max_inodes: 2,
            ..testing::config()
        });
        let together = std::sync::Barrier::new(THREADS);
        let round = &|name: &str| {
            together.wait();
            let made = bed.fs.mknod(&USER, bed.root(), name.as_bytes(), 0o644, 0);
            let made = made.map(|made| made.deliver(drop));
            together.wait();
            if made.is_ok() {
                bed.remove(name);
            }
            made.is_ok() as usize
        };
        const ROUNDS: usize = 2000;
        let made: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let name = thread.to_string();
                    scope.spawn(move || (0..ROUNDS).map(|_| round(&name)).sum::<usize>())
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(made, ROUNDS);
    }

    #[test]
    fn the_last_inode_is_the_last() {
        let bed = Bed::with(Config {
            max_inodes: 3,
            ..testing::config()
        });
        bed.file("a");
        bed.file("b");
        let full = bed.fs.mknod(&testing::ROOT, bed.root(), b"c", 0o644, 0);
        assert_eq!(full.err(), Some(Errno::NOSPC));
        assert_eq!(
            bed.fs
                .lookup(&testing::ROOT, bed.root(), b"c")
                .unwrap()
                .map(|e| e.id),
            None
        );
        bed.fs.set_config(Config {
            max_inodes: 4,
            ..testing::config()
        });
        bed.file("c");
    }
}
