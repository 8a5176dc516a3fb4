//! What differs from tmpfs, shown on both. `docs/SEMANTICS.md` lists it, with the kernel's reasons.

use mount_tests::posix::{CAPABILITY, CAPABLE, Outcome, age, as_user, fifo, seen};
use mount_tests::{Daemon, Tmpfs};
use rustix::fs::{
    Access, AtFlags, CWD, FallocateFlags, Gid, IFlags, Mode, OFlags, SealFlags, SeekFrom,
    StatxAttributes, StatxFlags, Uid, XattrFlags, accessat, chmod, chown, fallocate,
    fcntl_get_seals, ioctl_setflags, lgetxattr, lstat, open, seek, setxattr, statfs, statx,
};
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Takes the steps on both, and expects these two reports.
#[track_caller]
fn differs<T: PartialEq + Debug>(tmpfs: T, norefs: T, steps: impl Fn(&Path) -> T) {
    assert_eq!(steps(&Tmpfs::new()), tmpfs, "on tmpfs");
    assert_eq!(
        steps(Daemon::with(&["-o", "allow_other"]).root()),
        norefs,
        "on norefs"
    );
}

#[test]
fn reading_moves_no_access_time() {
    differs(true, false, |root| {
        let path = root.join("file");
        std::fs::write(&path, "content").unwrap();
        age(&path);
        let atime = || lstat(&path).unwrap().st_atime;
        let before = atime();
        std::fs::read(&path).unwrap();
        atime() != before
    });
}

#[test]
fn ranges_can_be_made_zero() {
    differs(Err(Errno::OPNOTSUPP), Ok(()), |root| {
        let path = root.join("file");
        std::fs::write(&path, [b'x'; 10_000]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        fallocate(&file, FallocateFlags::ZERO_RANGE, 100, 5_000)
    });
}

#[test]
fn an_allocation_of_the_owner_that_finds_no_room_takes_set_group_id() {
    let refused = Err(Errno::NOSPC);
    differs((refused, 0o2775), (refused, 0o775), |root| {
        let path = root.join("file");
        std::fs::write(&path, "").unwrap();
        chown(&path, Some(Uid::from_raw(1001)), Some(Gid::from_raw(1001))).unwrap();
        chmod(&path, 0o2775.into()).unwrap();
        let allocated = as_user(1001, 1001, &[], || {
            let file = File::options().write(true).open(&path).unwrap();
            fallocate(&file, FallocateFlags::empty(), 0, 1 << 40)
        });
        (allocated, seen(&path).mode & 0o7777)
    });
}

#[test]
fn a_stranger_may_change_the_owner_to_nobody_else() {
    differs((Err(Errno::PERM), 0o4755), (Ok(()), 0o4755), |root| {
        let path = root.join("file");
        std::fs::write(&path, "").unwrap();
        chown(&path, Some(Uid::from_raw(1000)), Some(Gid::from_raw(1000))).unwrap();
        chmod(&path, 0o4755.into()).unwrap();
        let changed = as_user(1001, 1001, &[], || chown(&path, None, None));
        (changed, seen(&path).mode & 0o7777)
    });
}

#[test]
fn writing_as_root_takes_set_user_id_of_a_file_with_capabilities() {
    differs((0o6755, 0o6755), (0o755, 0o6755), |root| {
        let written = |name: &str, capable: bool| {
            let path = root.join(name);
            std::fs::write(&path, "").unwrap();
            chmod(&path, 0o6755.into()).unwrap();
            if capable {
                setxattr(&path, CAPABILITY, &CAPABLE, XattrFlags::empty()).unwrap();
            }
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b"content").unwrap();
            seen(&path).mode & 0o7777
        };
        (written("capable", true), written("plain", false))
    });
}

#[test]
fn truncation_of_an_empty_file_moves_times() {
    differs(false, true, |root| {
        let path = root.join("file");
        std::fs::write(&path, "").unwrap();
        age(&path);
        let mtime = || lstat(&path).unwrap().st_mtime;
        let before = mtime();
        nix::unistd::truncate(&path, 0).unwrap();
        mtime() != before
    });
}

#[test]
fn a_directory_has_an_end_to_go_to() {
    differs(Err(Errno::INVAL), Ok(()), |root| {
        let directory = open(root, OFlags::DIRECTORY, Mode::empty()).unwrap();
        seek(&directory, SeekFrom::End(0)).map(drop)
    });
}

