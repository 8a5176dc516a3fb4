//! Odd things one may do with names, descriptors and times, beside what the files of single calls try.

use mount_tests::posix::{Outcome, as_user, fifo};
use mount_tests::{forget, same_as_tmpfs};
use nix::sched::{CloneFlags, unshare};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, chmod, chownat, fchmod,
    fstat, linkat, lstat, mkdir, mkdirat, mknodat, open, rename, rmdir, stat, statat, statx,
    symlink, unlink, utimensat,
};
use rustix::io::Errno;
use rustix::process::{chdir, fchdir, getcwd};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

type Answers = Vec<(&'static str, Result<(), Errno>)>;

fn opened(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    open(path.as_ref(), flags, 0o644.into())
}

/// Does `work` in a thread that has a working directory of its own.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_file_has_as_many_names_as_one_likes() {
    same_as_tmpfs(|root| {
        let file = root.join("file");
        fs::write(&file, "content").unwrap();
        let name = |n: u32| root.join(n.to_string());
        (0..3000).for_each(|n| fs::hard_link(&file, name(n)).unwrap());
        let linked = lstat(&file).unwrap().st_nlink;
        forget(root);
        let again = lstat(name(2999)).unwrap().st_nlink;
        (0..3000).for_each(|n| fs::remove_file(name(n)).unwrap());
        (linked, again, lstat(&file).unwrap().st_nlink)
    });
}

#[test]
fn a_directory_has_a_link_of_each_directory_in_it() {
    same_as_tmpfs(|root| {
        let name = |n: u32| root.join(n.to_string());
        (0..2000).for_each(|n| fs::create_dir(name(n)).unwrap());
        let made = lstat(root).unwrap().st_nlink;
        (0..2000)
            .step_by(2)
            .for_each(|n| rename(name(n + 1), name(n)).unwrap());
        (made, lstat(root).unwrap().st_nlink)
    });
}

#[test]
fn slashes_at_the_end() {
    same_as_tmpfs(|root| {
        in_thread(|| {
            chdir(root).unwrap();
            mkdir("dir", Mode::RWXU).unwrap();
            mkdir("full", Mode::RWXU).unwrap();
            for name in ["file", "other", "full/file"] {
                fs::write(name, name).unwrap();
            }
            symlink("dir", "link").unwrap();
            symlink("file", "link to file").unwrap();
            symlink("missing", "dangling").unwrap();
            let create = OFlags::CREATE | OFlags::WRONLY;
            let answers: Answers = vec![
                ("open file/", opened("file/", OFlags::RDONLY).outcome()),
                ("open link/", opened("link/", OFlags::RDONLY).outcome()),
                (
                    "open link to file/",
                    opened("link to file/", OFlags::RDONLY).outcome(),
                ),
                ("create new/", opened("new/", create).outcome()),
                ("create dir/", opened("dir/", create).outcome()),
                ("create dangling", opened("dangling/", create).outcome()),
                ("mkdir new/", mkdir("new/", Mode::RWXU)),
                ("mkdir dangling/", mkdir("dangling/", Mode::RWXU)),
                ("mkdir file/", mkdir("file/", Mode::RWXU)),
                (
                    "mknod x/",
                    mknodat(CWD, "x/", FileType::RegularFile, Mode::RWXU, 0),
                ),
                ("symlink x/", symlink("target", "x/")),
                (
                    "link file x/",
                    linkat(CWD, "file", CWD, "x/", AtFlags::empty()),
                ),
                (
                    "link file/ x",
                    linkat(CWD, "file/", CWD, "x", AtFlags::empty()),
                ),
                ("unlink file/", unlink("file/")),
                ("unlink dir/", unlink("dir/")),
                ("unlink link/", unlink("link/")),
                ("rmdir link/", rmdir("link/")),
                ("rmdir file/", rmdir("file/")),
                ("rename file/ x", rename("file/", "x")),
                ("rename file x/", rename("file", "x/")),
                ("rename file other/", rename("file", "other/")),
                ("rename file dir/", rename("file", "dir/")),
                ("rename dir/ x/", rename("dir/", "x/")),
                ("rename x link/", rename("x", "link/")),
                ("rename link/ y", rename("link/", "y")),
                ("rename x full/", rename("x", "full/")),
                ("rename full x/", rename("full", "x/")),
                ("rename x/ dangling/", rename("x/", "dangling/")),
                ("rmdir x/", rmdir("x/")),
                ("rmdir new//", rmdir("new//")),
            ];
            let mut names: Vec<_> = fs::read_dir(".")
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            (answers, names)
        })
    });
}

