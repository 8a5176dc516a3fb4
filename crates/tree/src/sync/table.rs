//! A hash table of 32-bit values for many readers and one writer at a time.
//!
//! Open addressing over groups of eight cells, a group being one cache line. A cell is one word:
//! the upper half is the hash, the lower half the value.
//!
//! ```text
//! EMPTY  0 | 0          never used since this array was made: a probe ends here
//! full   hash | value   value is not 0
//! TOMB   1 | 0          was full: a probe goes on
//! ```
//!
//! Within one array a cell never becomes EMPTY again and a full cell never moves, and the cells of
//! a group fill from the front. So a value that stays in the table is found by every probe, however
//! many come and go around it. Only a new array loses tombs: it is filled aside and published by one
//! release store; readers that still probe the old array are merely earlier, and the old array lives
//! until they have let go of their epoch.
//!
//! The value is what decides, not the cell: who finds a value asks the object behind it for the
//! full key and whether it is live.
//!
//! Orderings: a cell is stored with Release and loaded with Acquire, so the object behind a value is
//! complete for whoever finds it; the same for the array's pointer and the cells in it.

use super::primitive::{AtomicPtr, AtomicU64, Guard, LoadOwned, Ordering};
use std::marker::PhantomData;

#[cfg(not(loom))]
const CELLS: usize = 8;
#[cfg(loom)]
const CELLS: usize = 2;

const EMPTY: u64 = 0;
const TOMB: u64 = 1 << 32;

/// The low bits of the array's pointer, free through its alignment, hold the binary logarithm of its
/// length: a reader needs no second load to know where to probe.
const LENGTH_BITS: usize = 0b11_1111;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Group([AtomicU64; CELLS]);

/// No memory for a larger array; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// The table; all methods that change it are for one writer at a time, under a lock of the caller's.
#[derive(Debug, Default)]
pub struct Table {
    groups: AtomicPtr<Group>,
}

/// The array of one instant, valid as long as the epoch stays pinned.
#[derive(Clone, Copy)]
pub struct Groups<'g> {
    first: *const Group,
    mask: usize,
    _pin: PhantomData<&'g Guard>,
}

/// An array taken out of use. Drop it when no reader can hold it any more.
#[derive(Debug)]
pub struct Retired(*mut Group);

// SAFETY: a retired array is owned by its holder alone, and it holds nothing but plain words.
unsafe impl Send for Retired {}

impl Retired {
    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        bytes(self.0)
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        let (first, len) = untag(self.0);
        if !first.is_null() {
            // SAFETY: `first` and `len` are what `allocate` made of a boxed slice of that length,
            // and the holder says by dropping that nobody else reads it.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, len)) });
        }
    }
}

fn untag(tagged: *mut Group) -> (*mut Group, usize) {
    let bits = tagged.addr() & LENGTH_BITS;
    (tagged.map_addr(|addr| addr & !LENGTH_BITS), 1 << bits)
}

/// How much memory an array takes.
fn bytes(tagged: *mut Group) -> usize {
    let (first, len) = untag(tagged);
    match first.is_null() {
        true => 0,
        false => len * size_of::<Group>(),
    }
}

/// A zeroed array of `1 << bits` groups, tagged with its length.
fn allocate(bits: u32) -> Result<*mut Group, NoMemory> {
    let len = 1usize << bits;
    let mut groups = Vec::new();
    groups.try_reserve_exact(len).map_err(|_| NoMemory)?;
    groups.resize_with(len, Group::default);
    let first = Box::into_raw(groups.into_boxed_slice()).cast::<Group>();
    Ok(first.map_addr(|addr| addr | bits as usize))
}

/// What is stored under one hash.
pub struct Values<'g> {
    groups: Groups<'g>,
    hash: u32,
    /// How many cells were looked at.
    at: usize,
}

impl Iterator for Values<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.groups.first.is_null() {
            return None;
        }
        while self.at / CELLS <= self.groups.mask {
            let group = self.groups.group(self.hash as usize + self.at / CELLS);
            let word = group.0[self.at % CELLS].load(Ordering::Acquire);
            self.at += 1;
            if (word >> 32) as u32 == self.hash && word as u32 != 0 {
                return Some(word as u32);
            }
            if word == EMPTY {
                return None;
            }
        }
        None
    }
}

impl<'g> Groups<'g> {
    fn of(tagged: *mut Group) -> Groups<'g> {
        let (first, len) = untag(tagged);
        Groups {
            first,
            mask: len - 1,
            _pin: PhantomData,
        }
    }

    fn group(&self, index: usize) -> &'g Group {
        // SAFETY: `first` is not null (every caller checked) and points at `mask + 1` groups that
        // live as long as `'g`; the index is masked.
        unsafe { &*self.first.add(index & self.mask) }
    }

    /// The values stored under `hash`, one after the other.
    #[inline(always)]
    pub fn values(self, hash: u32) -> Values<'g> {
        Values {
            groups: self,
            hash,
            at: 0,
        }
    }

    /// The first cell on the probe path of `hash` that `wanted` accepts, for the writer.
    fn cell(&self, hash: u32, wanted: impl Fn(u64) -> bool) -> Option<&'g AtomicU64> {
        if self.first.is_null() {
            return None;
        }
        (0..=self.mask)
            .flat_map(|step| &self.group(hash as usize + step).0)
            .find(|cell| wanted(cell.load_owned()))
    }

    fn cells(&self) -> impl Iterator<Item = u64> + 'g {
        let (this, len) = (
            *self,
            if self.first.is_null() {
                0
            } else {
                self.mask + 1
            },
        );
        (0..len)
            .flat_map(move |index| &this.group(index).0)
            .map(|cell| cell.load_owned())
    }
}

