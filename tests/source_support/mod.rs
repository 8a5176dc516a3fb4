//! Helpers of the tests of sources.
#![allow(dead_code, reason = "each test file uses a part")]

use norefs::fs::{Caller, Changed, Config, Fs, deliver};
use norefs::source::{LoadOptions, load};
use norefs::tree::{Attr, Entry, Errno, Kind, LinkTarget, NodeId, Time};
use rustix::fs::{AtFlags, CWD, FileType, Mode, StatxFlags, StatxTimestamp, Timespec, Timestamps};
use rustix::mount::{MountFlags, UnmountFlags};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

pub const ROOT: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// An empty filesystem without limits.
pub fn empty() -> Fs {
    with_limit(1 << 32)
}

/// An empty filesystem of at most that many inodes.
pub fn with_limit(max_inodes: u64) -> Fs {
    let config = Config {
        max_bytes: 1 << 40,
        max_inodes,
        read_only: false,
    };
    Fs::new(config, Attr::new(Kind::Directory, 0o755, 0, 0, Time::now())).unwrap()
}

pub fn load_all(dir: &Path) -> Fs {
    let fs = empty();
    load(&fs, dir, &LoadOptions::default(), &()).unwrap();
    fs
}

/// What comes of a change, with nobody told.
pub fn value<T>(change: Changed<T>) -> Result<T, Errno> {
    deliver(change, drop)
}

pub fn child(fs: &Fs, parent: NodeId, name: &[u8]) -> Option<Entry> {
    fs.lookup(&ROOT, parent, name).unwrap()
}

/// The names in a directory but "." and "..".
pub fn names(fs: &Fs, id: NodeId) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    fs.readdir(id, 0, false, |entry| {
        names.push(entry.name.to_vec());
        true
    })
    .unwrap();
    names.retain(|name| name != b"." && name != b"..");
    names
}

pub fn target_of(fs: &Fs, id: NodeId) -> Vec<u8> {
    let mut target = LinkTarget::new();
    fs.readlink(id, &mut target).unwrap();
    target.to_vec()
}

pub fn read(fs: &Fs, id: NodeId, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
    let mut out = vec![0xee; size as usize];
    let length = fs.read(id, offset, &mut out)?;
    out.truncate(length);
    Ok(out)
}

/// The same if it takes no waiting.
pub fn try_read(fs: &Fs, id: NodeId, offset: u64, size: u32) -> Result<Option<Vec<u8>>, Errno> {
    let mut out = vec![0xee; size as usize];
    let length = fs.try_read(id, offset, &mut out)?;
    Ok(length.map(|length| out[..length].to_vec()))
}

/// All of a file, in pieces.
pub fn content(fs: &Fs, id: NodeId) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    loop {
        let piece = read(fs, id, all.len() as u64, 128 * 1024)?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend(piece);
    }
}

pub fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

pub fn set_times(path: &Path, atime: (i64, i64), mtime: (i64, i64)) {
    let stamp = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: stamp(atime),
        last_modification: stamp(mtime),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn mknod(path: &Path, kind: FileType, mode: u32, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(mode), device).unwrap();
}

/// What the system shows of a file: attributes and inode number.
pub fn attr_of(at: impl AsFd, path: &Path) -> (Attr, u64) {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(at, path, flags, wanted).unwrap();
    let time = |stamp: StatxTimestamp| Time {
        sec: stamp.tv_sec,
        nsec: stamp.tv_nsec,
    };
    let kind = Kind::from_mode(stat.stx_mode.into()).unwrap();
    let minor = stat.stx_rdev_minor;
    let attr = Attr {
        kind,
        perm: stat.stx_mode & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        rdev: (minor & 0xff) | (stat.stx_rdev_major << 8) | ((minor >> 8) << 20),
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        btime: time(stat.stx_btime),
        ..Attr::default()
    };
    (attr, stat.stx_ino)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `test` without privileges, in a thread of its own.
pub fn as_ordinary_user(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if is_root() {
                let nobody = 65534;
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(nobody)).unwrap();
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(nobody)).unwrap();
            }
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A mount that ends with the test.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn tmpfs(point: &Path) -> Mounted {
        rustix::mount::mount("none", point, "tmpfs", MountFlags::empty(), None).unwrap();
        Mounted(point.to_owned())
    }

    pub fn bind(from: &Path, point: &Path) -> Mounted {
        rustix::mount::mount_bind(from, point).unwrap();
        Mounted(point.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let detached = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
        assert!(detached.is_ok() || std::thread::panicking());
    }
}
