//! Who mounts: the kernel for root, fusermount3 for everybody else.

use super::Finding;
use crate::transport::session::fusermount::{self, Fusermount};
use rustix::process::geteuid;

const TOPIC: &str = "fusermount3";
const INSTALL: &str = "install fuse3 (apt-get install fuse3)";
const NO_PRIVILEGES: &str = "no_new_privs keeps fusermount3 from mounting: docker sets it by --security-opt no-new-privileges, systemd by NoNewPrivileges=";
const CONTAINER: &str =
    "a container needs --cap-add SYS_ADMIN --device /dev/fuse --security-opt apparmor=unconfined";

pub(super) fn fusermount() -> Finding {
    match geteuid().is_root() {
        true => Finding::ok(TOPIC, "not needed: root mounts without it"),
        false => judge(&fusermount::all(), fusermount::may_gain_rights()),
    }
}

/// What an ordinary user can do with these, the first of which comes first in `PATH`.
fn judge(all: &[Fusermount], may_gain_rights: bool) -> Finding {
    let best = all.iter().find(|one| one.gets_rights);
    match (all.first(), best) {
        (None, _) => Finding::fail(TOPIC, "there is none", Some(INSTALL.to_owned())),
        (Some(first), None) => {
            let says = format!("{} does not get root's rights", first.path.display());
            Finding::fail(TOPIC, says, Some(rights(first)))
        }
        _ if !may_gain_rights => {
            let says = "this process may not gain rights";
            Finding::fail(TOPIC, says, Some(NO_PRIVILEGES.to_owned()))
        }
        (Some(first), Some(best)) if first != best => {
            let (used, first) = (best.path.display(), first.path.display());
            let says = format!("{used} is used, since {first} does not get root's rights");
            let cure = format!("remove {first}, which other programs find first");
            Finding::note(TOPIC, says, cure)
        }
        (_, Some(best)) => Finding::ok(TOPIC, best.path.display().to_string()),
    }
}

fn rights(program: &Fusermount) -> String {
    let path = program.path.display();
    format!("as root: chown root {path}; chmod u+s {path} (and no nosuid where it lies)")
}

/// What to do about what fusermount3 or the kernel `said` when it refused a mount.
pub(super) fn cure(said: &str) -> Option<String> {
    let refused = ["Permission denied", "Operation not permitted"];
    let is_refused = refused.iter().any(|words| said.contains(words));
    match geteuid().is_root() {
        true => is_refused.then(|| CONTAINER.to_owned()),
        false => judge(&fusermount::all(), fusermount::may_gain_rights()).cure,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn one(path: &str, gets_rights: bool) -> Fusermount {
        Fusermount {
            path: path.into(),
            gets_rights,
        }
    }

    #[test]
    fn a_program_without_rights_that_comes_first_is_told_of_and_not_used() {
        let all = [
            one("/usr/local/bin/fusermount3", false),
            one("/usr/bin/fusermount3", true),
        ];
        let found = judge(&all, true);
        assert_eq!(found.verdict, Verdict::Note);
        assert!(found.says.starts_with("/usr/bin/fusermount3 is used"));
        assert_eq!(judge(&all, false).verdict, Verdict::Fail);
        assert_eq!(judge(&all[..1], true).verdict, Verdict::Fail);
        assert_eq!(judge(&all[1..], true).verdict, Verdict::Ok);
        assert_eq!(judge(&[], true).cure.as_deref(), Some(INSTALL));
    }
}
