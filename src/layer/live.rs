//! A tree in this process, to be read when nobody asks for it any more.

use crate::delta::{Bytes, Content, PathBytes, Seen, SourceEntry, Tree, Xattr};
use crate::fs::{Caller, Fs};
use crate::tree::{Errno, Kind, NodeId};
use std::ffi::CString;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

const READER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// What a filesystem has, read without the kernel: of a mount that has ended, so that nothing is on its way.
pub struct Live(pub Arc<Fs>);

impl Live {
    fn id(&self, path: &PathBytes) -> Result<Option<NodeId>, Errno> {
        let tree = self.0.tree();
        let mut here = tree.root();
        if *path == PathBytes::ROOT {
            return Ok(Some(NodeId::ROOT));
        }
        for name in path.as_bytes().split(|byte| *byte == b'/') {
            here = match tree.child(&here, name) {
                Ok(child) => child,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(errno),
            };
        }
        Ok(Some(here.id()))
    }

    fn there(&self, path: &PathBytes) -> Result<NodeId, Errno> {
        self.id(path)?.ok_or(Errno::NOENT)
    }
}

impl Tree for Live {
    fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>> {
        let Some(id) = self.id(path)? else {
            return Ok(None);
        };
        Ok(Some(SourceEntry {
            dev: 0,
            ino: id.raw(),
            seen: Seen::of(&self.0.tree().get(id)?.attr()),
        }))
    }

    fn names(&self, path: &PathBytes) -> io::Result<Vec<Vec<u8>>> {
        let tree = self.0.tree();
        let mut names = Vec::new();
        tree.read_dir(&tree.get(self.there(path)?)?, 0, |entry| {
            names.push(entry.name.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn content(&self, path: &PathBytes) -> io::Result<Content> {
        let id = self.there(path)?;
        let attr = self.0.tree().get(id)?.attr();
        if attr.kind != Kind::Regular {
            return Err(Errno::INVAL.into());
        }
        let file = Arc::new(LiveFile(self.0.clone(), id));
        Ok(Content::new(file, 0, attr.size))
    }

    fn link_target(&self, path: &PathBytes) -> io::Result<CString> {
        let target = self.0.tree().get(self.there(path)?)?.target();
        Ok(CString::new(target.ok_or(Errno::INVAL)?)?)
    }

    fn xattrs(&self, path: &PathBytes) -> io::Result<Vec<Xattr>> {
        let id = self.there(path)?;
        let names = self.0.listxattr(&READER, id)?;
        let names = names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        let pair = |name: &[u8]| Ok((name.to_vec(), self.0.getxattr(&READER, id, name)?));
        names.map(pair).collect()
    }
}

/// The bytes of a file there.
struct LiveFile(Arc<Fs>, NodeId);

impl Bytes for LiveFile {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.0.read(self.1, offset, buf)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => {
                    offset += length as u64;
                    buf = &mut buf[length..];
                }
            }
        }
        Ok(())
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let seek = |from: u64, whence| {
            let from = i64::try_from(from).map_err(|_| Errno::NXIO)?;
            let found = self.0.lseek(self.1, from, whence)?;
            u64::try_from(found).map_err(|_| Errno::NXIO)
        };
        match seek(from, libc::SEEK_DATA) {
            Ok(data) => Ok(Some(data..seek(data, libc::SEEK_HOLE)?)),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}