impl Table {
    /// The present array, for probing under `guard`.
    #[inline(always)]
    pub fn groups<'g>(&self, _guard: &'g Guard) -> Groups<'g> {
        Groups::of(self.groups.load(Ordering::Acquire))
    }

    /// The present array, for the writer.
    fn owned<'g>(&self, _guard: &'g Guard) -> Groups<'g> {
        Groups::of(self.groups.load_owned())
    }

    /// How many cells may be used (full or tomb) before [`Table::rebuild`] is due: seven in eight.
    pub fn capacity(&self) -> usize {
        let (first, len) = untag(self.groups.load_owned());
        let cells = if first.is_null() { 0 } else { len * CELLS };
        cells - cells.div_ceil(8)
    }

    /// How much memory the present array takes, for the writer.
    pub fn bytes(&self) -> usize {
        bytes(self.groups.load_owned())
    }

    /// Puts `value` (not 0) in. True if a tomb was reused, false if a fresh cell was taken. The
    /// caller keeps the number of used cells within [`Table::capacity`].
    pub fn insert(&self, hash: u32, value: u32, guard: &Guard) -> bool {
        let free = self.owned(guard).cell(hash, |word| word as u32 == 0);
        let Some(cell) = free else {
            unreachable!("the caller keeps one cell in eight empty")
        };
        let tomb = cell.load_owned() == TOMB;
        cell.store((hash as u64) << 32 | value as u64, Ordering::Release);
        tomb
    }

    /// Takes `value` out. False if it is not there.
    pub fn remove(&self, hash: u32, value: u32, guard: &Guard) -> bool {
        let full = (hash as u64) << 32 | value as u64;
        let cell = self
            .owned(guard)
            .cell(hash, |word| word == full || word == EMPTY);
        match cell {
            Some(cell) if cell.load_owned() == full => {
                cell.store(TOMB, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// Replaces the array by one with room for `want` values and no tombs, and hands out the old
    /// one, which readers may still be probing.
    ///
    /// # Errors
    /// [`NoMemory`]; the table is as before.
    pub fn rebuild(&self, want: usize, guard: &Guard) -> Result<Retired, NoMemory> {
        let old = self.owned(guard);
        let cells = want + want.div_ceil(7);
        let groups = cells.div_ceil(CELLS).next_power_of_two();
        let tagged = allocate(groups.trailing_zeros())?;
        let new = Groups::of(tagged);
        for word in old.cells().filter(|word| *word as u32 != 0) {
            if let Some(cell) = new.cell((word >> 32) as u32, |seen| seen == EMPTY) {
                cell.store(word, Ordering::Relaxed);
            }
        }
        Ok(Retired(self.groups.swap(tagged, Ordering::AcqRel)))
    }

    /// Takes the whole array out, leaving the table empty.
    pub fn clear(&self) -> Retired {
        Retired(self.groups.swap(std::ptr::null_mut(), Ordering::AcqRel))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        drop(self.clear());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn insert(table: &Table, hash: u32, value: u32, used: &mut usize) {
        let guard = crossbeam_epoch::pin();
        if *used == table.capacity() {
            drop(table.rebuild(*used * 2 + 1, &guard).unwrap());
        }
        *used += usize::from(!table.insert(hash, value, &guard));
    }

    fn found(table: &Table, hash: u32, value: u32) -> bool {
        let guard = crossbeam_epoch::pin();
        table.groups(&guard).values(hash).any(|seen| seen == value)
    }

    #[test]
    fn values_survive_growth_and_collisions() {
        const HALF: u32 = if cfg!(miri) { 30 } else { 500 };
        let (table, mut used) = (Table::default(), 0);
        assert!(!found(&table, 3, 1));
        for value in 1..=2 * HALF {
            insert(&table, value % 3, value, &mut used);
        }
        assert!((1..=2 * HALF).all(|value| found(&table, value % 3, value)));
        let guard = crossbeam_epoch::pin();
        assert!((1..=HALF).all(|value| table.remove(value % 3, value, &guard)));
        assert!(!table.remove(1, 1, &guard), "already taken out");
        assert!((1..=HALF).all(|value| !found(&table, value % 3, value)));
        assert!((HALF + 1..=2 * HALF).all(|value| found(&table, value % 3, value)));
    }

    #[test]
    fn tombs_are_reused_and_a_rebuild_drops_them() {
        let (table, guard) = (Table::default(), crossbeam_epoch::pin());
        drop(table.rebuild(7, &guard).unwrap());
        assert_eq!(table.capacity(), 7);
        assert!(!table.insert(5, 1, &guard));
        assert!(table.remove(5, 1, &guard));
        assert!(table.insert(9, 2, &guard), "the tomb is taken first");
        drop(table.rebuild(8, &guard).unwrap());
        assert_eq!(table.capacity(), 14);
        assert!(found(&table, 9, 2));
    }
}
