//! Bytes held in memory: chunks with holes between them, and in them.

mod chunk;

use crate::fs::Result;
use crate::fs::quota::{Charge, Quota};
use crate::tree::Errno;
use chunk::{Before, Chunk, Pages};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of one file in memory.
pub(in crate::fs) struct Memory<const CHUNK: usize> {
    chunks: Chunks<CHUNK>,
    charge: Charge,
}

enum Chunks<const CHUNK: usize> {
    /// The front of chunk 0 alone; empty for a file that is empty or one hole.
    First(Vec<u8>),
    Many(Box<Many<CHUNK>>),
}

/// Chunks by index, and how many of their pages are data.
struct Many<const CHUNK: usize> {
    chunks: BTreeMap<u64, Chunk<CHUNK>>,
    pages: u64,
}

impl<const CHUNK: usize> Many<CHUNK> {
    fn beginning_with(first: Chunk<CHUNK>) -> Chunks<CHUNK> {
        let pages = u64::from(first.pages.count_ones());
        let chunks = (pages > 0).then_some((0, first)).into_iter().collect();
        Chunks::Many(Box::new(Many { chunks, pages }))
    }
}

/// The part of a byte range that lies in one chunk.
struct Piece {
    index: u64,
    /// Where it starts inside the chunk.
    start: usize,
    /// Where it ends inside the chunk.
    end: usize,
}

impl Piece {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// Cuts a byte range at the chunk boundaries.
fn pieces<const CHUNK: usize>(range: Range<u64>) -> impl Iterator<Item = Piece> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let start = (at % CHUNK as u64) as usize;
        let len = (range.end - at).min((CHUNK - start) as u64) as usize;
        let piece = Piece {
            index: at / CHUNK as u64,
            start,
            end: start + len,
        };
        at += len as u64;
        Some(piece)
    })
}

impl<const CHUNK: usize> Drop for Memory<CHUNK> {
    fn drop(&mut self) {
        let chunks = std::mem::replace(&mut self.chunks, Chunks::First(Vec::new()));
        self.charge.quota().discard(chunks, self.charge.bytes());
    }
}

impl<const CHUNK: usize> Memory<CHUNK> {
    pub(super) fn new(quota: &Arc<Quota>) -> Self {
        Memory {
            chunks: Chunks::First(Vec::new()),
            charge: Charge::new(quota),
        }
    }

    pub(super) fn charged(quota: &Arc<Quota>, bytes: u64, max: u64) -> Result<Self> {
        let mut memory = Memory::new(quota);
        memory.charge.take(bytes, max)?;
        Ok(memory)
    }

    /// Allocated units of 512 bytes: those of whole pages.
    pub(in crate::fs) fn blocks(&self) -> u64 {
        let page = Chunk::<CHUNK>::PAGE as u64;
        let pages = match &self.chunks {
            Chunks::First(bytes) => (bytes.len() as u64).div_ceil(page),
            Chunks::Many(many) => many.pages,
        };
        (pages * page).div_ceil(512)
    }

