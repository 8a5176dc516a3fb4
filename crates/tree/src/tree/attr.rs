//! What `stat` reports of an inode, as plain values.

/// The type of an inode, as in the `S_IFMT` bits of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

const S_IFMT_SHIFT: u32 = libc::S_IFMT.trailing_zeros();

/// The kinds by their `S_IFMT` bits: a table, because a jump on what was just read is dear.
const KINDS: [Option<Kind>; 16] = {
    let mut kinds = [None; 16];
    let mut i = 0;
    while i < ALL_KINDS.len() {
        kinds[(ALL_KINDS[i].bits() >> S_IFMT_SHIFT) as usize] = Some(ALL_KINDS[i]);
        i += 1;
    }
    kinds
};

const ALL_KINDS: [Kind; 7] = [
    Kind::Regular,
    Kind::Directory,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Socket,
    Kind::CharDevice,
    Kind::BlockDevice,
];

impl Kind {
    /// The kind in the `S_IFMT` bits of `mode`, or `None` if they name no kind.
    pub const fn from_mode(mode: u32) -> Option<Kind> {
        KINDS[((mode & libc::S_IFMT) >> S_IFMT_SHIFT) as usize]
    }

    /// The `S_IFMT` bits of this kind.
    pub const fn bits(self) -> u32 {
        match self {
            Kind::Regular => libc::S_IFREG,
            Kind::Directory => libc::S_IFDIR,
            Kind::Symlink => libc::S_IFLNK,
            Kind::Fifo => libc::S_IFIFO,
            Kind::Socket => libc::S_IFSOCK,
            Kind::CharDevice => libc::S_IFCHR,
            Kind::BlockDevice => libc::S_IFBLK,
        }
    }

    /// Whether inodes of this kind carry a device number instead of a size.
    pub const fn is_device(self) -> bool {
        matches!(self, Kind::CharDevice | Kind::BlockDevice)
    }
}

/// A point in time: seconds since 1970 and nanoseconds below one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since 1970-01-01 00:00 UTC; negative before it.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: u32,
}

impl Time {
    /// The current time of the system's real-time clock.
    pub fn now() -> Time {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Time {
            sec: now.tv_sec,
            nsec: now.tv_nsec as u32,
        }
    }
}

/// What chattr(1) sets.
pub use rustix::fs::IFlags as InodeFlags;

/// The flags an inode can have.
pub const KEPT_FLAGS: InodeFlags = InodeFlags::IMMUTABLE
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::NOATIME);

/// The attributes of one inode.
///
/// The default is a regular file without permissions, owner 0, times 0 and `nlink` 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The type.
    pub kind: Kind,
    /// The permission bits with set-user-id, set-group-id and sticky: `0o7777` at most.
    pub perm: u16,
    /// An access control list, which is kept elsewhere, decides who but the owner may do what. The bits of `perm` for the
    /// group and the others then tell no more than what may be at most.
    pub acl: bool,
    /// Inode flags, of which [`KEPT_FLAGS`] are kept. The tree itself does not go by them.
    pub flags: InodeFlags,
    /// The number of names `stat` reports. For a tree loaded from a directory this counts names
    /// outside the tree too; how many names lead here inside the tree is kept apart.
    pub nlink: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size in bytes; 0 for a device.
    pub size: u64,
    /// Allocated units of 512 bytes; 0 for a device.
    pub blocks: u64,
    /// The device number of a character or block device in the kernel's 32-bit encoding
    /// (`new_encode_dev`); 0 for every other kind.
    pub rdev: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// Who is served may hold bytes of holes in the content, and have changed them without a word so far: `blocks` may be
    /// less than it would be.
    pub unsettled: bool,
    /// What of an inode that was loaded became another since. Of others nothing is kept here.
    pub touched: Touched,
}

/// What attributes do not show of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The content was written to.
    pub content: bool,
    /// Extended attributes were set or removed.
    pub xattrs: bool,
    /// Access control lists were set or removed.
    pub acl: bool,
}

impl Default for Attr {
    fn default() -> Attr {
        Attr {
            kind: Kind::Regular,
            perm: 0,
            acl: false,
            flags: InodeFlags::empty(),
            nlink: 0,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            rdev: 0,
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time::default(),
            btime: Time::default(),
            unsettled: false,
            touched: Touched::default(),
        }
    }
}

impl Attr {
    /// A new inode's attributes: all four times are `now`, size and blocks are 0.
    pub fn new(kind: Kind, perm: u16, uid: u32, gid: u32, now: Time) -> Attr {
        Attr {
            kind,
            perm: perm & 0o7777,
            uid,
            gid,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            ..Attr::default()
        }
    }

    /// `st_mode`: kind and permission bits together, whatever else `perm` has.
    pub const fn mode(&self) -> u32 {
        self.kind.bits() | (self.perm & 0o7777) as u32
    }
}
