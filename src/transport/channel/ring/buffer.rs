//! The memory a request travels in, shared with the kernel.
//!
//! ```text
//!   0  in_out   the request's header; over it goes the reply's
//! 128  op_in    the arguments of fixed size
//! 256  entry    which request this is, and how many bytes of payload
//! 288  vectors  where the two parts are, for the registration
//! 4096 payload  what follows the arguments; over it goes the answer
//! ```
//! (`struct fuse_uring_req_header`, and the two vectors of `FUSE_IO_URING_CMD_REGISTER`.)
//!
//! The memory is either with the kernel or with a [`Buffer`]'s owner, who reads and writes it like
//! any other; pages that were never used cost nothing.

use crate::transport::channel::exchange::{Answer, Exchange};
use crate::transport::wire::{InHeader, Opcode, OutHeader};
use memmap2::{Advice, MmapMut};
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the payload begins: on a page of its own.
const HEADER_ROOM: usize = 4096;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RingHeader {
    in_out: [u8; 128],
    op_in: [u8; 128],
    flags: u64,
    commit_id: u64,
    payload_size: u32,
    padding: u32,
    reserved: u64,
    /// Two `struct iovec`, which the kernel reads once.
    vectors: [[usize; 2]; 2],
}

const _: () = assert!(std::mem::offset_of!(RingHeader, vectors) == 288);
const _: () = assert!(size_of::<RingHeader>() <= HEADER_ROOM);

/// The memory of one entry.
pub(crate) struct Buffer(MmapMut);

impl Buffer {
    /// Memory with room for `payload` bytes.
    pub(crate) fn new(payload: usize) -> io::Result<Buffer> {
        let memory = MmapMut::map_anon(HEADER_ROOM + payload)?;
        // The kernel writes to it, which is none of a copy's of this process.
        memory.advise(Advice::DontFork)?;
        Ok(Buffer(memory))
    }

    fn parts(&mut self) -> (&mut RingHeader, &mut [u8]) {
        let (head, payload) = self.0.split_at_mut(HEADER_ROOM);
        let (header, _) = RingHeader::mut_from_prefix(head).expect("a page is aligned and large");
        (header, payload)
    }

    /// What to tell the kernel of it: where two vectors are that say where header and payload are.
    pub(crate) fn vectors(&mut self) -> *const [[usize; 2]; 2] {
        let start = self.0.as_mut_ptr() as usize;
        let payload = self.0.len() - HEADER_ROOM;
        let (header, _) = self.parts();
        header.vectors = [[start, HEADER_ROOM], [start + HEADER_ROOM, payload]];
        &raw const header.vectors
    }

    /// What the reply is to be committed with.
    pub(crate) fn commit_id(&mut self) -> u64 {
        self.parts().0.commit_id
    }

    /// The request in it.
    pub(crate) fn exchange(&mut self) -> Exchange<'_> {
        let (header, payload) = self.parts();
        let (first, _) = InHeader::read_from_prefix(&header.in_out).expect("128 bytes hold it");
        Exchange {
            header: first,
            opcode: Opcode::from_raw(first.opcode),
            args: &header.op_in,
            sent: payload.len().min(header.payload_size as usize),
            buffer: payload,
        }
    }

    /// Puts the reply over the request, whose `unique` is given.
    pub(crate) fn answer(&mut self, unique: u64, answer: Answer) {
        let (header, payload) = self.parts();
        let (error, bytes) = match answer {
            Answer::Bytes(bytes) => (0, bytes.min(payload.len())),
            Answer::Error(errno) => (-errno.raw_os_error(), 0),
            // Neither belongs here; no caller may be left waiting.
            Answer::Nothing | Answer::Later | Answer::AfterWriteback => (-libc::EIO, 0),
        };
        let reply = OutHeader {
            len: (size_of::<OutHeader>() + bytes) as u32,
            error,
            unique,
        };
        header.in_out[..size_of::<OutHeader>()].copy_from_slice(reply.as_bytes());
        header.payload_size = bytes as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Errno;

    fn with_request(payload_size: u32) -> Buffer {
        let mut buffer = Buffer::new(8192).unwrap();
        let (header, payload) = buffer.parts();
        let request = InHeader {
            len: 40,
            opcode: 1,
            unique: 77,
            nodeid: 5,
            uid: 0,
            gid: 0,
            pid: 0,
            total_extlen: 0,
            padding: 0,
        };
        header.in_out[..40].copy_from_slice(request.as_bytes());
        header.op_in[0] = 9;
        header.commit_id = 78;
        header.payload_size = payload_size;
        payload[..4].copy_from_slice(b"name");
        buffer
    }

    #[test]
    fn a_request_is_found_where_the_kernel_puts_it() {
        let mut buffer = with_request(5);
        assert_eq!(buffer.commit_id(), 78);
        let exchange = buffer.exchange();
        assert_eq!((exchange.header.unique, exchange.header.nodeid), (77, 5));
        assert_eq!((exchange.args[0], exchange.args.len()), (9, 128));
        assert_eq!(&exchange.buffer[..exchange.sent], b"name\0");
    }

    #[test]
    fn the_vectors_tell_of_both_parts_and_lie_in_the_first() {
        let mut buffer = with_request(5);
        let at = buffer.vectors() as usize;
        let [[header, first], [payload, second]] = buffer.parts().0.vectors;
        assert!((header + 288..header + first).contains(&at));
        assert_eq!((first, second, payload), (4096, 8192, header + 4096));
        assert_eq!(buffer.exchange().header.unique, 77);
    }

    #[test]
    fn a_size_beyond_the_payload_is_cut() {
        let mut buffer = with_request(u32::MAX);
        let exchange = buffer.exchange();
        assert_eq!(exchange.sent, exchange.buffer.len());
    }

    #[test]
    fn a_reply_is_put_over_the_request() {
        let reply = |answer| {
            let mut buffer = with_request(5);
            buffer.answer(77, answer);
            let (header, _) = buffer.parts();
            let (out, _) = OutHeader::read_from_prefix(&header.in_out).unwrap();
            (out.unique, out.error, out.len, header.payload_size)
        };
        assert_eq!(reply(Answer::Bytes(10)), (77, 0, 26, 10));
        assert_eq!(reply(Answer::Error(Errno::NOENT)), (77, -2, 16, 0));
        assert_eq!(reply(Answer::Nothing), (77, -5, 16, 0));
        assert_eq!(reply(Answer::Bytes(usize::MAX)), (77, 0, 16 + 8192, 8192));
    }
}
