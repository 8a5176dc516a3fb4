//! FUSE on the wire: requests from the kernel are unpacked, handed to [`Fs`](crate::fs::Fs) and
//! answered. No decision is made here.
//!
//! fuser negotiates, and has fusermount3 mount for ordinary users; after that the wire is ours. [`mount`] serves a filesystem at a
//! directory, through io_uring with a queue and a thread for each CPU, or with several readers of
//! the device, as [`Transport`] says. The kernel caches names and attributes as [`Cache`] says; what
//! it holds stays exact because every change invalidates the attributes it touched before its reply
//! is sent.

mod aside;
mod attach;
mod carry;
mod channel;
#[cfg(feature = "seams")]
pub mod constant;
mod cpus;
mod device;
mod dispatch;
mod exchange;
mod latency;
mod lease;
mod lost;
mod negotiate;
mod notify;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod offline;
mod options;
mod passthrough;
pub mod place;
mod requests;
mod ring;
pub(crate) mod runtime;
#[cfg(feature = "seams")]
pub mod seam;
mod serve;
pub mod session;
pub mod table;
pub mod unmount;
pub mod utab;
mod wire;
mod writeback;

pub use crate::fs::Permissions;
pub use options::{
    Cache, CacheError, Carriage, MAX_IO, Options, QUEUE_DEPTH, Transport, TransportError,
};
pub use requests::{RequestKind, RequestStats, Requests};
pub use session::{MountCounters, MountError, MountHandle, mount, mount_at};
