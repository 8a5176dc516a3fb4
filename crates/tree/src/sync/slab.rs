//! Slots that are reused but never unmapped.
//!
//! A slot is named by a 32-bit number, never by a pointer. Memory comes in segments that stay where
//! they are as long as the slab lives, so a number that was valid once can always be looked at: what
//! it finds may belong to a later life of the slot, but it is memory of the same type (the kernel's
//! `SLAB_TYPESAFE_BY_RCU`). Who may hold a number too long compares a generation kept in the slot;
//! who holds it under a pinned epoch needs none, because the owner gives a slot back only after the
//! epoch in which it became unreachable has ended.
//!
//! Freed slots form a stack. Many may push at any time, also from the epoch's destructors, so a push
//! is one compare-and-swap without a lock. Slots are taken under a lock that swaps the whole stack out
//! at once; with a single consumer that never pops single nodes there is no ABA.
//!
//! Orderings: a push releases and the swap acquires, so the next life of a slot begins after all that
//! was done in the last. A segment is published with Release and found with Acquire, complete.

use super::primitive::{AtomicPtr, AtomicU32, LoadOwned, Mutex, Ordering};
use crossbeam_utils::CachePadded;
use std::alloc::Layout;

/// What can live in [`Segments`]. Its default is an empty slot.
pub trait Segmented: Default + Send + Sync {
    /// Binary logarithm of the number of slots in a segment; at least 10.
    const SEGMENT_BITS: u32;
}

/// What can live in a [`Slab`].
pub trait Slot: Segmented {
    /// A word of the slot that the slab may use while the slot is free.
    fn free_link(&self) -> &AtomicU32;
}

/// No slot is to be had: the slab is full or there is no memory for a further segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlot;

/// Slots are numbered from 1 to this.
#[cfg(not(any(loom, miri)))]
const LAST: u32 = (1 << 30) - 1;
#[cfg(miri)]
const LAST: u32 = (1 << 20) - 1;
#[cfg(loom)]
const LAST: u32 = 7;

/// Segments of at least this many bytes are aligned to it and ask for huge pages.
const HUGE_PAGE: usize = 2 << 20;

/// How many slots of a new segment are filled with defaults at a time.
const READY_STEP: u32 = if cfg!(miri) { 64 } else { 1024 };

/// An array of slots that grows by segments and never moves or shrinks.
#[derive(Debug)]
pub struct Segments<T: Segmented> {
    segments: Box<[AtomicPtr<T>]>,
    /// Slots below this are filled in. Written once per [`READY_STEP`] slots, so readers share the line.
    ready: AtomicU32,
    growing: Mutex<()>,
}

impl<T: Segmented> Default for Segments<T> {
    fn default() -> Self {
        let segments = (LAST >> T::SEGMENT_BITS) as usize + 1;
        Segments {
            segments: (0..segments).map(|_| AtomicPtr::default()).collect(),
            ready: AtomicU32::new(0),
            growing: Mutex::new(()),
        }
    }
}

impl<T: Segmented> Segments<T> {
    const SEGMENT: u32 = 1 << T::SEGMENT_BITS;

    fn layout() -> Layout {
        const { assert!(size_of::<T>() > 0) };
        let array = Layout::array::<T>(Self::SEGMENT as usize);
        let align = |layout: Layout| match layout.size() >= HUGE_PAGE {
            true => layout.align_to(HUGE_PAGE),
            false => Ok(layout),
        };
        array.and_then(align).expect("a segment is a few megabytes")
    }