#[test]
fn what_goes_through_a_fifo_leaves_its_times() {
    differs(true, false, |root| {
        let path = root.join("fifo");
        fifo(&path, 0o600).unwrap();
        age(&path);
        let before = seen(&path).mtime;
        let both = open(&path, OFlags::RDWR, Mode::empty()).unwrap();
        rustix::io::write(&both, b"through").unwrap();
        seen(&path).mtime != before
    });
}

#[test]
fn who_asks_for_what_is_cached_gets_it() {
    differs(3, 2, |root| {
        let links = |flags| {
            statx(CWD, root, flags, StatxFlags::NLINK)
                .unwrap()
                .stx_nlink
        };
        assert_eq!(links(AtFlags::empty()), 2);
        std::fs::create_dir(root.join("directory")).unwrap();
        links(AtFlags::STATX_DONT_SYNC)
    });
}

#[test]
fn the_filesystem_has_a_type_of_its_own() {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
    differs(TMPFS_MAGIC, FUSE_SUPER_MAGIC, |root| {
        statfs(root).unwrap().f_type as i64
    });
}

#[test]
fn files_have_no_seals() {
    differs(Ok(SealFlags::SEAL), Err(Errno::INVAL), |root| {
        fcntl_get_seals(File::create(root.join("file")).unwrap())
    });
}

#[test]
fn an_immutable_file_is_opened_and_not_written() {
    let (open_for, denied) = (Ok(()), Err(Errno::PERM));
    differs([denied; 3], [open_for, open_for, denied], |root| {
        let path = root.join("file");
        let file = File::create(&path).unwrap();
        ioctl_setflags(&file, IFlags::IMMUTABLE).unwrap();
        let may_write = accessat(CWD, &path, Access::WRITE_OK, AtFlags::empty());
        let opened = open(&path, OFlags::WRONLY, Mode::empty());
        let written = opened.as_ref().map_err(|errno| *errno);
        let written = written.and_then(|file| rustix::io::write(file, b"new").map(drop));
        ioctl_setflags(&file, IFlags::empty()).unwrap();
        [may_write, opened.map(drop), written]
    });
}

#[test]
fn who_has_an_immutable_file_open_writes_no_more() {
    differs(Ok(()), Err(Errno::PERM), |root| {
        let mut file = File::create(root.join("file")).unwrap();
        ioctl_setflags(&file, IFlags::IMMUTABLE).unwrap();
        let written = file.write_all(b"new").outcome();
        ioctl_setflags(&file, IFlags::empty()).unwrap();
        written
    });
}

#[test]
fn attributes_do_not_tell_of_flags() {
    differs(
        StatxAttributes::IMMUTABLE,
        StatxAttributes::empty(),
        |root| {
            let file = File::create(root.join("file")).unwrap();
            ioctl_setflags(&file, IFlags::IMMUTABLE).unwrap();
            let told = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
            ioctl_setflags(&file, IFlags::empty()).unwrap();
            told.unwrap().stx_attributes & StatxAttributes::IMMUTABLE
        },
    );
}

#[test]
fn labels_that_nobody_has_are_not_supported() {
    differs(Err(Errno::NODATA), Err(Errno::OPNOTSUPP), |root| {
        lgetxattr(root, "security.selinux", &mut [0; 100]).map(drop)
    });
}

/// A list of one more user, as the kernel writes it.
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, u32::MAX),
        (2, 6, 1234),
        (4, 4, u32::MAX),
        (16, 6, u32::MAX),
        (32, 4, u32::MAX),
    ];
    let entry = |(tag, bits, id): (u16, u16, u32)| {
        [
            &tag.to_le_bytes()[..],
            &bits.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let entries = entries.into_iter().flat_map(entry);
    2u32.to_le_bytes().into_iter().chain(entries).collect()
}

#[test]
fn lists_of_access_are_kept_only_if_asked_for() {
    differs(Ok(()), Err(Errno::OPNOTSUPP), |root| {
        let path = root.join("file");
        std::fs::write(&path, "").unwrap();
        setxattr(
            &path,
            "system.posix_acl_access",
            &acl(),
            XattrFlags::empty(),
        )
    });
}
