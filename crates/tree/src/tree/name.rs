//! Names of directory entries: what may be one, and how one is kept.
//!
//! A name of up to 32 bytes lies in its dentry. A longer one has its first 24 bytes there, then the
//! number of the first of a chain of pieces of 40 bytes. Everything is words in type-stable slots, so a
//! name needs no allocation of its own and no pointer.

use super::Result;
use crate::sync::{Segmented, Slab, Slot};
use ahash::RandomState;
use arrayvec::ArrayVec;
use rustix::io::Errno;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The longest name, in bytes.
pub const NAME_MAX: usize = 255;

/// A name on the stack.
pub(crate) type NameBuf = ArrayVec<u8, NAME_MAX>;

/// Words of a name in its dentry.
const INLINE: usize = 4;
/// Bytes that fit there.
const INLINE_BYTES: usize = INLINE * 8;
/// Words of a long name in its dentry; the word after them leads to the pieces.
const FIRST: usize = INLINE - 1;
/// Words in a piece.
const PIECE: usize = 5;

/// A name to look for: the words it would lie in, and its hash.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    bytes: &'a [u8],
    words: [u64; INLINE],
    hash: u32,
}

/// The word of the first eight bytes, without a loop or a call: fewer are two reads that overlap.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let four = |at: usize| match bytes[at..].first_chunk() {
        Some(four) => u64::from(u32::from_le_bytes(*four)),
        None => 0,
    };
    match bytes.len() {
        0 => 0,
        len @ 1..4 => {
            let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
            byte(0) | byte(len / 2) | byte(len - 1)
        }
        len @ 4.. => four(0) | four(len - 4) << (8 * (len - 4)),
    }
}

impl<'a> Name<'a> {
    /// A name to look up.
    ///
    /// # Errors
    /// `ENAMETOOLONG` beyond [`NAME_MAX`].
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], hasher: &RandomState) -> Result<Name<'a>> {
        Name::check(bytes)?;
        Ok(Name::checked(bytes, hasher))
    }

    /// Refuses what is too long for a name.
    #[inline(always)]
    pub(crate) fn check(bytes: &[u8]) -> Result<()> {
        match bytes.len() <= NAME_MAX {
            true => Ok(()),
            false => Err(Errno::NAMETOOLONG),
        }
    }

    /// A name that passed [`Name::check`]. As a plain value it stays in registers; out of a `Result`
    /// it would go through memory in pieces.
    #[inline(always)]
    pub(crate) fn checked(bytes: &'a [u8], hasher: &RandomState) -> Name<'a> {
        let mut state = hasher.build_hasher();
        state.write(bytes);
        let hash = state.finish();
        Name {
            bytes,
            words: [
                word(bytes),
                word(bytes.get(8..).unwrap_or_default()),
                word(bytes.get(16..).unwrap_or_default()),
                word(bytes.get(24..).unwrap_or_default()),
            ],
            hash: (hash ^ hash >> 32) as u32,
        }
    }

    /// A name that something can have.
    ///
    /// # Errors
    /// `ENAMETOOLONG`; `EINVAL` for the empty name, `.`, `..` and a name with `/` or NUL in it.
    pub(crate) fn fresh(bytes: &'a [u8], hasher: &RandomState) -> Result<Name<'a>> {
        Name::check(bytes)?;
        let reserved = matches!(bytes, b"" | b"." | b"..");
        if reserved || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(Errno::INVAL);
        }
        Ok(Name::checked(bytes, hasher))
    }

    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    pub(crate) fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// How many words of the dentry belong to the name itself.
    fn own_words(len: usize) -> usize {
        match len <= INLINE_BYTES {
            true => len.div_ceil(8),
            false => FIRST,
        }
    }
}

/// A part of a long name.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    words: [AtomicU64; PIECE],
    next: AtomicU32,
}

const _: () = assert!(size_of::<Piece>() == 48);

impl Segmented for Piece {
    const SEGMENT_BITS: u32 = 16;
}

impl Slot for Piece {
    fn free_link(&self) -> &AtomicU32 {
        &self.next
    }
}

/// The name in a dentry; its length is kept beside it.
#[derive(Debug, Default)]
pub(crate) struct StoredName {
    words: [AtomicU64; INLINE],
}

