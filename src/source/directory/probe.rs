//! Files whose size tells nothing: they are read when they are loaded.

use super::opening::stat_content;
use super::root::SourceRoot;
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Bytes of a file that are taken at most: there are files that never end.
pub(super) const LONGEST: usize = 16 << 20;

/// All bytes of the regular file `name` in an open directory.
///
/// # Errors
/// `FBIG` if it has more than [`LONGEST`]; `AGAIN` if it has nothing to give now; what opening and reading it give.
pub(super) fn read(directory: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>> {
    let file = SourceRoot::open_content(directory, name)?;
    let mode = u32::from(stat_content(&file)?.stx_mode);
    match mode & libc::S_IFMT {
        libc::S_IFREG => read_to_end(&file),
        _ => Err(Errno::STALE),
    }
}

fn read_to_end(file: &OwnedFd) -> Result<Vec<u8>> {
    const PIECE: usize = 64 << 10;
    let mut bytes = Vec::new();
    loop {
        let done = bytes.len();
        bytes.try_reserve(PIECE).map_err(|_| Errno::NOMEM)?;
        bytes.resize(done + PIECE, 0);
        // As `cat` reads: some files are made up anew for each reader, from the first byte on.
        let read = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut bytes[done..]))?;
        bytes.truncate(done + read);
        match read {
            0 => break,
            _ if bytes.len() > LONGEST => return Err(Errno::FBIG),
            _ => {}
        }
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}
