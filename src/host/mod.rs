//! What is asked of the machine: memory, threads for what may take long, an instant at which none does anything, to hand a descriptor
//! to another process, and what processes have mapped.

pub(crate) mod descriptor;
mod gate;
mod heap;
mod maps;
mod pool;
mod serving;

pub use gate::{Quiet, copies, rest, take_part};
pub use heap::{give_back_memory, is_memory_left, is_memory_left_for_a_thread, spare_addresses};
pub use maps::write_back_maps;
pub use pool::{Pool, Shape as PoolShape};
pub use serving::{serve_others, start_thread};
