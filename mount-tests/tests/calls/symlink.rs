//! Symbolic links.

use mount_tests::posix::{age, seen};
use mount_tests::{Daemon, fails, same_as_tmpfs};
use rustix::fs::{Mode, OFlags};
use rustix::fs::{lstat, mkdir, open, readlink, stat, symlink, unlink};
use rustix::io::Errno;

#[test]
fn the_target_is_any_bytes_up_to_4095() {
    let mount = Daemon::start();
    let targets: [Vec<u8>; 4] = [
        b"t".to_vec(),
        b"../\xff\xfe/\n".to_vec(),
        vec![b'x'; 300],
        vec![b'y'; 4095],
    ];
    for (n, target) in targets.iter().enumerate() {
        let link = mount.path(n.to_string());
        symlink(target.as_slice(), &link).unwrap();
        assert_eq!(readlink(&link, []).unwrap().as_bytes(), target);
        assert_eq!(readlink(&link, []).unwrap().as_bytes(), target);
        assert_eq!(seen(&link).size, target.len() as u64);
        assert_eq!(seen(&link).mode, 0o120777);
    }
    fails(
        Errno::NAMETOOLONG,
        symlink(vec![b'z'; 4096], mount.path("long")),
    );
    fails(Errno::NOENT, symlink("", mount.path("empty")));
}

#[test]
fn links_are_followed() {
    let mount = Daemon::start();
    std::fs::create_dir_all(mount.path("dir/sub")).unwrap();
    std::fs::write(mount.path("dir/file"), "content").unwrap();
    symlink("dir", mount.path("relative")).unwrap();
    symlink(mount.path("dir"), mount.path("absolute")).unwrap();
    symlink("../file", mount.path("dir/sub/up")).unwrap();
    symlink("relative/sub/up", mount.path("chain")).unwrap();
    for path in ["relative/file", "absolute/file", "dir/sub/up", "chain"] {
        assert_eq!(
            std::fs::read(mount.path(path)).unwrap(),
            b"content",
            "{path}"
        );
    }
}

#[test]
fn loops_and_dangling_links() {
    same_as_tmpfs(|root| {
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        for n in 0..41 {
            let target = if n == 0 {
                "file".into()
            } else {
                format!("l{}", n - 1)
            };
            symlink(target, root.join(format!("l{n}"))).unwrap();
        }
        let nofollow = open(root.join("l0"), OFlags::NOFOLLOW, Mode::empty());
        let slash = lstat(root.join("dangling/"));
        let mut report = vec![nofollow.map(drop), slash.map(drop)];
        report.extend(["a", "dangling", "l39", "l40"].map(|name| stat(root.join(name)).map(drop)));
        report
    });
}

#[test]
fn a_link_made_anew_shows_its_new_target() {
    let mount = Daemon::start();
    let link = mount.path("link");
    for n in 0..20 {
        let target = format!("target {n}");
        symlink(&*target, &link).unwrap();
        assert_eq!(readlink(&link, []).unwrap().as_bytes(), target.as_bytes());
        unlink(&link).unwrap();
    }
}

#[test]
fn only_links_are_read() {
    let mount = Daemon::start();
    std::fs::write(mount.path("file"), "").unwrap();
    mkdir(mount.path("dir"), Mode::RWXU).unwrap();
    fails(Errno::INVAL, readlink(mount.path("file"), []));
    fails(Errno::INVAL, readlink(mount.path("dir"), []));
    fails(Errno::NOENT, readlink(mount.path("missing"), []));
}

#[test]
fn a_link_has_times_and_an_owner_of_its_own() {
    let mount = Daemon::start();
    let (file, link) = (mount.path("file"), mount.path("link"));
    std::fs::write(&file, "").unwrap();
    symlink("file", &link).unwrap();
    let before = seen(&file);
    age(&link);
    std::os::unix::fs::lchown(&link, Some(7), Some(8)).unwrap();
    let after = seen(&link);
    assert_eq!(
        (after.mtime, after.uid, after.gid),
        ((1_000_000_000, 1), 7, 8)
    );
    assert_eq!(seen(&file), before);
}
