//! Making the kernel forget names, attributes and contents.

use super::files::{list, open, open_directory};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FileType, fadvise, statat};
use std::fs::OpenOptions;
use std::io::{self, Write};

const SWITCH: &str = "/proc/sys/vm/drop_caches";
/// Dentries and inodes; not file contents.
const NAMES_AND_ATTRIBUTES: &[u8] = b"2";

/// Whether [`forget`] will work; if not, why.
pub fn possible() -> Result<(), String> {
    let opened = OpenOptions::new().write(true).open(SWITCH);
    opened
        .map(drop)
        .map_err(|error| format!("{SWITCH}: {error}"))
}

/// Makes the kernel drop the contents it holds of the files below `root`, and the dentries and
/// inodes that nobody uses, of all filesystems.
pub fn forget(root: BorrowedFd<'_>) -> io::Result<()> {
    forget_contents(&open_directory(root, c".")?)?;
    let mut switch = OpenOptions::new().write(true).open(SWITCH)?;
    switch.write_all(NAMES_AND_ATTRIBUTES)
}

/// The kernel keeps an inode as long as it holds contents of it.
fn forget_contents(directory: &OwnedFd) -> io::Result<()> {
    list(directory, |name, _| {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => forget_contents(&open_directory(directory, name)?)?,
            FileType::RegularFile if stat.st_size > 0 => {
                fadvise(open(directory, name)?, 0, None, Advice::DontNeed)?;
            }
            _ => {}
        }
        Ok(())
    })
}
