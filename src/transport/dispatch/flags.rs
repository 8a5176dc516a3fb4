//! Inode flags, which the kernel asks for and sets by ioctls (`fuse_fileattr_get`, `fuse_fileattr_set`): those of
//! chattr(1), and with other bits those that XFS began with. It has checked who may set them. No other ioctl is served.

use super::Call;
use crate::fs::Result;
use crate::transport::channel::exchange::{Answer, MayBlock};
use crate::transport::wire::{Fsxattr, IoctlIn, IoctlOut};
use crate::tree::{Errno, InodeFlags};
use rustix::ioctl::{Opcode, opcode};
use std::ffi::c_long;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `FS_IOC_GETFLAGS` and the others. The first two are declared with a long and carry an int.
const GET_FLAGS: Opcode = opcode::read::<c_long>(b'f', 1);
const SET_FLAGS: Opcode = opcode::write::<c_long>(b'f', 2);
const GET_XFLAGS: Opcode = opcode::read::<Fsxattr>(b'X', 31);
const SET_XFLAGS: Opcode = opcode::write::<Fsxattr>(b'X', 32);

/// The flags that are kept, with their bits in [`Fsxattr::xflags`] (`FS_XFLAG_IMMUTABLE` and so on).
const XFLAGS: [(InodeFlags, u32); 4] = [
    (InodeFlags::IMMUTABLE, 1 << 3),
    (InodeFlags::APPEND, 1 << 4),
    (InodeFlags::NOATIME, 1 << 6),
    (InodeFlags::NODUMP, 1 << 7),
];

/// All bytes that a file may have.
const ALL: Range<u64> = 0..i64::MAX as u64;

impl Call<'_, '_> {
    pub(super) fn ioctl(&mut self) -> Result<Answer> {
        let args: IoctlIn = self.exchange.fixed()?;
        let node = self.node();
        match Opcode::from(args.cmd) {
            GET_FLAGS => {
                let flags = self.fs().flags(node)?.bits();
                self.answer_ioctl(&args, &flags)
            }
            GET_XFLAGS => {
                let flags = self.fs().flags(node)?;
                self.answer_ioctl(&args, &to_xflags(flags))
            }
            SET_FLAGS => {
                let flags = InodeFlags::from_bits_retain(self.ioctl_value(&args)?);
                self.set_flags(flags)
            }
            SET_XFLAGS => {
                let flags = from_xflags(&self.ioctl_value(&args)?)?;
                self.set_flags(flags)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    /// What came with the request; EINVAL if it has another size.
    fn ioctl_value<T: FromBytes>(&self, args: &IoctlIn) -> Result<T> {
        let value = self.exchange.rest()?.get(..args.in_size as usize);
        T::read_from_bytes(value.ok_or(Errno::INVAL)?).map_err(|_| Errno::INVAL)
    }

    /// What was stored to the pages of a file through a map is written back before that is refused; EBUSY if it cannot be.
    fn set_flags(&mut self, flags: InodeFlags) -> Result<Answer> {
        let node = self.node();
        if self.fs().would_fix(node, flags)? {
            match self.may_block {
                MayBlock::No => return Ok(Answer::AfterWriteback),
                MayBlock::Yes if self.shared.write_back(node, std::slice::from_ref(&ALL)) => {}
                _ => return Err(Errno::BUSY),
            }
        }
        let set = self.fs().set_flags(node, flags)?;
        self.shared.deliver(set);
        self.exchange.send(&IoctlOut::default())
    }

    /// Answers with `value`; EINVAL if something of another size is expected.
    fn answer_ioctl(
        &mut self,
        args: &IoctlIn,
        value: &(impl IntoBytes + Immutable),
    ) -> Result<Answer> {
        if args.out_size as usize != value.as_bytes().len() {
            return Err(Errno::INVAL);
        }
        let head = IoctlOut::default();
        self.exchange
            .send_bytes(&[head.as_bytes(), value.as_bytes()].concat())
    }
}

fn to_xflags(flags: InodeFlags) -> Fsxattr {
    let bits = XFLAGS
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, bit)| bit);
    Fsxattr {
        xflags: bits.sum(),
        ..Fsxattr::default()
    }
}

/// EOPNOTSUPP for what no flag stands for: extents, projects.
fn from_xflags(asked: &Fsxattr) -> Result<InodeFlags> {
    let known = XFLAGS
        .into_iter()
        .filter(|(_, bit)| asked.xflags & bit != 0);
    let flags: InodeFlags = known.map(|(flag, _)| flag).collect();
    let same = Fsxattr {
        nextents: asked.nextents,
        pad: asked.pad,
        ..to_xflags(flags)
    };
    match same.as_bytes() == asked.as_bytes() {
        true => Ok(flags),
        false => Err(Errno::OPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::KEPT_FLAGS;

    #[test]
    fn both_spellings_say_the_same() {
        assert_eq!(
            [GET_FLAGS, SET_FLAGS, GET_XFLAGS, SET_XFLAGS],
            [0x8008_6601, 0x4008_6602, 0x801c_581f, 0x401c_5820]
        );
        for flags in KEPT_FLAGS.iter().chain([KEPT_FLAGS, InodeFlags::empty()]) {
            assert_eq!(from_xflags(&to_xflags(flags)), Ok(flags));
        }
        let refused = |asked| assert_eq!(from_xflags(&asked), Err(Errno::OPNOTSUPP));
        for bit in [0, 5, 8, 9, 11, 31] {
            refused(Fsxattr {
                xflags: 1 << bit,
                ..Fsxattr::default()
            });
        }
        refused(Fsxattr {
            projid: 1,
            ..Fsxattr::default()
        });
        refused(Fsxattr {
            extsize: 4096,
            ..Fsxattr::default()
        });
    }
}
