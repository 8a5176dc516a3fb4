//! Removing names.

use mount_tests::posix::{Make, age, seen, tree};
use mount_tests::{Daemon, fails, same_as_tmpfs, wait_until};
use rustix::fs::{
    AtFlags, Mode, OFlags, fstat, link, mkdir, open, rmdir, statfs, unlink, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;

#[test]
fn unlink_and_rmdir_of_each_kind() {
    same_as_tmpfs(|root| {
        let mut report = Vec::new();
        for kind in Make::ALL {
            let path = root.join(format!("{kind:?}"));
            kind.at(&path);
            report.push((kind, "unlink", unlink(&path)));
        }
        for kind in Make::ALL {
            let path = root.join(format!("{kind:?} again"));
            kind.at(&path);
            report.push((kind, "rmdir", rmdir(&path)));
        }
        (report, tree(root))
    });
}

#[test]
fn dots_are_not_removed() {
    same_as_tmpfs(|root| {
        std::fs::create_dir_all(root.join("dir/sub")).unwrap();
        vec![
            rmdir(root.join("dir/sub/.")),
            rmdir(root.join("dir/sub/..")),
            unlink(root.join("dir/sub/.")),
            unlink(root.join("dir/sub/")),
        ]
    });
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "content").unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    unlink(&path).unwrap();
    fails(Errno::NOENT, File::open(&path));
    file.write_at(b"C", 0).unwrap();
    file.set_len(100_000).unwrap();
    let mut start = [0; 8];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"Content\0");
    let stat = fstat(&file).unwrap();
    assert_eq!((stat.st_nlink, stat.st_size), (0, 100_000));
    rustix::fs::fchmod(&file, 0o600.into()).unwrap();
    assert_eq!(fstat(&file).unwrap().st_mode & 0o777, 0o600);
}

#[test]
fn the_name_of_an_open_file_can_be_made_anew() {
    let mount = Daemon::start();
    let path = mount.path("file");
    std::fs::write(&path, "old").unwrap();
    let old = File::open(&path).unwrap();
    unlink(&path).unwrap();
    std::fs::write(&path, "new!").unwrap();
    assert_eq!(std::io::read_to_string(&old).unwrap(), "old");
    assert_eq!(std::fs::read(&path).unwrap(), b"new!");
}

#[test]
fn unlink_of_one_of_two_links() {
    let mount = Daemon::start();
    let (one, two) = (mount.path("one"), mount.path("two"));
    std::fs::write(&one, "content").unwrap();
    link(&one, &two).unwrap();
    age(&two);
    let before = seen(&two);
    unlink(&one).unwrap();
    let after = seen(&two);
    assert_eq!(after.nlink, 1);
    assert!(after.ctime > before.ctime);
    assert_eq!(after.mtime, before.mtime);
    assert_eq!(std::fs::read(&two).unwrap(), b"content");
}

#[test]
fn the_parent_shows_each_removal() {
    let mount = Daemon::start();
    let dir = mount.path("dir");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    for (name, flags) in [("file", AtFlags::empty()), ("sub", AtFlags::REMOVEDIR)] {
        age(&dir);
        let before = seen(&dir);
        unlinkat(rustix::fs::CWD, dir.join(name), flags).unwrap();
        let after = seen(&dir);
        assert!(after.mtime > before.mtime, "{name}: mtime of the directory");
        assert!(after.ctime > before.ctime, "{name}: ctime of the directory");
    }
    assert_eq!(seen(&dir).nlink, 2);
}

#[test]
fn a_removed_directory_is_empty_for_who_holds_it() {
    let mount = Daemon::start();
    let path = mount.path("dir");
    mkdir(&path, Mode::RWXU).unwrap();
    let dir = open(&path, OFlags::DIRECTORY, Mode::empty()).unwrap();
    rmdir(&path).unwrap();
    assert_eq!(fstat(&dir).unwrap().st_nlink, 0);
    let names = rustix::fs::Dir::read_from(&dir).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    assert!(
        names.iter().all(|name| name.to_bytes().starts_with(b".")),
        "{names:?}"
    );
}

#[test]
fn removed_inodes_are_given_back() {
    let mount = Daemon::start();
    let free = || statfs(mount.root()).unwrap().f_ffree;
    let before = free();
    std::fs::create_dir(mount.path("dir")).unwrap();
    for n in 0..500 {
        std::fs::write(mount.path(format!("dir/{n}")), "content").unwrap();
    }
    assert_eq!(free(), before - 501);
    std::fs::remove_dir_all(mount.path("dir")).unwrap();
    assert!(
        wait_until(|| free() == before),
        "{} of {before} inodes are free",
        free()
    );
}

#[test]
fn removed_bytes_are_given_back() {
    let mount = Daemon::start();
    let free = || statfs(mount.root()).unwrap().f_bfree;
    let before = free();
    std::fs::write(mount.path("file"), vec![1; 8 << 20]).unwrap();
    let full = free();
    assert!(full < before, "a file of 8 MiB takes space");
    unlink(mount.path("file")).unwrap();
    assert!(
        wait_until(|| free() == before),
        "{} of {before} blocks are free",
        free()
    );
}