#[test]
fn dots_are_not_renamed_and_roots_not_removed() {
    same_as_tmpfs(|root| {
        in_thread(|| {
            fs::create_dir_all(root.join("dir/sub")).unwrap();
            chdir(root.join("dir")).unwrap();
            let exchange = |from, to| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, from, CWD, to, flags)
            };
            let answers: Answers = vec![
                ("rename . x", rename(".", "x")),
                ("rename .. x", rename("..", "x")),
                ("rename sub .", rename("sub", ".")),
                ("rename sub ..", rename("sub", "..")),
                ("rename sub/. x", rename("sub/.", "x")),
                ("rename sub sub/.", rename("sub", "sub/.")),
                ("exchange sub .", exchange("sub", ".")),
                ("exchange sub sub", exchange("sub", "sub")),
                ("rename sub sub", rename("sub", "sub")),
                ("rename sub sub/x", rename("sub", "sub/x")),
                ("rename ../dir sub/x", rename("../dir", "sub/x")),
                ("rename sub ../dir", rename("sub", "../dir")),
                ("exchange sub ../dir", exchange("sub", "../dir")),
                ("rmdir .", rmdir(".")),
                ("rmdir ..", rmdir("..")),
                ("rmdir sub/..", rmdir("sub/..")),
                ("rmdir sub/.", rmdir("sub/.")),
                ("mkdir .", mkdir(".", Mode::RWXU)),
                ("mkdir sub/..", mkdir("sub/..", Mode::RWXU)),
                ("rmdir the root", rmdir(root)),
                ("rename the root", rename(root, "x")),
                ("rename to the root", rename("sub", root)),
                (
                    "link a directory",
                    linkat(CWD, "sub", CWD, "x", AtFlags::empty()),
                ),
            ];
            answers
        })
    });
}

#[test]
fn a_working_directory_that_was_removed() {
    same_as_tmpfs(|root| {
        in_thread(|| {
            fs::create_dir_all(root.join("dir/sub")).unwrap();
            fs::write(root.join("file"), "").unwrap();
            let file = opened(root.join("file"), OFlags::PATH).unwrap();
            let dir = opened(root.join("dir/sub"), OFlags::DIRECTORY).unwrap();
            fchdir(&dir).unwrap();
            fs::remove_dir(root.join("dir/sub")).unwrap();
            let up = stat("..").unwrap().st_ino == lstat(root.join("dir")).unwrap().st_ino;
            let listed: Vec<_> = fs::read_dir(".")
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            let answers: Answers = vec![
                ("getcwd", getcwd(Vec::new()).outcome()),
                ("stat .", stat(".").map(|stat| assert_eq!(stat.st_nlink, 0))),
                (
                    "create",
                    opened("x", OFlags::CREATE | OFlags::WRONLY).outcome(),
                ),
                ("mkdir", mkdir("x", Mode::RWXU)),
                ("symlink", symlink("target", "x")),
                ("mknod", mknodat(CWD, "x", FileType::Fifo, Mode::RWXU, 0)),
                ("link", linkat(&file, "", CWD, "x", AtFlags::EMPTY_PATH)),
                ("rename into", rename(root.join("file"), "x")),
                ("unlink", unlink("x")),
                ("rmdir .", rmdir(".")),
                (
                    "tmpfile",
                    opened(".", OFlags::TMPFILE | OFlags::WRONLY).outcome(),
                ),
                ("chmod", chmod(".", 0o700.into())),
                ("open .", opened(".", OFlags::DIRECTORY).outcome()),
            ];
            fs::remove_dir(root.join("dir")).unwrap();
            let both_gone = (
                stat("..").map(|stat| stat.st_nlink),
                mkdir("../x", Mode::RWXU),
            );
            (up, listed, answers, both_gone, chdir(".."), chdir(".."))
        })
    });
}

#[test]
fn how_files_are_opened() {
    same_as_tmpfs(|root| {
        in_thread(|| {
            chdir(root).unwrap();
            mkdir("dir", Mode::RWXU).unwrap();
            fs::write("file", "content").unwrap();
            symlink("file", "link").unwrap();
            symlink("missing", "dangling").unwrap();
            symlink("dir", "link to dir").unwrap();
            let (create, write) = (OFlags::CREATE | OFlags::WRONLY, OFlags::WRONLY);
            let path = opened("file", OFlags::PATH).unwrap();
            let answers: Answers = vec![
                (
                    "excl on file",
                    opened("file", create | OFlags::EXCL).outcome(),
                ),
                (
                    "excl on link",
                    opened("link", create | OFlags::EXCL).outcome(),
                ),
                (
                    "excl on dangling",
                    opened("dangling", create | OFlags::EXCL).outcome(),
                ),
                (
                    "excl on dir",
                    opened("dir", create | OFlags::EXCL).outcome(),
                ),
                ("nofollow", opened("link", OFlags::NOFOLLOW).outcome()),
                (
                    "nofollow, create",
                    opened("dangling", create | OFlags::NOFOLLOW).outcome(),
                ),
                (
                    "nofollow, directory",
                    opened("link to dir", OFlags::NOFOLLOW | OFlags::DIRECTORY).outcome(),
                ),
                (
                    "create on dir",
                    opened("dir", OFlags::CREATE | OFlags::RDONLY).outcome(),
                ),
                ("write dir", opened("dir", write).outcome()),
                ("truncate dir", opened("dir", OFlags::TRUNC).outcome()),
                (
                    "directory file",
                    opened("file", OFlags::DIRECTORY).outcome(),
                ),
                (
                    "create directory",
                    opened("new", OFlags::CREATE | OFlags::DIRECTORY).outcome(),
                ),
                (
                    "create through dangling",
                    opened("dangling", create).outcome(),
                ),
                ("read path", rustix::io::read(&path, &mut [0; 9]).outcome()),
                ("fchmod path", fchmod(&path, Mode::RWXU)),
                ("fstat path", fstat(&path).outcome()),
                (
                    "chown empty path",
                    chownat(&path, "", None, None, AtFlags::EMPTY_PATH),
                ),
                (
                    "stat empty path",
                    statat(&path, "", AtFlags::EMPTY_PATH).outcome(),
                ),
                (
                    "stat empty without flag",
                    statat(&path, "", AtFlags::empty()).outcome(),
                ),
                (
                    "link empty path",
                    linkat(&path, "", CWD, "again", AtFlags::EMPTY_PATH),
                ),
                ("mkdir in file", mkdirat(&path, "x", Mode::RWXU)),
                (
                    "read only, truncate",
                    opened("file", OFlags::RDONLY | OFlags::TRUNC).outcome(),
                ),
                ("sync", opened("file", write | OFlags::SYNC).outcome()),
            ];
            (
                answers,
                fs::read("file").unwrap(),
                lstat("file").unwrap().st_nlink,
            )
        })
    });
}

