//! Making files, directories and names.

use mount_tests::posix::{Make, Outcome, age, as_user, fifo, seen, tree};
use mount_tests::programs::sh;
use mount_tests::{Daemon, fails, same_as_tmpfs};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, chmod, chown, link, linkat, mkdir, open, symlink, unlink,
};
use rustix::io::Errno;
use std::path::Path;

fn exclusive(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    open(path, flags, 0o644.into()).map(drop)
}

fn plain(path: &Path) -> Result<(), Errno> {
    open(path, OFlags::CREATE | OFlags::WRONLY, 0o644.into()).map(drop)
}

/// Everything that makes a name.
fn makers(path: &Path, other: &Path) -> Vec<(&'static str, Result<(), Errno>)> {
    let mut results = Vec::new();
    let mut take = |what, make: &dyn Fn() -> Result<(), Errno>| {
        results.push((what, make()));
    };
    take("O_EXCL", &|| exclusive(path));
    take("mkdir", &|| mkdir(path, 0o755.into()));
    take("symlink", &|| symlink("target", path));
    take("mkfifo", &|| fifo(path, 0o644));
    take("link", &|| link(other, path));
    results
}

#[test]
fn an_existing_name_is_not_made_again() {
    same_as_tmpfs(|root| {
        let other = root.join("other");
        std::fs::write(&other, "").unwrap();
        let mut report = Vec::new();
        for kind in Make::ALL.into_iter().filter(|&kind| kind != Make::Nothing) {
            let path = root.join(format!("{kind:?}"));
            kind.at(&path);
            report.push((kind, makers(&path, &other)));
        }
        (report, tree(root))
    });
}

#[test]
fn nothing_is_made_in_what_is_missing_or_no_directory() {
    same_as_tmpfs(|root| {
        let file = root.join("file");
        std::fs::write(&file, "").unwrap();
        let missing = makers(&root.join("missing/name"), &file);
        let below_file = makers(&root.join("file/name"), &file);
        (missing, below_file, tree(root))
    });
}

#[test]
fn open_makes_a_missing_file_and_opens_an_existing_one() {
    let mount = Daemon::start();
    let file = mount.path("file");
    plain(&file).unwrap();
    std::fs::write(&file, "content").unwrap();
    plain(&file).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
    mkdir(mount.path("dir"), Mode::RWXU).unwrap();
    fails(Errno::ISDIR, plain(&mount.path("dir")));
    fails(
        Errno::ISDIR,
        open(mount.path("dir"), OFlags::WRONLY, Mode::empty()),
    );
}

#[test]
fn the_umask_is_applied_once() {
    let script = "umask 027; touch f; mkdir d; mkfifo p; umask 0; touch f0; mkdir d0; mkfifo p0";
    same_as_tmpfs(|root| {
        sh(root, script);
        tree(root)
    });
}

#[test]
fn what_a_user_makes_is_owned_by_that_user() {
    let mount = Daemon::start();
    chmod(mount.root(), 0o777.into()).unwrap();
    as_user(1000, 1001, &[], || {
        exclusive(&mount.path("file")).unwrap();
        mkdir(mount.path("dir"), 0o755.into()).unwrap();
        symlink("target", mount.path("symlink")).unwrap();
        fifo(&mount.path("fifo"), 0o644).unwrap();
    });
    for name in ["file", "dir", "symlink", "fifo"] {
        let seen = seen(mount.path(name));
        assert_eq!((name, seen.uid, seen.gid), (name, 1000, 1001));
    }
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    same_as_tmpfs(|root| {
        let dir = root.join("dir");
        mkdir(&dir, Mode::RWXU).unwrap();
        chown(&dir, None, Some(rustix::fs::Gid::from_raw(2000))).unwrap();
        chmod(&dir, 0o2777.into()).unwrap();
        as_user(1000, 1001, &[], || {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            open(dir.join("file"), flags, 0o2755.into()).unwrap();
            mkdir(dir.join("sub"), 0o755.into()).unwrap();
            mkdir(dir.join("sub/sub"), 0o755.into()).unwrap();
            symlink("target", dir.join("symlink")).unwrap();
            fifo(&dir.join("fifo"), 0o644).unwrap();
        });
        tree(root)
    });
}

type Maker<'a> = &'a dyn Fn(&Path);

#[test]
fn the_parent_shows_each_new_name() {
    let mount = Daemon::start();
    let dir = mount.path("dir");
    mkdir(&dir, Mode::RWXU).unwrap();
    std::fs::write(mount.path("other"), "").unwrap();
    let makers: [(&str, u32, Maker); 5] = [
        ("file", 2, &|path| exclusive(path).unwrap()),
        ("dir", 3, &|path| mkdir(path, Mode::RWXU).unwrap()),
        ("symlink", 3, &|path| symlink("target", path).unwrap()),
        ("fifo", 3, &|path| fifo(path, 0o644).unwrap()),
        ("link", 3, &|path| link(mount.path("other"), path).unwrap()),
    ];
    for (name, nlink, make) in makers {
        age(&dir);
        let before = seen(&dir);
        make(&dir.join(name));
        let after = seen(&dir);
        assert!(after.mtime > before.mtime, "{name}: mtime of the directory");
        assert!(after.ctime > before.ctime, "{name}: ctime of the directory");
        assert_eq!(after.nlink, nlink, "{name}: nlink of the directory");
    }
}

#[test]
fn links_are_one_file() {
    let mount = Daemon::start();
    let (one, two) = (mount.path("one"), mount.path("two"));
    std::fs::write(&one, "content").unwrap();
    age(&one);
    let before = seen(&one);
    link(&one, &two).unwrap();
    assert_eq!(seen(&one), seen(&two));
    assert_eq!(seen(&one).nlink, 2);
    assert!(seen(&one).ctime > before.ctime);
    std::fs::write(&two, "changed through two").unwrap();
    assert_eq!(std::fs::read(&one).unwrap(), b"changed through two");
    assert_eq!(seen(&one), seen(&two));
    for n in 0..200 {
        link(&one, mount.path(format!("link{n}"))).unwrap();
    }
    assert_eq!(seen(&two).nlink, 202);
    unlink(&one).unwrap();
    assert_eq!(std::fs::read(&two).unwrap(), b"changed through two");
}

#[test]
fn links_to_other_kinds() {
    same_as_tmpfs(|root| {
        let mut report = Vec::new();
        for kind in Make::ALL {
            let (path, name) = (root.join(format!("{kind:?}")), format!("link to {kind:?}"));
            kind.at(&path);
            report.push(link(&path, root.join(&name)).outcome());
            let follow = AtFlags::SYMLINK_FOLLOW;
            report.push(linkat(
                CWD,
                &path,
                CWD,
                root.join(name + " followed"),
                follow,
            ));
        }
        (report, tree(root))
    });
}

#[test]
fn open_with_o_creat_follows_a_dangling_symlink() {
    let mount = Daemon::start();
    symlink("made", mount.path("symlink")).unwrap();
    fails(Errno::EXIST, exclusive(&mount.path("symlink")));
    plain(&mount.path("symlink")).unwrap();
    assert_eq!(seen(mount.path("made")).size, 0);
}
