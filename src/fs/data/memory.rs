//! Bytes held in memory: chunks with holes between them.

use crate::fs::ledger::{Charge, Ledger};
use crate::tree::{Errno, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of one file in memory.
pub(in crate::fs) struct Memory<const CHUNK: usize> {
    chunks: Chunks,
    charge: Charge,
}

enum Chunks {
    /// Chunk 0 alone; empty for a file that is empty or one hole.
    First(Vec<u8>),
    /// Chunks by index.
    Many(BTreeMap<u64, Vec<u8>>),
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

impl<const CHUNK: usize> Memory<CHUNK> {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Memory {
            chunks: Chunks::First(Vec::new()),
            charge: Charge::new(ledger),
        }
    }

    pub(super) fn charged(ledger: &Arc<Ledger>, bytes: u64, max: u64) -> Result<Self> {
        let mut memory = Memory::new(ledger);
        memory.charge.take(bytes, max)?;
        Ok(memory)
    }

    /// Allocated units of 512 bytes.
    pub(in crate::fs) fn blocks(&self) -> u64 {
        self.charge.bytes().div_ceil(512)
    }

    /// Fills all of `buf` from `offset` on; holes are zeros.
    pub(in crate::fs) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut rest = buf;
        for piece in pieces::<CHUNK>(offset..offset + rest.len() as u64) {
            let (out, behind) = rest.split_at_mut(piece.len());
            let chunk = self.chunk(piece.index);
            let data = &chunk[piece.start.min(chunk.len())..piece.end.min(chunk.len())];
            out[..data.len()].copy_from_slice(data);
            out[data.len()..].fill(0);
            rest = behind;
        }
    }

    /// Writes `data` at `offset` and says how many bytes fitted.
    ///
    /// ENOSPC if none did: the ledger is full or memory is.
    pub(in crate::fs) fn write(&mut self, offset: u64, data: &[u8], max: u64) -> Result<usize> {
        let mut written = 0;
        for piece in pieces::<CHUNK>(offset..offset + data.len() as u64) {
            let (chunk, charge) = self.chunk_mut(piece.index);
            let end = piece.end.max(least::<CHUNK>(piece.index));
            let reach = grow::<CHUNK>(chunk, end, charge, max).min(piece.end);
            let fits = reach.saturating_sub(piece.start);
            if fits > 0 {
                put(chunk, piece.start, &data[written..written + fits]);
                written += fits;
            }
            if fits < piece.len() {
                self.discard_if_empty(piece.index);
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
    /// ENOSPC if it does not fit; then nothing changed, unless memory itself ran out on the way.
    pub(in crate::fs) fn allocate(&mut self, range: Range<u64>, max: u64) -> Result<()> {
        let Some(last) = range.end.checked_sub(1) else {
            return Ok(());
        };
        let (first, last) = (range.start / CHUNK as u64, last / CHUNK as u64);
        let tail = range.end - last * CHUNK as u64;
        let wanted = |index| if index == last { tail } else { CHUNK as u64 };
        let room = |index| wanted(index).max(least::<CHUNK>(index) as u64);
        let mut missing = (last - first) * CHUNK as u64 + room(last);
        for (index, chunk) in self.chunks_in(first..last + 1) {
            missing -= room(index).min(chunk.capacity() as u64);
        }
        if missing > max.saturating_sub(self.charge.ledger().used()) {
            return Err(Errno::NOSPC);
        }
        for index in first..=last {
            let (wanted, room) = (wanted(index) as usize, room(index) as usize);
            let (chunk, charge) = self.chunk_mut(index);
            if grow::<CHUNK>(chunk, room, charge, max) < wanted {
                self.discard_if_empty(index);
                return Err(Errno::NOSPC);
            }
            if chunk.len() < wanted {
                chunk.resize(wanted, 0);
            }
        }
        Ok(())
    }

    /// Makes `range` zero and keeps its allocation.
    pub(in crate::fs) fn zero(&mut self, range: Range<u64>) {
        self.edit_pieces(range, |chunk, part| chunk[part].fill(0));
    }

    /// Makes `range` a hole: whole chunks and chunk ends are freed, the rest is zeroed.
    pub(in crate::fs) fn punch(&mut self, range: Range<u64>) {
        self.edit_pieces(range, |chunk, part| {
            if part.end == chunk.len() {
                chunk.truncate(part.start);
            } else {
                chunk[part].fill(0);
            }
        });
    }

    /// Cuts the content at `size`; what lay behind is zero from now on.
    pub(super) fn truncate(&mut self, size: u64) {
        if let Chunks::Many(chunks) = &mut self.chunks {
            let gone = chunks.split_off(&size.div_ceil(CHUNK as u64));
            let freed: usize = gone.values().map(Vec::capacity).sum();
            drop(gone);
            self.charge.give(freed as u64);
        }
        self.punch(size..(size / CHUNK as u64 + 1).saturating_mul(CHUNK as u64));
    }

    /// Where the first data at or behind `from` starts.
    pub(super) fn next_data(&self, from: u64) -> Option<u64> {
        self.chunks_in(from / CHUNK as u64..u64::MAX)
            .map(|(index, chunk)| (index * CHUNK as u64, chunk.len() as u64))
            .find(|(start, len)| start + len > from)
            .map(|(start, _)| start.max(from))
    }

    /// Where the first hole at or behind `from` starts.
    pub(super) fn next_hole(&self, from: u64) -> u64 {
        let mut at = from;
        for (index, chunk) in self.chunks_in(from / CHUNK as u64..u64::MAX) {
            let start = index * CHUNK as u64;
            let end = start + chunk.len() as u64;
            if start > at || end <= at {
                break;
            }
            at = end;
        }
        at
    }

    fn chunk(&self, index: u64) -> &[u8] {
        match &self.chunks {
            Chunks::First(chunk) if index == 0 => chunk,
            Chunks::Many(chunks) => chunks.get(&index).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// The chunks that are there, in order.
    fn chunks_in(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Vec<u8>)> {
        let (small, many) = match &self.chunks {
            Chunks::First(chunk) if range.contains(&0) && !chunk.is_empty() => {
                (Some((0, chunk)), None)
            }
            Chunks::Many(chunks) => (None, Some(chunks.range(range))),
            _ => (None, None),
        };
        let many = many.into_iter().flatten();
        small
            .into_iter()
            .chain(many.map(|(&index, chunk)| (index, chunk)))
    }

    /// The chunk at `index`, made empty if it is not there, with the charge its growth is put on.
    fn chunk_mut(&mut self, index: u64) -> (&mut Vec<u8>, &mut Charge) {
        if index > 0
            && let Chunks::First(first) = &mut self.chunks
        {
            let first = std::mem::take(first);
            let first = (first.capacity() > 0).then_some((0, first));
            self.chunks = Chunks::Many(first.into_iter().collect());
        }
        match &mut self.chunks {
            Chunks::First(chunk) => (chunk, &mut self.charge),
            Chunks::Many(chunks) => (chunks.entry(index).or_default(), &mut self.charge),
        }
    }

    /// Applies `edit` to the parts of chunks that `range` covers, then frees what no longer holds bytes.
    fn edit_pieces(&mut self, range: Range<u64>, edit: impl Fn(&mut Vec<u8>, Range<usize>)) {
        let (first, last) = (range.start / CHUNK as u64, range.end.div_ceil(CHUNK as u64));
        let touched: Vec<u64> = self
            .chunks_in(first..last)
            .map(|(index, _)| index)
            .collect();
        for index in touched {
            let base = index * CHUNK as u64;
            let (chunk, charge) = self.chunk_mut(index);
            let start = range.start.saturating_sub(base).min(chunk.len() as u64) as usize;
            let end = (range.end - base).min(chunk.len() as u64) as usize;
            if start < end {
                edit(chunk, start..end);
                shrink(chunk, least::<CHUNK>(index), charge);
            }
            self.discard_if_empty(index);
        }
    }

    /// Frees the chunk at `index` if it holds no byte.
    fn discard_if_empty(&mut self, index: u64) {
        let (chunk, charge) = self.chunk_mut(index);
        if !chunk.is_empty() {
            return;
        }
        charge.give(chunk.capacity() as u64);
        *chunk = Vec::new();
        if let Chunks::Many(chunks) = &mut self.chunks {
            chunks.remove(&index);
            if chunks.is_empty() {
                self.chunks = Chunks::First(Vec::new());
            }
        }
    }
}

/// The room a chunk starts with. What is charged for it is far more than what it costs to keep track of it, so that bytes strewn
/// over a file do not hold many times the memory that is charged. Every file has a first chunk for its inode alone.
fn least<const CHUNK: usize>(index: u64) -> usize {
    if index == 0 { 0 } else { CHUNK / 16 }
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

/// Gives `chunk` room for its first `end` bytes and says how many of those it has room for.
///
/// A chunk starts as large as asked for and doubles when it grows again, as far as `max` and the
/// chunk's limit allow.
fn grow<const CHUNK: usize>(
    chunk: &mut Vec<u8>,
    end: usize,
    charge: &mut Charge,
    max: u64,
) -> usize {
    let before = chunk.capacity();
    if end <= before {
        return end;
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
        return before;
    }
    debug_assert_eq!(chunk.capacity(), before + granted);
    end.min(before + granted)
}

/// Gives back a chunk's spare room beyond `least` if it is the larger part; keeps it where no memory is left to do so.
fn shrink(chunk: &mut Vec<u8>, least: usize, charge: &mut Charge) {
    let mut exact = Vec::new();
    let wanted = chunk.len().max(least);
    if chunk.is_empty() || chunk.capacity() / 2 < wanted || exact.try_reserve_exact(wanted).is_err()
    {
        return;
    }
    exact.extend_from_slice(chunk);
    charge.give((chunk.capacity() - exact.capacity()) as u64);
    *chunk = exact;
}

#[cfg(test)]
mod tests;
