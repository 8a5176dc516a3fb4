//! Which thread serves which queue, and where it runs.
//!
//! The kernel has one queue for each possible CPU and puts a request into that of the CPU its
//! caller runs on (`fuse_uring_task_to_queue`). A thread that runs on the same CPU is handed it
//! without waking another one, which is all the speed there is in it. CPUs this process may not use
//! have queues too; any thread serves them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io;

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

/// What one thread does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The queues it serves.
    pub(crate) queues: Vec<u16>,
    /// The CPUs it stays on; all it may use if empty.
    pub(crate) cpus: Vec<usize>,
}

/// Divides the queues of `possible` CPUs among at most `threads` threads, one for each of the
/// `usable` CPUs if there is no such limit.
pub(crate) fn assign(possible: usize, usable: &[usize], threads: Option<usize>) -> Vec<Assignment> {
    let usable = usable.iter().copied().filter(|cpu| *cpu < possible);
    let usable: Vec<usize> = usable.collect();
    let most = usable.len().max(1);
    let count = threads.map_or(most, |threads| threads.clamp(1, most));
    let mut assignments: Vec<Assignment> = Vec::new();
    assignments.resize_with(count, Assignment::default);
    let foreign = (0..possible).filter(|cpu| !usable.contains(cpu));
    for (turn, cpu) in usable.iter().copied().chain(foreign).enumerate() {
        let assignment = &mut assignments[turn % count];
        // A CPU's number fits: the kernel has 16 bits for it.
        assignment.queues.push(cpu as u16);
        if turn < usable.len() {
            assignment.cpus.push(cpu);
        }
    }
    assignments
}

/// The number of CPUs the kernel has queues for.
pub(crate) fn possible() -> io::Result<usize> {
    let text = fs::read_to_string(POSSIBLE)?;
    count(text.trim()).ok_or_else(|| io::Error::other(format!("{POSSIBLE}: `{}`", text.trim())))
}

/// How many numbers a list such as `0-3,8` has.
fn count(list: &str) -> Option<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',')
        .map(range)
        .sum::<Option<usize>>()
        .filter(|count| *count <= usize::from(u16::MAX))
}

/// The CPUs this process may use.
pub(crate) fn usable() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// Keeps the calling thread on `cpus`. If that is refused it runs wherever it may, which is slower
/// and no worse.
pub(crate) fn stay_on(cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::debug!(?cpus, %error, "a serving thread could not be pinned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(queues: &[u16], cpus: &[usize]) -> Assignment {
        Assignment {
            queues: queues.to_vec(),
            cpus: cpus.to_vec(),
        }
    }

    #[test]
    fn each_cpu_has_a_thread_of_its_own() {
        let expected = [of(&[0], &[0]), of(&[1], &[1])];
        assert_eq!(assign(2, &[0, 1], None), expected);
        assert_eq!(assign(2, &[0, 1], Some(9)), expected);
    }

    #[test]
    fn fewer_threads_serve_several_queues_on_their_cpus() {
        let expected = [of(&[0, 2], &[0, 2]), of(&[1, 3], &[1, 3])];
        assert_eq!(assign(4, &[0, 1, 2, 3], Some(2)), expected);
        assert_eq!(assign(3, &[0, 1, 2], Some(0)), [of(&[0, 1, 2], &[0, 1, 2])]);
    }

    #[test]
    fn queues_of_cpus_that_cannot_be_used_are_served_elsewhere() {
        let expected = [of(&[1, 0], &[1]), of(&[3, 2], &[3])];
        assert_eq!(assign(4, &[1, 3], None), expected);
        assert_eq!(assign(2, &[], None), [of(&[0, 1], &[])]);
        assert_eq!(assign(1, &[0, 7], None), [of(&[0], &[0])]);
    }

    #[test]
    fn every_queue_is_served_once() {
        for threads in [None, Some(1), Some(3), Some(5)] {
            let assignments = assign(9, &[0, 2, 3, 4, 8], threads);
            let mut queues: Vec<u16> = assignments.into_iter().flat_map(|a| a.queues).collect();
            queues.sort_unstable();
            assert_eq!(queues, (0..9).collect::<Vec<u16>>());
        }
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        for (list, expected) in [("0", 1), ("0-1", 2), ("0-3,8,10-11", 7)] {
            assert_eq!(count(list), Some(expected), "{list}");
        }
        for list in [
            "",
            "x",
            "3-1",
            "0-99999",
            "0-18446744073709551615",
            "1-",
            "-1",
        ] {
            assert_eq!(count(list), None, "{list}");
        }
    }

    #[test]
    fn this_machine_has_cpus() {
        let possible = possible().unwrap();
        assert!(!usable().is_empty() && usable().len() <= possible);
    }
}
