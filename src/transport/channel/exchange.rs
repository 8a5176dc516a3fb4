//! One request and its answer, whichever channel carries them.
//!
//! Both channels hand over the same three parts: the header, the arguments of fixed size, and a
//! buffer with what follows them (names, data). The answer is written over that buffer, so a
//! handler first takes what it needs out of the request, then calls the filesystem, then answers.

use crate::transport::wire::{GetxattrOut, InHeader, Opcode, RequestKind};
use crate::tree::{Errno, NodeId};
use zerocopy::{FromBytes, Immutable, IntoBytes};

type Result<T> = std::result::Result<T, Errno>;

/// What came, and the room to answer it.
pub(crate) struct Exchange<'a> {
    /// The header, as the kernel sent it.
    pub(crate) header: InHeader,
    /// What it asks for, if that is known here.
    pub(crate) opcode: Option<Opcode>,
    /// The arguments of fixed size: as many bytes as the request has, or fewer.
    pub(crate) args: &'a [u8],
    /// Room for the answer. Its first `sent` bytes are the rest of the request.
    pub(crate) buffer: &'a mut [u8],
    /// How many bytes of `buffer` came with the request.
    pub(crate) sent: usize,
}

/// Whether the thread that asks for an answer may be kept waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayBlock {
    /// No: others wait for this thread.
    No,
    /// As long as it takes.
    Yes,
    /// No, nor may anybody else: what would block is answered by what is safe to say.
    Nobody,
}

/// Answers requests: the filesystem of a mount, or something simpler to measure a channel with.
pub(crate) trait Serve: Send + Sync {
    /// Answers, or says [`Answer::Later`] if that would block where it may not.
    fn handle(&self, exchange: &mut Exchange<'_>, may_block: MayBlock) -> Answer;
}

/// What is to be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: the kernel expects no reply.
    Nothing,
    /// An error.
    Error(Errno),
    /// This many bytes of the buffer.
    Bytes(usize),
    /// Nothing yet: it would block, where that is not allowed. The request is as it
    /// came; the room behind it may not be.
    Later,
    /// The same, and what it waits for is the kernel, which writes back meanwhile: not in a thread that writes or reads may
    /// have to wait for.
    AfterWriteback,
}

impl Exchange<'_> {
    /// What the request is counted as.
    pub(crate) fn kind(&self) -> RequestKind {
        self.opcode.map_or(RequestKind::Other, Opcode::kind)
    }

    /// The inode the request is about.
    pub(crate) fn node(&self) -> NodeId {
        NodeId::from_raw(self.header.nodeid)
    }

    /// The arguments of fixed size; EINVAL if some are missing.
    pub(crate) fn fixed<T: FromBytes>(&self) -> Result<T> {
        let (args, _more) = T::read_from_prefix(self.args).map_err(|_| Errno::INVAL)?;
        Ok(args)
    }

    /// What follows the arguments of fixed size.
    pub(crate) fn rest(&self) -> Result<&[u8]> {
        self.buffer.get(..self.sent).ok_or(Errno::INVAL)
    }

    /// The one name that follows; EINVAL if there is none, or more.
    pub(crate) fn name(&self) -> Result<&[u8]> {
        match split_name(self.rest()?)? {
            (name, []) => Ok(name),
            _ => Err(Errno::INVAL),
        }
    }

    /// The two names that follow; EINVAL if there are fewer, or more.
    pub(crate) fn two_names(&self) -> Result<(&[u8], &[u8])> {
        let (first, rest) = split_name(self.rest()?)?;
        match split_name(rest)? {
            (second, []) => Ok((first, second)),
            _ => Err(Errno::INVAL),
        }
    }

    /// A name and the value of `size` bytes after it; EINVAL if either is not all there.
    pub(crate) fn name_and_value(&self, size: u32) -> Result<(&[u8], &[u8])> {
        let (name, rest) = split_name(self.rest()?)?;
        let value = rest.get(..size as usize).ok_or(Errno::INVAL)?;
        Ok((name, value))
    }

    /// Room for an answer of at most `size` bytes; EINVAL if there is not that much.
    pub(crate) fn room(&mut self, size: u32) -> Result<&mut [u8]> {
        self.buffer.get_mut(..size as usize).ok_or(Errno::INVAL)
    }

    /// Answers with a structure.
    pub(crate) fn send(&mut self, reply: &(impl IntoBytes + Immutable)) -> Result<Answer> {
        self.send_bytes(reply.as_bytes())
    }

    /// Answers with `bytes`; EIO if there is no room for them.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<Answer> {
        let room = self.buffer.get_mut(..bytes.len()).ok_or(Errno::IO)?;
        room.copy_from_slice(bytes);
        Ok(Answer::Bytes(bytes.len()))
    }

    /// Answers a question for a value: with its length alone if `size` is 0, with ERANGE if it is
    /// longer than `size`.
    pub(crate) fn send_sized(&mut self, size: u32, value: &[u8]) -> Result<Answer> {
        match u32::try_from(value.len()) {
            Ok(length) if size == 0 => self.send(&GetxattrOut {
                size: length,
                padding: 0,
            }),
            Ok(length) if length <= size => self.send_bytes(value),
            _ => Err(Errno::RANGE),
        }
    }
}

/// The bytes before the first NUL and those after it.
fn split_name(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0);
    let (name, rest) = bytes.split_at(end.ok_or(Errno::INVAL)?);
    Ok((name, &rest[1..]))
}
