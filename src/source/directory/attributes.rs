//! What the system says of one inode, in the tree's terms.

use crate::fs::{Acl, Xattr};
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
#[derive(Clone, Copy)]
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

/// The extended attributes of an inode, as far as they could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) xattrs: XattrList,
    /// Why some are missing.
    pub(super) missing: Option<Errno>,
    /// Whether an access control list may be among those.
    pub(super) in_doubt: bool,
}

impl Found {
    /// What is asked for by name where the names cannot be listed: what decides who gets in, and with which privileges.
    const VITAL: [&CStr; 3] = [
        c"system.posix_acl_access",
        c"system.posix_acl_default",
        c"security.capability",
    ];

    fn without(errno: Errno) -> Found {
        Found {
            missing: Some(errno),
            ..Found::default()
        }
    }

    /// Takes what reading the value of `name` gave.
    fn take(&mut self, name: &CStr, value: Result<&[u8]>) {
        let name = name.to_bytes();
        match value {
            Ok(value) => self.xattrs.push((name.into(), value.into())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => (),
            Err(errno) => {
                self.missing.get_or_insert(errno);
                self.in_doubt |= name == Acl::ACCESS || name == Acl::DEFAULT;
            }
        }
    }
}

/// Reads extended attributes of entries that are only known by their name in an open directory.
///
/// The calls take a path, not a directory and a name. So the reading thread stops sharing its
/// working directory with the others and goes into each directory it reads. Where a sandbox forbids
/// that, the path leads through `/proc/self/fd`, which costs four times as much.
pub(super) struct XattrReader {
    own_cwd: bool,
    path: Vec<u8>,
    directory: usize,
    names: Buffer,
    value: Buffer,
}

impl XattrReader {
    /// For the calling thread, which must not live longer than the load.
    pub(super) fn for_this_thread() -> XattrReader {
        let own_cwd = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).is_ok();
        XattrReader {
            own_cwd,
            ..XattrReader::for_any_thread()
        }
    }

    /// For a thread whose working directory is not ours.
    pub(super) fn for_any_thread() -> XattrReader {
        XattrReader {
            own_cwd: false,
            path: Vec::new(),
            directory: 0,
            names: Buffer::new(),
            value: Buffer::new(),
        }
    }

    /// The extended attributes of an open file.
    pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Found {
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
    pub(super) fn of(&mut self, name: &CStr) -> Found {
        self.path.truncate(self.directory);
        let path = if self.directory == 0 {
            name
        } else {
            self.path.extend_from_slice(name.to_bytes_with_nul());
            CStr::from_bytes_with_nul(&self.path).unwrap_or_default()
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
) -> Found {
    let mut take = |found: &mut Found, name: &CStr| {
        found.take(name, value.fill(|buf| get(name, buf)));
    };
    match names.fill(list) {
        Ok(names) => {
            let mut found = Found::default();
            let names = names.split_inclusive(|byte| *byte == 0);
            for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
                take(&mut found, name);
            }
            found
        }
        Err(Errno::OPNOTSUPP) => Found::default(),
        // Such as E2BIG: together the names have more bytes than are listed.
        Err(errno) => {
            let mut found = Found::without(errno);
            Found::VITAL.iter().for_each(|name| take(&mut found, name));
            found
        }
    }
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
            let mut xattrs = XattrReader::for_this_thread();
            [xattrs.own_cwd, false].map(|own_cwd| {
                xattrs.own_cwd = own_cwd;
                xattrs.enter(&fd);
                [xattrs.of(c"file"), xattrs.of(c"missing")]
            })
        });
        let one: XattrList = vec![((*b"user.name").into(), (*b"value").into())];
        for [file, missing] in found.join().unwrap() {
            assert_eq!((file.xattrs, file.missing), (one.clone(), None));
            assert!(missing.xattrs.is_empty() && missing.in_doubt);
            assert_eq!(missing.missing, Some(Errno::NOENT));
        }
    }

    /// What is found where listing gives `list`, and asking for a name what `get` says.
    fn collected(list: Result<&[u8]>, get: impl Fn(&CStr) -> Result<&'static [u8]>) -> Found {
        let copy = |from: &[u8], to: &mut [u8]| {
            let to = to.get_mut(..from.len()).ok_or(Errno::RANGE)?;
            to.copy_from_slice(from);
            Ok(from.len())
        };
        collect(
            &mut Buffer::new(),
            &mut Buffer::new(),
            |buf| copy(list?, buf),
            |name, buf| copy(get(name)?, buf),
        )
    }

    const LISTED: &[u8] = b"user.a\0system.posix_acl_access\0user.b\0";

    #[test]
    fn lists_and_capabilities_are_asked_for_by_name_where_names_cannot_be_listed() {
        let get = |name: &CStr| match name.to_bytes() {
            b"system.posix_acl_access" => Ok(&b"list"[..]),
            b"system.posix_acl_default" => Err(Errno::OPNOTSUPP),
            b"security.capability" => Ok(&b"some"[..]),
            _ => panic!("{name:?}"),
        };
        for errno in [
            Errno::TOOBIG,
            Errno::IO,
            Errno::NOMEM,
            Errno::ACCESS,
            Errno::RANGE,
        ] {
            let found = collected(Err(errno), get);
            let names: Vec<_> = found.xattrs.iter().map(|(name, _)| &**name).collect();
            assert_eq!(names, [Acl::ACCESS, b"security.capability"]);
            assert_eq!((found.missing, found.in_doubt), (Some(errno), false));
            let nothing = collected(Err(errno), |_| Err(Errno::IO));
            assert!(nothing.in_doubt && nothing.xattrs.is_empty());
        }
        assert_eq!(collected(Err(Errno::OPNOTSUPP), get), Found::default());
    }

    #[test]
    fn one_value_that_cannot_be_read_hides_no_other() {
        let refuse = |which: &'static [u8], errno| {
            let get = move |name: &CStr| match name.to_bytes() == which {
                true => Err(errno),
                false => Ok(&b"value"[..]),
            };
            let found = collected(Ok(LISTED), get);
            (found.xattrs.len(), found.missing, found.in_doubt)
        };
        let denied = Errno::ACCESS;
        assert_eq!(refuse(b"user.a", denied), (2, Some(denied), false));
        assert_eq!(refuse(Acl::ACCESS, denied), (2, Some(denied), true));
        assert_eq!(refuse(Acl::ACCESS, Errno::NODATA), (2, None, false));
        assert_eq!(refuse(b"", denied), (3, None, false));
    }

    #[test]
    fn device_numbers_are_packed_as_the_kernel_does() {
        assert_eq!(encode_device(8, 1), 0x801);
        assert_eq!(encode_device(0xabc, 0x1_2345), 0x123a_bc45);
    }
}
