//! The arguments of fixed size. Fields nobody here looks at begin with an underscore.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! args {
    ($($name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        #[doc = concat!("Arguments: `", stringify!($name), "` without its capitals in the kernel.")]
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type),+
        }
    )+};
}

args! {
    ForgetIn { nlookup: u64 }
    BatchForgetIn { count: u32, _dummy: u32 }
    ForgetOne { nodeid: u64, nlookup: u64 }
    GetattrIn { _flags: u32, _dummy: u32, _fh: u64 }
    SetattrIn {
        valid: u32, _padding: u32, _fh: u64, size: u64, _lock_owner: u64,
        atime: i64, mtime: i64, ctime: i64,
        atimensec: u32, mtimensec: u32, ctimensec: u32,
        mode: u32, _unused4: u32, uid: u32, gid: u32, _unused5: u32,
    }
    MknodIn { mode: u32, rdev: u32, umask: u32, _padding: u32 }
    MkdirIn { mode: u32, umask: u32 }
    RenameIn { newdir: u64 }
    Rename2In { newdir: u64, flags: u32, _padding: u32 }
    LinkIn { oldnodeid: u64 }
    OpenIn { flags: u32, open_flags: u32 }
    CreateIn { _flags: u32, mode: u32, umask: u32, _open_flags: u32 }
    ReadIn {
        _fh: u64, offset: u64, size: u32, _read_flags: u32, _lock_owner: u64, _flags: u32, _padding: u32,
    }
    WriteIn {
        _fh: u64, offset: u64, size: u32, write_flags: u32, _lock_owner: u64, flags: u32, _padding: u32,
    }
    ReleaseIn { _fh: u64, _flags: u32, _release_flags: u32, _lock_owner: u64 }
    FlushIn { _fh: u64, _unused: u32, _padding: u32, _lock_owner: u64 }
    FsyncIn { _fh: u64, _fsync_flags: u32, _padding: u32 }
    SetxattrIn { size: u32, flags: u32 }
    SetxattrExtIn { size: u32, flags: u32, setxattr_flags: u32, _padding: u32 }
    GetxattrIn { size: u32, _padding: u32 }
    LkIn { _fh: u64, _owner: u64, _start: u64, _end: u64, _type: u32, _pid: u32, _lk_flags: u32, _padding: u32 }
    AccessIn { mask: u32, _padding: u32 }
    InterruptIn { _unique: u64 }
    BmapIn { _block: u64, _blocksize: u32, _padding: u32 }
    IoctlIn { _fh: u64, _flags: u32, cmd: u32, _arg: u64, in_size: u32, out_size: u32 }
    PollIn { _fh: u64, _kh: u64, _flags: u32, _events: u32 }
    FallocateIn { _fh: u64, offset: u64, length: u64, mode: u32, _padding: u32 }
    LseekIn { _fh: u64, offset: u64, whence: u32, _padding: u32 }
    CopyFileRangeIn {
        _fh_in: u64, off_in: u64, nodeid_out: u64, _fh_out: u64, off_out: u64, len: u64, flags: u64,
    }
    SyncfsIn { _padding: u64 }
    StatxIn { _getattr_flags: u32, _reserved: u32, _fh: u64, _sx_flags: u32, _sx_mask: u32 }
}

/// What an IOCTL for extended inode flags carries and answers: the kernel's `struct fsxattr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Fsxattr {
    pub(crate) xflags: u32,
    pub(crate) extsize: u32,
    pub(crate) nextents: u32,
    pub(crate) projid: u32,
    pub(crate) cowextsize: u32,
    pub(crate) pad: [u8; 8],
}

const _: () = assert!(size_of::<Fsxattr>() == 28);

/// What a SETATTR is to change: bits of [`SetattrIn::valid`].
pub(crate) mod fattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    /// The size is set through a descriptor (`ftruncate`); not for `O_TRUNC`.
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const CTIME: u32 = 1 << 10;
    /// The caller lacks `CAP_FSETID`.
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// In [`SetxattrExtIn::setxattr_flags`]: the caller, who sets an access control list, is not in the file's group and
/// lacks `CAP_FSETID`.
pub(crate) const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// In [`OpenIn::open_flags`]: the caller, who cuts the file, lacks `CAP_FSETID`.
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// In [`WriteIn::write_flags`]: the caller lacks `CAP_FSETID`.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
