//! A small filesystem to try calls on.

use super::{Backing, Caller, Changed, Committed, Config, Fs, Loaded, deliver};
use crate::fs::Result;
use crate::tree::{Attr, Errno, Kind, NodeId, Time};
use std::fmt::Debug;

pub(super) const ROOT: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};
pub(super) const USER: Caller = Caller {
    uid: 1000,
    gid: 100,
    pid: 0,
    umask: 0,
};

pub(super) fn config() -> Config {
    Config {
        max_bytes: 64 << 20,
        max_inodes: 1 << 20,
        read_only: false,
    }
}

/// The value of a change and what it made stale.
pub(super) fn stale<T, E: Debug>(change: std::result::Result<Committed<T>, E>) -> (T, Vec<NodeId>) {
    let mut told = Vec::new();
    let value = change.unwrap().deliver(|id| told.push(id));
    (value, told)
}

/// What comes of a change, with nobody told.
pub(super) fn value<T>(change: Changed<T>) -> Result<T> {
    deliver(change, drop)
}

pub(super) struct Bed {
    pub(super) fs: Fs,
}

impl Bed {
    pub(super) fn new() -> Bed {
        Bed::with(config())
    }

    pub(super) fn with(config: Config) -> Bed {
        let root = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
        Bed {
            fs: Fs::new(config, root).unwrap(),
        }
    }

    /// One that keeps access control lists.
    pub(super) fn with_acls(config: Config) -> Bed {
        let bed = Bed::with(config);
        Bed {
            fs: bed.fs.with_acls(),
        }
    }

    pub(super) fn root(&self) -> NodeId {
        NodeId::ROOT
    }

    /// A new file with one lookup counted.
    pub(super) fn file(&self, name: &str) -> NodeId {
        self.file_in(self.root(), name)
    }

    pub(super) fn file_in(&self, dir: NodeId, name: &str) -> NodeId {
        let made = self.fs.mknod(&ROOT, dir, name.as_bytes(), 0o644, 0);
        stale(made).0.id
    }

    /// A file called "backed" with `size` bytes of a source.
    pub(super) fn backed(&self, source: impl Backing + 'static, size: u64) -> NodeId {
        let new = Loaded {
            attr: Attr {
                size,
                nlink: 1,
                ..Attr::new(Kind::Regular, 0o644, 0, 0, Time::now())
            },
            ino: None,
            target: None,
            xattrs: Vec::new(),
            backing: Some(Box::new(source)),
            seed: None,
        };
        self.fs.load(self.root(), b"backed", new).unwrap()
    }

    pub(super) fn dir(&self, name: &str) -> NodeId {
        stale(self.fs.mkdir(&ROOT, self.root(), name.as_bytes(), 0o755))
            .0
            .id
    }

    /// Takes the name and the one lookup of a file in the root away.
    pub(super) fn remove(&self, name: &str) {
        let root = self.fs.tree().root();
        let id = self.fs.tree().child(&root, name.as_bytes()).unwrap().id();
        stale(self.fs.unlink(&ROOT, self.root(), name.as_bytes()));
        self.fs.forget(id, 1);
    }

    pub(super) fn write(&self, file: NodeId, offset: u64, data: &[u8]) {
        let written = value(self.fs.write(&ROOT, file, offset, data, false));
        assert_eq!(written, Ok(data.len() as u32));
    }

    pub(super) fn read(&self, file: NodeId, offset: u64, size: u32) -> Vec<u8> {
        let mut out = vec![0xee; size as usize];
        let length = self.fs.read(file, offset, &mut out).unwrap();
        out.truncate(length);
        out
    }

    pub(super) fn attr(&self, id: NodeId) -> Attr {
        self.fs.getattr(id).unwrap()
    }

    /// Sets all times back, so that whatever moves is seen, and returns the attributes.
    pub(super) fn age(&self, id: NodeId) -> Attr {
        let inode = self.fs.tree().get(id).unwrap();
        let long_ago = Time { sec: 1, nsec: 1 };
        let ((), attr) = inode
            .update(|attr| {
                (attr.atime, attr.mtime, attr.ctime) = (long_ago, long_ago, long_ago);
                Ok(())
            })
            .unwrap();
        attr
    }
}

/// A source that never changes.
pub(super) struct Fixed(pub(super) Vec<u8>);

impl Backing for Fixed {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// A source that changed since.
pub(super) struct Broken;

impl Backing for Broken {
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::STALE)
    }
}
