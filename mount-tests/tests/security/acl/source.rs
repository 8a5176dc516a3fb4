//! A source with lists.

use super::NAMING;
use mount_tests::acl::{ACCESS, DEFAULT, Rights, list, rights, set};
use mount_tests::posix::{as_user, tree};
use mount_tests::{Daemon, Tmpfs};
use rustix::fs::chmod;
use std::path::{Path, PathBuf};

const HANDED_DOWN: &str = "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---";

fn source() -> Tmpfs {
    let source = Tmpfs::new();
    std::fs::create_dir_all(source.join("dir/sub")).unwrap();
    std::fs::create_dir(source.join("plain")).unwrap();
    for name in ["file", "dir/file", "dir/sub/file", "plain/file"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    std::fs::hard_link(source.join("file"), source.join("again")).unwrap();
    rustix::fs::symlink("file", source.join("link")).unwrap();
    mount_tests::posix::fifo(&source.join("fifo"), 0o644).unwrap();
    for name in ["", "file", "dir", "dir/sub/file", "fifo"] {
        set(&source.join(name), ACCESS, NAMING).unwrap();
    }
    chmod(&*source, 0o755.into()).unwrap();
    chmod(source.join("dir"), 0o2775.into()).unwrap();
    for name in ["", "dir", "dir/sub"] {
        set(&source.join(name), DEFAULT, HANDED_DOWN).unwrap();
    }
    source
}

fn load(source: &Path, options: &str) -> Daemon {
    Daemon::with(&["-o", options, source.to_str().unwrap()])
}

fn all(root: &Path) -> Vec<(PathBuf, Rights)> {
    let paths = tree(root).into_keys().chain([PathBuf::new()]);
    paths
        .map(|path| (path.clone(), rights(&root.join(path))))
        .collect()
}

#[test]
fn with_the_option_lists_are_loaded_as_they_are() {
    let source = source();
    let mount = load(&source, "allow_other,acl");
    assert_eq!(all(mount.root()), all(&source));
    let file = mount.path("file");
    let read = |path: &Path| as_user(1000, 7, &[], || std::fs::read_to_string(path));
    assert_eq!(read(&file).unwrap(), "file");
    assert!(read(&mount.path("dir/sub/file")).is_ok());
    let as_other = as_user(1001, 7, &[], || std::fs::read_to_string(&file).is_ok());
    assert!(!as_other);
    for root in [mount.root(), &source] {
        std::fs::create_dir(root.join("dir/new")).unwrap();
        std::fs::write(root.join("new"), "").unwrap();
        chmod(root.join("dir/sub/file"), 0o604.into()).unwrap();
    }
    assert_eq!(all(mount.root()), all(&source));
}

#[test]
fn without_it_modes_are_narrowed_and_no_lists_are_there() {
    let source = source();
    let mount = load(&source, "allow_other");
    for (path, rights) in all(mount.root()) {
        let of_source = mount_tests::posix::seen(source.join(&path)).mode;
        let extra = rights.mode & !of_source;
        assert_eq!(
            extra,
            0,
            "{}: {:o} {of_source:o}",
            path.display(),
            rights.mode
        );
        assert_eq!(rights.names.as_deref(), Ok(&b""[..]), "{}", path.display());
    }
    let mode = |name| mount_tests::posix::seen(mount.path(name)).mode & 0o7777;
    assert_eq!((mode("file"), mode("dir/sub/file")), (0o600, 0o600));
    assert_eq!(mode("plain/file"), 0o644);
}

#[test]
fn a_list_too_long_to_be_kept_narrows_the_mode() {
    let source = Tmpfs::new();
    let file = source.join("file");
    std::fs::write(&file, "content").unwrap();
    let users: String = (0..600).map(|id| format!("u:{}:r--,", 1000 + id)).collect();
    let long = format!("u::rw-,{users}g::r--,m::r--,o::r--");
    assert!(list(&long).len() > 4096);
    set(&file, ACCESS, &long).unwrap();
    let mount = load(&source, "allow_other,acl");
    let rights = rights(&mount.path("file"));
    assert_eq!((rights.mode & 0o7777, rights.names), (0o644, Ok(vec![])));
}

/// Gives `path` more extended attributes than can be listed.
fn crowd(path: &Path) {
    let flags = rustix::fs::XattrFlags::empty();
    let set = |number| {
        let name = format!("user.{number:0240}");
        rustix::fs::setxattr(path, name.as_str(), b"x", flags).is_ok()
    };
    assert!((0..400).take_while(|&number| set(number)).count() > 300);
    let listed = rustix::fs::listxattr(path, &mut vec![0; 65536][..]);
    assert_eq!(listed.err(), Some(rustix::io::Errno::TOOBIG));
}

#[test]
fn a_list_counts_also_among_more_attributes_than_can_be_listed() {
    let source = Tmpfs::new();
    chmod(&*source, 0o770.into()).unwrap();
    std::fs::create_dir(source.join("dir")).unwrap();
    for name in ["file", "dir/file"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    let crowded = ["", "file", "dir"].map(|name| source.join(name));
    for path in &crowded {
        rustix::fs::chown(path, None, Some(rustix::fs::Gid::from_raw(12345))).unwrap();
        set(path, ACCESS, "u::rwx,u:12346:rwx,g::---,m::rwx,o::---").unwrap();
        crowd(path);
    }
    set(&source.join("dir"), DEFAULT, HANDED_DOWN).unwrap();
    // Who is in the group is refused; whom the list names gets in.
    let gets_in = |root: &Path, uid| {
        let paths = ["file", "dir/file"].map(|name| root.join(name));
        let listing = as_user(uid, 12345, &[], || std::fs::read_dir(root).is_ok());
        let read = paths.map(|path| as_user(uid, 12345, &[], || std::fs::read(path).is_ok()));
        (listing, read)
    };
    let nobody = (false, [false; 2]);
    assert_eq!(gets_in(&source, 12347), nobody);
    assert_eq!(gets_in(&source, 12346), (true, [true; 2]));
    for options in ["allow_other", "allow_other,permissions=daemon"] {
        let mount = load(&source, options);
        assert_eq!(gets_in(mount.root(), 12347), nobody, "{options}");
        assert!(
            mount.log().contains("3 entries could not be read in full"),
            "{}",
            mount.log()
        );
    }
    let mount = load(&source, "allow_other,acl");
    assert_eq!(gets_in(mount.root(), 12347), nobody);
    assert_eq!(gets_in(mount.root(), 12346), (true, [true; 2]));
    for name in ["", "file", "dir"] {
        for which in [ACCESS, DEFAULT] {
            let of = |root: &Path| mount_tests::acl::get(&root.join(name), which);
            assert_eq!(of(mount.root()), of(&source), "{name} {which}");
        }
    }
}
