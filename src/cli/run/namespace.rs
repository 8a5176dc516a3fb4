//! A mount namespace of one's own: what is mounted in it nobody else sees, and it goes with its last process.

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::process::{getegid, geteuid};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Gives this process, which has one thread, a mount namespace of its own. Who may not make one gets a user namespace with it, in
/// which the process is the user and of the group that it was, and nobody else is anybody.
pub fn enter() -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::EPERM) => enter_with_user()?,
        entered => entered?,
    }
    // What others mount is seen here from now on too, and nothing of here there.
    let theirs = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(mount_change("/", theirs)?)
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
