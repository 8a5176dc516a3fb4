//! Inode flags: which are kept, what they forbid.

use mount_tests::posix::{Outcome, as_user, fifo};
use mount_tests::programs::run;
use mount_tests::{Daemon, fails, forget, same_as_tmpfs, same_whoever_decides};
use rustix::fs::{
    Access, AtFlags, CWD, FallocateFlags, Gid, IFlags, Mode, OFlags, RenameFlags, Timespec,
    Timestamps, Uid, XattrFlags, accessat, chmod, chownat, copy_file_range, fallocate,
    ioctl_getflags, ioctl_setflags, link, linkat, lremovexattr, lsetxattr, mkdir, open, rename,
    renameat_with, rmdir, symlink, unlink, utimensat,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

type Answer = Result<(), Errno>;
type Step = (&'static str, fn(&Path) -> Answer);

const NAMED: [(&str, IFlags); 4] = [
    ("immutable", IFlags::IMMUTABLE),
    ("append", IFlags::APPEND),
    ("nodump", IFlags::NODUMP),
    ("noatime", IFlags::NOATIME),
];

fn flags(path: &Path) -> Result<IFlags, Errno> {
    ioctl_getflags(open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK,
        Mode::empty(),
    )?)
}

fn set(path: &Path, flags: IFlags) -> Answer {
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    ioctl_setflags(file, flags)
}

fn opened(path: &Path, flags: OFlags) -> Result<File, Errno> {
    open(path, flags, Mode::from_raw_mode(0o644)).map(File::from)
}

/// Opens and writes, so that it does not count which of the two is refused.
fn write(path: &Path, flags: OFlags) -> Answer {
    opened(path, OFlags::WRONLY | flags)?
        .write_all(b"new")
        .outcome()
}

fn allocate(path: &Path, mode: FallocateFlags) -> Answer {
    // For appending, since an append-only file is opened for nothing else.
    fallocate(
        opened(path, OFlags::WRONLY | OFlags::APPEND)?,
        mode,
        0,
        8192,
    )
}

fn times(path: &Path, atime: i64, mtime: i64) -> Answer {
    let at = |nsec| Timespec {
        tv_sec: 7,
        tv_nsec: nsec,
    };
    let times = Timestamps {
        last_access: at(atime),
        last_modification: at(mtime),
    };
    utimensat(CWD, path, &times, AtFlags::empty())
}

const NOW: i64 = rustix::fs::UTIME_NOW;
const OMIT: i64 = rustix::fs::UTIME_OMIT;

/// What is done beside `d/file`; the directory is given.
const TO_A_FILE: &[Step] = &[
    ("read", |d| fs::read(d.join("file")).outcome()),
    ("write", |d| write(&d.join("file"), OFlags::empty())),
    ("append", |d| write(&d.join("file"), OFlags::APPEND)),
    ("create again", |d| {
        write(&d.join("file"), OFlags::CREATE | OFlags::APPEND)
    }),
    ("cut at open", |d| write(&d.join("file"), OFlags::TRUNC)),
    ("cut and append", |d| {
        write(&d.join("file"), OFlags::TRUNC | OFlags::APPEND)
    }),
    ("truncate", |d| {
        nix::unistd::truncate(&d.join("file"), 2).map_err(|e| Errno::from_raw_os_error(e as i32))
    }),
    ("truncate to grow", |d| {
        nix::unistd::truncate(&d.join("file"), 99).map_err(|e| Errno::from_raw_os_error(e as i32))
    }),
    ("allocate", |d| {
        allocate(&d.join("file"), FallocateFlags::empty())
    }),
    ("allocate behind", |d| {
        allocate(&d.join("file"), FallocateFlags::KEEP_SIZE)
    }),
    ("punch", |d| {
        allocate(
            &d.join("file"),
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        )
    }),
    ("copy into", |d| {
        let from = opened(&d.join("other"), OFlags::RDONLY)?;
        let to = opened(&d.join("file"), OFlags::WRONLY)?;
        copy_file_range(from, None, to, None, 3).map(drop)
    }),
    ("copy from", |d| {
        let from = opened(&d.join("file"), OFlags::RDONLY)?;
        let to = opened(&d.join("other"), OFlags::WRONLY)?;
        copy_file_range(from, None, to, None, 3).map(drop)
    }),
    ("chmod", |d| {
        chmod(d.join("file"), Mode::from_raw_mode(0o600))
    }),
    ("chown", |d| {
        chownat(
            CWD,
            d.join("file"),
            Some(Uid::from_raw(5)),
            None,
            AtFlags::empty(),
        )
    }),
    ("chgrp", |d| {
        chownat(
            CWD,
            d.join("file"),
            None,
            Some(Gid::from_raw(5)),
            AtFlags::empty(),
        )
    }),
    ("touch", |d| times(&d.join("file"), NOW, NOW)),
    ("times", |d| times(&d.join("file"), 0, 0)),
    ("atime", |d| times(&d.join("file"), 0, OMIT)),
    ("mtime now", |d| times(&d.join("file"), OMIT, NOW)),
    ("no time", |d| times(&d.join("file"), OMIT, OMIT)),
    ("set xattr", |d| {
        lsetxattr(d.join("file"), "user.new", b"v", XattrFlags::empty())
    }),
    ("replace xattr", |d| {
        lsetxattr(d.join("file"), "user.old", b"v", XattrFlags::empty())
    }),
    ("remove xattr", |d| lremovexattr(d.join("file"), "user.old")),
    ("remove no xattr", |d| {
        lremovexattr(d.join("file"), "user.none")
    }),
    ("trusted xattr", |d| {
        lsetxattr(d.join("file"), "trusted.x", b"v", XattrFlags::empty())
    }),
    ("link", |d| link(d.join("file"), d.join("new"))),
    ("unlink", |d| unlink(d.join("file"))),
    ("unlink another name", |d| unlink(d.join("same"))),
    ("rename", |d| rename(d.join("file"), d.join("new"))),
    ("rename away", |d| rename(d.join("file"), d.join("sub/new"))),
    ("rename over", |d| rename(d.join("other"), d.join("file"))),
    ("rename over another name", |d| {
        rename(d.join("other"), d.join("same"))
    }),
    ("rename to itself", |d| {
        rename(d.join("file"), d.join("same"))
    }),
    ("rename over no more", |d| {
        renameat_with(
            CWD,
            d.join("other"),
            CWD,
            d.join("file"),
            RenameFlags::NOREPLACE,
        )
    }),
    ("exchange", |d| {
        renameat_with(
            CWD,
            d.join("file"),
            CWD,
            d.join("other"),
            RenameFlags::EXCHANGE,
        )
    }),
    ("exchanged", |d| {
        renameat_with(
            CWD,
            d.join("sub"),
            CWD,
            d.join("file"),
            RenameFlags::EXCHANGE,
        )
    }),
    ("white out", |d| {
        renameat_with(
            CWD,
            d.join("file"),
            CWD,
            d.join("new"),
            RenameFlags::WHITEOUT,
        )
    }),
    ("a name beside", |d| {
        fs::write(d.join("new"), "new").outcome()
    }),
    ("another flag", |d| set(&d.join("file"), IFlags::NODUMP)),
];

/// What is done in and to `d/sub`, which has entries.
const TO_A_DIRECTORY: &[Step] = &[
    ("list", |d| fs::read_dir(d.join("sub")).outcome()),
    ("create", |d| {
        opened(&d.join("sub/new"), OFlags::CREATE | OFlags::WRONLY).map(drop)
    }),
    ("create again", |d| {
        opened(&d.join("sub/inner"), OFlags::CREATE | OFlags::WRONLY).map(drop)
    }),
    ("create anew", |d| {
        opened(
            &d.join("sub/inner"),
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY,
        )
        .map(drop)
    }),
    ("mkdir", |d| mkdir(d.join("sub/new"), Mode::RWXU)),
    ("mkfifo", |d| fifo(&d.join("sub/new"), 0o644)),
    ("symlink", |d| symlink("to", d.join("sub/new"))),
    ("link into", |d| link(d.join("file"), d.join("sub/new"))),
    ("nameless", |d| {
        opened(&d.join("sub"), OFlags::TMPFILE | OFlags::WRONLY).map(drop)
    }),
    ("name what has none", |d| {
        let nameless = opened(d, OFlags::TMPFILE | OFlags::WRONLY)?;
        linkat(&nameless, "", CWD, d.join("sub/new"), AtFlags::EMPTY_PATH)
    }),
    ("write inside", |d| {
        write(&d.join("sub/inner"), OFlags::empty())
    }),
    ("chmod inside", |d| {
        chmod(d.join("sub/inner"), Mode::from_raw_mode(0o600))
    }),
    ("unlink", |d| unlink(d.join("sub/inner"))),
    ("unlink nothing", |d| unlink(d.join("sub/none"))),
    ("rmdir in it", |d| rmdir(d.join("sub/below"))),
    ("rename in it", |d| {
        rename(d.join("sub/inner"), d.join("sub/new"))
    }),
    ("rename over in it", |d| {
        rename(d.join("sub/inner"), d.join("sub/second"))
    }),
    ("rename out of it", |d| {
        rename(d.join("sub/inner"), d.join("new"))
    }),
    ("rename into it", |d| {
        rename(d.join("file"), d.join("sub/new"))
    }),
    ("rename into it over", |d| {
        rename(d.join("file"), d.join("sub/inner"))
    }),
    ("exchange with it", |d| {
        renameat_with(
            CWD,
            d.join("file"),
            CWD,
            d.join("sub/inner"),
            RenameFlags::EXCHANGE,
        )
    }),
    ("white out in it", |d| {
        renameat_with(
            CWD,
            d.join("sub/inner"),
            CWD,
            d.join("sub/new"),
            RenameFlags::WHITEOUT,
        )
    }),
    ("chmod", |d| chmod(d.join("sub"), Mode::RWXU)),
    ("chown", |d| {
        chownat(
            CWD,
            d.join("sub"),
            Some(Uid::from_raw(5)),
            None,
            AtFlags::empty(),
        )
    }),
    ("touch", |d| times(&d.join("sub"), NOW, NOW)),
    ("times", |d| times(&d.join("sub"), 0, 0)),
    ("xattr", |d| {
        lsetxattr(d.join("sub"), "user.new", b"v", XattrFlags::empty())
    }),
    ("rename it", |d| rename(d.join("sub"), d.join("new"))),
    ("rename it away", |d| {
        rename(d.join("sub"), d.join("empty/new"))
    }),
    ("rename over it", |d| rename(d.join("empty"), d.join("sub"))),
    ("exchange it", |d| {
        renameat_with(
            CWD,
            d.join("empty"),
            CWD,
            d.join("sub"),
            RenameFlags::EXCHANGE,
        )
    }),
    ("rmdir it", |d| rmdir(d.join("sub"))),
    ("another flag", |d| set(&d.join("sub"), IFlags::NOATIME)),
];

/// Does each step to new things of which `flagged` has `flags`, and tells what came of it.
fn answers(
    root: &Path,
    steps: &[Step],
    flagged: &str,
    flags: IFlags,
) -> Vec<(&'static str, Answer)> {
    let dir = root.join("d");
    let attempt = |&(what, step): &Step| {
        for path in ["d", "d/sub", "d/sub/below", "d/empty"] {
            fs::create_dir(root.join(path)).unwrap();
        }
        for name in ["file", "other", "sub/inner", "sub/second"] {
            fs::write(dir.join(name), "12345").unwrap();
        }
        fs::hard_link(dir.join("file"), dir.join("same")).unwrap();
        lsetxattr(dir.join("file"), "user.old", b"v", XattrFlags::empty()).unwrap();
        set(&dir.join(flagged), flags).unwrap();
        let answer = step(&dir);
        lift(&dir);
        fs::remove_dir_all(&dir).unwrap();
        (what, answer)
    };
    steps.iter().map(attempt).collect()
}

/// Takes all flags away below `dir`.
fn lift(dir: &Path) {
    set(dir, IFlags::empty()).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let (path, kind) = entry
            .map(|entry| (entry.path(), entry.file_type().unwrap()))
            .unwrap();
        if kind.is_dir() {
            lift(&path);
        } else if kind.is_file() {
            set(&path, IFlags::empty()).unwrap();
        }
    }
}