    /// The slot `index`, or `None` if the array never reached it. Any number may be asked for.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        if index >= self.ready.load(Ordering::Acquire) {
            return None;
        }
        let segment = self.segments[(index >> T::SEGMENT_BITS) as usize].load(Ordering::Relaxed);
        // SAFETY: every slot below `ready` was filled in before `ready` was stored with Release,
        // its segment's pointer before that, and segments stay mapped until the array is dropped.
        Some(unsafe { &*segment.add((index & (Self::SEGMENT - 1)) as usize) })
    }

    /// The slot `index`, which the array is known to have reached.
    ///
    /// # Panics
    /// If it has not.
    #[inline(always)]
    pub fn at(&self, index: u32) -> &T {
        match self.get(index) {
            Some(slot) => slot,
            None => unreachable!("slot {index} was never handed out"),
        }
    }

    /// Grows the array until it has the slot `index`.
    ///
    /// # Errors
    /// [`NoSlot`] beyond the last number, or without memory.
    pub fn reach(&self, index: u32) -> Result<(), NoSlot> {
        if index < self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        if index > LAST {
            return Err(NoSlot);
        }
        let _growing = self.growing.lock();
        while index >= self.ready.load_owned() {
            self.fill_in()?;
        }
        Ok(())
    }

    /// Fills in the next slots, in a segment made for them if need be. Called under the lock.
    fn fill_in(&self) -> Result<(), NoSlot> {
        let from = self.ready.load_owned();
        let offset = from & (Self::SEGMENT - 1);
        let place = &self.segments[(from >> T::SEGMENT_BITS) as usize];
        if offset == 0 {
            place.store(new_segment(Self::layout())?, Ordering::Release);
        }
        let count = READY_STEP.min(Self::SEGMENT - offset);
        let segment = place.load_owned();
        for index in offset..offset + count {
            // SAFETY: the segment has `SEGMENT` places, and those from `offset` on are not filled in
            // yet and not visible to anybody.
            unsafe { segment.add(index as usize).write(T::default()) };
        }
        self.ready.store(from + count, Ordering::Release);
        Ok(())
    }
}

impl<T: Segmented> Drop for Segments<T> {
    fn drop(&mut self) {
        let ready = self.ready.load(Ordering::Relaxed);
        for (number, place) in self.segments.iter().enumerate() {
            let segment = place.load(Ordering::Relaxed);
            if segment.is_null() {
                break;
            }
            let filled = ready.saturating_sub((number as u32) << T::SEGMENT_BITS);
            for index in 0..filled.min(Self::SEGMENT) as usize {
                // SAFETY: slots below `ready` are filled in, and the array is owned here.
                unsafe { segment.add(index).drop_in_place() };
            }
            // SAFETY: `new_segment` allocated it with this layout.
            unsafe { std::alloc::dealloc(segment.cast(), Self::layout()) };
        }
    }
}

#[derive(Debug, Default)]
struct Fresh {
    /// The highest number handed out so far.
    last: u32,
    /// The stack taken from `freed`, consumed here.
    chain: u32,
}

/// Slots that are taken and freed one by one, numbered from 1. What every reader reads and what every
/// taker writes lie on different cache lines.
#[derive(Debug)]
pub struct Slab<T: Slot> {
    slots: CachePadded<Segments<T>>,
    fresh: CachePadded<Mutex<Fresh>>,
    freed: CachePadded<AtomicU32>,
}

impl<T: Slot> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            slots: CachePadded::new(Segments::default()),
            fresh: CachePadded::new(Mutex::new(Fresh::default())),
            freed: CachePadded::new(AtomicU32::new(0)),
        }
    }
}

