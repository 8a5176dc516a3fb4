//! What tells whether a file of the source is still the one that was loaded.
//!
//! Content counts. Compared are the device, the inode number, the size, the time of the last change of content (mtime)
//! and, where the filesystem keeps one, the time of birth, which tells an inode number that was given out again. The time of
//! the last change of the inode (ctime) is not: it moves with modes, owners, names and extended attributes too.
//! Where ctime moved while a file was open, its name is followed once more: it may lead to another file by now.
//!
//! What that cannot see: a change of content that leaves the size and puts the old mtime back, one within the tick of the
//! clock in which the file was loaded, and stores through a shared mapping that was already dirty then. On filesystems
//! that give inode numbers out anew (FUSE, FAT, SMB) the number is not compared either: there a file replaced by one of the
//! same size and mtime is taken for the same.

use super::filesystem::Filesystem;
use crate::tree::Seed;
use ahash::RandomState;
use rustix::fs::{Statx, StatxFlags, StatxTimestamp};

/// Device number: major and minor.
pub(super) type Device = (u32, u32);

pub(super) fn device(stat: &Statx) -> Device {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

/// Names a directory of the source: device and inode number, hashed with a key of this load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Directory(u64);

/// The part of an identity that the inode number alone gives. Many files have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number(u64);

impl Number {
    const BITS: u32 = 16;
}

/// What is compared of one file, hashed into as many bits as a seed has: from the lowest up, a flag, the time of birth, the
/// inode number, all but the time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(pub(super) u64);

impl Identity {
    /// The inode number is compared.
    const NUMBERED: u64 = 1;
    const BIRTH_SHIFT: u32 = 1;
    const BIRTH_BITS: u32 = 13;
    const NUMBER_SHIFT: u32 = Identity::BIRTH_SHIFT + Identity::BIRTH_BITS;
    const REST_SHIFT: u32 = Identity::NUMBER_SHIFT + Number::BITS;
    const REST_BITS: u32 = Seed::BITS - Identity::REST_SHIFT;

    fn new(rest: u64, number: Number, birth: u64, flag: u64) -> Identity {
        let rest = rest & ((1 << Identity::REST_BITS) - 1);
        let high = rest << Identity::REST_SHIFT | number.0 << Identity::NUMBER_SHIFT;
        Identity(high | birth << Identity::BIRTH_SHIFT | flag)
    }

    /// The inode number's part, if the number is compared.
    pub(super) fn number(self) -> Option<Number> {
        let number = self.0 >> Identity::NUMBER_SHIFT & ((1 << Number::BITS) - 1);
        (self.0 & Identity::NUMBERED != 0).then_some(Number(number))
    }

    /// The time of birth; 0: there is none.
    fn birth(self) -> u64 {
        self.0 >> Identity::BIRTH_SHIFT & ((1 << Identity::BIRTH_BITS) - 1)
    }
}

/// Makes identities, with a key of this load.
pub(super) struct Identities(RandomState);

impl Identities {
    pub(super) fn new() -> Identities {
        Identities(RandomState::new())
    }

    /// Of a file on `filesystem`, of which `stat` tells at least what [`Identities::WANTED`] says.
    pub(super) fn record(&self, stat: &Statx, filesystem: Filesystem) -> Identity {
        let flag = match filesystem.keeps_numbers {
            true => Identity::NUMBERED,
            false => 0,
        };
        let birth = match filesystem.keeps_birth {
            true => self.birth(stat),
            false => 0,
        };
        Identity::new(
            self.rest(stat, flag),
            self.number_of(stat, flag),
            birth,
            flag,
        )
    }

    fn number_of(&self, stat: &Statx, flag: u64) -> Number {
        match flag {
            0 => Number(0),
            _ => self.number(device(stat), stat.stx_ino),
        }
    }

    /// Of a file on `device` with the inode number `inode`.
    pub(super) fn number(&self, device: Device, inode: u64) -> Number {
        Number(self.0.hash_one((device, inode)) & ((1 << Number::BITS) - 1))
    }

    /// Of the directory that `stat` tells of.
    pub(super) fn directory(&self, stat: &Statx) -> Directory {
        Directory(self.0.hash_one((device(stat), stat.stx_ino)))
    }

    /// What has to be known of a file.
    pub(super) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    /// Whether `stat` tells of the file that was recorded.
    pub(super) fn is(&self, recorded: Identity, stat: &Statx) -> bool {
        let flag = recorded.0 & Identity::NUMBERED;
        // Somebody who asks without waiting may not be told.
        let birth = match recorded.birth() {
            0 => 0,
            known => match self.birth(stat) {
                0 => known,
                birth => birth,
            },
        };
        Identity::new(
            self.rest(stat, flag),
            self.number_of(stat, flag),
            birth,
            flag,
        ) == recorded
    }

    /// Whether `stat` tells of the same inode, as far as that can be told, whatever was written to it.
    pub(super) fn is_where_it_was(&self, recorded: Identity, stat: &Statx) -> bool {
        let number = self.number_of(stat, recorded.0 & Identity::NUMBERED);
        let birth = self.birth(stat);
        recorded.number().is_none_or(|known| known == number)
            && (recorded.birth() == 0 || birth == 0 || birth == recorded.birth())
    }

    fn rest(&self, stat: &Statx, flag: u64) -> u64 {
        let number = (flag != 0).then_some(stat.stx_ino);
        let mtime = stamp(stat.stx_mtime);
        self.0
            .hash_one((device(stat), number, stat.stx_size, mtime))
    }

    /// Never 0 if there is a time of birth.
    fn birth(&self, stat: &Statx) -> u64 {
        if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
            return 0;
        }
        let hash = self.0.hash_one(stamp(stat.stx_btime));
        1 + hash % ((1 << Identity::BIRTH_BITS) - 1)
    }
}

