//! Many at once: what one caller sees of what others do, and what the kernel keeps of it.

mod atomic;
mod coherence;
mod panic;
mod parallel;
mod stress;
