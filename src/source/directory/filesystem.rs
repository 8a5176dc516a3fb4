//! What is known of the filesystems that a source may lie on.

use rustix::fs::FsWord;

/// FUSE, FAT, exFAT, SMB in its three kinds, and the shared folders of VirtualBox.
const NUMBERLESS_MAGICS: [u32; 7] = [
    libc::FUSE_SUPER_MAGIC as u32,
    libc::MSDOS_SUPER_MAGIC as u32,
    0x2011_bab0,
    libc::SMB_SUPER_MAGIC as u32,
    0xff53_4d42,
    0xfe53_4d42,
    0x786f_4256,
];

/// What can be relied on in a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filesystem {
    /// An inode number stays while the file lives, also when nobody has looked at it for long.
    pub(super) keeps_numbers: bool,
    /// So does the time of birth, if there is one.
    pub(super) keeps_birth: bool,
}

/// As those on disks and in memory are.
pub(super) const LOCAL: Filesystem = Filesystem {
    keeps_numbers: true,
    keeps_birth: true,
};
/// Numbers are given out anew whenever the kernel has forgotten an inode.
pub(super) const NUMBERLESS: Filesystem = Filesystem {
    keeps_numbers: false,
    keeps_birth: false,
};
/// The first write, or change of attributes, copies a file into the upper layer, where it is born.
pub(super) const OVERLAY: Filesystem = Filesystem {
    keeps_birth: false,
    ..LOCAL
};

impl Filesystem {
    /// Of a filesystem with this `f_type` of statfs(2).
    pub(super) fn of_magic(magic: FsWord) -> Filesystem {
        // The numbers have 32 bits, with or without a sign.
        let magic = magic as u32;
        match magic {
            _ if magic == libc::OVERLAYFS_SUPER_MAGIC as u32 => OVERLAY,
            _ if NUMBERLESS_MAGICS.contains(&magic) => NUMBERLESS,
            _ => LOCAL,
        }
    }

    /// The same for a file with another device than its directory: overlayfs shows those of the layers so where they lie on
    /// several filesystems, and a copy into the upper layer gets other ones.
    pub(super) fn of_another_device(self) -> Filesystem {
        match self == OVERLAY {
            true => NUMBERLESS,
            false => self,
        }
    }
}
