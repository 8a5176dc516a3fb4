//! tar: attributes, holes and hard links in an archive.

use mount_tests::programs::sh;
use mount_tests::{Daemon, Tmpfs, sample};
use std::path::Path;

/// Copies a tree as one archive from `from` to `to`, through a file in `to`.
fn carry(from: &Path, to: &Path) {
    let (from, to) = (from.display(), to.display());
    let everything = "--xattrs --xattrs-include='*' --numeric-owner --sparse";
    let script = format!(
        "tar --create {everything} --format=posix --file={to}/archive --directory={from} .
        test $(stat -c %s {to}/archive) -lt 8000000
        tar --extract --preserve-permissions {everything} --file={to}/archive --directory={to}
        tar --compare --file={to}/archive --directory={to}; rm {to}/archive
        touch -d @1500000000 {from} {to}"
    );
    sh(Path::new("/"), &script);
}

#[test]
fn a_tree_goes_in_and_comes_back() {
    let (source, back) = (Tmpfs::new(), Tmpfs::new());
    sample::fill(&source);
    std::fs::remove_file(source.join("socket")).unwrap();
    let mount = Daemon::start();
    carry(&source, mount.root());
    carry(mount.root(), &back);
    sample::same_in_all(mount.root(), &source);
    sample::same_in_all(&back, &source);
    let blocks = sh(mount.root(), "stat -c %b sparse");
    assert!(blocks.trim().parse::<u64>().unwrap() < 2_000, "{blocks}");
}
