//! What is known of the filesystems that a source may lie on.

use rustix::fs::{FsWord, NFS_SUPER_MAGIC, PROC_SUPER_MAGIC};

/// ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, EROFS, SquashFS, ISO 9660, FAT, exFAT, tmpfs and ramfs: those known to look into
/// memory alone. What overlayfs does depends on its layers, which it does not tell.
const AT_ONCE_MAGICS: [u32; 12] = [
    libc::EXT4_SUPER_MAGIC as u32,
    libc::XFS_SUPER_MAGIC as u32,
    libc::BTRFS_SUPER_MAGIC as u32,
    libc::F2FS_SUPER_MAGIC as u32,
    0xca45_1a4e,
    0xe0f5_e1e2,
    0x7371_7368,
    libc::ISOFS_SUPER_MAGIC as u32,
    libc::MSDOS_SUPER_MAGIC as u32,
    0x2011_bab0,
    libc::TMPFS_MAGIC as u32,
    0x8584_58f6,
];

/// What can be relied on in a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filesystem {
    /// An inode number stays while the file lives, also when nobody has looked at it for long.
    pub(super) keeps_numbers: bool,
    /// So does the time of birth, if there is one.
    pub(super) keeps_birth: bool,
    /// A file has as many bytes as its size says.
    pub(super) tells_length: bool,
    /// The name of one whose files are made up when they are read, all of unknown length.
    pub(super) made_up: Option<&'static str>,
    /// Whoever looks at, opens or closes a file whose inode is in memory waits for no device, machine or program.
    pub(super) answers_at_once: bool,
}

/// As those on disks and in memory are.
pub(super) const LOCAL: Filesystem = Filesystem {
    keeps_numbers: true,
    keeps_birth: true,
    tells_length: true,
    made_up: None,
    answers_at_once: false,
};
/// Numbers are given out anew whenever the kernel has forgotten an inode.
pub(super) const NUMBERLESS: Filesystem = Filesystem {
    keeps_numbers: false,
    keeps_birth: false,
    ..LOCAL
};
/// What a program, or another machine, says.
const FOREIGN: Filesystem = Filesystem {
    tells_length: false,
    ..NUMBERLESS
};
/// One that nobody here has heard of.
const UNKNOWN: Filesystem = Filesystem {
    tells_length: false,
    ..LOCAL
};
/// The first write, or change of attributes, copies a file into the upper layer, where it is born.
pub(super) const OVERLAY: Filesystem = Filesystem {
    keeps_birth: false,
    ..UNKNOWN
};

/// `f_type` of filesystems that keep what they are given. ext2, ext3 and ext4 have the same.
const KEEPING: [u32; 21] = [
    libc::EXT4_SUPER_MAGIC as u32,
    libc::XFS_SUPER_MAGIC as u32,
    libc::BTRFS_SUPER_MAGIC as u32,
    libc::TMPFS_MAGIC as u32,
    libc::F2FS_SUPER_MAGIC as u32,
    libc::BCACHEFS_SUPER_MAGIC as u32,
    libc::HUGETLBFS_MAGIC as u32,
    libc::ISOFS_SUPER_MAGIC as u32,
    libc::UDF_SUPER_MAGIC as u32,
    libc::REISERFS_SUPER_MAGIC as u32,
    libc::NILFS_SUPER_MAGIC as u32,
    libc::JFFS2_SUPER_MAGIC as u32,
    libc::OCFS2_SUPER_MAGIC as u32,
    libc::CRAMFS_MAGIC as u32,
    NFS_SUPER_MAGIC as u32,
    // ramfs, squashfs, EROFS, Ceph, ZFS, NTFS (ntfs3)
    0x8584_58f6,
    0x7371_7368,
    0xe0f5_e1e2,
    0x00c3_6400,
    0x2fc1_2fc1,
    0x7366_746e,
];

/// FAT, exFAT, SMB in its three kinds, and the shared folders of VirtualBox.
const RENUMBERING: [u32; 6] = [
    libc::MSDOS_SUPER_MAGIC as u32,
    0x2011_bab0,
    libc::SMB_SUPER_MAGIC as u32,
    0xff53_4d42,
    0xfe53_4d42,
    0x786f_4256,
];

/// Those whose files are made up.
const MADE_UP: [(u32, &str); 20] = [
    (PROC_SUPER_MAGIC as u32, "procfs"),
    (libc::SYSFS_MAGIC as u32, "sysfs"),
    (libc::CGROUP_SUPER_MAGIC as u32, "cgroup"),
    (libc::CGROUP2_SUPER_MAGIC as u32, "cgroup2"),
    (libc::DEBUGFS_MAGIC as u32, "debugfs"),
    (libc::TRACEFS_MAGIC as u32, "tracefs"),
    (libc::SECURITYFS_MAGIC as u32, "securityfs"),
    (libc::SELINUX_MAGIC as u32, "selinuxfs"),
    (libc::SMACK_MAGIC as u32, "smackfs"),
    (libc::BPF_FS_MAGIC as u32, "bpf"),
    (libc::RDTGROUP_SUPER_MAGIC as u32, "resctrl"),
    (libc::NSFS_MAGIC as u32, "nsfs"),
    (libc::XENFS_SUPER_MAGIC as u32, "xenfs"),
    (libc::OPENPROM_SUPER_MAGIC as u32, "openpromfs"),
    (0x6265_6570, "configfs"),
    (0x6573_5543, "fusectl"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x1980_0202, "mqueue"),
    (0x6759_6969, "rpc_pipefs"),
    (0x6e66_7364, "nfsd"),
];

impl Filesystem {
    /// Of a filesystem with this `f_type` of statfs(2).
    pub(super) fn of_magic(magic: FsWord) -> Filesystem {
        // The numbers have 32 bits, with or without a sign.
        let magic = magic as u32;
        let made_up = MADE_UP.iter().find(|(made_up, _)| *made_up == magic);
        let filesystem = match magic {
            _ if made_up.is_some() => Filesystem {
                made_up: made_up.map(|(_, name)| *name),
                ..FOREIGN
            },
            _ if magic == libc::OVERLAYFS_SUPER_MAGIC as u32 => OVERLAY,
            _ if magic == libc::FUSE_SUPER_MAGIC as u32 => FOREIGN,
            _ if RENUMBERING.contains(&magic) => NUMBERLESS,
            _ if KEEPING.contains(&magic) => LOCAL,
            _ => UNKNOWN,
        };
        Filesystem {
            answers_at_once: AT_ONCE_MAGICS.contains(&magic),
            ..filesystem
        }
    }

    /// The same for a file with another device than its directory: overlayfs shows those of the layers so where they lie on
    /// several filesystems, and a copy into the upper layer gets other ones.
    pub(super) fn of_another_device(self) -> Filesystem {
        match self == OVERLAY {
            true => FOREIGN,
            false => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesystems_of_this_machine_are_known() {
        let of = |path: &str| Filesystem::of_magic(rustix::fs::statfs(path).unwrap().f_type);
        assert_eq!(of("/proc").made_up, Some("procfs"));
        let at_once = Filesystem {
            answers_at_once: true,
            ..LOCAL
        };
        assert_eq!(of("/dev/shm"), at_once);
        assert_eq!(Filesystem::of_magic(0x6273_7973).made_up, None);
        let negative = libc::SELINUX_MAGIC as u32 as i32;
        let found = Filesystem::of_magic(negative as FsWord);
        assert_eq!(found.made_up, Some("selinuxfs"));
    }
}
