//! A mount namespace of one's own: what is mounted in it nobody else sees, and it goes with its last process.

use nix::sched::{CloneFlags, setns, unshare};
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

/// Mounts for ordinary users, by its set-user-id bit.
const FUSERMOUNT: &str = "fusermount3";
const SET_USER_ID: u32 = 0o4000;

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
    if if_needed && (geteuid().is_root() || fusermount_works()) {
        return Ok(());
    }
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::EPERM) if fusermount_works() => return Ok(()),
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

/// Whether an ordinary user has somebody to mount: a program of root's that gets its owner's rights.
fn fusermount_works() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let gets_rights = !status.lines().any(|line| line == "NoNewPrivs:\t1");
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&directories)
        .find_map(|directory| fs::metadata(directory.join(FUSERMOUNT)).ok());
    // In a user namespace without root its owner is nobody.
    gets_rights && found.is_some_and(|file| file.uid() == 0 && file.mode() & SET_USER_ID != 0)
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
pub fn advice(error: Errno) -> &'static str {
    let set = |path: &str| fs::read_to_string(path).ok();
    let is = |path, value: &str| set(path).is_some_and(|set| set.trim() == value);
    if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "AppArmor keeps user namespaces from programs without a profile that says `userns,` \
         (or sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone=1 allows it"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces=10000 allows it"
    } else if is("/proc/sys/user/max_mnt_namespaces", "0") {
        "sysctl user.max_mnt_namespaces=10000 allows it"
    } else if error == Errno::NOSPC {
        "there are too many, or they are too deep (sysctl user.max_user_namespaces and user.max_mnt_namespaces)"
    } else {
        "a container needs --cap-add SYS_ADMIN, or a seccomp profile that allows unshare"
    }
}
