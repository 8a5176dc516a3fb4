//! The bytes of one chunk: its pages that are no holes, one after the other.

use crate::fs::quota::Charge;
use std::ops::Range;

/// A sixteenth of a chunk is a page.
const PAGES: usize = 16;

/// A bit for each page of a chunk, the lowest for the first.
pub(super) type Pages = u16;

/// The pages of a chunk that hold data, in order, without gaps between them. What lies behind the end of `bytes` in the last of
/// them is zero.
#[derive(Debug, Default)]
pub(super) struct Chunk<const CHUNK: usize> {
    pub(super) bytes: Vec<u8>,
    pub(super) pages: Pages,
}

/// What a chunk was.
#[derive(Clone, Copy, Default)]
pub(super) struct Before {
    pages: Pages,
    length: usize,
    capacity: usize,
}

impl Before {
    pub(super) fn of(bytes: &Vec<u8>, pages: Pages) -> Before {
        Before {
            pages,
            length: bytes.len(),
            capacity: bytes.capacity(),
        }
    }
}

/// The first `count` pages.
fn below(count: usize) -> Pages {
    Pages::MAX
        .checked_shr(PAGES.saturating_sub(count) as u32)
        .unwrap_or(0)
}

/// How many pages have data at the beginning of a chunk, before the first hole.
fn leading(pages: Pages) -> usize {
    pages.trailing_ones() as usize
}

impl<const CHUNK: usize> Chunk<CHUNK> {
    pub(super) const PAGE: usize = CHUNK / PAGES;

    /// A chunk of which the front alone is data.
    pub(super) fn front(bytes: Vec<u8>) -> Self {
        let pages = Self::pages_of_front(bytes.len());
        Chunk { bytes, pages }
    }

    pub(super) fn pages_of_front(length: usize) -> Pages {
        below(length.div_ceil(Self::PAGE))
    }

    /// Whether nothing but a front is data.
    pub(super) fn is_front(&self) -> bool {
        self.pages == below(leading(self.pages))
    }

    /// Frees what room there is if there is no data, and says whether that is so.
    pub(super) fn free_if_empty(&mut self, charge: &mut Charge) -> bool {
        if self.pages != 0 {
            return false;
        }
        charge.give(self.bytes.capacity() as u64);
        self.bytes = Vec::new();
        true
    }

    /// Fills `out` with what lies at `start`.
    pub(super) fn read(bytes: &[u8], pages: Pages, start: usize, out: &mut [u8]) {
        let mut at = 0;
        while at < out.len() {
            let (run, is_data) = run::<CHUNK>(pages, start + at..start + out.len());
            let part = &mut out[at..at + run.len()];
            at += run.len();
            let from = place::<CHUNK>(pages, run.start).min(bytes.len());
            let length = match is_data {
                true => run.len().min(bytes.len() - from),
                false => 0,
            };
            part[..length].copy_from_slice(&bytes[from..from + length]);
            part[length..].fill(0);
        }
    }

    /// Puts `data` at `start`, as much as there is room for, and says how much that is. Room is made as far as `max` and
    /// memory allow, at least for `least` bytes.
    pub(super) fn write(
        &mut self,
        start: usize,
        data: &[u8],
        least: usize,
        (charge, max): (&mut Charge, u64),
    ) -> usize {
        let before = self.bytes.capacity();
        let wanted = self.length_with(start..start + data.len());
        grow::<CHUNK>(&mut self.bytes, wanted.max(least), charge, max);
        let fits = self.fitting(start..start + data.len());
        if fits == 0 {
            fit(&mut self.bytes, before, charge);
            return 0;
        }
        let at = self.open(start..start + fits);
        put(&mut self.bytes, at, &data[..fits]);
        fits
    }