fn stamp(time: StatxTimestamp) -> (i64, u32) {
    (time.tv_sec, time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::directory::filesystem::{LOCAL, NUMBERLESS, OVERLAY};
    use rustix::fs::{AtFlags, CWD, statx};

    /// Whether what was recorded on `filesystem` is taken for the same after `change`.
    fn survives(filesystem: Filesystem, change: impl Fn(&mut Statx)) -> bool {
        let identities = Identities::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut stat = statx(CWD, file.path(), AtFlags::empty(), Identities::WANTED).unwrap();
        stat.stx_mask |= StatxFlags::BTIME.bits();
        let recorded = identities.record(&stat, filesystem);
        assert!(identities.is(recorded, &stat));
        assert_eq!(
            Seed::new(0, recorded.0).bits(),
            recorded.0,
            "no bit is lost"
        );
        change(&mut stat);
        identities.is(recorded, &stat)
    }

    #[test]
    fn content_counts_and_the_inode_does_not() {
        for filesystem in [LOCAL, NUMBERLESS, OVERLAY] {
            let survives = |change: fn(&mut Statx)| survives(filesystem, change);
            assert!(survives(|stat| stat.stx_ctime.tv_sec += 1));
            assert!(survives(|stat| stat.stx_mode ^= 0o77));
            assert!(survives(|stat| stat.stx_uid += 1));
            assert!(survives(|stat| stat.stx_nlink += 1));
            assert!(survives(|stat| stat.stx_blocks += 8));
            assert!(!survives(|stat| stat.stx_size += 1));
            assert!(!survives(|stat| stat.stx_mtime.tv_nsec ^= 1));
            assert!(!survives(|stat| stat.stx_mtime.tv_sec -= 1));
            assert!(!survives(|stat| stat.stx_dev_minor += 1));
        }
    }

    #[test]
    fn numbers_and_births_count_where_they_are_kept() {
        let number = |stat: &mut Statx| stat.stx_ino += 1;
        let kept = [LOCAL, NUMBERLESS, OVERLAY].map(|filesystem| survives(filesystem, number));
        assert_eq!(kept, [false, true, false]);
        let birth = |stat: &mut Statx| stat.stx_btime.tv_nsec ^= 1;
        let kept = [LOCAL, NUMBERLESS, OVERLAY].map(|filesystem| survives(filesystem, birth));
        assert_eq!(kept, [false, true, true]);
        assert!(survives(LOCAL, |stat| {
            stat.stx_mask &= !StatxFlags::BTIME.bits()
        }));
    }
}
