//! What the kernel does not ask a filesystem that decides itself, and what holds all the same. Each `hole` is told of in
//! `docs/LIMITS.md`: if one fails, the kernel has begun to ask, and that page may say so.

use mount_tests::posix::{CAPABILITY, CAPABLE, Outcome, as_user, fifo};
use mount_tests::programs::run;
use mount_tests::{Daemon, fails, is_mounted, wait_until};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{
    Access, Mode, OFlags, Uid, XattrFlags, access, chmod, chown, getxattr, lstat, mkdir, open,
    rename, setxattr, stat, unlink,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const USER: u32 = 1001;

fn as_stranger<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    as_user(USER, USER, &[], work)
}

/// What holds for a fifo or a socket of mode 0600 at `path` in `dir`, although it can be opened.
fn is_guarded_otherwise(dir: &Path, path: &Path, reach: &(dyn Fn() -> Result<(), Errno> + Sync)) {
    as_stranger(|| {
        for how in [Access::READ_OK, Access::WRITE_OK] {
            fails(Errno::ACCESS, access(path, how));
        }
        fails(Errno::PERM, chmod(path, 0o666.into()));
        fails(Errno::ACCESS, unlink(path));
        fails(Errno::ACCESS, rename(path, dir.join("other")));
    });
    chmod(dir, 0o700.into()).unwrap();
    fails(Errno::ACCESS, as_stranger(reach));
    chmod(dir, 0o755.into()).unwrap();
}

#[test]
fn hole_a_fifo_is_opened_by_whoever_reaches_it() {
    let mount = Daemon::deciding();
    let (dir, path) = (mount.path("dir"), mount.path("dir/fifo"));
    mkdir(&dir, 0o755.into()).unwrap();
    fifo(&path, 0o600).unwrap();
    let reach = || open(&path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).outcome();
    assert_eq!(as_stranger(reach), Ok(()));
    is_guarded_otherwise(&dir, &path, &reach);
}

#[test]
fn hole_a_socket_is_connected_to_by_whoever_reaches_it() {
    let mount = Daemon::deciding();
    let (dir, path) = (mount.path("dir"), mount.path("dir/socket"));
    mkdir(&dir, 0o755.into()).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    chmod(&path, 0o600.into()).unwrap();
    let reach = || UnixStream::connect(&path).outcome();
    assert_eq!(as_stranger(reach), Ok(()));
    is_guarded_otherwise(&dir, &path, &reach);
}

/// A program of root's with file capabilities, and who may write to it.
fn capable(mount: &Daemon, mode: u32) -> PathBuf {
    let path = mount.path("file");
    std::fs::write(&path, "content").unwrap();
    chmod(&path, mode.into()).unwrap();
    setxattr(&path, CAPABILITY, &CAPABLE, XattrFlags::empty()).unwrap();
    path
}

fn is_capable(path: &Path) -> bool {
    getxattr(path, CAPABILITY, &mut [0; 20][..]).is_ok()
}

fn give_away(path: &Path) -> Result<(), Errno> {
    as_stranger(|| chown(path, Some(Uid::from_raw(USER)), None))
}

#[test]
fn hole_a_writer_who_is_refused_the_owner_takes_file_capabilities() {
    let mount = Daemon::deciding();
    let path = capable(&mount, 0o757);
    fails(Errno::PERM, give_away(&path));
    assert!(!is_capable(&path));
    assert_eq!(stat(&path).unwrap().st_uid, 0);
}

#[test]
fn who_may_not_write_takes_no_file_capabilities() {
    let mount = Daemon::deciding();
    let path = capable(&mount, 0o757);
    let handed_on = File::options().append(true).open(&path).unwrap();
    chmod(&path, 0o755.into()).unwrap();
    fails(Errno::PERM, give_away(&path));
    let cut = || nix::unistd::truncate(&path, 0).map_err(|errno| errno as i32);
    assert_eq!(as_stranger(cut), Err(Errno::ACCESS.raw_os_error()));
    let cut = || open(&path, OFlags::TRUNC, Mode::empty());
    fails(Errno::ACCESS, as_stranger(cut));
    assert!(is_capable(&path));
    // What is permitted takes them.
    assert_eq!(as_stranger(|| (&handed_on).write(b"more").unwrap()), 4);
    assert!(!is_capable(&path));
}

#[test]
fn hole_a_step_to_the_parent_or_nowhere_takes_no_leave() {
    let mount = Daemon::deciding();
    let closed = mount.path("closed");
    std::fs::create_dir_all(closed.join("inside")).unwrap();
    chmod(&closed, 0o700.into()).unwrap();
    as_stranger(|| {
        assert_eq!(stat(closed.join("..")).outcome(), Ok(()));
        assert_eq!(stat(closed.join(".")).outcome(), Ok(()));
        assert_eq!(stat(mount.path("closed/../closed")).outcome(), Ok(()));
        for below in [
            "closed/inside",
            "closed/inside/..",
            "closed/../closed/inside",
        ] {
            fails(Errno::ACCESS, stat(mount.path(below)));
        }
    });
}

#[test]
fn hole_a_closed_directory_can_be_watched() {
    let mount = Daemon::deciding();
    let (dir, file) = (mount.path("dir"), mount.path("dir/file"));
    mkdir(&dir, 0o711.into()).unwrap();
    std::fs::write(&file, "").unwrap();
    chmod(&file, 0o600.into()).unwrap();
    as_stranger(|| {
        let watcher = inotify::init(CreateFlags::CLOEXEC).unwrap();
        for path in [&dir, &file] {
            let watch = inotify::add_watch(&watcher, path, WatchFlags::MODIFY);
            assert_eq!(watch.outcome(), Ok(()));
        }
        fails(Errno::ACCESS, std::fs::read_dir(&dir));
        fails(Errno::ACCESS, std::fs::read(&file));
    });
}

#[test]
fn hole_an_unreadable_program_can_be_looked_into_while_it_runs() {
    let mount = Daemon::deciding();
    run(mount.root(), "cp", &["/bin/sleep", "sleep"]);
    let program = mount.path("sleep");
    chmod(&program, 0o711.into()).unwrap();
    as_stranger(|| {
        fails(Errno::ACCESS, std::fs::read(&program));
        let mut running = std::process::Command::new(&program)
            .arg("60")
            .spawn()
            .unwrap();
        // What is in `/proc` of a process that may not be looked into is root's.
        let page = format!("/proc/{}/environ", running.id());
        let open = wait_until(|| std::fs::metadata(&page).unwrap().uid() == USER);
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(open);
    });
}

#[test]
fn hole_who_is_refused_takes_away_what_is_mounted_below() {
    let mount = Daemon::deciding();
    let place = mount.path("closed/place");
    std::fs::create_dir_all(&place).unwrap();
    chmod(mount.path("closed"), 0o700.into()).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &place, "tmpfs", none, None).unwrap();
    lstat(&place).unwrap();
    assert!(is_mounted(&place));
    fails(Errno::ACCESS, as_stranger(|| lstat(&place)));
    assert!(
        !is_mounted(&place),
        "the name was found invalid (`d_invalidate`)"
    );
}
