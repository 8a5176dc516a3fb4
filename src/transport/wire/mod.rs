//! The FUSE protocol: which requests there are, and what they and their answers are made of, byte by
//! byte as in the kernel's `include/uapi/linux/fuse.h`. Nothing here knows what a request means.

mod agreed;
mod args;
mod attr;
mod header;
mod kind;
mod listing;
mod opcode;
mod reply;

pub(crate) use agreed::{Agreed, Dialect};
pub(crate) use args::*;
pub(crate) use attr::{AttrOut, EntryOut, StatxOut, negative_entry};
pub(crate) use header::{InHeader, OutHeader};
pub use kind::RequestKind;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use listing::Dirent;
pub(crate) use listing::{Listed, Listing};
pub(crate) use opcode::{ARGS_ROOM, NOTIFY_REPLY, Opcode};
pub(crate) use reply::*;
