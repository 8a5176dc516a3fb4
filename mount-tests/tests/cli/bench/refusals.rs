//! What cannot be measured is refused before anything is.

use super::{empty, short};
use mount_tests::{Background, Scratch, Tmpfs, norefs, norefs_as_nobody, refused, text};
use rustix::mount::{MountFlags, mount_remount};

#[test]
fn bench_refuses_what_it_cannot_use_before_it_touches_the_others() {
    let scratch = Scratch::new();
    let (good, file) = (scratch.dir("good"), scratch.join("file"));
    std::fs::write(&file, "").unwrap();
    for wrong in [file, scratch.join("missing")] {
        let output = short(norefs()).arg(&good).arg(&wrong).output().unwrap();
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(wrong.to_str().unwrap()), "{said}");
        assert_eq!(text(&output.stdout), "");
        empty(&good);
    }
    for page in [
        scratch.join("missing/page.html"),
        good.clone(),
        "/dev/null".into(),
    ] {
        let mut command = short(norefs());
        let output = command
            .arg("--html")
            .arg(&page)
            .arg(&good)
            .output()
            .unwrap();
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(page.to_str().unwrap()), "{said}");
        empty(&good);
    }
    for wrong in [
        "--entries=0",
        "--rounds=0",
        "--clients=0",
        "--operation=stat",
        "--workload=x",
    ] {
        let output = norefs().arg("bench").arg(wrong).output().unwrap();
        refused(&output);
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn bench_says_where_it_may_not_write_or_has_no_room() {
    let tmpfs = Tmpfs::new();
    let small = Background::new(&["-o", "nr_inodes=30"]);
    let thin = Background::new(&["-o", "size=64k"]);
    let fixed = Tmpfs::new();
    mount_remount(&*fixed, MountFlags::RDONLY, "").unwrap();
    let cases = [
        (&*fixed, "Read-only file system"),
        (small.mountpoint.as_path(), "No space left: "),
        (thin.mountpoint.as_path(), "No space left: "),
    ];
    for (wrong, reason) in cases {
        let mut command = norefs();
        command.args(["bench", "--entries", "400"]);
        let output = command.args([&*tmpfs, wrong]).output().unwrap();
        refused(&output);
        let said = text(&output.stderr);
        assert!(said.contains(wrong.to_str().unwrap()), "{said}");
        assert!(said.contains(reason), "{said}");
        empty(wrong);
        empty(&tmpfs);
    }
    let scratch = Scratch::new();
    let foreign = scratch.dir("foreign");
    let output = short(norefs_as_nobody(&scratch)).arg(&foreign).output();
    let output = output.unwrap();
    refused(&output);
    let said = text(&output.stderr);
    assert!(said.contains("Permission denied"), "{said}");
    empty(&foreign);
}
