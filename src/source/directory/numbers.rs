//! Which number an inode of the source has in the tree.
//!
//! The 64 bits are divided so that no two things ever meet, whatever is made later, here or there:
//!
//! | bits 63, 62 | number of |
//! |---|---|
//! | 0 | an inode on the device of the source's root: the one it has there |
//! | 1 1 | an inode on another device: 14 bits for the device, and the 48 bits of the one it has there |
//! | 1 0 | an inode of the source with a number that has more bits, and what is made in the tree, as far as it has no range of its own |
//!
//! Where the source's filesystem has all of its numbers far below, what is made in the tree gets smaller ones: those of [`NARROW`]
//! are read by programs that know 32 bits alone, those of [`WIDE`] by such as keep numbers in floating point.

use ahash::RandomState;
use parking_lot::Mutex;
use rustix::fs::{StatFs, Statx};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// For a source with numbers below 2^31.
const NARROW: Range<u64> = 3 << 30..(1 << 32) - 1;
/// For a source with numbers below 2^52.
const WIDE: Range<u64> = 3 << 51..1 << 53;

const ELSEWHERE: u64 = 0b11 << 62;
const NUMBER_BITS: u32 = 48;
const DEVICES: u64 = 1 << (62 - NUMBER_BITS);

/// What the smallest inode of XFS takes, in bytes.
const XFS_INODE: u64 = 256;

type Device = (u32, u32);

/// The numbers that were met.
pub(super) struct Numbers {
    root: Device,
    /// Of those on the root's device.
    highest: AtomicU64,
    others: Mutex<HashMap<Device, u64, RandomState>>,
}

