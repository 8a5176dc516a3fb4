//! Requests of every kind as the kernel would send them, and as it never would.

mod attributes;
mod counted;
mod data;
mod deciding;
mod listing;
mod lists;
mod names;
mod refusals;
mod waiting;

use crate::fs::Config;
use crate::transport::channel::exchange::{Answer, MayBlock, Serve};
use crate::transport::passthrough::Passthrough;
use crate::transport::testing::offline::{
    self, Asked, Layout, Offline, PAYLOAD, SLOW, SLOW_CONTENT,
};
use crate::transport::wire::{self, *};
use crate::transport::{Cache, Permissions, RequestKind};
use crate::tree::{Errno, Time};
use Opcode::*;
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const ROOT: u64 = 1;
const UNIQUE: u64 = 77;
type Asking<'a> = (Opcode, u64, &'a [u8], &'a [u8]);

fn raw(opcode: Opcode) -> u32 {
    let known = Opcode::ALL.iter().find(|(one, _)| *one == opcode);
    known.expect("every opcode is in the list").1
}

fn asked<'a>((opcode, nodeid, args, rest): Asking<'a>) -> Asked<'a> {
    Asked {
        header: InHeader {
            opcode: raw(opcode),
            nodeid,
            unique: UNIQUE,
            ..InHeader::new_zeroed()
        },
        args,
        rest,
        layout: Layout::Device,
        may_block: MayBlock::Yes,
    }
}

/// The bytes of the answer, which are the same in both layouts.
fn ask(offline: &mut Offline, asking: Asking<'_>) -> Result<Vec<u8>, Errno> {
    match offline.ask(&asked(asking)) {
        Answer::Bytes(count) => Ok(offline.buffer[..count].to_vec()),
        Answer::Error(errno) => Err(errno),
        other => panic!("{asking:?}: {other:?}"),
    }
}

fn entry(offline: &mut Offline, asking: Asking<'_>) -> EntryOut {
    let bytes = ask(offline, asking).expect("an entry");
    EntryOut::read_from_bytes(&bytes).expect("an entry alone")
}

fn attr(offline: &mut Offline, nodeid: u64) -> wire::AttrOut {
    let bytes = ask(offline, (Getattr, nodeid, &[0; 16], b"")).expect("known");
    AttrOut::read_from_bytes(&bytes).expect("attributes")
}

fn args<T: FromZeros>(fill: impl FnOnce(&mut T)) -> T {
    let mut args = T::new_zeroed();
    fill(&mut args);
    args
}

fn bytes(value: &(impl IntoBytes + Immutable)) -> &[u8] {
    value.as_bytes()
}

fn file(offline: &mut Offline, name: &[u8]) -> u64 {
    let mknod = args(|mknod: &mut MknodIn| mknod.mode = libc::S_IFREG | 0o4755);
    entry(offline, (Mknod, ROOT, bytes(&mknod), name)).nodeid
}

fn reading(offset: u64, size: u32) -> ReadIn {
    args(|read: &mut ReadIn| (read.offset, read.size) = (offset, size))
}
