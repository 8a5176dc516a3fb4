//! Limits of this process and its control group.

use super::{Finding, Machine};
use crate::host::is_memory_left;
use indicatif::BinaryBytes;
use rustix::process::{Resource, getrlimit};

/// What a mount takes of the address space before anything is in it, with room for few threads, bytes.
const NEEDED: usize = 64 << 20;
/// A limit beyond all memory there is.
const NONE: u64 = 1 << 60;

/// Memory that may be locked. Rings lock none from Linux 5.12 on, where io_uring is charged to the control group.
pub(super) fn locked() -> Finding {
    let says = match getrlimit(Resource::Memlock).current {
        None => "not limited".to_owned(),
        Some(bytes) => format!("{}; the ring transport locks none", BinaryBytes(bytes)),
    };
    Finding::ok("locked memory", says)
}

pub(super) fn addresses() -> Finding {
    let topic = "addresses";
    let Some(bytes) = getrlimit(Resource::As).current else {
        return Finding::ok(topic, "not limited");
    };
    let (says, cure) = (
        format!("limited to {}", BinaryBytes(bytes)),
        "ulimit -v unlimited: each thread and all content take addresses",
    );
    match is_memory_left(NEEDED) {
        true => Finding::note(topic, says, cure),
        false => Finding::fail(topic, says, Some(cure.to_owned())),
    }
}

/// The memory of the control group. What a tree may hold by default is reckoned by the memory of the machine.
pub(super) fn group(machine: &Machine) -> Finding {
    let topic = "memory of the group";
    let info = rustix::system::sysinfo();
    let half = info
        .totalram
        .saturating_mul(u64::from(info.mem_unit).max(1))
        / 2;
    match group_limit(machine) {
        None => Finding::ok(topic, "not limited"),
        Some(limit) if limit > half => {
            Finding::ok(topic, format!("limited to {}", BinaryBytes(limit)))
        }
        Some(limit) => Finding::note(
            topic,
            format!(
                "limited to {}, while a tree may hold {} by default",
                BinaryBytes(limit),
                BinaryBytes(half)
            ),
            format!(
                "-o size={}k: what the tree holds beyond the limit ends the server",
                limit / 2048
            ),
        ),
    }
}

/// The least limit of the control groups of this process, in bytes.
fn group_limit(machine: &Machine) -> Option<u64> {
    let groups = machine.says("/proc/self/cgroup")?;
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a namespace of its own a group is the root.
        let mut group = group.trim_end_matches('/');
        loop {
            limits.extend(machine.says(&format!("{root}{group}/{file}")));
            let Some((above, _)) = group.rsplit_once('/') else {
                break;
            };
            group = above;
        }
    }
    let numbers = limits.iter().filter_map(|limit| limit.parse().ok());
    numbers.filter(|&limit| limit < NONE).min()
}

#[cfg(test)]
mod tests {
    use super::super::machine::testing::with;
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let (_dir, machine) = with(&[
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "104857600\n"),
        ]);
        assert_eq!(group_limit(&machine), Some(104_857_600));
        let (_dir, machine) = with(&[
            ("/proc/self/cgroup", "5:cpu:/x\n4:memory:/c\n0::/\n"),
            (
                "/sys/fs/cgroup/memory/c/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n"),
        ]);
        assert_eq!(group_limit(&machine), Some(2_097_152));
        let cure = group(&machine).cure.unwrap();
        assert!(cure.starts_with("-o size=1024k"), "{cure}");
        let (_dir, machine) = with(&[("/proc/self/cgroup", "nonsense\n0::\n")]);
        assert_eq!(group_limit(&machine), None);
    }
}
