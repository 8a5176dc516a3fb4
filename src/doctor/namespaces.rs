//! Namespaces, in which `norefs run` shows a command its copy.

use super::{Finding, Machine};
use rustix::io::Errno;

const TOPIC: &str = "namespaces";

pub(super) fn allowed(machine: &Machine, tried: Result<(), Errno>) -> Finding {
    match tried {
        Ok(()) => Finding::ok(
            TOPIC,
            "can be made: norefs run shows a copy in place of its source",
        ),
        Err(errno) => Finding::note(
            TOPIC,
            format!("cannot be made ({errno}): norefs run shows a copy at a directory of its own"),
            cure(machine, errno),
        ),
    }
}

/// What somebody may do to whom `error` refused a namespace.
pub fn cure(machine: &Machine, error: Errno) -> &'static str {
    let is = |path, value| machine.is(path, value);
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

#[cfg(test)]
mod tests {
    use super::super::machine::testing::with;
    use super::*;

    #[test]
    fn each_reason_has_its_cure() {
        for (path, value, words) in [
            (
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "`userns,`",
            ),
            (
                "/proc/sys/kernel/unprivileged_userns_clone",
                "0\n",
                "userns_clone=1",
            ),
            (
                "/proc/sys/user/max_user_namespaces",
                "0\n",
                "max_user_namespaces=",
            ),
            (
                "/proc/sys/user/max_mnt_namespaces",
                "0\n",
                "max_mnt_namespaces=",
            ),
            ("/nothing", "", "SYS_ADMIN"),
        ] {
            let (_dir, machine) = with(&[(path, value)]);
            let found = allowed(&machine, Err(Errno::PERM));
            assert!(found.cure.unwrap().contains(words), "{path}");
        }
    }
}