impl Numbers {
    /// `root` is what the source's root says.
    pub(super) fn new(root: &Statx) -> Numbers {
        Numbers {
            root: device(root),
            highest: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    /// The number in the tree. `None` if it is to be one of the tree's own.
    pub(super) fn of(&self, stat: &Statx) -> Option<NonZeroU64> {
        self.shown(device(stat), stat.stx_ino)
    }

    fn shown(&self, device: Device, number: u64) -> Option<NonZeroU64> {
        let shown = match device == self.root {
            true => {
                // Rarely higher: mostly the line stays shared.
                if number > self.highest.load(Ordering::Relaxed) {
                    self.highest.fetch_max(number, Ordering::Relaxed);
                }
                Some(number).filter(|number| number >> 63 == 0)
            }
            false => Some(number)
                .filter(|number| number >> NUMBER_BITS == 0 && *number > 0)
                .and_then(|number| Some(ELSEWHERE | self.index(device)? << NUMBER_BITS | number)),
        };
        shown.and_then(NonZeroU64::new)
    }

    /// The device and the number there of what is `shown` so in the tree; `None` of what got a number of the tree's own.
    pub(super) fn origin(&self, shown: u64) -> Option<(Device, u64)> {
        match shown >> 62 {
            0 | 1 => Some((self.root, shown)),
            0b11 => {
                let index = (shown & !ELSEWHERE) >> NUMBER_BITS;
                let others = self.others.lock();
                let device = others.iter().find(|(_, known)| **known == index)?.0;
                Some((*device, shown & ((1 << NUMBER_BITS) - 1)))
            }
            _ => None,
        }
    }

    fn index(&self, device: Device) -> Option<u64> {
        let mut others = self.others.lock();
        let next = others.len() as u64;
        let index = *others.entry(device).or_insert(next);
        (index < DEVICES).then_some(index)
    }

    /// Numbers that nothing has, or will have, on the filesystem of the root, of which `stat` tells. To be asked once
    /// everything is loaded. `None` if there are no small ones.
    pub(super) fn free(&self, stat: &StatFs) -> Option<Range<u64>> {
        let highest = self.highest.load(Ordering::Relaxed);
        let bound = highest.max(bound(stat)?);
        match u64::BITS - bound.leading_zeros() {
            0..=31 => Some(NARROW),
            32..=52 => Some(WIDE),
            _ => None,
        }
    }
}

/// What the numbers of a filesystem stay below, but for those it has given out already if it counts them up: then only
/// much use of it brings it to numbers twice as high. `None` if they may be any.
fn bound(stat: &StatFs) -> Option<u64> {
    match stat.f_type {
        // A fixed number of inodes: tables.
        libc::EXT4_SUPER_MAGIC
        // Counted up. Of an overlay: those of its upper layer; others, if it has them, it marks in the highest bits.
        | libc::TMPFS_MAGIC
        | libc::BTRFS_SUPER_MAGIC
        | libc::F2FS_SUPER_MAGIC
        | libc::OVERLAYFS_SUPER_MAGIC => Some(stat.f_files),
        // The place on the disk. That within an allocation group is rounded up to whole bits.
        libc::XFS_SUPER_MAGIC => {
            let bytes = stat.f_blocks.saturating_mul(stat.f_bsize.unsigned_abs());
            Some(bytes.saturating_mul(2) / XFS_INODE)
        }
        _ => None,
    }
}

fn device(stat: &Statx) -> Device {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Device = (8, 1);

    fn numbers() -> Numbers {
        Numbers {
            root: HERE,
            highest: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    fn filesystem(magic: i64) -> StatFs {
        let mut stat = rustix::fs::statfs("/").unwrap();
        stat.f_type = magic;
        (stat.f_files, stat.f_blocks, stat.f_bsize) = (1000, 1 << 20, 4096);
        stat
    }

    #[test]
    fn the_roots_device_keeps_its_numbers_and_others_get_places_of_their_own() {
        let numbers = numbers();
        let shown = |device, number| numbers.shown(device, number).map(NonZeroU64::get);
        for number in [1, u64::from(u32::MAX), (1 << 63) - 1] {
            assert_eq!(shown(HERE, number), Some(number));
        }
        let other = shown((0, 9), 5).unwrap();
        assert_eq!(numbers.origin(other), Some(((0, 9), 5)));
        assert_eq!(numbers.origin(1 << 62), Some((HERE, 1 << 62)));
        assert_eq!(numbers.origin(1 << 63 | 5), None);
        assert_eq!(other, 0b11 << 62 | 5);
        assert_eq!(shown((0, 10), 5), Some(other + (1 << 48)));
        assert_eq!(shown((0, 9), (1 << 48) - 1), Some(other + (1 << 48) - 6));
        for none in [(HERE, 0), (HERE, 1 << 63), ((0, 9), 0), ((0, 9), 1 << 48)] {
            assert_eq!(shown(none.0, none.1), None);
        }
    }

    #[test]
    fn more_devices_than_there_are_places_for_keep_no_numbers() {
        let numbers = numbers();
        let shown = (0..=DEVICES as u32).map(|minor| numbers.shown((1, minor), 1));
        let shown: Vec<_> = shown.collect();
        assert!(shown[..DEVICES as usize].iter().all(Option::is_some));
        assert_eq!(shown[DEVICES as usize], None);
    }

    #[test]
    fn what_is_made_gets_the_smallest_numbers_that_the_source_cannot_have() {
        let ext4 = filesystem(libc::EXT4_SUPER_MAGIC);
        let numbers = numbers();
        assert_eq!(numbers.free(&ext4), Some(NARROW));
        let mut many = ext4;
        many.f_files = 1 << 31;
        assert_eq!(numbers.free(&many), Some(WIDE));
        assert_eq!(
            numbers.free(&filesystem(libc::XFS_SUPER_MAGIC)),
            Some(NARROW)
        );
        let mut large = filesystem(libc::XFS_SUPER_MAGIC);
        large.f_blocks = 1 << 40;
        assert_eq!(numbers.free(&large), Some(WIDE));
        assert_eq!(numbers.free(&filesystem(libc::NFS_SUPER_MAGIC)), None);
        for (met, range) in [(1 << 31, Some(WIDE)), (1 << 52, None)] {
            numbers.shown(HERE, met);
            assert_eq!(numbers.free(&filesystem(libc::TMPFS_MAGIC)), range);
        }
    }
}
