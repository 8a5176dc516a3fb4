//! Content and attributes of one entry, from the mount to the target.

use super::root::{Root, Slot, found};
use crate::delta::{Metadata, Now, PathBytes, SourceEntry};
use crate::tree::Time;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// Access control lists are extended attributes with names that begin like this.
const ACL: &[u8] = b"system.posix_acl_";

/// The longest list of names, `XATTR_LIST_MAX`, and the longest value, `XATTR_SIZE_MAX`, in bytes.
const LIST: usize = 64 << 10;
const VALUE: usize = 64 << 10;

/// The name by which calls that take a path reach what is open.
fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Sets the mode of what is open by `O_PATH`, which is no symbolic link.
pub(super) fn chmod(fd: &OwnedFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmod(
        by_descriptor(fd),
        Mode::from_raw_mode(mode & 0o7777),
    )?)
}

/// Opens the regular file `path` of the mount for reading, also where its mode does not let its owner.
pub(super) fn open(mount: &Root, path: &PathBytes) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    match mount.open_at(path, flags) {
        Ok(fd) => return Ok(fd.into()),
        Err(Errno::ACCESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let fd = mount.open_at(path, OFlags::PATH)?;
    let mode = found(&fd)?.seen.mode;
    chmod(&fd, mode | 0o400)?;
    let opened = mount.open_at(path, flags);
    chmod(&fd, mode)?;
    Ok(opened?.into())
}

/// Copies all of a file, its holes as holes.
pub(super) fn content(from: &mut File, to: &mut File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&*from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Behind it is nothing but a hole.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let hole = rustix::fs::seek(&*from, SeekFrom::Hole(data))?;
        rustix::fs::seek(&*from, SeekFrom::Start(data))?;
        rustix::fs::seek(&*to, SeekFrom::Start(data))?;
        io::copy(&mut Read::by_ref(from).take(hole - data), to)?;
        at = hole;
    }
    to.flush()?;
    to.set_len(size)
}

/// Which attributes an entry gets, and from where.
pub(super) struct Dress<'a> {
    pub mount: &'a Root,
    pub now: &'a Now,
    /// Those that are taken from the mount.
    pub metadata: Metadata,
    /// Its mtime is set too.
    pub mtime: bool,
    /// The others, if the entry takes the place of one that keeps them.
    pub like: Option<(&'a Slot, SourceEntry)>,
}

impl Dress<'_> {
    /// Gives `slot` its attributes, its times last.
    pub(super) fn put_on(&self, slot: &Slot) -> io::Result<()> {
        let fd = slot.open()?;
        let is = found(&fd)?.seen;
        let (which, shall) = (self.metadata, &self.now.seen);
        let kept = self.like.as_ref().map_or(is, |(_, found)| found.seen);
        let (uid, gid) = match which.owner {
            true => (shall.uid, shall.gid),
            false => (kept.uid, kept.gid),
        };
        if (uid, gid) != (is.uid, is.gid) {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(uid),
                rustix::fs::Gid::from_raw(gid),
            );
            rustix::fs::chownat(&fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        self.set_xattrs(slot)?;
        let mode = if which.mode { shall.mode } else { kept.mode };
        if is.kind() != Some(crate::tree::Kind::Symlink) {
            // What is set already may have been lost with the owner.
            chmod(&fd, mode)?;
        }
        match self.mtime {
            true => set_mtime(&fd, shall.mtime),
            false => Ok(()),
        }
    }

    fn set_xattrs(&self, slot: &Slot) -> io::Result<()> {
        let theirs = self.mount.slot(&self.now.path)?;
        let acl = |name: &[u8]| name.starts_with(ACL);
        let mut shall = BTreeSet::new();
        let mut give = |from: &Slot, wanted: &dyn Fn(&[u8]) -> bool| -> io::Result<()> {
            for name in names(from)?.into_iter().filter(|name| wanted(name)) {
                copy_xattr(from, slot, &name)?;
                shall.insert(name);
            }
            Ok(())
        };
        let which = self.metadata;
        let ours = |name: &[u8]| if acl(name) { which.acl } else { which.xattrs };
        give(&theirs, &ours)?;
        if let Some((like, _)) = &self.like {
            give(like, &|name: &[u8]| !ours(name))?;
        }
        for name in names(slot)? {
            let stays = shall.contains(&name) || self.like.is_none() && !ours(&name);
            if !stays && !is_label(&name) {
                match rustix::fs::lremovexattr(slot.path(), name.as_slice()) {
                    Ok(()) | Err(Errno::NODATA) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }
}

/// Labels are given by the machine's policy, not by who copies.
fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux"
}

/// The extended attributes that can be seen.
fn names(slot: &Slot) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0_u8; LIST];
    let length = match rustix::fs::llistxattr(slot.path(), &mut list) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let names = list[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Copies one of them; one that is gone meanwhile is none.
fn copy_xattr(from: &Slot, to: &Slot, name: &[u8]) -> io::Result<()> {
    if is_label(name) {
        return Ok(());
    }
    let Some(value) = xattr_value(from, name)? else {
        return Ok(());
    };
    let set = rustix::fs::lsetxattr(to.path(), name, &value, XattrFlags::empty());
    set.map_err(|errno| {
        let name = String::from_utf8_lossy(name).escape_debug().to_string();
        io::Error::new(errno.kind(), format!("{name}: {}", io::Error::from(errno)))
    })
}

/// Copies all extended attributes of `path` that can be seen, as far as they can be set there.
pub(super) fn xattrs(from: &Root, to: &Root, path: &PathBytes) -> io::Result<()> {
    let (from, to) = (from.slot(path)?, to.slot(path)?);
    names(&from)?
        .iter()
        .try_for_each(|name| copy_xattr(&from, &to, name))
}

/// All extended attributes of `path` that can be seen, with their values.
pub(super) fn xattr_values(of: &Root, path: &PathBytes) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let slot = of.slot(path)?;
    let mut values = Vec::new();
    for name in names(&slot)? {
        if let Some(value) = xattr_value(&slot, &name)? {
            values.push((name, value));
        }
    }
    Ok(values)
}

/// The value of one of them; none of one that is gone meanwhile.
fn xattr_value(of: &Slot, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; VALUE];
    match rustix::fs::lgetxattr(of.path(), name, &mut value) {
        Ok(length) => value.truncate(length),
        Err(Errno::NODATA) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    Ok(Some(value))
}

/// Sets the mtime of what is open by `O_PATH`.
pub(super) fn set_mtime(fd: &OwnedFd, mtime: Time) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.sec,
            tv_nsec: mtime.nsec.into(),
        },
    };
    Ok(rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)?)
}
