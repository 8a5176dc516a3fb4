//! Answers other than attributes and listings.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type),+
        }
    )+};
}

replies! {
    /// A file was opened. Nothing is kept for it, so there is no handle.
    OpenOut { fh: u64, open_flags: u32, backing_id: u32 }
    /// How many bytes were written.
    WriteOut { size: u32, padding: u32 }
    /// How many bytes were copied.
    CopyOut { bytes: u64 }
    /// An ioctl was done; what it answers follows.
    IoctlOut { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 }
    /// How long a value is.
    GetxattrOut { size: u32, padding: u32 }
    /// Where data or a hole begins.
    LseekOut { offset: u64 }
    /// What the filesystem holds.
    StatfsOut {
        blocks: u64,
        bfree: u64,
        bavail: u64,
        files: u64,
        ffree: u64,
        bsize: u32,
        namelen: u32,
        frsize: u32,
        padding: u32,
        spare: [u32; 6],
    }
}

/// In [`OpenOut::open_flags`]: what the kernel holds of the content stays good.
pub(crate) const OPEN_KEEP_CACHE: u32 = 1 << 1;
/// In [`OpenOut::open_flags`]: a directory's names are kept for the next to list it.
pub(crate) const OPEN_CACHE_DIR: u32 = 1 << 3;
/// In [`OpenOut::open_flags`]: the kernel is to read the file that [`OpenOut::backing_id`] names. Nothing about its cache
/// may be said then.
pub(crate) const OPEN_PASSTHROUGH: u32 = 1 << 7;

const _: () = assert!(size_of::<StatfsOut>() == 80 && size_of::<OpenOut>() == 16);