#[test]
fn reading_and_writing_past_the_cache() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        fs::write(&path, vec![b'c'; 10_000]).unwrap();
        let direct = opened(&path, OFlags::RDWR | OFlags::DIRECT).unwrap();
        let steps = [
            (0, 4096),
            (4096, 8192),
            (1, 17),
            (9_990, 100),
            (50_000, 4096),
        ];
        let done = steps.map(|(place, length)| {
            let mut bytes = vec![0; length];
            let read = rustix::io::pread(&direct, &mut bytes, place);
            let written = rustix::io::pwrite(&direct, &vec![b'd'; length], place);
            (read, bytes, written)
        });
        (done, fs::read(&path).unwrap())
    });
}

#[test]
fn modes_of_what_is_opened_without_a_request_hold() {
    same_as_tmpfs(|root| {
        chmod(root, 0o755.into()).unwrap();
        fifo(&root.join("fifo"), 0o600).unwrap();
        let _listener = UnixListener::bind(root.join("socket")).unwrap();
        let modes = [0o000, 0o400, 0o004, 0o006, 0o066];
        modes.map(|mode| {
            let names = ["fifo", "socket"];
            names.map(|name| {
                chmod(root.join(name), mode.into()).unwrap();
                let tries = || {
                    let flags = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR];
                    flags.map(|flags| opened(root.join(name), flags | OFlags::NONBLOCK).outcome())
                };
                (tries(), as_user(1000, 1000, &[], tries))
            })
        })
    });
}

#[test]
fn times_of_any_century_are_kept() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        fs::write(&path, "").unwrap();
        let bound = 1i64 << 31;
        let seconds = [
            -1,
            -bound,
            -bound - 1,
            bound,
            2 * bound,
            4 * bound,
            8 * bound - 1,
            8 * bound,
            16_299_905_400,
            1 << 40,
            i64::MAX,
            i64::MIN,
        ];
        seconds.map(|tv_sec| {
            let time = Timespec {
                tv_sec,
                tv_nsec: 999_999_999,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            let set = utimensat(CWD, &path, &times, AtFlags::empty());
            let at_once =
                stat(&path).map(|stat| (stat.st_atime, stat.st_mtime, stat.st_mtime_nsec));
            forget(root);
            let later = stat(&path).map(|stat| (stat.st_atime, stat.st_mtime, stat.st_mtime_nsec));
            (set, at_once, later)
        })
    });
}

#[test]
fn statx_gives_what_was_asked_for() {
    same_as_tmpfs(|root| {
        let path = root.join("file");
        fs::write(&path, "content").unwrap();
        let masks = [
            StatxFlags::empty(),
            StatxFlags::SIZE,
            StatxFlags::TYPE,
            StatxFlags::MODE | StatxFlags::UID,
            StatxFlags::ATIME,
            StatxFlags::BTIME,
            StatxFlags::BASIC_STATS,
            StatxFlags::ALL,
        ];
        masks.map(|mask| {
            let flags = [
                AtFlags::empty(),
                AtFlags::STATX_FORCE_SYNC,
                AtFlags::STATX_DONT_SYNC,
            ];
            flags.map(|flags| {
                forget(root);
                let statx = statx(CWD, &path, flags, mask).unwrap();
                // The time of birth is in no cache before somebody asked the daemon (`fuse_update_get_attr`).
                let wanted = match flags {
                    AtFlags::STATX_DONT_SYNC => mask & !StatxFlags::BTIME,
                    _ => mask,
                };
                (
                    statx.stx_mask & wanted.bits() == wanted.bits(),
                    statx.stx_size,
                    statx.stx_mode,
                    statx.stx_nlink,
                )
            })
        })
    });
}
