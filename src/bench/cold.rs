//! Making the kernel forget names and attributes.

use std::fs::OpenOptions;
use std::io::{self, Write};

const SWITCH: &str = "/proc/sys/vm/drop_caches";
/// Dentries and inodes; not file contents.
const NAMES_AND_ATTRIBUTES: &[u8] = b"2";

/// Whether [`forget`] will work; if not, why.
pub fn possible() -> Result<(), String> {
    let opened = OpenOptions::new().write(true).open(SWITCH);
    let left_out = |error| format!("left out, as {SWITCH} cannot be written: {error}");
    opened.map(drop).map_err(left_out)
}

/// Makes the kernel drop the dentries and inodes that nobody uses, of all filesystems.
pub fn forget() -> io::Result<()> {
    let mut switch = OpenOptions::new().write(true).open(SWITCH)?;
    switch.write_all(NAMES_AND_ATTRIBUTES)
}
