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