#[test]
fn a_file_with_flags_refuses_what_it_refuses_on_tmpfs() {
    for (name, flags) in NAMED {
        same_whoever_decides(|root| (name, answers(root, TO_A_FILE, "file", flags)));
    }
}

#[test]
fn a_directory_with_flags_refuses_what_it_refuses_on_tmpfs() {
    for (name, flags) in NAMED {
        same_whoever_decides(|root| (name, answers(root, TO_A_DIRECTORY, "sub", flags)));
    }
}

#[test]
fn the_root_can_have_flags_too() {
    same_whoever_decides(|root| {
        fs::write(root.join("file"), "12345").unwrap();
        let tried = NAMED.map(|(name, flags)| {
            set(root, flags).unwrap();
            let made = fs::write(root.join("new"), "").outcome();
            let gone = fs::remove_file(root.join("file")).outcome();
            set(root, IFlags::empty()).unwrap();
            fs::write(root.join("file"), "12345").unwrap();
            let _ = fs::remove_file(root.join("new"));
            (name, made, gone)
        });
        (tried, flags(root))
    });
}

#[test]
fn each_flag_is_kept_or_refused_as_on_tmpfs() {
    same_as_tmpfs(|root| {
        fs::write(root.join("file"), "").unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fifo(&root.join("fifo"), 0o644).unwrap();
        let mut answers = Vec::new();
        for name in ["file", "dir", "fifo"] {
            let path = root.join(name);
            for bit in 0..32 {
                // Case-insensitive names, for which a tmpfs may be made, and here it is not.
                let answer = set(&path, IFlags::from_bits_retain(1 << bit));
                answers.push((name, bit, answer, flags(&path)));
            }
            let _ = set(&path, IFlags::empty());
        }
        answers
    });
}

