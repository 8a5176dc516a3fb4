//! Where a path may be refused for want of permission to search a directory, and the kernel looks nothing up there.

use crate::call::{At, Call};
use crate::perform::{Files, accessat};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, CWD, StatxFlags, statx};
use rustix::io::{Errno, Result};

/// What a directory was searched for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// `.` or `..`: no name that is looked up.
    Dot,
    /// A name, but the directory was removed.
    Dead,
}

/// What of this stopped `call`, which was refused with `EACCES`. What comes before may be searched, as it is reached.
pub fn stop(files: &Files, call: &Call) -> Option<Unasked> {
    let stop = |at: At, base: Result<BorrowedFd>| {
        let base = base.ok()?;
        if before_dots(at.1).any(|path| is_closed(base, path)) {
            return Some(Unasked::Dot);
        }
        (is_dead(base) && is_closed(base, "")).then_some(Unasked::Dead)
    };
    match *call {
        Call::Link { from, to, .. } | Call::Rename { from, to, .. } => [from, to]
            .into_iter()
            .find_map(|at| stop(at, files.base(at))),
        // The caller is where the path begins.
        _ => call.place().and_then(|at| stop(at, Ok(CWD.as_fd()))),
    }
}

fn is_dead(directory: BorrowedFd) -> bool {
    statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK)
        .is_ok_and(|stat| stat.stx_nlink == 0)
}

/// What comes before each dot of `path`.
pub fn before_dots(path: &str) -> impl Iterator<Item = &str> {
    let mut begin = 0;
    path.split('/').filter_map(move |name| {
        let before = &path[..begin];
        begin += name.len() + 1;
        matches!(name, "." | "..").then_some(before)
    })
}

fn is_closed(base: BorrowedFd, directory: &str) -> bool {
    let flags = AtFlags::EMPTY_PATH;
    let reached = statx(base, directory, flags, StatxFlags::TYPE).is_ok();
    let effective = (flags | AtFlags::EACCESS).bits();
    let searched = accessat(base, directory, Access::EXEC_OK.bits(), effective);
    reached && searched == Err(Errno::ACCESS)
}
