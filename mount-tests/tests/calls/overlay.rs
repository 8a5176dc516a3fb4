//! A mount as a layer of overlayfs: what containers do with a filesystem.

use mount_tests::posix::tree;
use mount_tests::programs::sh;
use mount_tests::{Scratch, same_as_tmpfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Two layers, and what overlayfs makes of them. Dropping it unmounts.
struct Merged(PathBuf);

impl Merged {
    fn new(place: &Scratch, lower: &Path, upper: &Path) -> Merged {
        let merged = place.dir("merged");
        for name in ["upper", "work"] {
            std::fs::create_dir(upper.join(name)).unwrap();
        }
        let (lower, upper) = (lower.display(), upper.display());
        let options = format!(
            "lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work,redirect_dir=on,metacopy=off"
        );
        let options = CString::new(options).unwrap();
        mount(
            "overlay",
            &merged,
            "overlay",
            MountFlags::empty(),
            &*options,
        )
        .unwrap();
        Merged(merged)
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

const LOWER: &str = "
    mkdir -p kept/sub gone moved/sub replaced
    for n in $(seq 30); do seq $n > kept/f$n; seq $n > gone/f$n; seq $n > moved/sub/f$n; done
    echo lower > replaced/file; ln kept/f1 kept/link; ln -s f2 kept/symlink; chmod 4755 kept/f3; mkfifo kept/fifo";

const CHANGES: &str = "
    rm -r gone; mv moved elsewhere; rm kept/f4; echo more >> kept/f5; mv kept/f6 kept/sub/f6
    rm -r replaced; mkdir replaced; echo upper > replaced/new
    chmod 600 kept/f7; chown 1000:1001 kept/f8; touch -d @1700000000 kept/f9; truncate -s 3 kept/f10
    ln kept/f11 kept/f11link; cp -a kept kept.copy; echo x > kept.copy/f12; mv kept/f13 kept/f14
    setfattr -n user.said -v value kept/f15; rm kept/symlink; ln -s f3 kept/symlink
    find . -type f | sort | xargs sha256sum; getfattr -d kept/f15";

#[test]
fn changes_of_a_lower_layer_are_kept_in_it() {
    let lower = Scratch::new();
    sh(&lower, LOWER);
    same_as_tmpfs(|root| {
        let place = Scratch::new();
        let merged = Merged::new(&place, &lower, root);
        let said = sh(&merged.0, CHANGES);
        (said, tree(&merged.0), tree(&root.join("upper")))
    });
}

#[test]
fn what_it_holds_shows_through_an_upper_layer() {
    same_as_tmpfs(|root| {
        sh(root, LOWER);
        let upper = mount_tests::Tmpfs::new();
        let place = Scratch::new();
        let merged = Merged::new(&place, root, &upper);
        let said = sh(&merged.0, CHANGES);
        (said, tree(&merged.0), tree(root))
    });
}