impl<T: Slot> Slab<T> {
    /// As [`Segments::get`].
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index)
    }

    /// As [`Segments::at`].
    #[inline(always)]
    pub fn at(&self, index: u32) -> &T {
        self.slots.at(index)
    }

    /// Asks for the slot `index` to be brought near, if there is one.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        #[cfg(target_arch = "x86_64")]
        if let Some(slot) = self.slots.get(index) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, which reads and writes nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(slot).cast()) };
        }
    }

    /// Takes a slot that nobody else can name. It holds what its last life left in it.
    ///
    /// # Errors
    /// [`NoSlot`].
    pub fn take(&self) -> Result<u32, NoSlot> {
        let mut fresh = self.fresh.lock();
        if fresh.chain == 0 {
            fresh.chain = self.freed.swap(0, Ordering::Acquire);
        }
        if fresh.chain != 0 {
            let index = fresh.chain;
            fresh.chain = self.at(index).free_link().load(Ordering::Relaxed);
            return Ok(index);
        }
        let index = fresh.last + 1;
        self.slots.reach(index)?;
        fresh.last = index;
        Ok(index)
    }

    /// Does `work` as if every number were handed out.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn while_full<R>(&self, work: impl FnOnce() -> R) -> R {
        let last = std::mem::replace(&mut self.fresh.lock().last, LAST);
        let result = work();
        self.fresh.lock().last = last;
        result
    }

    /// Gives a slot back. The caller took it from this slab and makes sure nobody looks at it as the
    /// object it was. Waits for nothing but other pushes; allocates nothing.
    pub fn free(&self, index: u32) {
        let link = self.at(index).free_link();
        let mut head = self.freed.load(Ordering::Relaxed);
        loop {
            link.store(head, Ordering::Relaxed);
            match self.freed.compare_exchange_weak(
                head,
                index,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

#[cfg(not(loom))]
fn new_segment<T>(layout: Layout) -> Result<*mut T, NoSlot> {
    // SAFETY: the layout's size is not zero: `Segments::layout` asserts that slots have one.
    let segment = unsafe { std::alloc::alloc(layout) };
    if segment.is_null() {
        return Err(NoSlot);
    }
    #[cfg(not(miri))]
    if layout.align() == HUGE_PAGE {
        // A kernel without huge pages refuses; then the segment has small ones.
        // SAFETY: the range was just allocated, and the advice changes no content.
        let _ = unsafe {
            rustix::mm::madvise(
                segment.cast(),
                layout.size(),
                rustix::mm::Advice::LinuxHugepage,
            )
        };
    }
    Ok(segment.cast())
}

#[cfg(loom)]
fn new_segment<T>(layout: Layout) -> Result<*mut T, NoSlot> {
    // SAFETY: the layout's size is not zero: `Segments::layout` asserts that slots have one.
    let segment = unsafe { std::alloc::alloc(layout) };
    if segment.is_null() {
        return Err(NoSlot);
    }
    Ok(segment.cast())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[derive(Default)]
    struct Numbered {
        value: AtomicU32,
        link: AtomicU32,
    }

    impl Segmented for Numbered {
        const SEGMENT_BITS: u32 = 11;
    }

    impl Slot for Numbered {
        fn free_link(&self) -> &AtomicU32 {
            &self.link
        }
    }

    #[test]
    fn numbers_start_at_one_and_unknown_ones_are_refused() {
        let slab = Slab::<Numbered>::default();
        assert!(slab.get(1).is_none());
        assert_eq!(slab.take(), Ok(1));
        assert!(slab.get(1).is_some());
        assert!(slab.get(u32::MAX).is_none());
    }

    #[test]
    fn slots_are_handed_out_once_until_freed() {
        let slab = Slab::<Numbered>::default();
        const SLOTS: usize = if cfg!(miri) { 200 } else { 5000 };
        let taken: HashSet<u32> = (0..SLOTS).map(|_| slab.take().unwrap()).collect();
        assert_eq!(taken.len(), SLOTS);
        for index in &taken {
            slab.at(*index).value.store(*index, Ordering::Relaxed);
            slab.free(*index);
        }
        let again: HashSet<u32> = (0..SLOTS).map(|_| slab.take().unwrap()).collect();
        assert_eq!(again, taken, "freed slots come before fresh ones");
        assert!(
            again
                .iter()
                .all(|i| slab.at(*i).value.load(Ordering::Relaxed) == *i)
        );
    }

    #[test]
    fn many_threads_take_and_free() {
        let slab = Slab::<Numbered>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
                        let (a, b) = (slab.take().unwrap(), slab.take().unwrap());
                        for index in [a, b] {
                            assert_eq!(slab.at(index).value.swap(1, Ordering::Relaxed), 0);
                        }
                        for index in [a, b] {
                            slab.at(index).value.store(0, Ordering::Relaxed);
                            slab.free(index);
                        }
                    }
                });
            }
        });
    }
}
