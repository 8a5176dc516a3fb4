//! The system calls that are measured.

use crate::course::{Place, STEADY};
use crate::files::{CONTENT, create, list, open, open_directory};
use rustix::fd::OwnedFd;
use rustix::fs::{
    Access, AtFlags, FileType, Mode, StatxFlags, accessat, chmodat, mkdirat, readlinkat_raw,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;

pub fn stat(place: &Place, name: &CStr) -> io::Result<u64> {
    statat(place.root, name, AtFlags::empty())?;
    Ok(1)
}

pub fn stat_missing(place: &Place, name: &CStr) -> io::Result<u64> {
    match statat(place.root, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(1),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Errno::EXIST.into()),
    }
}

pub fn access(place: &Place, name: &CStr) -> io::Result<u64> {
    accessat(place.root, name, Access::READ_OK, AtFlags::empty())?;
    Ok(1)
}

pub fn readlink(place: &Place, name: &CStr) -> io::Result<u64> {
    readlinkat_raw(place.root, name, &mut [0u8; 64])?;
    Ok(1)
}

pub fn open_close(place: &Place, name: &CStr) -> io::Result<u64> {
    open(place.root, name)?;
    Ok(1)
}

pub fn read_content(place: &Place, name: &CStr) -> io::Result<u64> {
    match rustix::io::read(open(place.root, name)?, &mut [0u8; CONTENT])? {
        CONTENT => Ok(1),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub fn list_names(place: &Place, name: &CStr) -> io::Result<u64> {
    list(&open_directory(place.root, name)?, |_, _| Ok(()))?;
    Ok(1)
}

/// Lists every directory from `name` on and stats everything in it.
pub fn walk(place: &Place, name: &CStr) -> io::Result<u64> {
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
    visit(&open_directory(place.root, name)?, &mut seen)?;
    Ok(seen)
}

pub fn statx_forced(place: &Place, name: &CStr) -> io::Result<u64> {
    let flags = AtFlags::STATX_FORCE_SYNC;
    rustix::fs::statx(place.root, name, flags, StatxFlags::BASIC_STATS)?;
    Ok(1)
}

pub fn create_unlink(place: &Place, name: &CStr) -> io::Result<u64> {
    create(place.own, name, 0)?;
    unlinkat(place.own, name, AtFlags::empty())?;
    Ok(1)
}

pub fn write_unlink(place: &Place, name: &CStr) -> io::Result<u64> {
    create(place.own, name, CONTENT)?;
    unlinkat(place.own, name, AtFlags::empty())?;
    Ok(1)
}

pub fn mkdir_rmdir(place: &Place, name: &CStr) -> io::Result<u64> {
    mkdirat(place.own, name, Mode::RWXU)?;
    unlinkat(place.own, name, AtFlags::REMOVEDIR)?;
    Ok(1)
}

pub fn rename(place: &Place, name: &CStr) -> io::Result<u64> {
    renameat(place.own, STEADY, place.own, name)?;
    renameat(place.own, name, place.own, STEADY)?;
    Ok(2)
}

pub fn symlink_unlink(place: &Place, name: &CStr) -> io::Result<u64> {
    symlinkat(c"target", place.own, name)?;
    unlinkat(place.own, name, AtFlags::empty())?;
    Ok(1)
}

pub fn chmod(place: &Place, _: &CStr) -> io::Result<u64> {
    let change = |mode| chmodat(place.own, STEADY, mode, AtFlags::empty());
    change(Mode::RUSR)?;
    change(Mode::RUSR | Mode::WUSR)?;
    Ok(2)
}
