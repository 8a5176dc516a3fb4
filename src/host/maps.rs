//! What was stored through shared maps of files, and nobody but the kernel knows of yet.
//!
//! syncfs(2) does not help: a FUSE filesystem promises nothing by it, so newer kernels only begin to write back, and return. Of one
//! file fdatasync(2) waits until it is written. Only maps that are there now matter: when one goes FUSE writes back what was stored through it
//! (`fuse_vma_close`).

use rustix::fs::{CWD, Mode, OFlags, fdatasync, fstat, major, minor, openat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Stands behind the path of a file that has lost the name by which it was mapped.
const DELETED: &[u8] = b" (deleted)";

/// A file of which some process has a shared map: its number, and the path by which it was opened, as the kernel writes it.
type Mapped = (u64, Vec<u8>);

/// Has the kernel write back what was stored through maps of files of the filesystem that `file` is of. Says false if a file could not be
/// found by its path, so that something may be missing. Maps of processes that the caller may not look into, and of files that
/// have lost the name by which they were mapped, do not count.
///
/// # Errors
/// Those of syncfs(2), and of reading `/proc`.
pub fn write_back_maps(file: impl AsFd) -> io::Result<bool> {
    rustix::fs::syncfs(&file)?;
    let device = fstat(&file)?.st_dev;
    let mut mapped = BTreeSet::new();
    for process in std::fs::read_dir("/proc")? {
        let name = process?.file_name();
        if name.as_bytes().iter().all(u8::is_ascii_digit) {
            // It may be gone by now, or another user's.
            let maps = std::fs::read(Path::new("/proc").join(name).join("maps"));
            mapped.extend(shared(&maps.unwrap_or_default(), device));
        }
    }
    let mut all = true;
    for (number, path) in mapped {
        if !path.ends_with(DELETED) {
            all &= write_back(device, number, &path).is_ok();
        }
    }
    Ok(all)
}

/// The files of `device` that stand as shared in the text of a `/proc/PID/maps`.
fn shared(maps: &[u8], device: u64) -> impl Iterator<Item = Mapped> {
    let device = format!("{:02x}:{:02x}", major(device), minor(device)).into_bytes();
    maps.split(|byte| *byte == b'\n').filter_map(move |line| {
        // ADDRESSES rw-s OFFSET DEVICE NUMBER, and behind some spaces PATH.
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let is_shared = fields.nth(1)?.get(3) == Some(&b's');
        let is_here = fields.nth(1)? == device;
        let number = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        (is_shared && is_here).then(|| {
            (
                number,
                fields
                    .next()
                    .unwrap_or_default()
                    .trim_ascii_start()
                    .to_vec(),
            )
        })
    })
}

fn write_back(device: u64, number: u64, path: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, OsStr::from_bytes(path), flags, Mode::empty())?;
    let found = fstat(&file)?;
    if (found.st_dev, found.st_ino) != (device, number) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(fdatasync(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_maps_of_the_device_are_found() {
        let maps = b"\
55d0c0-55d0c1 r--p 00000000 00:33 100                        /mnt/private\n\
7f0000-7f0001 rw-s 00001000 00:33 101                        /mnt/a b\n\
7f0002-7f0003 r--s 00000000 00:33 102                        /mnt/gone (deleted)\n\
7f0004-7f0005 rw-s 00000000 00:34 103                        /other\n\
7f0006-7f0007 rw-p 00000000 00:00 0 \n\
7f0008-7f0009 rw-p 00000000 00:00 0                          [stack]\n\
garbage\n";
        let found: Vec<_> = shared(maps, rustix::fs::makedev(0, 0x33)).collect();
        let expected = [(101, &b"/mnt/a b"[..]), (102, b"/mnt/gone (deleted)")];
        assert_eq!(
            found,
            expected.map(|(number, path)| (number, path.to_vec()))
        );
    }

    #[test]
    fn a_file_that_is_another_one_by_now_is_none_of_ours() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().as_os_str().as_bytes();
        let found = fstat(&file).unwrap();
        assert!(write_back(found.st_dev, found.st_ino, path).is_ok());
        assert!(write_back(found.st_dev, found.st_ino + 1, path).is_err());
        assert!(write_back(found.st_dev + 1, found.st_ino, path).is_err());
        assert!(write_back(found.st_dev, found.st_ino, b"/nonexistent").is_err());
        assert!(write_back_maps(&file).is_ok());
    }
}