    /// How long `bytes` are once no page of `range` is a hole, and the last reaches to its end.
    pub(super) fn length_with(&self, range: Range<usize>) -> usize {
        let pages = self.pages | pages_of::<CHUNK>(&range);
        let added = (pages ^ self.pages).count_ones() as usize * Self::PAGE;
        let last = (range.end - 1) / Self::PAGE;
        let end = place::<CHUNK>(pages, range.end - 1) + 1;
        match pages >> last {
            1 if self.pages >> last == 0 => end,
            1 => end.max(self.bytes.len() + added),
            _ => self.bytes.len() + added,
        }
    }

    /// How many bytes from the front of `range` on there is room for.
    fn fitting(&self, range: Range<usize>) -> usize {
        let mut end = range.end;
        while end > range.start {
            let length = self.length_with(range.start..end);
            let over = length.saturating_sub(self.bytes.capacity());
            if over == 0 {
                break;
            }
            // Some of the last page, or all of it.
            let page = ((end - 1) / Self::PAGE * Self::PAGE).max(range.start);
            end = page.max(end.saturating_sub(over));
            if self.length_with(range.start..end.max(range.start + 1)) > self.bytes.capacity() {
                end = page;
            }
        }
        end - range.start
    }

    /// Makes every page of `range` data, zeros where it was a hole, and says where in `bytes` the range begins. There is room for that.
    /// The last page may not reach that far yet.
    fn open(&mut self, range: Range<usize>) -> usize {
        let wanted = pages_of::<CHUNK>(&range);
        while let missing @ 1.. = wanted & !self.pages {
            let first = missing.trailing_zeros() as usize;
            let at = place::<CHUNK>(self.pages, first * Self::PAGE);
            if at >= self.bytes.len() {
                self.pages |= missing;
                let last = (range.end - 1) / Self::PAGE * Self::PAGE;
                self.bytes.resize(place::<CHUNK>(self.pages, last), 0);
                break;
            }
            let count = (missing >> first).trailing_ones() as usize;
            let (end, length) = (self.bytes.len(), count * Self::PAGE);
            self.bytes.resize(end + length, 0);
            self.bytes.copy_within(at..end, at + length);
            self.bytes[at..at + length].fill(0);
            self.pages |= below(first + count) & !below(first);
        }
        place::<CHUNK>(self.pages, range.start)
    }

    /// Makes every byte of `range` data. `charge` has taken what that adds to the capacity; false without memory, and
    /// nothing changed.
    pub(super) fn allocate(&mut self, range: Range<usize>, least: usize) -> bool {
        let length = self.length_with(range.clone());
        let more = length.max(least).saturating_sub(self.bytes.len());
        if self.bytes.try_reserve_exact(more).is_err() {
            return false;
        }
        self.open(range);
        self.bytes.resize(length, 0);
        true
    }

    /// Makes this again what it was before more was allocated.
    pub(super) fn restore(&mut self, before: Before, charge: &mut Charge) {
        self.remove(!before.pages);
        self.bytes.truncate(before.length);
        fit(&mut self.bytes, before.capacity, charge);
    }

    /// Makes what is data of `range` zeros.
    pub(super) fn zero(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let (run, is_data) = run::<CHUNK>(self.pages, at..range.end);
            at = run.end;
            if is_data {
                let from = place::<CHUNK>(self.pages, run.start).min(self.bytes.len());
                let to = (from + run.len()).min(self.bytes.len());
                self.bytes[from..to].fill(0);
            }
        }
    }

    /// Makes the pages inside of `range` a hole, and zeros of the rest of it.
    pub(super) fn punch(&mut self, range: Range<usize>, least: usize, charge: &mut Charge) {
        let first = range.start.div_ceil(Self::PAGE);
        let inside = below(range.end / Self::PAGE) & !below(first);
        self.remove(inside);
        self.zero(range.clone());
        // The last page has no zeros behind its data.
        let last = range.start / Self::PAGE;
        let ends = range.end >= (last + 1) * Self::PAGE && !range.start.is_multiple_of(Self::PAGE);
        if ends && self.pages >> last == 1 {
            let end = place::<CHUNK>(self.pages, range.start);
            self.bytes.truncate(end);
        }
        shrink(&mut self.bytes, least, charge);
    }

    /// Takes `pages` out.
    fn remove(&mut self, pages: Pages) {
        while let gone @ 1.. = pages & self.pages {
            let first = gone.trailing_zeros() as usize;
            let count = (gone >> first).trailing_ones() as usize;
            let at = place::<CHUNK>(self.pages, first * Self::PAGE);
            let end = (at + count * Self::PAGE).min(self.bytes.len());
            self.bytes.drain(at..end);
            self.pages &= !(below(first + count) & !below(first));
        }
    }
}

