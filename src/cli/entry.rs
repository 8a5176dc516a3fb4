//! What this process was given when it began, before the runtime of the language changed it.

use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::path::Path;
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

/// Whether the program is called by the name of a helper of mount(8).
pub fn is_helper(arguments: &[OsString]) -> bool {
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_name());
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"mount."))
}
