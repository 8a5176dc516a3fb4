//! What this process was given when it began, before the runtime of the language changed it.

use nix::sys::signal::Signal;
use std::sync::OnceLock;

/// A bit for each signal that was ignored, the first in the lowest.
static IGNORED: OnceLock<u64> = OnceLock::new();

// The runtime ignores SIGPIPE before `main`, which a command is not to inherit unless it was so before.
ctor::declarative::ctor! {
    #[ctor(unsafe)]
    fn remember() {
        IGNORED.get_or_init(read);
    }
}

fn read() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default()
}

/// Whether `signal` was ignored when this process began.
pub fn ignored(signal: Signal) -> bool {
    let all = IGNORED.get_or_init(read);
    all >> (signal as u32 - 1) & 1 == 1
}