#[test]
fn flags_stay_with_the_inode_and_move_ctime() {
    same_as_tmpfs(|root| {
        let file = root.join("file");
        fs::write(&file, "12345").unwrap();
        fs::hard_link(&file, root.join("same")).unwrap();
        let before = fs::metadata(&file).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        set(&file, IFlags::NODUMP | IFlags::NOATIME).unwrap();
        let after = fs::metadata(&file).unwrap();
        rename(&file, root.join("moved")).unwrap();
        forget(root);
        (
            flags(&root.join("same")),
            flags(&root.join("moved")),
            (before.ctime(), before.ctime_nsec()) < (after.ctime(), after.ctime_nsec()),
            (before.mtime(), before.mtime_nsec()) == (after.mtime(), after.mtime_nsec()),
        )
    });
}

#[test]
fn what_is_made_in_a_directory_has_some_of_its_flags() {
    same_as_tmpfs(|root| {
        let dir = root.join("dir");
        fs::create_dir(&dir).unwrap();
        set(&dir, IFlags::APPEND | IFlags::NODUMP | IFlags::NOATIME).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::create_dir(dir.join("sub/below")).unwrap();
        let nameless = opened(&dir, OFlags::TMPFILE | OFlags::WRONLY).unwrap();
        let old = root.join("old");
        fs::write(&old, "").unwrap();
        rename(&old, dir.join("old")).unwrap();
        let of = |name: &str| flags(&dir.join(name));
        let made = ["file", "sub", "sub/below", "old"].map(of);
        let report = (made, ioctl_getflags(&nameless));
        lift(&dir);
        report
    });
}

