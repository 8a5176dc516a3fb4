//! What the system says of one inode, in the tree's terms.

use crate::fs::Xattr;
use crate::tree::{Attr, Kind, Time};
use rustix::fs::{Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What is asked of every entry.
pub(super) const WANTED: StatxFlags = StatxFlags::BASIC_STATS
    .union(StatxFlags::BTIME)
    .union(StatxFlags::MNT_ID);

/// The attributes as `stat` shows them; `None` if the type is none that Linux knows.
pub(super) fn attr(stat: &Statx) -> Option<Attr> {
    let kind = Kind::from_mode(stat.stx_mode.into())?;
    let mut attr = Attr {
        kind,
        perm: stat.stx_mode & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        rdev: 0,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        btime: time(stat.stx_btime),
        // What flags forbid would be forbidden for good: a copy has none.
        ..Attr::default()
    };
    if kind.is_device() {
        attr.rdev = encode_device(stat.stx_rdev_major, stat.stx_rdev_minor);
        attr.size = 0;
        attr.blocks = 0;
    }
    Some(attr)
}

fn time(stamp: StatxTimestamp) -> Time {
    Time {
        sec: stamp.tv_sec,
        nsec: stamp.tv_nsec,
    }
}

/// A device number as the kernel packs it into 32 bits: 12 of the major, 20 of the minor.
fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Which mount an inode was seen through.
pub(super) struct Mount {
    id: Option<u64>,
    device: (u32, u32),
}

impl Mount {
    pub(super) fn of(stat: &Statx) -> Mount {
        let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Mount {
            id: known.then_some(stat.stx_mnt_id),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
        }
    }

    /// Whether an inode seen through this mount leads into another, or would make the system mount one.
    ///
    /// Before Linux 5.8 only the device tells, which misses bind mounts.
    pub(super) fn is_left_by(&self, stat: &Statx) -> bool {
        let other = Mount::of(stat);
        let differs = match (self.id, other.id) {
            (Some(here), Some(there)) => here != there,
            _ => self.device != other.device,
        };
        differs || stat.stx_attributes.contains(StatxAttributes::AUTOMOUNT)
    }
}

/// Names and values of extended attributes.
pub(super) type XattrList = Vec<Xattr>;

/// Reads extended attributes of entries that are only known by their name in an open directory.
///
/// The calls take a path, not a directory and a name. So the reading thread stops sharing its
/// working directory with the others and goes into each directory it reads. Where a sandbox forbids
/// that, the path leads through `/proc/self/fd`, which costs four times as much.
pub(super) struct Xattrs {
    own_cwd: bool,
    path: Vec<u8>,
    directory: usize,
    names: Buffer,
    value: Buffer,
}

impl Xattrs {
    /// For the calling thread, which must not live longer than the load.
    pub(super) fn for_this_thread() -> Xattrs {
        let own_cwd = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).is_ok();
        Xattrs {
            own_cwd,
            path: Vec::new(),
            directory: 0,
            names: Buffer::new(),
            value: Buffer::new(),
        }
    }

    /// The extended attributes of an open file.
    pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Result<XattrList> {
        collect(
            &mut Buffer::new(),
            &mut Buffer::new(),
            |buf| rustix::fs::flistxattr(fd, buf),
            |name, buf| rustix::fs::fgetxattr(fd, name, buf),
        )
    }

    /// Names are looked up in `directory` from now on, until it is closed.
    pub(super) fn enter(&mut self, directory: impl AsFd) {
        let directory = directory.as_fd();
        self.path.clear();
        if !(self.own_cwd && rustix::process::fchdir(directory).is_ok()) {
            let fd = directory.as_raw_fd();
            write!(self.path, "/proc/self/fd/{fd}/").expect("a vector takes all that is written");
        }
        self.directory = self.path.len();
    }

    /// The extended attributes of `name`, which is not followed if it is a symbolic link.
    pub(super) fn of(&mut self, name: &CStr) -> Result<XattrList> {
        self.path.truncate(self.directory);
        let path = if self.directory == 0 {
            name
        } else {
            self.path.extend_from_slice(name.to_bytes_with_nul());
            CStr::from_bytes_with_nul(&self.path).map_err(|_| Errno::INVAL)?
        };
        collect(
            &mut self.names,
            &mut self.value,
            |buf| rustix::fs::llistxattr(path, buf),
            |name, buf| rustix::fs::lgetxattr(path, name, buf),
        )
    }
}

fn collect(
    names: &mut Buffer,
    value: &mut Buffer,
    list: impl FnMut(&mut [u8]) -> Result<usize>,
    mut get: impl FnMut(&CStr, &mut [u8]) -> Result<usize>,
) -> Result<XattrList> {
    let names = match names.fill(list) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::IO)?;
        match value.fill(|buf| get(name, buf)) {
            Ok(value) => xattrs.push((name.to_bytes().into(), value.into())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(xattrs)
}

/// Room for the largest list or value there is. A small part is offered first: the kernel allocates
/// as much as it is offered.
struct Buffer(Vec<u8>);

impl Buffer {
    const SMALL: usize = 256;
    const LARGEST: usize = 65536;

    fn new() -> Buffer {
        Buffer(vec![0; Buffer::SMALL])
    }

    fn fill(&mut self, mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<&[u8]> {
        let length = match call(&mut self.0[..Buffer::SMALL]) {
            Err(Errno::RANGE) => {
                self.0.resize(Buffer::LARGEST, 0);
                call(&mut self.0)?
            }
            length => length?,
        };
        self.0.get(..length).ok_or(Errno::IO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, XattrFlags};

    #[test]
    fn both_ways_to_a_name_find_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"").unwrap();
        rustix::fs::lsetxattr(&path, "user.name", b"value", XattrFlags::empty()).unwrap();
        let fd = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        let found = std::thread::spawn(move || {
            let mut xattrs = Xattrs::for_this_thread();
            [xattrs.own_cwd, false].map(|own_cwd| {
                xattrs.own_cwd = own_cwd;
                xattrs.enter(&fd);
                [xattrs.of(c"file"), xattrs.of(c"missing")]
            })
        });
        let one: XattrList = vec![((*b"user.name").into(), (*b"value").into())];
        for [file, missing] in found.join().unwrap() {
            assert_eq!(file.unwrap(), one);
            assert_eq!(missing, Err(Errno::NOENT));
        }
    }

    #[test]
    fn device_numbers_are_packed_as_the_kernel_does() {
        assert_eq!(encode_device(8, 1), 0x801);
        assert_eq!(encode_device(0xabc, 0x1_2345), 0x123a_bc45);
    }
}