/// Where the byte at `at` of a chunk lies among the bytes of those `pages`, if its page is one of them; else where it would.
fn place<const CHUNK: usize>(pages: Pages, at: usize) -> usize {
    let page = Chunk::<CHUNK>::PAGE;
    let before = (pages & below(at / page)).count_ones() as usize;
    before * page + at % page
}

/// The pages that `range` touches; it is not empty.
fn pages_of<const CHUNK: usize>(range: &Range<usize>) -> Pages {
    let page = Chunk::<CHUNK>::PAGE;
    below((range.end - 1) / page + 1) & !below(range.start / page)
}

/// The front of `range` that is all data, or all a hole, and which of them.
fn run<const CHUNK: usize>(pages: Pages, range: Range<usize>) -> (Range<usize>, bool) {
    let page = Chunk::<CHUNK>::PAGE;
    let first = range.start / page;
    let rest = pages >> first;
    let is_data = rest & 1 != 0;
    let count = match is_data {
        true => rest.trailing_ones(),
        false => rest.trailing_zeros(),
    };
    let end = ((first + count as usize) * page).min(range.end);
    (range.start..end, is_data)
}

/// Puts `data` at `start` of a chunk that has room for it.
fn put(chunk: &mut Vec<u8>, start: usize, data: &[u8]) {
    if chunk.len() < start {
        chunk.resize(start, 0);
    }
    let over = data.len().min(chunk.len() - start);
    let (over, behind) = data.split_at(over);
    chunk[start..start + over.len()].copy_from_slice(over);
    chunk.extend_from_slice(behind);
}

/// Gives `chunk` room for its first `end` bytes, as many of those as it gets.
///
/// A chunk starts as large as asked for and doubles when it grows again, as far as `max` and the
/// chunk's limit allow.
fn grow<const CHUNK: usize>(chunk: &mut Vec<u8>, end: usize, charge: &mut Charge, max: u64) {
    let before = chunk.capacity();
    if end <= before {
        return;
    }
    let wanted = if before == 0 {
        end
    } else {
        end.max((2 * before).min(CHUNK))
    };
    let granted = charge.take_up_to((wanted - before) as u64, max) as usize;
    if chunk
        .try_reserve_exact(before + granted - chunk.len())
        .is_err()
    {
        charge.give(granted as u64);
        return;
    }
    debug_assert_eq!(chunk.capacity(), before + granted);
}

/// Gives back a chunk's spare room beyond `least` if it is the larger part.
fn shrink(chunk: &mut Vec<u8>, least: usize, charge: &mut Charge) {
    let wanted = chunk.len().max(least);
    if !chunk.is_empty() && chunk.capacity() / 2 >= wanted {
        fit(chunk, wanted, charge);
    }
}

/// Gives back what is beyond `capacity`; keeps it where no memory is left to do so.
fn fit(chunk: &mut Vec<u8>, capacity: usize, charge: &mut Charge) {
    let mut exact = Vec::new();
    let wanted = capacity.max(chunk.len());
    if chunk.capacity() <= wanted || exact.try_reserve_exact(wanted).is_err() {
        return;
    }
    exact.extend_from_slice(chunk);
    charge.give((chunk.capacity() - exact.capacity()) as u64);
    *chunk = exact;
}
