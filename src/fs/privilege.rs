//! What a file may do beyond its user's rights, and what takes that away.
//!
//! A change of owner, or of content by somebody unprivileged, clears set-user-id and file
//! capabilities. It clears set-group-id where the group may execute; where it may not, only for a
//! caller who is not in that group.

use super::{Caller, Node};
use crate::tree::{Attr, InodeRef, Kind};
use std::sync::LazyLock;

pub(super) const SUID: u16 = libc::S_ISUID as u16;
pub(super) const SGID: u16 = libc::S_ISGID as u16;
pub(super) const GROUP_EXEC: u16 = libc::S_IXGRP as u16;

/// Whether a change of owner or content would take something from a file with these attributes.
pub(super) fn has_privileges(attr: &Attr) -> bool {
    attr.kind != Kind::Directory && attr.perm & (SUID | SGID) != 0
}

/// Whether it would if `caller`, who is not privileged, made it.
pub(super) fn would_lose(attr: &Attr, caller: &Caller) -> bool {
    has_privileges(attr) && (attr.perm & SUID != 0 || !keeps_sgid(attr, caller, false))
}

/// Whether set-group-id is there and stays. `privileged` callers count as members of every group.
fn keeps_sgid(attr: &Attr, caller: &Caller, privileged: bool) -> bool {
    let matters = attr.perm & (SGID | GROUP_EXEC) == SGID;
    matters && (privileged || is_member(caller, attr.gid))
}

/// The loss of an inode's privileges. Its capabilities are gone when this is made.
pub(super) struct Loss {
    keeps_sgid: bool,
    /// There were capabilities.
    capable: bool,
}

impl Loss {
    /// `None` for a directory, which has none to lose. `privileged` callers count as members of
    /// every group.
    pub(super) fn begin(
        inode: &InodeRef<'_, Node>,
        caller: &Caller,
        privileged: bool,
    ) -> Option<Loss> {
        if inode.kind() == Kind::Directory {
            return None;
        }
        let mut capable = false;
        if let Some(node) = inode.ext().made()
            && let Some(xattrs) = node.xattrs.write().as_deref_mut()
        {
            capable = xattrs.lose_capabilities();
        }
        let keeps_sgid = keeps_sgid(&inode.attr(), caller, privileged);
        Some(Loss {
            keeps_sgid,
            capable,
        })
    }

    pub(super) fn apply(&self, attr: &mut Attr) {
        attr.perm &= !SUID;
        attr.touched.xattrs |= self.capable;
        if attr.perm & GROUP_EXEC != 0 || !self.keeps_sgid {
            attr.perm &= !SGID;
        }
    }
}

pub(super) fn is_member(caller: &Caller, gid: u32) -> bool {
    caller.gid == gid || supplementary_groups(caller.pid).contains(&gid)
}

/// The supplementary groups of a thread, none if it cannot be seen or is gone.
pub(super) fn supplementary_groups(pid: u32) -> Vec<u32> {
    static KNOWS_CALLERS: LazyLock<bool> =
        LazyLock::new(|| status("self").is_some_and(|status| is_of_our_namespace(&status)));
    if pid == 0 || !*KNOWS_CALLERS {
        return Vec::new();
    }
    let groups = status(&pid.to_string()).and_then(|status| numbers(&status, "Groups:"));
    groups.unwrap_or_default()
}

fn status(thread: &str) -> Option<String> {
    let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
    // The first line is the thread's name in whatever bytes it chose.
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// Whether `/proc`, which says this of us, numbers threads as the kernel does when it tells who calls. Mounted for a PID
/// namespace around ours it would tell of other threads: a process then has a number for each namespace.
fn is_of_our_namespace(status: &str) -> bool {
    numbers(status, "NSpid:").is_none_or(|pids| pids.len() == 1)
}

/// The numbers on the line that begins with `key`.
fn numbers(status: &str, key: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_ascii_whitespace().flat_map(str::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, ROOT, USER};
    use crate::tree::NodeId;

    fn left(bed: &Bed, id: NodeId, perm: u16, caller: &Caller, privileged: bool) -> u16 {
        let inode = bed.fs.tree().get(id).unwrap();
        let set = inode.update(|attr| {
            attr.perm = perm;
            Ok(())
        });
        let ((), mut attr) = set.unwrap();
        if let Some(loss) = Loss::begin(&inode, caller, privileged) {
            loss.apply(&mut attr);
        }
        attr.perm
    }

    #[test]
    fn who_loses_what() {
        let bed = Bed::new();
        let file = bed.file("f");
        let member = Caller { gid: 0, ..USER };
        assert_eq!(left(&bed, file, 0o6755, &ROOT, true), 0o755);
        assert_eq!(left(&bed, file, 0o6745, &ROOT, true), 0o2745);
        assert_eq!(left(&bed, file, 0o6745, &member, false), 0o2745);
        assert_eq!(left(&bed, file, 0o6745, &USER, false), 0o745);
        assert_eq!(left(&bed, file, 0o1777, &USER, false), 0o1777);
        assert_eq!(left(&bed, bed.dir("d"), 0o6775, &USER, false), 0o6775);
    }

    #[test]
    fn groups_are_read_from_a_status_page() {
        let page = "Name:\tsh\nGid:\t5\t5\t5\t5\nGroups:\t4 24 1000 \nVmPeak:\t1 kB\n";
        assert_eq!(numbers(page, "Groups:").unwrap(), [4, 24, 1000]);
        let none = numbers("Name:\tGroups: 7\nGroups:\t\n", "Groups:");
        assert_eq!(none, Some(vec![]));
        assert_eq!(numbers("", "Groups:"), None);
    }

    #[test]
    fn a_page_of_an_outer_namespace_is_told_apart() {
        assert!(is_of_our_namespace("Pid:\t7\nNSpid:\t7\n"));
        assert!(!is_of_our_namespace("Pid:\t7\nNSpid:\t7\t1\n"));
        assert!(is_of_our_namespace("Pid:\t7\n"), "there are none at all");
    }

    #[test]
    fn own_groups_are_those_the_kernel_reports() {
        let mut own: Vec<u32> = rustix::process::getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        let mut seen = supplementary_groups(std::process::id());
        own.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, own);
        assert_eq!(supplementary_groups(0), [0u32; 0]);
    }
}