    /// Fills all of `buf` from `offset` on; holes are zeros.
    pub(in crate::fs) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut rest = buf;
        for piece in pieces::<CHUNK>(offset..offset + rest.len() as u64) {
            let (out, behind) = rest.split_at_mut(piece.len());
            let (bytes, pages) = self.chunk(piece.index);
            Chunk::<CHUNK>::read(bytes, pages, piece.start, out);
            rest = behind;
        }
    }

    /// Writes `data` at `offset` and says how many bytes fitted.
    ///
    /// ENOSPC if none did: the quota is full or memory is.
    pub(in crate::fs) fn write(&mut self, offset: u64, data: &[u8], max: u64) -> Result<usize> {
        let mut written = 0;
        for piece in pieces::<CHUNK>(offset..offset + data.len() as u64) {
            let part = &data[written..written + piece.len()];
            let least = least::<CHUNK>(piece.index);
            let fits = self.edit(piece.index, |chunk, charge| {
                chunk.write(piece.start, part, least, (charge, max))
            });
            written += fits;
            if fits < piece.len() {
                break;
            }
        }
        if written == 0 && !data.is_empty() {
            return Err(Errno::NOSPC);
        }
        Ok(written)
    }

    /// Allocates every byte of `range`, as zeros where there was a hole.
    ///
    /// ENOSPC if it does not fit; then nothing changed.
    pub(in crate::fs) fn allocate(&mut self, range: Range<u64>, max: u64) -> Result<()> {
        let before = self.before(&range)?;
        let mut missing = pieces_allocated::<CHUNK>(&range);
        for (index, _) in &before {
            let part = part::<CHUNK>(&range, *index);
            missing -= allocated::<CHUNK>(*index, &part) as u64;
            missing += self.edit(*index, |chunk, _| {
                let wanted = chunk.length_with(part).max(least::<CHUNK>(*index));
                wanted.saturating_sub(chunk.bytes.capacity()) as u64
            });
        }
        // As a whole, so that nobody else takes some of it meanwhile.
        self.charge.take(missing, max)?;
        for piece in pieces::<CHUNK>(range.clone()) {
            let taken = self.edit(piece.index, |chunk, charge| {
                let capacity = chunk.bytes.capacity();
                let there = charge.quota().may_grow(piece.len() as u64)
                    && chunk.allocate(piece.range(), least::<CHUNK>(piece.index));
                there.then(|| (chunk.bytes.capacity() - capacity) as u64)
            });
            let Some(taken) = taken else {
                self.charge.give(missing);
                self.restore(range.start..(piece.index + 1) * CHUNK as u64, &before);
                return Err(Errno::NOSPC);
            };
            missing -= taken;
        }
        debug_assert_eq!(missing, 0);
        Ok(())
    }

    /// What the chunks of `range` are that are there; ENOSPC without memory.
    fn before(&self, range: &Range<u64>) -> Result<Vec<(u64, Before)>> {
        let mut before = Vec::new();
        for (index, bytes, pages) in self.chunks_in(indices::<CHUNK>(range)) {
            before.try_reserve(1).map_err(|_| Errno::NOSPC)?;
            before.push((index, Before::of(bytes, pages)));
        }
        Ok(before)
    }

    /// Makes the chunks of `range` what they were `before`, in the order of their indices.
    fn restore(&mut self, range: Range<u64>, before: &[(u64, Before)]) {
        let mut next = indices::<CHUNK>(&range).start;
        loop {
            let found = self.chunks_in(next..indices::<CHUNK>(&range).end).next();
            let Some((index, ..)) = found else { return };
            let was = before.binary_search_by_key(&index, |(index, _)| *index);
            let was = was.map_or(Before::default(), |at| before[at].1);
            self.edit(index, |chunk, charge| chunk.restore(was, charge));
            next = index + 1;
        }
    }

    /// Makes `range` zero and keeps its allocation.
    pub(in crate::fs) fn zero(&mut self, range: Range<u64>) {
        self.edit_parts(range, |chunk, part, _, _| chunk.zero(part));
    }

    /// Makes `range` a hole: the pages inside are freed, the rest is zeroed.
    pub(in crate::fs) fn punch(&mut self, range: Range<u64>) {
        self.edit_parts(range, Chunk::punch);
    }

    /// Cuts the content at `size`; what lay behind is zero from now on.
    pub(super) fn truncate(&mut self, size: u64) {
        if let Chunks::Many(many) = &mut self.chunks {
            let gone = many.chunks.split_off(&size.div_ceil(CHUNK as u64));
            let freed: usize = gone.values().map(|chunk| chunk.bytes.capacity()).sum();
            let pages: u32 = gone.values().map(|chunk| chunk.pages.count_ones()).sum();
            self.charge.quota().discard(gone, freed as u64);
            many.pages -= u64::from(pages);
            self.charge.give(freed as u64);
        }
        self.punch(size..(size / CHUNK as u64 + 1).saturating_mul(CHUNK as u64));
    }

    /// Where the first data at or behind `from` starts.
    pub(super) fn next_data(&self, from: u64) -> Option<u64> {
        self.chunks_in(from / CHUNK as u64..u64::MAX)
            .find_map(|(index, _, pages)| {
                let start = index * CHUNK as u64;
                let first = from.saturating_sub(start) / Chunk::<CHUNK>::PAGE as u64;
                // A chunk that is there has data, but perhaps before `from`.
                let rest = pages.checked_shr(first as u32).filter(|rest| *rest != 0)?;
                let page = first + u64::from(rest.trailing_zeros());
                Some((start + page * Chunk::<CHUNK>::PAGE as u64).max(from))
            })
    }

    /// Where the first hole at or behind `from` starts.
    pub(in crate::fs) fn next_hole(&self, from: u64) -> u64 {
        let page = Chunk::<CHUNK>::PAGE as u64;
        let mut at = from;
        for (index, _, pages) in self.chunks_in(from / CHUNK as u64..u64::MAX) {
            let start = index * CHUNK as u64;
            if start > at {
                break;
            }
            let first = (at - start) / page;
            let data = u64::from((pages >> first).trailing_ones());
            if data == 0 {
                break;
            }
            at = start + (first + data) * page;
            if first + data < CHUNK as u64 / page {
                break;
            }
        }
        at
    }

    fn chunk(&self, index: u64) -> (&[u8], Pages) {
        let found = self.chunks_in(index..index + 1).next();
        found.map_or((&[], 0), |(_, bytes, pages)| (bytes, pages))
    }

    /// The chunks that are there, in order, each with its bytes and which of its pages these are.
    fn chunks_in(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Vec<u8>, Pages)> {
        let (small, many) = match &self.chunks {
            Chunks::First(bytes) if range.contains(&0) && !bytes.is_empty() => {
                let pages = Chunk::<CHUNK>::pages_of_front(bytes.len());
                (Some((0, bytes, pages)), None)
            }
            Chunks::Many(many) => (None, Some(many.chunks.range(range))),
            _ => (None, None),
        };
        let many = many.into_iter().flatten();
        let many = many.map(|(&index, chunk)| (index, &chunk.bytes, chunk.pages));
        small.into_iter().chain(many)
    }

    /// Changes the chunk at `index`, which is empty before if it is not there, and is gone if it is empty afterwards.
    fn edit<T>(
        &mut self,
        index: u64,
        change: impl FnOnce(&mut Chunk<CHUNK>, &mut Charge) -> T,
    ) -> T {
        if let Chunks::First(bytes) = &mut self.chunks {
            let mut first = Chunk::front(std::mem::take(bytes));
            if index == 0 {
                let done = change(&mut first, &mut self.charge);
                first.free_if_empty(&mut self.charge);
                self.chunks = match first.is_front() {
                    true => Chunks::First(first.bytes),
                    false => Many::beginning_with(first),
                };
                return done;
            }
            self.chunks = Many::beginning_with(first);
        }
        let Chunks::Many(many) = &mut self.chunks else {
            unreachable!("a first chunk alone was dealt with above");
        };
        let chunk = many.chunks.entry(index).or_default();
        many.pages -= u64::from(chunk.pages.count_ones());
        let done = change(chunk, &mut self.charge);
        many.pages += u64::from(chunk.pages.count_ones());
        if chunk.free_if_empty(&mut self.charge) {
            many.chunks.remove(&index);
        }
        if many.chunks.is_empty() {
            self.chunks = Chunks::First(Vec::new());
        }
        done
    }

    /// Changes the chunks that `range` touches and that are there.
    fn edit_parts(
        &mut self,
        range: Range<u64>,
        change: impl Fn(&mut Chunk<CHUNK>, Range<usize>, usize, &mut Charge),
    ) {
        if range.is_empty() {
            return;
        }
        let touched: Vec<u64> = self
            .chunks_in(indices::<CHUNK>(&range))
            .map(|(index, ..)| index)
            .collect();
        for index in touched {
            let part = part::<CHUNK>(&range, index);
            self.edit(index, |chunk, charge| {
                change(chunk, part, least::<CHUNK>(index), charge);
            });
        }
    }
}

