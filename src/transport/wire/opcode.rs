//! Which requests there are, and how many bytes of arguments of fixed size each has.

use super::args::*;
use super::kind::RequestKind as Kind;

/// The largest of the arguments of fixed size has fewer bytes than this.
pub(crate) const ARGS_ROOM: usize = 128;

/// The opcode of what the kernel was asked for by a notification.
pub(crate) const NOTIFY_REPLY: u32 = 41;

macro_rules! opcodes {
    ($($name:ident = $raw:literal, $kind:ident, $args:ty;)+) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Opcode {
            $($name),+
        }

        impl Opcode {
            /// Those known here. The kernel has more, for what is not negotiated.
            #[cfg(test)]
            pub(crate) const ALL: &'static [(Opcode, u32)] = &[$((Opcode::$name, $raw)),+];

            pub(crate) const fn from_raw(raw: u32) -> Option<Opcode> {
                match raw {
                    $($raw => Some(Opcode::$name),)+
                    _ => None,
                }
            }

            /// What it is counted as.
            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $(Opcode::$name => Kind::$kind),+
                }
            }

            /// Bytes of its arguments of fixed size, which are the first of the kernel's `in_args`
            /// unless that is a name.
            pub(super) const fn args_len(self) -> usize {
                match self {
                    $(Opcode::$name => size_of::<$args>()),+
                }
            }
        }

        const _: () = { $(assert!(size_of::<$args>() < ARGS_ROOM);)+ };
    };
}

opcodes! {
    Lookup = 1, Lookup, ();
    Forget = 2, Forget, ForgetIn;
    Getattr = 3, Getattr, GetattrIn;
    Setattr = 4, Setattr, SetattrIn;
    Readlink = 5, Readlink, ();
    Symlink = 6, Symlink, ();
    Mknod = 8, Mknod, MknodIn;
    Mkdir = 9, Mkdir, MkdirIn;
    Unlink = 10, Unlink, ();
    Rmdir = 11, Rmdir, ();
    Rename = 12, Rename, RenameIn;
    Link = 13, Link, LinkIn;
    Open = 14, Open, OpenIn;
    Read = 15, Read, ReadIn;
    Write = 16, Write, WriteIn;
    Statfs = 17, Statfs, ();
    Release = 18, Release, ReleaseIn;
    Fsync = 20, Fsync, FsyncIn;
    Setxattr = 21, Setxattr, SetxattrIn;
    Getxattr = 22, Getxattr, GetxattrIn;
    Listxattr = 23, Listxattr, GetxattrIn;
    Removexattr = 24, Removexattr, ();
    Flush = 25, Flush, FlushIn;
    Opendir = 27, Opendir, OpenIn;
    Readdir = 28, Readdir, ReadIn;
    Releasedir = 29, Releasedir, ReleaseIn;
    Fsyncdir = 30, Fsyncdir, FsyncIn;
    Getlk = 31, Other, LkIn;
    Setlk = 32, Other, LkIn;
    Setlkw = 33, Other, LkIn;
    Access = 34, Access, AccessIn;
    Create = 35, Create, CreateIn;
    Interrupt = 36, Other, InterruptIn;
    Bmap = 37, Other, BmapIn;
    Destroy = 38, Other, ();
    Ioctl = 39, Other, IoctlIn;
    Poll = 40, Other, PollIn;
    BatchForget = 42, Forget, BatchForgetIn;
    Fallocate = 43, Fallocate, FallocateIn;
    Readdirplus = 44, Readdirplus, ReadIn;
    Rename2 = 45, Rename, Rename2In;
    Lseek = 46, Lseek, LseekIn;
    CopyFileRange = 47, CopyFileRange, CopyFileRangeIn;
    Syncfs = 50, Syncfs, SyncfsIn;
    Tmpfile = 51, Tmpfile, CreateIn;
    Statx = 52, Statx, StatxIn;
    CopyFileRange64 = 53, CopyFileRange, CopyFileRangeIn;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_those_of_the_kernel_and_different() {
        for (index, &(opcode, raw)) in Opcode::ALL.iter().enumerate() {
            assert_eq!(Opcode::from_raw(raw), Some(opcode));
            assert!(Opcode::ALL[..index].iter().all(|&(_, other)| other < raw));
        }
        assert_eq!(Opcode::from_raw(0), None);
        assert_eq!(Opcode::from_raw(26), None, "INIT");
    }

    #[test]
    fn requests_that_begin_with_a_name_have_no_fixed_arguments() {
        use Opcode::*;
        for opcode in [Lookup, Symlink, Unlink, Rmdir, Removexattr] {
            assert_eq!(opcode.args_len(), 0, "{opcode:?}");
        }
        let lengths = [
            (Setattr, 88),
            (Write, 40),
            (Setxattr, 8),
            (Create, 16),
            (Rename2, 16),
            (Statx, 24),
            (Lseek, 24),
            (Fallocate, 32),
            (BatchForget, 8),
            (CopyFileRange, 56),
            (Ioctl, 32),
        ];
        for (opcode, length) in lengths {
            assert_eq!(opcode.args_len(), length, "{opcode:?}");
        }
    }
}
