//! The device channel: fuser's trait as a thin adapter over [`Fs`].
//!
//! Here is what the calls have in common; [`dispatch`] has one method for each.

mod dispatch;

use crate::fs::{Caller, Committed, Fs, ListEntry};
use crate::transport::serve::{Reply, Shared};
use crate::transport::{RequestKind, wire};
use crate::tree::{Attr, Entry, NodeId, Result};
use fuser::{
    FileHandle, FopenFlags, INodeNo, ReplyAttr, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Nothing is kept for an open file.
const NO_HANDLE: FileHandle = FileHandle(0);

/// One mount's adapter, shared by its event loops.
pub(crate) struct Device {
    shared: Arc<Shared>,
    zero_message_open: bool,
    zero_message_opendir: bool,
}

impl Device {
    pub(crate) fn new(shared: Arc<Shared>) -> Device {
        Device {
            shared,
            zero_message_open: false,
            zero_message_opendir: false,
        }
    }

    fn send_entry(&self, reply: ReplyEntry, entry: Entry) {
        let attr = wire::file_attr(entry.id, &entry.attr);
        reply.entry(&self.shared.ttl, &attr, wire::generation(entry.id));
    }

    fn send_attr(&self, reply: ReplyAttr, id: NodeId, attr: &Attr) {
        reply.attr(&self.shared.ttl, &wire::file_attr(id, attr));
    }

    /// An entry the listing is to show with its attributes; "." and ".." are shown without.
    fn plus_entry(&self, entry: &ListEntry<'_>, reply: &mut ReplyDirectoryPlus) -> bool {
        let attr = entry.attr.unwrap_or(Attr {
            kind: entry.kind,
            ..Attr::default()
        });
        !reply.add(
            wire::ino(entry.id),
            entry.cookie,
            OsStr::from_bytes(entry.name),
            &self.shared.ttl,
            &wire::file_attr(entry.id, &attr),
            wire::generation(entry.id),
        )
    }

    /// A change that makes a name.
    fn make(
        &self,
        kind: RequestKind,
        dir: NodeId,
        reply: ReplyEntry,
        call: impl FnOnce(&Fs) -> Result<Committed<Entry>>,
    ) {
        self.shared.serve(
            kind,
            dir,
            reply,
            |fs, _| call(fs).map(|made| self.shared.deliver(made)),
            |reply, entry| self.send_entry(reply, entry),
        );
    }

    /// A change whose reply says no more than that it was made.
    fn change(
        &self,
        kind: RequestKind,
        node: NodeId,
        reply: ReplyEmpty,
        call: impl FnOnce(&Fs) -> Result<Committed<()>>,
    ) {
        self.shared.serve(
            kind,
            node,
            reply,
            |fs, _| call(fs).map(|done| self.shared.deliver(done)),
            |reply, ()| reply.ok(),
        );
    }

    /// A request that needs nothing of the filesystem.
    fn noted<R: Reply>(&self, kind: RequestKind, ino: INodeNo, reply: R, send: impl FnOnce(R)) {
        let node = wire::node(ino);
        self.shared
            .serve(kind, node, reply, |_, _| Ok(()), |reply, ()| send(reply));
    }
}

/// Tells the kernel to succeed without asking from now on.
fn never_ask<R: Reply>(reply: R) {
    reply.refuse(fuser::Errno::ENOSYS);
}

fn opened(reply: ReplyOpen) {
    reply.opened(NO_HANDLE, FopenFlags::empty());
}

fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        pid: request.pid(),
    }
}

/// The answer to a question for a value: its length alone if `room` is 0.
fn send_sized(reply: ReplyXattr, room: u32, value: &[u8]) {
    match u32::try_from(value.len()) {
        Ok(length) if room == 0 => reply.size(length),
        Ok(length) if length <= room => reply.data(value),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}