/// The chunks that `range` touches.
fn indices<const CHUNK: usize>(range: &Range<u64>) -> Range<u64> {
    range.start / CHUNK as u64..range.end.div_ceil(CHUNK as u64)
}

/// The part of `range` that lies in a chunk it touches.
fn part<const CHUNK: usize>(range: &Range<u64>, index: u64) -> Range<usize> {
    let base = index * CHUNK as u64;
    let end = (range.end - base).min(CHUNK as u64) as usize;
    range.start.saturating_sub(base) as usize..end
}

/// The room that `range` takes where nothing is there yet.
fn pieces_allocated<const CHUNK: usize>(range: &Range<u64>) -> u64 {
    let Range { start, end } = indices::<CHUNK>(range);
    let ends = [start, end - 1]
        .map(|index| allocated::<CHUNK>(index, &part::<CHUNK>(range, index)) as u64);
    match end - start {
        1 => ends[0],
        count => ends[0] + ends[1] + (count - 2) * CHUNK as u64,
    }
}

/// The room that `part` takes in a chunk that is not there yet.
fn allocated<const CHUNK: usize>(index: u64, part: &Range<usize>) -> usize {
    let chunk = Chunk::<CHUNK>::default();
    chunk.length_with(part.clone()).max(least::<CHUNK>(index))
}

/// The room a chunk starts with. What is charged for it is far more than what it costs to keep track of it, so that bytes strewn
/// over a file do not hold many times the memory that is charged. Every file has a first chunk for its inode alone.
fn least<const CHUNK: usize>(index: u64) -> usize {
    if index == 0 { 0 } else { CHUNK / 16 }
}

#[cfg(test)]
mod tests;
