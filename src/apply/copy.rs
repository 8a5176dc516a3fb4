//! Content and attributes of one entry, from the mount to the target.

use super::root::{Root, Slot, found};
use crate::delta::{Content, Metadata, Now, PathBytes, SourceEntry, Tree, Xattr};
use crate::tree::{Kind, Time};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Access control lists are extended attributes with names that begin like this.
const ACL: &[u8] = b"system.posix_acl_";

/// The longest list of names, `XATTR_LIST_MAX`, and the longest value, `XATTR_SIZE_MAX`, in bytes.
const LIST: usize = 64 << 10;
const VALUE: usize = 64 << 10;

/// Bytes that are copied at once.
const BUFFER: usize = 256 << 10;

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
fn open(mount: &Root, path: &PathBytes) -> io::Result<File> {
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
pub(super) fn content(from: &Content, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    while let Some(run) = from.data(at)? {
        at = run.start;
        while at < run.end {
            let length = usize::try_from(run.end - at).unwrap_or(BUFFER).min(BUFFER);
            from.read_exact_at(at, &mut buffer[..length])?;
            to.write_all_at(&buffer[..length], at)?;
            at += length as u64;
        }
    }
    to.set_len(from.size())
}

/// Which attributes an entry gets, and from where.
pub(super) struct Dress<'a> {
    pub mount: &'a dyn Tree,
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
        if is.kind() != Some(Kind::Symlink) {
            // What is set already may have been lost with the owner.
            chmod(&fd, mode)?;
        }
        match self.mtime {
            true => set_mtime(&fd, shall.mtime),
            false => Ok(()),
        }
    }

    fn set_xattrs(&self, slot: &Slot) -> io::Result<()> {
        let which = self.metadata;
        let ours = |name: &[u8]| match name.starts_with(ACL) {
            true => which.acl,
            false => which.xattrs,
        };
        let mut shall = match which.acl || which.xattrs {
            true => self.mount.xattrs(&self.now.path)?,
            false => Vec::new(),
        };
        shall.retain(|(name, _)| ours(name));
        if let Some((like, _)) = &self.like {
            let theirs = xattr_values(like)?.into_iter();
            shall.extend(theirs.filter(|(name, _)| !ours(name)));
        }
        shall.retain(|(name, _)| !is_label(name));
        for (name, value) in &shall {
            set_xattr(slot, name, value)?;
        }
        let shall: BTreeSet<_> = shall.into_iter().map(|(name, _)| name).collect();
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

/// Sets one of them.
fn set_xattr(of: &Slot, name: &[u8], value: &[u8]) -> io::Result<()> {
    let set = rustix::fs::lsetxattr(of.path(), name, value, XattrFlags::empty());
    set.map_err(|errno| {
        let name = String::from_utf8_lossy(name).escape_debug().to_string();
        io::Error::new(errno.kind(), format!("{name}: {}", io::Error::from(errno)))
    })
}

/// All of them with their values; without those that are gone meanwhile.
fn xattr_values(of: &Slot) -> io::Result<Vec<Xattr>> {
    let mut values = Vec::new();
    for name in names(of)? {
        if let Some(value) = xattr_value(of, &name)? {
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

/// A mount is read by its paths.
impl Tree for Root {
    fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>> {
        Root::find(self, path)
    }

    fn names(&self, path: &PathBytes) -> io::Result<Vec<Vec<u8>>> {
        Root::names(self, path)
    }

    fn content(&self, path: &PathBytes) -> io::Result<Content> {
        // What is no file, or another one by now, is not opened: that might wait.
        match Root::find(self, path)? {
            None => return Err(Errno::NOENT.into()),
            Some(found) if found.seen.kind() != Some(Kind::Regular) => {
                return Err(Errno::INVAL.into());
            }
            Some(_) => {}
        }
        let file = open(self, path)?;
        let size = file.metadata()?.len();
        Ok(Content::new(Arc::new(file), 0, size))
    }

    fn link_target(&self, path: &PathBytes) -> io::Result<CString> {
        Root::link_target(self, path)
    }

    fn xattrs(&self, path: &PathBytes) -> io::Result<Vec<Xattr>> {
        xattr_values(&self.slot(path)?)
    }
}
