//! The programs that people use.

use super::inhabit;
use mount_tests::acl::{ACCESS, DEFAULT, Rights, rights, set};
use mount_tests::posix::tree;
use mount_tests::programs::{run, sh};
use mount_tests::{Daemon, Tmpfs, same_as_tmpfs_with};
use std::path::{Path, PathBuf};

/// Owners, modes and lists of everything, without what differs between two filesystems.
fn all(root: &Path) -> Vec<(PathBuf, Rights)> {
    let paths = tree(root).into_keys();
    paths
        .map(|path| (path.clone(), rights(&root.join(path))))
        .collect()
}

#[test]
fn setfacl_and_getfacl() {
    same_as_tmpfs_with("acl", |root| {
        inhabit(root);
        sh(
            root,
            "umask 022
             mkdir -p dir/a/b; touch dir/a/b/c
             setfacl -m u:1000:rwx,g:500:rx file dir fifo
             setfacl -d -m u:1000:rwX dir
             mkdir dir/late; touch dir/late/f
             setfacl -R -m u:1001:rwX dir
             getfacl -R -n dir > saved
             setfacl -x u:1000 file
             setfacl -b dir/a
             setfacl -k dir/late
             chmod g-w dir/a/b
             find . | sort | getfacl -n - > ../first
             setfacl --restore=saved
             find . | sort | getfacl -n - > ../second
             setfacl -m m::--- fifo
             setfacl --set u::rw,g::r,o::- file",
        );
        let said = ["first", "second"]
            .map(|name| std::fs::read_to_string(root.join("..").join(name)).unwrap());
        assert!(said[0].contains("user:1001:rwx"));
        (said, all(root))
    });
}

/// What has every kind of list.
fn fill(root: &Path) {
    let [file, dir, fifo] = inhabit(root);
    let list = "u::rw-,u:1000:rwx,g::r--,g:500:-w-,m::rw-,o::---";
    for path in [&file, &dir, &fifo] {
        set(path, ACCESS, list).unwrap();
    }
    set(&dir, DEFAULT, "u::rwx,u:7:rwx,g::---,m::rwx,o::---").unwrap();
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/inherits"), "content").unwrap();
    set(&dir.join("sub"), DEFAULT, "u::rwx,g::r-x,o::---").unwrap();
    std::fs::write(root.join("plain"), "plain").unwrap();
    rustix::fs::symlink("plain", root.join("link")).unwrap();
}

/// Copies by `script`, which knows `$from` and `$to`, from a tmpfs into the mount and on into a second tmpfs.
fn copied_there_and_back(script: &str) {
    let (source, back) = (Tmpfs::new(), Tmpfs::new());
    fill(&source);
    let mount = Daemon::start_with("acl");
    for (from, to) in [(&*source, mount.root()), (mount.root(), &*back)] {
        let script = format!("from={} to={}\n{script}", from.display(), to.display());
        sh(from, &script);
        assert_eq!(all(to), all(&source), "{script}");
    }
}

#[test]
fn cp_keeps_lists() {
    copied_there_and_back("cp -a . \"$to\"");
}

#[test]
fn tar_keeps_lists() {
    copied_there_and_back("tar --acls -cf - . | tar --acls -C \"$to\" -xpf -");
}

#[test]
fn rsync_keeps_lists() {
    copied_there_and_back("rsync -aAHX ./ \"$to\"; rsync -aAHX --delete ./ \"$to\"");
}

#[test]
fn mv_between_filesystems_keeps_lists() {
    let (source, kept) = (Tmpfs::new(), Tmpfs::new());
    for root in [&source, &kept] {
        fill(root);
    }
    let mount = Daemon::start_with("acl");
    let to = mount.root().to_str().unwrap();
    run(&source, "mv", &["file", "dir", "fifo", "plain", "link", to]);
    assert_eq!(all(mount.root()), all(&kept));
}

#[test]
fn a_backup_taken_by_getfacl_is_put_back() {
    let mount = Daemon::start_with("acl");
    fill(mount.root());
    let before = all(mount.root());
    sh(
        mount.root(),
        "getfacl -R -n . > saved
         setfacl -R -b .
         chmod -R 755 .
         setfacl --restore=saved
         rm saved",
    );
    assert_eq!(all(mount.root()), before);
}
