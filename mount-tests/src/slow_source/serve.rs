//! What a slow source answers.

use super::calls::{Call, Calls};
use super::{Shape, SlowSource};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// As many requests the kernel makes by itself, such as those that read ahead, may be under way.
const MAX_BACKGROUND: u16 = 256;

pub(super) struct Serve {
    pub(super) shape: Shape,
    pub(super) calls: Arc<Calls>,
    /// How often each file was changed.
    pub(super) versions: Arc<Vec<AtomicU64>>,
}

/// An inode: the root, a directory, or a file by its number among all.
#[derive(Clone, Copy)]
enum Node {
    Root,
    Directory(u32),
    File(u32),
}

const FILES: u64 = 1 << 32;

impl Node {
    fn ino(self) -> INodeNo {
        match self {
            Node::Root => INodeNo::ROOT,
            Node::Directory(directory) => INodeNo(2 + u64::from(directory)),
            Node::File(number) => INodeNo(FILES + u64::from(number)),
        }
    }

    fn of(ino: INodeNo) -> Node {
        match ino.0 {
            FILES.. => Node::File((ino.0 - FILES) as u32),
            2.. => Node::Directory((ino.0 - 2) as u32),
            _ => Node::Root,
        }
    }
}

/// Part of what the file of this number holds in a version, in which each line is another.
pub(super) fn bytes(number: u32, version: u64, offset: u64, length: usize) -> Vec<u8> {
    const LINE: u64 = 40;
    let first = offset / LINE;
    let lines = first..(offset + length as u64).div_ceil(LINE);
    let all: String = lines
        .map(|line| format!("{number:09} {version:09} {line:019}\n"))
        .collect();
    let skipped = (offset - first * LINE) as usize;
    all.as_bytes()[skipped..skipped + length].to_vec()
}

impl Serve {
    fn version(&self, number: u32) -> u64 {
        self.versions[number as usize].load(Ordering::SeqCst)
    }

    fn attr(&self, node: Node) -> FileAttr {
        let (kind, size, version) = match node {
            Node::Root | Node::Directory(_) => (FileType::Directory, 4096, 0),
            Node::File(number) => (
                FileType::RegularFile,
                if self.shape.tells_sizes {
                    self.shape.bytes
                } else {
                    0
                },
                self.version(number),
            ),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + version);
        FileAttr {
            ino: node.ino(),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: if kind == FileType::Directory {
                0o755
            } else {
                0o644
            },
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn find(&self, parent: Node, name: &str) -> Option<Node> {
        let number = |prefix| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let (node, canonical) = match parent {
            Node::Root => {
                let directory = number("d").filter(|n| *n < self.shape.directories)?;
                (Node::Directory(directory), SlowSource::directory(directory))
            }
            Node::Directory(directory) => {
                let file = number("f").filter(|n| *n < self.shape.files)?;
                let path = SlowSource::file(directory, file);
                let name = path.rsplit('/').next()?.to_owned();
                (Node::File(directory * self.shape.files + file), name)
            }
            Node::File(_) => return None,
        };
        (canonical == name).then_some(node)
    }

    /// The entries of a directory from one on, as many as a reply may hold.
    fn entries(&self, node: Node, from: u64) -> Vec<(Node, FileType, String)> {
        let dots = [".", ".."].map(|name| (node, FileType::Directory, name.to_owned()));
        let (count, kind) = match node {
            Node::Root => (self.shape.directories, FileType::Directory),
            _ => (self.shape.files, FileType::RegularFile),
        };
        let entry = |n| match node {
            Node::Directory(directory) => {
                let path = SlowSource::file(directory, n);
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                (Node::File(directory * self.shape.files + n), kind, name)
            }
            _ => (Node::Directory(n), kind, SlowSource::directory(n)),
        };
        let first = from.saturating_sub(2) as u32;
        let some = (first..count).take(4096).map(entry);
        dots.into_iter()
            .skip(from.min(2) as usize)
            .chain(some)
            .collect()
    }
}

impl Filesystem for Serve {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Names of one directory are looked up beside each other, as on every filesystem that means to be fast.
        config
            .add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS)
            .unwrap_or_default();
        config
            .set_max_background(MAX_BACKGROUND)
            .unwrap_or_default();
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = name
            .to_str()
            .and_then(|name| self.find(Node::of(parent), name));
        let (attr, ttl) = (found.map(|node| self.attr(node)), self.shape.ttl);
        self.calls.answer(Call::Lookup, move || match attr {
            Some(attr) => reply.entry(&ttl, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let (attr, ttl) = (self.attr(Node::of(ino)), self.shape.ttl);
        let answer = move || reply.attr(&ttl, &attr);
        self.calls.answer(Call::Getattr, answer);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match self.shape.tells_sizes {
            true => FopenFlags::empty(),
            false => FopenFlags::FOPEN_DIRECT_IO,
        };
        let answer = move || reply.opened(FileHandle(0), flags);
        self.calls.answer(Call::Open, answer);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Node::File(number) = Node::of(ino) else {
            return reply.error(Errno::EISDIR);
        };
        let left = self.shape.bytes.saturating_sub(offset);
        let length = left.min(u64::from(size)) as usize;
        let data = bytes(number, self.version(number), offset, length);
        self.calls.answer(Call::Read, move || reply.data(&data));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.calls.answer(Call::Release, move || reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = self.entries(Node::of(ino), offset).into_iter();
        for ((node, kind, name), next) in entries.zip(offset + 1..) {
            if reply.add(node.ino(), next, kind, name) {
                break;
            }
        }
        self.calls.answer(Call::Readdir, move || reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let answer = move || reply.statfs(0, 0, 0, 0, 0, 512, 255, 0);
        self.calls.answer(Call::Other, answer);
    }
}
