//! Finding, making, moving and removing names.

use super::Call;
use crate::fs::Caller;
use crate::fs::Result;
use crate::transport::channel::exchange::Answer;
use crate::transport::wire::{
    CreateIn, EntryOut, LinkIn, MkdirIn, MknodIn, OpenOut, Rename2In, RenameIn, negative_entry,
};
use crate::tree::{Entry, Errno, LinkTarget, NodeId};
use zerocopy::{Immutable, IntoBytes};

/// A new file, opened.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Created {
    entry: EntryOut,
    open: OpenOut,
}

impl Call<'_, '_> {
    /// Who makes something.
    fn maker(&self, umask: u32) -> Caller {
        Caller {
            umask,
            ..self.caller()
        }
    }

    pub(super) fn lookup(&mut self) -> Result<Answer> {
        let (caller, name) = (self.caller(), self.exchange.name()?);
        let found = self.fs().lookup(&caller, self.node(), name)?;
        let ttl = self.shared.name_ttl();
        match found {
            Some(entry) => self.exchange.send(&self.shared.entry(&entry)),
            None if ttl.is_zero() => Err(Errno::NOENT),
            None => self.exchange.send(&negative_entry(ttl)),
        }
    }

    pub(super) fn readlink(&mut self) -> Result<Answer> {
        let mut target = LinkTarget::new();
        self.fs().readlink(self.node(), &mut target)?;
        self.exchange.send_bytes(&target)
    }

    pub(super) fn symlink(&mut self) -> Result<Answer> {
        let (name, target) = self.exchange.two_names()?;
        let caller = self.caller();
        let made = self.fs().symlink(&caller, self.node(), name, target)?;
        self.made(made)
    }

    pub(super) fn mknod(&mut self) -> Result<Answer> {
        let args: MknodIn = self.exchange.fixed()?;
        let (caller, name) = (self.maker(args.umask), self.exchange.name()?);
        let made = self
            .fs()
            .mknod(&caller, self.node(), name, args.mode, args.rdev)?;
        self.made(made)
    }

    pub(super) fn mkdir(&mut self) -> Result<Answer> {
        let args: MkdirIn = self.exchange.fixed()?;
        let (caller, name) = (self.maker(args.umask), self.exchange.name()?);
        let made = self.fs().mkdir(&caller, self.node(), name, args.mode)?;
        self.made(made)
    }

    pub(super) fn link(&mut self) -> Result<Answer> {
        let args: LinkIn = self.exchange.fixed()?;
        let (caller, name) = (self.caller(), self.exchange.name()?);
        let linked = NodeId::from_raw(args.oldnodeid);
        let made = self.fs().link(&caller, linked, self.node(), name)?;
        self.made(made)
    }

    /// That the caller lacks `CAP_FSETID` is of no interest: a new file has nothing to lose.
    pub(super) fn create(&mut self) -> Result<Answer> {
        if self.shared.agreed.zero_message_open {
            // With OPEN never asked for, the kernel is to use MKNOD.
            return Err(Errno::NOSYS);
        }
        let args: CreateIn = self.exchange.fixed()?;
        let (caller, name) = (self.maker(args.umask), self.exchange.name()?);
        let mode = libc::S_IFREG | (args.mode & 0o7777);
        let made = self.fs().mknod(&caller, self.node(), name, mode, 0)?;
        let entry = self.shared.deliver(made);
        self.created(&entry)
    }

    /// The name that comes along is of no meaning.
    pub(super) fn tmpfile(&mut self) -> Result<Answer> {
        let args: CreateIn = self.exchange.fixed()?;
        let caller = self.maker(args.umask);
        let made = self.fs().tmpfile(&caller, self.node(), args.mode)?;
        let entry = self.shared.deliver(made);
        self.created(&entry)
    }

    fn created(&mut self, entry: &Entry) -> Result<Answer> {
        self.exchange.send(&Created {
            entry: self.shared.entry(entry),
            open: OpenOut::default(),
        })
    }

    pub(super) fn unlink(&self) -> Result<Answer> {
        let (caller, name) = (self.caller(), self.exchange.name()?);
        self.changed(self.fs().unlink(&caller, self.node(), name)?)
    }

    pub(super) fn rmdir(&self) -> Result<Answer> {
        let (caller, name) = (self.caller(), self.exchange.name()?);
        self.changed(self.fs().rmdir(&caller, self.node(), name)?)
    }

    pub(super) fn rename(&self) -> Result<Answer> {
        let args: RenameIn = self.exchange.fixed()?;
        self.moved(args.newdir, 0)
    }

    pub(super) fn rename2(&self) -> Result<Answer> {
        let args: Rename2In = self.exchange.fixed()?;
        self.moved(args.newdir, args.flags)
    }

    fn moved(&self, newdir: u64, flags: u32) -> Result<Answer> {
        let (old, new) = self.exchange.two_names()?;
        let caller = self.caller();
        let to = (NodeId::from_raw(newdir), new);
        self.changed(self.fs().rename(&caller, (self.node(), old), to, flags)?)
    }
}