#[test]
fn who_may_set_which() {
    same_whoever_decides(|root| {
        let file = root.join("file");
        fs::write(&file, "").unwrap();
        chownat(
            CWD,
            &file,
            Some(Uid::from_raw(1000)),
            None,
            AtFlags::empty(),
        )
        .unwrap();
        let tries = || NAMED.map(|(name, flags)| (name, set(&file, flags)));
        let owner = as_user(1000, 1000, &[], tries);
        let stranger = as_user(1001, 1000, &[], tries);
        set(&file, IFlags::IMMUTABLE).unwrap();
        let lifted = as_user(1000, 1000, &[], || set(&file, IFlags::empty()));
        let added = as_user(1000, 1000, &[], || {
            set(&file, IFlags::IMMUTABLE | IFlags::NODUMP)
        });
        let seen = flags(&file);
        set(&file, IFlags::empty()).unwrap();
        (owner, stranger, lifted, added, seen)
    });
}

#[test]
fn only_the_end_of_an_append_only_file_is_written_to() {
    let mount = Daemon::start();
    let file = mount.path("file");
    fs::write(&file, "12345").unwrap();
    let before = opened(&file, OFlags::RDWR).unwrap();
    set(&file, IFlags::APPEND).unwrap();
    fails(Errno::PERM, before.write_all_at(b"x", 0));
    fails(Errno::PERM, before.write_all_at(b"x", 5));
    fails(Errno::PERM, before.set_len(0));
    let end = opened(&file, OFlags::WRONLY | OFlags::APPEND).unwrap();
    // Wherever one says, it goes to the end.
    nix::sys::uio::pwrite(&end, b"67", 0).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"1234567");
}

#[test]
fn the_usual_programs_work() {
    let mount = Daemon::start();
    let file = mount.path("file");
    fs::write(&file, "12345").unwrap();
    let path = file.to_str().unwrap();
    run(mount.outside(), "chattr", &["+iA", path]);
    let listed = run(mount.outside(), "lsattr", &[path]);
    assert!(listed.starts_with("----i--A"), "{listed}");
    fails(Errno::PERM, fs::remove_file(&file));
    run(mount.outside(), "chattr", &["=", path]);
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_read_only_mount_keeps_flags_as_they_are() {
    let mount = Daemon::start_with("ro");
    fails(Errno::ROFS, set(mount.root(), IFlags::NODUMP));
    assert_eq!(flags(mount.root()), Ok(IFlags::empty()));
}

#[test]
fn writing_is_not_permitted_whatever_the_mode() {
    let mount = Daemon::deciding();
    let file = mount.path("file");
    fs::write(&file, "").unwrap();
    chmod(&file, Mode::from_raw_mode(0o666)).unwrap();
    set(&file, IFlags::IMMUTABLE).unwrap();
    fails(
        Errno::PERM,
        accessat(CWD, &file, Access::WRITE_OK, AtFlags::empty()),
    );
    fails(Errno::PERM, opened(&file, OFlags::WRONLY));
    fails(Errno::PERM, opened(&file, OFlags::RDWR | OFlags::APPEND));
    set(&file, IFlags::APPEND).unwrap();
    accessat(CWD, &file, Access::WRITE_OK, AtFlags::empty()).unwrap();
    fails(Errno::PERM, opened(&file, OFlags::WRONLY));
    opened(&file, OFlags::WRONLY | OFlags::APPEND).unwrap();
}