impl StoredName {
    /// Keeps `name`. The dentry is not published yet.
    ///
    /// # Errors
    /// `ENOSPC`; nothing is kept then.
    pub(crate) fn set(&self, name: &Name<'_>, pieces: &Slab<Piece>) -> Result<()> {
        let own = Name::own_words(name.bytes.len());
        for (cell, word) in self.words.iter().zip(&name.words[..own]) {
            cell.store(*word, Ordering::Relaxed);
        }
        let rest = name.bytes.get(own * 8..).unwrap_or_default();
        let mut first = 0;
        for chunk in rest.chunks(PIECE * 8).rev() {
            let Ok(index) = pieces.take() else {
                free_chain(first, pieces);
                return Err(Errno::NOSPC);
            };
            let piece = pieces.at(index);
            for (cell, bytes) in piece.words.iter().zip(chunk.chunks(8)) {
                cell.store(word(bytes), Ordering::Relaxed);
            }
            piece.next.store(first, Ordering::Relaxed);
            first = index;
        }
        if first != 0 {
            self.words[FIRST].store(first.into(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the name kept, of `len` bytes, is `name`.
    #[inline(always)]
    pub(crate) fn is(&self, len: u32, name: &Name<'_>, pieces: &Slab<Piece>) -> bool {
        if len != name.len() {
            return false;
        }
        let own = Name::own_words(name.bytes.len());
        // Constant indices keep `name` in registers.
        let same = self.word_is::<0>(name, own)
            && self.word_is::<1>(name, own)
            && self.word_is::<2>(name, own)
            && self.word_is::<3>(name, own);
        same && (len as usize <= INLINE_BYTES || self.rest_is(&name.bytes[FIRST * 8..], pieces))
    }

    #[inline(always)]
    fn word_is<const I: usize>(&self, name: &Name<'_>, own: usize) -> bool {
        I >= own || self.words[I].load(Ordering::Relaxed) == name.words[I]
    }

    fn rest_is(&self, mut rest: &[u8], pieces: &Slab<Piece>) -> bool {
        let mut next = self.words[FIRST].load(Ordering::Relaxed) as u32;
        while !rest.is_empty() {
            let piece = pieces.at(next);
            let (here, after) = rest.split_at(rest.len().min(PIECE * 8));
            let same =
                |(cell, bytes): (&AtomicU64, &[u8])| cell.load(Ordering::Relaxed) == word(bytes);
            if !piece.words.iter().zip(here.chunks(8)).all(same) {
                return false;
            }
            rest = after;
            next = piece.next.load(Ordering::Relaxed);
        }
        true
    }

    /// The bytes of the name kept, which has `len`.
    pub(crate) fn bytes(&self, len: u32, pieces: &Slab<Piece>) -> NameBuf {
        let len = (len as usize).min(NAME_MAX);
        let mut bytes = NameBuf::new();
        let mut push = |cell: &AtomicU64| {
            let word = cell.load(Ordering::Relaxed).to_le_bytes();
            let part = &word[..(len - bytes.len()).min(8)];
            bytes.try_extend_from_slice(part).is_ok() && bytes.len() < len
        };
        let mut more = len > 0;
        for cell in &self.words[..Name::own_words(len)] {
            more = push(cell);
        }
        let mut next = self.words[FIRST].load(Ordering::Relaxed) as u32;
        while more {
            let piece = pieces.at(next);
            more = piece.words.iter().all(&mut push);
            next = piece.next.load(Ordering::Relaxed);
        }
        bytes
    }

    /// How many pieces a name of `len` bytes takes.
    pub(crate) fn pieces(len: u32) -> usize {
        let len = len as usize;
        (len - Name::own_words(len).saturating_mul(8).min(len)).div_ceil(PIECE * 8)
    }

    /// Gives the pieces of a name of `len` bytes back. Nobody reads the name any more.
    pub(crate) fn free(&self, len: u32, pieces: &Slab<Piece>) {
        if len as usize > INLINE_BYTES {
            free_chain(self.words[FIRST].load(Ordering::Relaxed) as u32, pieces);
        }
    }
}

fn free_chain(mut index: u32, pieces: &Slab<Piece>) {
    while index != 0 {
        let next = pieces.at(index).next.load(Ordering::Relaxed);
        pieces.free(index);
        index = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_kept_and_told_apart() {
        let (pieces, hasher) = (Slab::<Piece>::default(), RandomState::new());
        let bytes: Vec<u8> = (0..=255u8).map(|i| i | 1).collect();
        for len in (1..=NAME_MAX).step_by(if cfg!(miri) { 23 } else { 1 }) {
            let name = Name::fresh(&bytes[..len], &hasher);
            let name = name.unwrap_or_else(|_| Name::new(&bytes[..len], &hasher).unwrap());
            let stored = StoredName::default();
            stored.set(&name, &pieces).unwrap();
            assert!(stored.is(name.len(), &name, &pieces));
            assert_eq!(&stored.bytes(name.len(), &pieces)[..], &bytes[..len]);
            let mut other = bytes[..len].to_vec();
            *other.last_mut().unwrap() ^= 2;
            assert!(!stored.is(name.len(), &Name::new(&other, &hasher).unwrap(), &pieces));
            other.pop();
            assert!(!stored.is(name.len(), &Name::new(&other, &hasher).unwrap(), &pieces));
            stored.free(name.len(), &pieces);
        }
    }

    #[test]
    fn what_cannot_be_a_name() {
        let hasher = RandomState::new();
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert_eq!(Name::fresh(bad, &hasher).err(), Some(Errno::INVAL));
        }
        let long = [b'/'; NAME_MAX + 1];
        assert_eq!(Name::fresh(&long, &hasher).err(), Some(Errno::NAMETOOLONG));
    }
}
