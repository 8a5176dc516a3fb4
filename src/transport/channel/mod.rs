//! How requests come from the kernel and replies go back: through rings ([`ring`]) or by reading the device ([`device`]).
//!
//! Both hand each request to whoever answers it as an [`exchange`]. What has to wait is answered by threads of [`blocking`],
//! or of [`writeback`] if the kernel has to write back first.

pub(crate) mod blocking;
mod connection;
pub(crate) mod cpus;
pub(crate) mod device;
pub(crate) mod exchange;
pub(crate) mod lost;
pub(crate) mod ring;
pub(crate) mod writeback;

pub(crate) use connection::{Channel, DEVICE, Received, is_connected, open_device};
