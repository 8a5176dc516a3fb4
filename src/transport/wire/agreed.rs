//! What was agreed with the kernel when a mount began.

use super::args::SetxattrExtIn;
use super::opcode::{ARGS_ROOM, Opcode};

/// What was agreed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// Major and minor version of the kernel's side of the protocol.
    pub(crate) abi: (u32, u32),
    /// A file can be opened without a request: the kernel takes ENOSYS to OPEN as "never ask".
    pub(crate) zero_message_open: bool,
    /// The same for directories.
    pub(crate) zero_message_opendir: bool,
    /// The kernel reads files by itself that it is told of when they are opened.
    pub(crate) passthrough: bool,
    /// The kernel checks permissions by access control lists.
    pub(crate) acl: bool,
    /// Requests come through rings, once they are registered.
    pub(crate) ring: bool,
    /// Most bytes that follow the fixed part of a request or a reply.
    pub(crate) payload: usize,
    /// What requests look like.
    pub(crate) dialect: Dialect,
}

/// What of the protocol is as it is because it was negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// The arguments of SETXATTR are [`SetxattrExtIn`] (`FUSE_SETXATTR_EXT`).
    pub(crate) setxattr_ext: bool,
}

impl Dialect {
    /// How many bytes of arguments of fixed size a request has. None for one that is not known: all that
    /// follows its header is then taken for the rest.
    pub(crate) fn fixed_len(self, opcode: Option<Opcode>) -> usize {
        match opcode {
            Some(Opcode::Setxattr) if self.setxattr_ext => size_of::<SetxattrExtIn>(),
            known => known.map_or(0, Opcode::args_len),
        }
    }
}

const _: () = assert!(size_of::<SetxattrExtIn>() < ARGS_ROOM);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_has_longer_arguments_if_that_was_negotiated() {
        let [short, long] = [false, true].map(|setxattr_ext| Dialect { setxattr_ext });
        for &(opcode, _) in Opcode::ALL {
            let longer = if opcode == Opcode::Setxattr { 8 } else { 0 };
            assert_eq!(short.fixed_len(Some(opcode)), opcode.args_len());
            assert_eq!(
                long.fixed_len(Some(opcode)),
                opcode.args_len() + longer,
                "{opcode:?}"
            );
        }
        assert_eq!(long.fixed_len(Opcode::from_raw(26)), 0, "INIT");
    }
}
