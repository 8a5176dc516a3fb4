//! One method for each request: unpack, call, answer.

use super::{Device, NO_HANDLE, caller, never_ask, opened, send_sized};
use crate::fs::SetAttr;
use crate::transport::serve::NoReply;
use crate::transport::{RequestKind as Kind, init, wire};
use crate::tree::{Errno, LinkTarget};
use fuser::{
    AccessFlags, BsdFileFlags, FileHandle, FopenFlags, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

thread_local! {
    /// Where this thread puts what it reads.
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl fuser::Filesystem for Device {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let cache = self.shared.cache;
        init::negotiate(config, cache);
        self.zero_message_open = init::zero_message_open(config, cache);
        self.zero_message_opendir = init::zero_message_opendir(config, cache);
        Ok(())
    }

    fn destroy(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (dir, keep) = (wire::node(parent), !self.shared.cache.is_none());
        self.shared.serve(
            Kind::Lookup,
            dir,
            reply,
            |fs, _| match fs.lookup(&caller(request), dir, name.as_bytes())? {
                None if !keep => Err(Errno::NOENT),
                found => Ok(found),
            },
            |reply, found| match found {
                Some(entry) => self.send_entry(reply, entry),
                None => {
                    let none = wire::negative_entry();
                    reply.entry(&self.shared.ttl, &none, fuser::Generation(0));
                }
            },
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Forget,
            node,
            NoReply,
            |fs, _| {
                fs.forget(node, nlookup);
                Ok(())
            },
            |NoReply, ()| {},
        );
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Getattr,
            node,
            reply,
            |fs, _| fs.getattr(node),
            |reply, attr| self.send_attr(reply, node, &attr),
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let node = wire::node(ino);
        let change = SetAttr {
            perm: mode.map(|mode| (mode & 0o7777) as u16),
            uid,
            gid,
            size,
            atime: atime.map(wire::set_time),
            mtime: mtime.map(wire::set_time),
            ctime: ctime.map(wire::sent_time),
            // The kernel's flag for it is not handed on. It is set for callers without CAP_FSETID.
            kill_suidgid: size.is_some() && request.uid() != 0,
        };
        self.shared.serve(
            Kind::Setattr,
            node,
            reply,
            |fs, _| {
                let set = fs.setattr(&caller(request), node, &change)?;
                Ok(self.shared.deliver(set))
            },
            |reply, attr| self.send_attr(reply, node, &attr),
        );
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let node = wire::node(ino);
        let mut target = LinkTarget::new();
        self.shared.serve(
            Kind::Readlink,
            node,
            reply,
            |fs, _| fs.readlink(node, &mut target).map(|()| target),
            |reply, target| reply.data(&target),
        );
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Access,
            node,
            reply,
            |fs, _| fs.access(&caller(request), node, mask.bits().cast_unsigned()),
            |reply, ()| reply.ok(),
        );
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        self.make(Kind::Mknod, dir, reply, |fs| {
            fs.mknod(&caller(request), dir, name, mode, rdev)
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        self.make(Kind::Mkdir, dir, reply, |fs| {
            fs.mkdir(&caller(request), dir, name, mode)
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        let target = target.as_os_str().as_bytes();
        self.make(Kind::Symlink, dir, reply, |fs| {
            fs.symlink(&caller(request), dir, name, target)
        });
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let (node, dir, name) = (wire::node(ino), wire::node(parent), name.as_bytes());
        self.make(Kind::Link, dir, reply, |fs| {
            fs.link(&caller(request), node, dir, name)
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        self.change(Kind::Unlink, dir, reply, |fs| {
            fs.unlink(&caller(request), dir, name)
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        self.change(Kind::Rmdir, dir, reply, |fs| {
            fs.rmdir(&caller(request), dir, name)
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let dir = wire::node(parent);
        let to = (wire::node(new_parent), new_name.as_bytes());
        self.change(Kind::Rename, dir, reply, |fs| {
            fs.rename(&caller(request), (dir, name.as_bytes()), to, flags.bits())
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.zero_message_open {
            return self.noted(Kind::Open, ino, reply, never_ask);
        }
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Open,
            node,
            reply,
            |fs, _| fs.open(node, flags.0),
            |reply, ()| opened(reply),
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let (dir, name) = (wire::node(parent), name.as_bytes());
        if self.zero_message_open {
            // With OPEN never asked for, the kernel is to use MKNOD.
            return self.noted(Kind::Create, parent, reply, never_ask);
        }
        let mode = libc::S_IFREG | (mode & 0o7777);
        self.shared.serve(
            Kind::Create,
            dir,
            reply,
            |fs, _| {
                let made = fs.mknod(&caller(request), dir, name, mode, 0)?;
                Ok(self.shared.deliver(made))
            },
            |reply, entry| {
                let attr = wire::file_attr(entry.id, &entry.attr);
                let generation = wire::generation(entry.id);
                let flags = FopenFlags::empty();
                reply.created(&self.shared.ttl, &attr, generation, NO_HANDLE, flags);
            },
        );
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
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Read,
            node,
            reply,
            |fs, _| {
                let (mut buffer, size) = (READ_BUFFER.take(), size as usize);
                let more = size.saturating_sub(buffer.len());
                buffer.try_reserve_exact(more).map_err(|_| Errno::NOMEM)?;
                buffer.resize(buffer.len() + more, 0);
                let length = fs.read(node, offset, &mut buffer[..size])?;
                Ok((buffer, length))
            },
            |reply, (buffer, length)| {
                reply.data(&buffer[..length]);
                READ_BUFFER.set(buffer);
            },
        );
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let node = wire::node(ino);
        let kill_suidgid = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        self.shared.serve(
            Kind::Write,
            node,
            reply,
            |fs, _| fs.write(&caller(request), node, offset, data, kill_suidgid),
            |reply, written| reply.written(written),
        );
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let node = wire::node(ino);
        self.change(Kind::Fallocate, node, reply, |fs| {
            fs.fallocate(&caller(request), node, offset, length, mode)
        });
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Lseek,
            node,
            reply,
            |fs, _| fs.lseek(node, offset, whence),
            |reply, offset| reply.offset(offset),
        );
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.zero_message_opendir {
            true => self.noted(Kind::Opendir, ino, reply, never_ask),
            false => self.noted(Kind::Opendir, ino, reply, opened),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Readdir,
            node,
            reply,
            |fs, reply| {
                fs.readdir(node, offset, false, |entry| {
                    let (ino, kind) = (wire::ino(entry.id), wire::file_type(entry.kind));
                    !reply.add(ino, entry.cookie, kind, OsStr::from_bytes(entry.name))
                })
            },
            |reply, ()| reply.ok(),
        );
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Readdirplus,
            node,
            reply,
            |fs, reply| fs.readdir(node, offset, true, |entry| self.plus_entry(entry, reply)),
            |reply, ()| reply.ok(),
        );
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.shared.serve(
            Kind::Statfs,
            wire::node(ino),
            reply,
            |fs, _| Ok(fs.statfs()),
            |reply, fs| {
                reply.statfs(
                    fs.blocks,
                    fs.blocks_free,
                    fs.blocks_free,
                    fs.files,
                    fs.files_free,
                    fs.block_size,
                    fs.name_max,
                    fs.block_size,
                );
            },
        );
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (node, name) = (wire::node(ino), name.as_bytes());
        self.change(Kind::Setxattr, node, reply, |fs| {
            fs.setxattr(&caller(request), node, name, value, flags)
        });
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Getxattr,
            node,
            reply,
            |fs, _| fs.getxattr(&caller(request), node, name.as_bytes()),
            |reply, value| send_sized(reply, size, &value),
        );
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Listxattr,
            node,
            reply,
            |fs, _| fs.listxattr(&caller(request), node),
            |reply, names| send_sized(reply, size, &names),
        );
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let node = wire::node(ino);
        self.change(Kind::Removexattr, node, reply, |fs| {
            fs.removexattr(&caller(request), node, name.as_bytes())
        });
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.noted(Kind::Flush, ino, reply, never_ask);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.noted(Kind::Fsync, ino, reply, never_ask);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.noted(Kind::Fsyncdir, ino, reply, never_ask);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.noted(Kind::Release, ino, reply, ReplyEmpty::ok);
    }

    fn releasedir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.noted(Kind::Releasedir, ino, reply, ReplyEmpty::ok);
    }

    fn ioctl(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        let node = wire::node(ino);
        self.shared.serve(
            Kind::Other,
            node,
            reply,
            |_, _| Err::<(), _>(Errno::NOTTY),
            |_, ()| {},
        );
    }
}
