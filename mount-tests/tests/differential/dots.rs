//! Who searches a directory for a dot, `.` or `..`, which is no name that is looked up.

use crate::call::{At, Call};
use crate::perform::{Files, accessat};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, CWD, StatxFlags, statx};
use rustix::io::{Errno, Result};

/// Whether a path of `call`, which was refused with `EACCES`, comes to a dot in a directory that the caller may not search.
/// What comes before that may be searched, as it is reached.
pub fn stop(files: &Files, call: &Call) -> bool {
    let stops = |(at, base): (At, Result<BorrowedFd>)| {
        base.is_ok_and(|base| before_dots(at.1).any(|path| is_closed(base, path)))
    };
    match *call {
        Call::Link { from, to, .. } | Call::Rename { from, to, .. } => {
            [from, to].into_iter().any(|at| stops((at, files.base(at))))
        }
        // The caller is where the path begins.
        _ => call.place().is_some_and(|at| stops((at, Ok(CWD.as_fd())))),
    }
}

/// What comes before each dot of `path`.
fn before_dots(path: &str) -> impl Iterator<Item = &str> {
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

#[test]
fn dots_are_found_in_each_place() {
    let before = |path| before_dots(path).collect::<Vec<_>>();
    assert_eq!(before("a/./../b"), ["a/", "a/./"]);
    assert_eq!(before("/.."), ["/"]);
    assert_eq!(before("."), [""]);
    assert_eq!(before("a//..b/.a/..."), [""; 0]);
}
