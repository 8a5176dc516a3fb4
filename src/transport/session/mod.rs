//! A mount from its beginning to its end: the place it is made at, what is agreed with the kernel, the channels that
//! carry it, and taking it away. [`mount()`] begins one.
//!
//! [`table`] reads the kernel's mount table, [`mount_point`] resolves a path once, [`unmount`] takes a mount away, [`utab`]
//! keeps the options that the kernel does not know.

mod attach;
mod carry;
mod error;
pub mod fusermount;
mod lease;
mod mount;
pub mod mount_point;
mod negotiate;
pub(crate) mod runtime;
pub mod table;
pub mod unmount;
pub mod utab;

pub use attach::{Made, Unserved};
pub use error::MountError;
#[cfg(feature = "failpoints")]
pub(crate) use mount::connect;
pub use mount::{MountCounters, MountHandle, Teller, make, mount, mount_at, mount_made, prepare};
