//! Mounts seen in another mount namespace. In a file of its own: a new namespace holds on to the mounts of tests running beside it.

use mount_tests::{norefs, text};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn run_ends_although_another_mount_namespace_holds_its_mount() {
    let script = "unshare -m sh -c 'echo $$ > pid; exec sleep 300' > /dev/null 2>&1 &
        until test -s pid; do sleep 0.01; done; cat pid; exit 3";
    let output = norefs()
        .args(["run", "--", "sh", "-c", script])
        .output()
        .unwrap();
    let pid = text(&output.stdout).trim().parse().unwrap();
    // What is no longer there ended by itself.
    let left = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(left.is_ok(), "it waited for the process left behind");
}
