//! inotify: who watches sees what happens on the mount.

use mount_tests::same_as_tmpfs;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

fn everything(root: &Path) {
    let path = |name: &str| root.join(name);
    fs::write(path("dir/new"), "content").unwrap();
    fs::read(path("dir/new")).unwrap();
    fs::rename(path("dir/new"), path("dir/moved")).unwrap();
    fs::hard_link(path("dir/moved"), path("dir/link")).unwrap();
    fs::remove_file(path("dir/link")).unwrap();
    fs::set_permissions(path("file"), mode()).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(path("file"))
        .unwrap()
        .set_len(3)
        .unwrap();
    fs::create_dir(path("dir/sub")).unwrap();
    fs::remove_dir(path("dir/sub")).unwrap();
    fs::rename(path("dir/moved"), path("file")).unwrap();
    fs::remove_dir_all(path("dir")).unwrap();
}

fn mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o600)
}

/// Each event: the watch, what, which name, and whether it belongs to another.
fn events_of(root: &Path, happen: impl Fn(&Path)) -> Vec<String> {
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("file"), "before").unwrap();
    let inotify = init(CreateFlags::NONBLOCK).unwrap();
    for watched in ["dir", "file"] {
        add_watch(&inotify, root.join(watched), WatchFlags::ALL_EVENTS).unwrap();
    }
    happen(root);
    let mut space = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = Reader::new(inotify, &mut space);
    let mut events = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => events.push(format!(
                "{} {:?} {:?} {}",
                event.wd(),
                event.events(),
                event.file_name(),
                event.cookie() != 0
            )),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                return events;
            }
        }
    }
}

#[test]
fn a_watch_sees_every_change() {
    same_as_tmpfs(|root| {
        let events = events_of(root, everything);
        assert!(events.len() > 20, "{events:#?}");
        events
    });
}
