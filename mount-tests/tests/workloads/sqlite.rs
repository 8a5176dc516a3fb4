//! sqlite: shared memory, locks and journals that must hold what they promise.

use mount_tests::programs::run;
use mount_tests::same_as_tmpfs;

#[test]
fn writers_and_readers_share_a_write_ahead_log() {
    let script = include_str!("write_ahead_log.py");
    same_as_tmpfs(|root| run(root, "python3", &["-c", script]));
}

#[test]
fn a_writer_that_dies_is_rolled_back() {
    let script = include_str!("rollback.py");
    same_as_tmpfs(|root| run(root, "python3", &["-c", script]));
}
