//! What the user of the tree keeps with an inode, and what it is made from.

use crate::sync::OnceCell;

/// What an extension can be made from when somebody needs it: a number and 61 bits, which cost no memory of
/// their own. Only regular files have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The number.
    pub number: u32,
    pub(super) bits: u64,
}

impl Seed {
    /// How many of the bits are kept.
    pub const BITS: u32 = OnceCell::<()>::SEED_BITS;

    /// A seed of `number` and the low 61 bits of `bits`.
    pub const fn new(number: u32, bits: u64) -> Seed {
        Seed {
            number,
            bits: bits & ((1 << Seed::BITS) - 1),
        }
    }

    /// The 61 bits.
    pub const fn bits(self) -> u64 {
        self.bits
    }
}

/// What the user of the tree keeps with an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ext<V> {
    /// Nothing.
    None,
    /// What it is to be made from.
    Seed(Seed),
    /// The extension.
    Made(V),
}

impl<V> Ext<V> {
    /// The extension, if it was made.
    pub fn made(self) -> Option<V> {
        match self {
            Ext::Made(value) => Some(value),
            _ => None,
        }
    }
}
