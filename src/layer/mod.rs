//! A difference as a layer of an OCI image: a tar archive.
//!
//! A [kept](Kept) difference is such a layer with records of its own, so that any tar(1) unpacks it, tools for images put it over the
//! source, and norefs knows everything of it that it knows of a mount: where each entry came from, what it was there, and that it moved.

mod kept;
mod live;
mod pax;
mod resume;
mod sparse;
mod write;

pub use kept::{Kept, NotKept};
pub use live::Live;
pub use resume::{Meanwhile, NotResumed, put_over};
pub use write::{Changed, write_layer};
