//! What is put into the submission queue (`enum fuse_uring_cmd`, `struct fuse_uring_cmd_req`).

use io_uring::squeue::Entry128;
use io_uring::{opcode, types};
use std::os::fd::RawFd;
use zerocopy::{Immutable, IntoBytes};

const REGISTER: u32 = 1;
const COMMIT_AND_FETCH: u32 = 2;

/// Where the FUSE descriptor is among the registered files of a ring.
const DEVICE: types::Fixed = types::Fixed(0);

/// Where `len` lies in an entry of the submission queue (`struct io_uring_sqe`).
const LEN_AT: usize = 24;

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct CommandRequest {
    flags: u64,
    commit_id: u64,
    qid: u16,
    padding: [u8; 6],
}

fn request(queue: u16, commit_id: u64) -> [u8; 80] {
    let request = CommandRequest {
        flags: 0,
        commit_id,
        qid: queue,
        padding: [0; 6],
    };
    let mut bytes = [0; 80];
    bytes[..size_of::<CommandRequest>()].copy_from_slice(request.as_bytes());
    bytes
}

/// Gives the kernel an entry's memory, of which two vectors tell, and takes the first request.
pub(super) fn register(queue: u16, vectors: *const [[usize; 2]; 2]) -> Entry128 {
    let mut entry = opcode::UringCmd80::new(DEVICE, REGISTER)
        .cmd(request(queue, 0))
        .addr(Some(vectors as u64))
        .build();
    // SAFETY: an `Entry128` is a `struct io_uring_sqe` of 128 plain bytes, and its `len` are the
    // four at this offset, aligned. The crate has no setter for it.
    unsafe {
        let len = std::ptr::from_mut(&mut entry).cast::<u8>().add(LEN_AT);
        len.cast::<u32>().write(2);
    }
    entry
}

/// A registration that cannot succeed. The kernel stops waiting for the others and uses the device
/// (`fuse_uring_cmd`).
pub(super) fn give_up(device: RawFd) -> Entry128 {
    opcode::UringCmd80::new(types::Fd(device), REGISTER)
        .cmd(request(u16::MAX, 0))
        .build()
}

/// Sends the reply that is in the entry's memory, and takes the next request.
pub(super) fn commit(queue: u16, commit_id: u64) -> Entry128 {
    opcode::UringCmd80::new(DEVICE, COMMIT_AND_FETCH)
        .cmd(request(queue, commit_id))
        .build()
}

const _: () = assert!(size_of::<Entry128>() == 128);
