//! FUSE on the wire: requests from the kernel are unpacked, handed to [`Fs`](crate::fs::Fs) and
//! answered. No decision is made here.
//!
//! fuser negotiates, and has fusermount3 mount for ordinary users; after that the wire is ours. [`mount`] serves a filesystem at a
//! directory, through io_uring with a queue and a thread for each CPU, or with several readers of
//! the device, as [`Transport`] says. The kernel caches names and attributes as [`Cache`] says; what
//! it holds stays exact because every change invalidates the attributes it touched before its reply
//! is sent.

mod channel;
mod dispatch;
#[cfg(feature = "failpoints")]
pub mod failpoint;
mod notify;
mod options;
mod passthrough;
mod requests;
pub mod session;
#[cfg(any(test, feature = "failpoints", feature = "fuzzing"))]
pub mod testing;
mod wire;

pub use crate::fs::Permissions;
pub use options::{
    Cache, CacheError, Carriage, MAX_IO, Options, QUEUE_DEPTH, Transport, TransportError,
};
pub use requests::{LATENCY_BOUNDS, RequestStats, Requests};
pub use session::{MountCounters, MountError, MountHandle, Teller, mount, mount_at};
pub use wire::RequestKind;
