//! What the daemon asks of the machine it runs on: memory, and threads for what may take long. Nothing here knows of files.

mod heap;
mod pool;

pub use heap::{give_back_memory, is_memory_left, is_memory_left_for_a_thread, spare_addresses};
pub use pool::{Pool, Shape as PoolShape};
