//! A mount namespace of one's own: what is mounted in it nobody else sees, and it goes with its last process.

use nix::sched::{CloneFlags, setns, unshare};
use norefs::doctor::{self, Machine};
use norefs::transport::session::fusermount;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::process::{Pid, getegid, geteuid};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Gives this process, which has one thread, a mount namespace of its own. Who may not make one gets a user namespace with it, in
/// which the process is the user and of the group that it was, and nobody else is anybody.
pub fn enter() -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::EPERM) => enter_with_user()?,
        entered => entered?,
    }
    see_others()
}

/// The same for a process that is to mount and serve: what it mounts nobody sees but those whom it lets join, and it goes with
/// the last of them. Not where fusermount3 can mount for an ordinary user: a filesystem of a user namespace knows nobody's files
/// but the user's, and those of others could be neither written to nor removed. With `if_needed` only where nobody else can mount.
pub fn enter_to_serve(if_needed: bool) -> io::Result<()> {
    if if_needed && (geteuid().is_root() || fusermount::works()) {
        return Ok(());
    }
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::EPERM) if fusermount::works() => return Ok(()),
        Err(nix::errno::Errno::EPERM) => enter_with_user()?,
        entered => entered?,
    }
    see_others()
}

/// What others mount is seen here from now on too, and nothing of here there.
fn see_others() -> io::Result<()> {
    let theirs = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(mount_change("/", theirs)?)
}

/// The namespaces of another process, which it has for itself.
pub struct Namespaces {
    user: Option<File>,
    mounts: File,
}

impl Namespaces {
    /// Those of `process`, unless it sees the mounts that this one sees.
    pub fn of(process: Pid) -> io::Result<Option<Namespaces>> {
        let other = |kind: &str| {
            let theirs = File::open(format!("/proc/{process}/ns/{kind}"))?;
            let ours = fs::metadata(format!("/proc/self/ns/{kind}"))?;
            let same = theirs.metadata()?.ino() == ours.ino();
            Ok((!same).then_some(theirs))
        };
        let mounts: io::Result<_> = other("mnt");
        mounts?
            .map(|mounts| {
                let user = other("user")?;
                Ok(Namespaces { user, mounts })
            })
            .transpose()
    }

    /// Whether it is a user namespace too, so that who joins it can join no other one.
    pub fn have_user(&self) -> bool {
        self.user.is_some()
    }

    /// Makes this process, which has one thread, see what that process sees.
    pub fn join(&self) -> io::Result<()> {
        if let Some(user) = &self.user {
            setns(user, CloneFlags::CLONE_NEWUSER)?;
        }
        Ok(setns(&self.mounts, CloneFlags::CLONE_NEWNS)?)
    }
}

fn enter_with_user() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    // Without it an ordinary user may map no group: who gives up a group may gain by it.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// The mount that is to be seen at `path`, or the part of it that begins there, once more and nowhere yet; with what is mounted
/// below if `whole`.
pub fn duplicate(path: &Path, whole: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, whole);
    Ok(open_tree(CWD, path, flags)?)
}

/// Lets `mount` be seen at `place`.
pub fn show(mount: BorrowedFd<'_>, place: impl AsFd) -> io::Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", both)?)
}

/// Makes every mount of this namespace read-only. (Linux 5.12)
pub fn protect() -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: path and attributes live as long as the call, and the size is theirs.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What somebody may do to whom `error` refused a namespace.
pub fn cure(error: &io::Error) -> &'static str {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::PERM);
    doctor::namespace_cure(&Machine::here(), errno)
}
