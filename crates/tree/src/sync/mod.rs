//! The concurrency primitives. Nothing here knows of files.
//!
//! Each file tells one algorithm at its head, names its states as constants, explains each memory
//! ordering once, beside the access, and has loom stories of its own (`tests/loom_*.rs`
//! beside it).
//!
//! | primitive | what it gives |
//! |---|---|
//! | [`SeqBlock`] | several words read as one instant, readers never wait |
//! | [`RefWord`](refword::RefWord) | a count that can die, once, and then refuses; counted by eras where it is another one's |
//! | [`Lifetime`] | two counts and a number of links that decide together when an object ends |
//! | [`Table`] | a hash table of 32-bit values that readers probe while one writer changes it |
//! | [`RenameSeq`], [`Live`] | several names change hands as one step |
//! | [`UpWord`] | the way back from what is moved, as evidence |
//! | [`Segments`], [`Slab`] | slots that are reused but never unmapped |
//! | [`OnceCell`] | a value set once, read under the epoch or by its owner |
//! | [`Gate`], [`Seat`] | an instant at which all threads rest, which costs them no shared line |
//! | [`Counters`] | numbers each thread adds to alone, summed only when asked |

#![cfg_attr(
    loom,
    allow(dead_code, reason = "the tree, which uses it, is left out")
)]

#[cfg(not(loom))]
mod counters;
mod gate;
mod lifetime;
#[cfg(not(loom))]
mod once;
mod primitive;
mod refword;
mod rename;
mod seqblock;
mod slab;
mod table;
#[cfg(all(test, loom))]
mod tests;
mod up;

#[cfg(not(loom))]
pub use counters::Counters;
#[cfg(not(loom))]
pub use gate::{Gate, Seat};
pub use lifetime::{Lifetime, Verdict};
#[cfg(not(loom))]
pub use once::{Holding, OnceCell};
pub use refword::Era;
pub use rename::{Live, RenameSeq, RenameStamp, hand_over};
pub use seqblock::{SeqBlock, Version};
#[cfg(all(test, not(loom)))]
pub use slab::NoSlot;
pub use slab::{Segmented, Segments, Slab, Slot};
pub use table::{Retired, Table};
pub use up::{Up, UpWord};
