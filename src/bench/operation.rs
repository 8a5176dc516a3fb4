//! The operations: what one call is, and where it goes.

use super::course::{CONTENT, Course};
use super::plot::Plot;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags, accessat, chmodat, mkdirat,
    openat, readlinkat_raw, renameat, statat, statx, symlinkat, unlinkat,
};
use rustix::io::{Errno, read, write};
use serde::Serialize;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;

/// What a figure tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Calls that the kernel may answer by itself, since it was told before.
    Warm,
    /// Calls for which the kernel has to ask.
    Forced,
    /// Calls that change something.
    Changes,
    /// A walk after the kernel was made to forget.
    Cold,
}

/// One kind of call, or a few that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    StatNear,
    StatDeep,
    StatMissing,
    Access,
    Readlink,
    OpenClose,
    OpenReadClose,
    Readdir,
    Walk,
    ForcedStatx,
    CreateUnlink,
    MkdirRmdir,
    Rename,
    SymlinkUnlink,
    Chmod,
    WriteUnlink,
}

impl Operation {
    pub const ALL: [Operation; 16] = [
        Operation::StatNear,
        Operation::StatDeep,
        Operation::StatMissing,
        Operation::Access,
        Operation::Readlink,
        Operation::OpenClose,
        Operation::OpenReadClose,
        Operation::Readdir,
        Operation::Walk,
        Operation::ForcedStatx,
        Operation::CreateUnlink,
        Operation::MkdirRmdir,
        Operation::Rename,
        Operation::SymlinkUnlink,
        Operation::Chmod,
        Operation::WriteUnlink,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Operation::StatNear => "stat, depth 1",
            Operation::StatDeep => "stat, depth 5",
            Operation::StatMissing => "stat of nothing, depth 5",
            Operation::Access => "access, depth 5",
            Operation::Readlink => "readlink, depth 5",
            Operation::OpenClose => "open + close",
            Operation::OpenReadClose => "open + read 4 KiB + close",
            Operation::Readdir => "open + list 20 names + close",
            Operation::Walk => "tree walk, per name",
            Operation::ForcedStatx => "statx, forced",
            Operation::CreateUnlink => "create + close + unlink",
            Operation::MkdirRmdir => "mkdir + rmdir",
            Operation::Rename => "rename",
            Operation::SymlinkUnlink => "symlink + unlink",
            Operation::Chmod => "chmod",
            Operation::WriteUnlink => "create + write 4 KiB + close + unlink",
        }
    }

    pub fn group(self) -> Group {
        match self {
            Operation::ForcedStatx => Group::Forced,
            Operation::CreateUnlink
            | Operation::MkdirRmdir
            | Operation::Rename
            | Operation::SymlinkUnlink
            | Operation::Chmod
            | Operation::WriteUnlink => Group::Changes,
            _ => Group::Warm,
        }
    }

    /// The names it goes round.
    pub fn targets(self, course: &Course) -> &[CString] {
        match self {
            Operation::StatNear => &course.near,
            Operation::StatDeep
            | Operation::Access
            | Operation::OpenClose
            | Operation::ForcedStatx => &course.deep,
            Operation::StatMissing => &course.missing,
            Operation::Readlink => &course.links,
            Operation::OpenReadClose => &course.filled,
            Operation::Readdir => &course.leaves,
            Operation::Walk => &course.directories[..1],
            _ => &course.scratch,
        }
    }

    /// Does it once at `name`, in the tree or in the directory that is this client's own.
    /// Returns how many operations it was.
    pub fn once(self, plot: &Plot, own: &OwnedFd, name: &CStr) -> io::Result<u64> {
        let root = plot.root();
        match self {
            Operation::StatNear | Operation::StatDeep => {
                statat(root, name, AtFlags::empty())?;
            }
            Operation::StatMissing => match statat(root, name, AtFlags::empty()) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Err(Errno::EXIST.into()),
            },
            Operation::Access => accessat(root, name, Access::READ_OK, AtFlags::empty())?,
            Operation::Readlink => {
                readlinkat_raw(root, name, &mut [0u8; 64])?;
            }
            Operation::OpenClose => drop(open(root, name)?),
            Operation::OpenReadClose => {
                read(open(root, name)?, &mut [0u8; CONTENT])?;
            }
            Operation::Readdir => list(&open_directory(root, name)?, |_, _| Ok(()))?,
            Operation::Walk => return walk(root),
            Operation::ForcedStatx => {
                let flags = AtFlags::STATX_FORCE_SYNC;
                statx(root, name, flags, StatxFlags::BASIC_STATS)?;
            }
            _ => return self.change(own, name),
        }
        Ok(1)
    }

    fn change(self, own: &OwnedFd, name: &CStr) -> io::Result<u64> {
        match self {
            Operation::MkdirRmdir => {
                mkdirat(own, name, Mode::RWXU)?;
                unlinkat(own, name, AtFlags::REMOVEDIR)?;
            }
            Operation::Rename => {
                renameat(own, STEADY, own, name)?;
                renameat(own, name, own, STEADY)?;
                return Ok(2);
            }
            Operation::SymlinkUnlink => {
                symlinkat(c"target", own, name)?;
                unlinkat(own, name, AtFlags::empty())?;
            }
            Operation::Chmod => {
                chmodat(own, STEADY, Mode::RUSR, AtFlags::empty())?;
                chmodat(own, STEADY, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
                return Ok(2);
            }
            Operation::WriteUnlink => {
                create(own, name, CONTENT)?;
                unlinkat(own, name, AtFlags::empty())?;
            }
            _ => {
                create(own, name, 0)?;
                unlinkat(own, name, AtFlags::empty())?;
            }
        }
        Ok(1)
    }
}

/// The file in each client's own directory that stays.
pub const STEADY: &CStr = c"steady";

fn open(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Opens a directory to list it.
pub fn open_directory(at: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Makes a file of `bytes` zeroes, at most [`CONTENT`].
pub fn create(at: impl AsFd, name: &CStr, bytes: usize) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(at, name, flags, Mode::RUSR | Mode::WUSR)?;
    let content = &[0u8; CONTENT][..bytes];
    if bytes > 0 && write(&file, content)? != bytes {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// Calls `visit` with every name but `.` and `..`.
pub fn list(
    directory: &OwnedFd,
    mut visit: impl FnMut(&CStr, FileType) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; 8192];
    let mut names = RawDir::new(directory, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            visit(entry.file_name(), entry.file_type())?;
        }
    }
    Ok(())
}

/// Lists every directory and stats everything in it.
pub fn walk(root: BorrowedFd<'_>) -> io::Result<u64> {
    fn visit(directory: &OwnedFd, seen: &mut u64) -> io::Result<()> {
        list(directory, |name, _| {
            *seen += 1;
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => visit(&open_directory(directory, name)?, seen),
                _ => Ok(()),
            }
        })
    }
    let mut seen = 0;
    visit(&open_directory(root, c".")?, &mut seen)?;
    Ok(seen)
}
