//! Descriptors that one process gives another one, over a Unix socket: a byte with one of them.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Gives `descriptor` to the other side.
pub(crate) fn send(stream: &UnixStream, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    let fits = with.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits);
    let byte = [IoSlice::new(&[0])];
    retry_on_intr(|| sendmsg(stream, &byte, &mut with, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Takes the one that comes next. `InvalidData` if something else does, and what the time limit of `stream` makes of nothing.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    retry_on_intr(|| recvmsg(stream, &mut bytes, &mut with, RecvFlags::CMSG_CLOEXEC))?;
    let mut descriptors = with.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let first = descriptors.next().and_then(|mut some| some.next());
    first.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no descriptor came"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_is_given_and_what_follows_is_left() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        send(&ours, file.as_fd()).unwrap();
        ours.write_all(b"more").unwrap();
        let there = File::from(receive(&theirs).unwrap());
        let mut read = [0; 7];
        rustix::io::pread(&there, &mut read, 0).unwrap();
        assert_eq!(&read, b"content");
        let mut more = [0; 4];
        theirs.read_exact(&mut more).unwrap();
        assert_eq!(&more, b"more");
    }

    #[test]
    fn something_else_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        assert_eq!(
            receive(&theirs).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        drop(ours);
        assert_eq!(
            receive(&theirs).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
