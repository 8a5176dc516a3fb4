//! What was told, one entry behind the other, in memory that is bounded.

use crate::tree::NodeId;
use ahash::RandomState;
use std::collections::{HashSet, VecDeque};

/// Bytes of entries that are kept at most: some 100,000 names of usual length.
pub const CAPACITY: usize = 4 << 20;

/// Entries are given up by so many bytes at a time.
const CHUNK: usize = 64 << 10;

/// Inodes that are remembered as told at most.
const TOLD: usize = 4096;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note<'a> {
    /// The inode changed.
    Inode(NodeId),
    /// The name came, went, or leads elsewhere.
    Name {
        directory: NodeId,
        name: &'a [u8],
        inode: NodeId,
        below: bool,
    },
}

/// Stands for the length of a name where there is none.
const NO_NAME: u8 = 0;

impl Note<'_> {
    /// Appends it; no name is empty, or longer than 255 bytes.
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Note::Inode(inode) => {
                out.extend_from_slice(&[NO_NAME, 0]);
                out.extend_from_slice(&inode.raw().to_le_bytes());
            }
            Note::Name {
                directory,
                name,
                inode,
                below,
            } => {
                out.extend_from_slice(&[name.len() as u8, u8::from(*below)]);
                out.extend_from_slice(&inode.raw().to_le_bytes());
                out.extend_from_slice(&directory.raw().to_le_bytes());
                out.extend_from_slice(name);
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Note::Inode(_) => 10,
            Note::Name { name, .. } => 18 + name.len(),
        }
    }
}

/// Takes the next entry from the front of `bytes`.
fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Note<'a>> {
    let mut take = |length| bytes.split_off(..length);
    let head = take(2)?;
    let mut id = || {
        Some(NodeId::from_raw(u64::from_le_bytes(
            take(8)?.try_into().ok()?,
        )))
    };
    let inode = id()?;
    if head[0] == NO_NAME {
        return Some(Note::Inode(inode));
    }
    Some(Note::Name {
        directory: id()?,
        name: take(head[0].into())?,
        inode,
        below: head[1] != 0,
    })
}

struct Run {
    /// The number of its first entry.
    first: u64,
    bytes: Vec<u8>,
}

/// The entries, which have numbers from 1 on.
pub(super) struct Log {
    /// Of the journal.
    pub(super) id: u128,
    /// The process that keeps it.
    process: u32,
    /// Whether changes are told at all.
    pub(super) begun: bool,
    capacity: usize,
    chunks: VecDeque<Run>,
    /// The number of the first entry that is kept, and of the next.
    first: u64,
    next: u64,
    /// Inodes of which there is an entry that no token knows: whoever asks is told of it, so a further change needs none.
    told: HashSet<NodeId, RandomState>,
}

impl Log {
    pub(super) fn new(id: u128, capacity: usize) -> Log {
        Log {
            id,
            process: std::process::id(),
            begun: false,
            capacity,
            chunks: VecDeque::new(),
            first: 1,
            next: 1,
            told: HashSet::default(),
        }
    }

    /// Whether this is what a process left to a copy of itself.
    pub(super) fn is_of_another_process(&self) -> bool {
        self.process != std::process::id()
    }

    /// Forgets everything, and goes on as that of the journal `id`.
    pub(super) fn renew(&mut self, id: u128) {
        let begun = self.begun;
        *self = Log::new(id, self.capacity);
        self.begin(begun);
    }

    /// Says whether changes are told from now on. No token knows of a time before.
    pub(super) fn begin(&mut self, begun: bool) {
        self.begun = begun;
        self.next += 1;
        self.first = self.next;
    }

    /// The number of the entry that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The same, for a token: what is appended from now on is not known to who has it.
    pub(super) fn hand_out(&mut self) -> u64 {
        self.told.clear();
        self.next
    }

    pub(super) fn append(&mut self, entry: &Note<'_>) {
        if let Note::Inode(inode) = entry {
            if self.told.len() == TOLD {
                self.told.clear();
            }
            if !self.told.insert(*inode) {
                return;
            }
        }
        let length = entry.length();
        let number = self.next;
        self.next += 1;
        let full = |chunk: &Run| chunk.bytes.len() + length > CHUNK;
        if self.chunks.back().is_none_or(full) && !self.begin_chunk(number) {
            // Without memory it is as if this, and all before, had been given up.
            self.chunks.clear();
            self.first = self.next;
            return;
        }
        if let Some(chunk) = self.chunks.back_mut() {
            entry.encode(&mut chunk.bytes);
        }
    }

    /// Makes room, by giving up the oldest entries if it has to be; false without memory.
    fn begin_chunk(&mut self, first: u64) -> bool {
        let mut bytes = match self.chunks.len() >= (self.capacity / CHUNK).max(2) {
            true => self
                .chunks
                .pop_front()
                .map_or_else(Vec::new, |old| old.bytes),
            false => Vec::new(),
        };
        bytes.clear();
        if bytes.try_reserve_exact(CHUNK).is_err() {
            return false;
        }
        self.chunks.push_back(Run { first, bytes });
        self.first = self.chunks.front().map_or(first, |chunk| chunk.first);
        true
    }

    /// The entries from `number` on; `None` if some of them are not kept, or it is no number of an entry or the next one.
    pub(super) fn since(&self, number: u64) -> Option<impl Iterator<Item = Note<'_>>> {
        if !(self.first..=self.next).contains(&number) {
            return None;
        }
        let from = self.chunks.partition_point(|chunk| chunk.first <= number);
        let from = from.saturating_sub(1);
        let skipped = self
            .chunks
            .get(from)
            .map_or(0, |chunk| number - chunk.first);
        let entries = self.chunks.range(from..).flat_map(|chunk| {
            let mut rest = chunk.bytes.as_slice();
            std::iter::from_fn(move || decode(&mut rest))
        });
        Some(entries.skip(skipped as usize))
    }
}
