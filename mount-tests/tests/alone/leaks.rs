//! What mounts leave behind in the process that served them. In a file of its own: other tests beside it would have
//! threads and descriptors too.

use mount_tests::posix::forced;
use mount_tests::transport::{Transport, each};
use mount_tests::{InProcess, is_mounted, wait_until};
use std::fs;

/// The threads and the descriptors of this process.
fn held() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|of| fs::read_dir(of).unwrap().count())
}

fn mount_and_use(transport: Transport) {
    let mount = InProcess::on(transport);
    let root = mount.root().to_owned();
    fs::write(mount.path("file"), "content").unwrap();
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"content");
    assert_eq!(forced(mount.path("file")).size, 7);
    drop(mount);
    assert!(!is_mounted(&root), "{transport}");
}

#[test]
fn mounts_leave_no_thread_and_no_descriptor() {
    for transport in each() {
        // What is made once in a process stays.
        mount_and_use(transport);
        assert!(
            wait_until(|| held()[0] <= 2),
            "{transport}: threads stay after one mount"
        );
        let before = held();
        (0..20).for_each(|_| mount_and_use(transport));
        let none_left = wait_until(|| held() <= before && held()[1] <= before[1]);
        assert!(
            none_left,
            "{transport}: {:?} threads and descriptors, {before:?} before",
            held()
        );
    }
}
