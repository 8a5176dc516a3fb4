//! The operations: what one call is called, what it tells about, and where it goes.

mod calls;

use super::course::{Course, Place};
use super::report::{Group, Subject};
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;

/// Does it once, at a name. Returns how many operations that was.
type Call = fn(&Place<'_>, &CStr) -> io::Result<u64>;

/// One kind of call, or a few that belong together.
pub struct Operation {
    /// What a command line calls it.
    pub name: &'static str,
    /// What it does.
    pub label: &'static str,
    /// What it tells about.
    pub group: Group,
    /// The names it visits.
    pub(super) targets: fn(&Course) -> &[CString],
    pub(super) call: Call,
    /// Calls between two looks at the clock.
    pub(super) batch: usize,
}

impl Operation {
    /// Whether the kernel is to have been told before.
    pub fn is_warm(&self) -> bool {
        self.group == Group::Warm
    }

    /// Whether the kernel is to have forgotten.
    pub fn is_cold(&self) -> bool {
        self.group == Group::Cold
    }

    /// What a row is about that tells of it.
    pub(super) fn subject(&self, clients: usize, pinned: bool) -> Subject {
        Subject {
            group: self.group,
            name: self.name,
            label: self.label.to_owned(),
            clients,
            pinned,
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(out)
    }
}

/// All of them.
pub static OPERATIONS: [Operation; 20] = {
    use Group::{Changes, Cold, Forced, Warm};
    [
        operation(Warm, "stat-1", "stat, depth 1", |c| &c.near, calls::stat),
        operation(Warm, "stat-5", "stat, depth 5", |c| &c.deep, calls::stat),
        operation(
            Warm,
            "stat-missing",
            "stat of nothing, depth 5",
            |c| &c.missing,
            calls::stat_missing,
        ),
        operation(
            Warm,
            "access",
            "access, depth 5",
            |c| &c.deep,
            calls::access,
        ),
        operation(
            Warm,
            "readlink",
            "readlink, depth 5",
            |c| &c.links,
            calls::readlink,
        ),
        operation(Warm, "open", "open + close", |c| &c.deep, calls::open_close),
        operation(
            Warm,
            "read",
            "open + read 4 KiB + close",
            |c| &c.filled,
            calls::read_content,
        ),
        operation(
            Warm,
            "readdir",
            "open + list 20 names + close",
            |c| &c.leaves,
            calls::list_names,
        ),
        Operation {
            batch: 1,
            ..operation(
                Warm,
                "walk",
                "tree walk, per name",
                |c| &c.root,
                calls::walk,
            )
        },
        operation(
            Forced,
            "statx-forced",
            "statx, forced",
            |c| &c.deep,
            calls::statx_forced,
        ),
        operation(
            Changes,
            "create",
            "create + close + unlink",
            |c| &c.scratch,
            calls::create_unlink,
        ),
        operation(
            Changes,
            "mkdir",
            "mkdir + rmdir",
            |c| &c.scratch,
            calls::mkdir_rmdir,
        ),
        operation(Changes, "rename", "rename", |c| &c.scratch, calls::rename),
        operation(
            Changes,
            "symlink",
            "symlink + unlink",
            |c| &c.scratch,
            calls::symlink_unlink,
        ),
        operation(Changes, "chmod", "chmod", |c| &c.scratch, calls::chmod),
        operation(
            Changes,
            "write",
            "create + write 4 KiB + close + unlink",
            |c| &c.scratch,
            calls::write_unlink,
        ),
        operation(
            Cold,
            "cold-stat",
            "stat, depth 5, random order",
            |c| &c.random_deep,
            calls::stat,
        ),
        operation(
            Cold,
            "cold-read",
            "open + read 4 KiB + close, random order",
            |c| &c.random_filled,
            calls::read_content,
        ),
        operation(
            Cold,
            "cold-readdir",
            "open + list 20 names + close, random order",
            |c| &c.random_leaves,
            calls::list_names,
        ),
        operation(
            Cold,
            "cold-walk",
            "tree walk, per name",
            |c| &c.leaves,
            calls::walk,
        ),
    ]
};

const fn operation(
    group: Group,
    name: &'static str,
    label: &'static str,
    targets: fn(&Course) -> &[CString],
    call: Call,
) -> Operation {
    Operation {
        name,
        label,
        group,
        targets,
        call,
        batch: 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_one_operation_each() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
