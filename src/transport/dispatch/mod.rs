//! One method for each request: take it apart, call the filesystem, put the answer together.

mod attributes;
mod data;
mod flags;
mod listing;
mod names;
mod serve;
mod shared;
mod xattr;

use crate::fs::Result;
use crate::fs::{Caller, Committed, Fs};
use crate::transport::channel::exchange::{Answer, Exchange, MayBlock};
use crate::transport::wire::{BatchForgetIn, ForgetIn, ForgetOne, Opcode};
use crate::tree::{Entry, Errno, NodeId};
use zerocopy::FromBytes;

pub(crate) use shared::Shared;

/// A request that is being answered.
pub(crate) struct Call<'a, 'b> {
    shared: &'a Shared,
    exchange: &'a mut Exchange<'b>,
    may_block: MayBlock,
}

/// Answers one request.
///
/// # Errors
/// What is to be sent back as an error: of the filesystem, EINVAL for what cannot be understood,
/// ENOSYS for what is not served, which the kernel takes as "never ask again".
pub(crate) fn dispatch(
    shared: &Shared,
    exchange: &mut Exchange<'_>,
    may_block: MayBlock,
) -> Result<Answer> {
    let opcode = exchange.opcode.ok_or(Errno::NOSYS)?;
    let mut call = Call {
        shared,
        exchange,
        may_block,
    };
    match opcode {
        Opcode::Lookup => call.lookup(),
        Opcode::Forget => call.forget(),
        Opcode::BatchForget => call.batch_forget(),
        Opcode::Getattr => call.getattr(),
        Opcode::Statx => call.statx(),
        Opcode::Setattr => call.setattr(),
        Opcode::Access => call.access(),
        Opcode::Statfs => call.statfs(),
        Opcode::Readlink => call.readlink(),
        Opcode::Symlink => call.symlink(),
        Opcode::Mknod => call.mknod(),
        Opcode::Mkdir => call.mkdir(),
        Opcode::Link => call.link(),
        Opcode::Unlink => call.unlink(),
        Opcode::Rmdir => call.rmdir(),
        Opcode::Rename => call.rename(),
        Opcode::Rename2 => call.rename2(),
        Opcode::Open => call.open(),
        Opcode::Create => call.create(),
        Opcode::Tmpfile => call.tmpfile(),
        Opcode::Read => call.read(),
        Opcode::Write => call.write(),
        Opcode::Fallocate => call.fallocate(),
        Opcode::Lseek => call.lseek(),
        Opcode::CopyFileRange | Opcode::CopyFileRange64 => call.copy_file_range(opcode),
        Opcode::Opendir => call.opendir(),
        Opcode::Readdir => call.readdir(),
        Opcode::Readdirplus => call.readdirplus(),
        Opcode::Setxattr | Opcode::Getxattr | Opcode::Listxattr | Opcode::Removexattr
            if !shared.xattr =>
        {
            Err(Errno::NOSYS)
        }
        Opcode::Setxattr => call.setxattr(),
        Opcode::Getxattr => call.getxattr(),
        Opcode::Listxattr => call.listxattr(),
        Opcode::Removexattr => call.removexattr(),
        Opcode::Release => call.release(),
        // Nothing is kept for an open directory, and nothing is ever on its way to a disk.
        Opcode::Releasedir | Opcode::Syncfs | Opcode::Destroy => DONE,
        Opcode::Flush | Opcode::Fsync | Opcode::Fsyncdir => Err(Errno::NOSYS),
        Opcode::Ioctl => call.ioctl(),
        // Locks are the kernel's own, and no request takes so long that interrupting it would help.
        Opcode::Getlk | Opcode::Setlk | Opcode::Setlkw => Err(Errno::NOSYS),
        Opcode::Interrupt | Opcode::Bmap | Opcode::Poll => Err(Errno::NOSYS),
    }
}

/// It was done, and there is no more to say.
const DONE: Result<Answer> = Ok(Answer::Bytes(0));

impl Call<'_, '_> {
    fn fs(&self) -> &Fs {
        &self.shared.fs
    }

    fn node(&self) -> NodeId {
        self.exchange.node()
    }

    /// Who asks. Only requests that make something tell the umask, each in its arguments.
    fn caller(&self) -> Caller {
        let header = &self.exchange.header;
        Caller {
            uid: header.uid,
            gid: header.gid,
            pid: header.pid,
            umask: 0,
        }
    }

    /// Whether the answer has to wait for a thread that may be kept: it needs content of `node` that
    /// is not there without blocking.
    fn must_wait(&self, node: NodeId) -> bool {
        self.may_block == MayBlock::No && !self.fs().would_not_block(node)
    }

    /// What an open tells the kernel of what it holds: `flags` if it holds anything.
    fn where_cached(&self, flags: u32) -> u32 {
        match self.shared.ttl().is_zero() {
            true => 0,
            false => flags,
        }
    }

    /// The answer to a change whose reply says no more than that it was made.
    fn changed(&self, done: Committed<()>) -> Result<Answer> {
        self.shared.deliver(done);
        DONE
    }

    /// The answer to a change that made a name.
    fn made(&mut self, made: Committed<Entry>) -> Result<Answer> {
        let entry = self.shared.deliver(made);
        self.exchange.send(&self.shared.entry(&entry))
    }

    fn forget(&self) -> Result<Answer> {
        let args: ForgetIn = self.exchange.fixed()?;
        self.fs().forget(self.node(), args.nlookup);
        Ok(Answer::Nothing)
    }

    fn batch_forget(&self) -> Result<Answer> {
        let args: BatchForgetIn = self.exchange.fixed()?;
        let ones = self.exchange.rest()?.chunks_exact(size_of::<ForgetOne>());
        for one in ones.take(args.count as usize) {
            let one = ForgetOne::read_from_bytes(one).map_err(|_| Errno::INVAL)?;
            self.fs().forget(NodeId::from_raw(one.nodeid), one.nlookup);
        }
        Ok(Answer::Nothing)
    }
}

#[cfg(test)]
mod tests;
