//! Mount options that save requests.

use mount_tests::Daemon;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

#[test]
fn without_extended_attributes_there_are_none_and_nobody_asks() {
    let mount = Daemon::with(&["-o", "noxattr"]);
    let file = mount.path("f");
    std::fs::write(&file, "content").unwrap();
    let set = setxattr(&file, "user.name", b"value", XattrFlags::empty());
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    assert_eq!(
        getxattr(&file, "user.name", &mut [0; 9]),
        Err(Errno::OPNOTSUPP)
    );
    for turn in 0..9 {
        std::fs::write(mount.path(format!("{turn}")), "content").unwrap();
    }
    // The first one tells the kernel.
    assert!(mount.stats().count("getxattr") <= 2);
}
