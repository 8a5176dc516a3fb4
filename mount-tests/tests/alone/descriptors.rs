//! Nothing is left of a mount that has ended. Alone in its process, which counts its own descriptors.

use mount_tests::{InProcess, wait_until};
use norefs::transport::{Cache, Options, Transport};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_mount_that_has_ended_leaves_no_descriptor() {
    let once = |transport| {
        let mount = InProcess::with(&Options {
            cache: Cache::Forever,
            transport,
            ..Options::default()
        });
        std::fs::write(mount.path("file"), "content").unwrap();
    };
    for transport in [Transport::Auto, Transport::Device] {
        once(transport);
        let before = descriptors();
        (0..10).for_each(|_| once(transport));
        assert!(
            wait_until(|| descriptors() <= before),
            "{transport}: {before} became {}",
            descriptors()
        );
    }
}
