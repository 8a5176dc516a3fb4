//! Memory of the whole process: whether there is more, and giving back what is free.
//!
//! The allocator of the C library keeps what was freed in pieces of less than 128 KiB, for whoever wants memory next. A
//! filesystem of which much was removed has to say that nobody does.

use memmap2::MmapMut;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io::Read;

/// Far more than the stacks of a thread take, bytes.
const THREAD_BYTES: usize = 16 << 20;

/// Whether the system would give `bytes` more. Where the address space is limited that is reckoned: whoever tried it would take for a moment
/// what a thread that is just starting needs. Elsewhere they are asked for as a map and given back untouched: anybody could have had
/// them, while what the allocator keeps for one thread it may not have for another.
pub fn is_memory_left(bytes: usize) -> bool {
    match addresses_left() {
        Some(left) => bytes as u64 <= left,
        None => MmapMut::map_anon(bytes).is_ok(),
    }
}

/// Bytes that the limit of the address space leaves; `None` without one, or without `/proc`. Nothing is allocated for it.
fn addresses_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let mut text = [0; 128];
    let length = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text));
    let text = std::str::from_utf8(text.get(..length.ok()?)?).ok()?;
    let pages: u64 = text.split(' ').next()?.parse().ok()?;
    Some(limit.saturating_sub(pages.saturating_mul(rustix::param::page_size() as u64)))
}

/// Whether a thread may be started: one that finds no memory for its second stack, which it makes by itself, ends the process.
/// To be asked before anything is allocated for the thread.
pub fn is_memory_left_for_a_thread() -> bool {
    is_memory_left(THREAD_BYTES)
}

/// Where the address space is limited, has all threads allocate from one part of it, if the allocator can do that: each part of its
/// own takes 64 MiB of addresses, which nobody else can use. To be called before there are threads.
pub fn spare_addresses() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if getrlimit(Resource::As).current.is_some() {
        // SAFETY: it sets a parameter of the allocator, under the allocator's own lock (mallopt(3)), and touches no memory in use.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Gives free memory of the whole process back to the system, if the allocator can do that. Takes time in proportion to the free
/// pieces there are.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call it at any time (malloc_trim(3), MT-Safe), and no memory in use is touched.
    unsafe {
        libc::malloc_trim(0);
    }
}
