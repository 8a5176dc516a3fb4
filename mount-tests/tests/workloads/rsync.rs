//! rsync: everything there and back, and what it says of ACLs.

use mount_tests::programs::{attempt, run, same_lines, sh};
use mount_tests::{Daemon, Scratch, Tmpfs, sample};
use rustix::fs::{XattrFlags, setxattr};
use std::path::Path;

/// Copies the content of one directory to another, and expects rsync to find nothing to do then.
#[track_caller]
fn copy(from: &Path, to: &Path) {
    let (from, to) = (format!("{}/", from.display()), format!("{}/", to.display()));
    run(
        Path::new("/"),
        "rsync",
        &["-aHAX", "--modify-window=-1", "--sparse", &from, &to],
    );
    let look_again = [
        "-aHAXc",
        "--modify-window=-1",
        "--delete",
        "--dry-run",
        "--itemize-changes",
        &from,
        &to,
    ];
    assert_eq!(run(Path::new("/"), "rsync", &look_again), "");
}

#[test]
fn a_tree_goes_in_and_comes_back() {
    let (source, back) = (Tmpfs::new(), Tmpfs::new());
    sample::fill(&source);
    let mount = Daemon::start();
    copy(&source, mount.root());
    copy(mount.root(), &back);
    sample::same_in_all(mount.root(), &source);
    sample::same_in_all(&back, &source);
}

#[test]
fn a_copy_is_brought_up_to_date() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = Daemon::start();
    let copy = mount.path("copy/");
    let update = |options: &[&str]| {
        let places =
            [source.to_str().unwrap(), copy.to_str().unwrap()].map(|dir| format!("{dir}/"));
        let places = places.each_ref().map(String::as_str);
        run(
            &source,
            "rsync",
            &[
                &["-aHX", "--modify-window=-1", "--delete"],
                options,
                &places,
            ]
            .concat(),
        )
    };
    update(&[]);
    let change = "
        printf changed | dd of=big bs=1 seek=1000000 conv=notrunc status=none
        rm -r dir3; echo new > dir0/new; mv 'empty file' moved; chmod 4711 moved";
    sh(&source, change);
    let statistics = update(&["--inplace", "--no-whole-file", "--stats"]);
    let literal = statistics
        .lines()
        .find(|line| line.starts_with("Literal data"));
    let bytes: u64 = literal
        .unwrap()
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    assert!(bytes < 100_000, "{statistics}");
    sample::same_in_all(&copy, &source);
    let again = mount.path("again");
    run(
        &source,
        "rsync",
        &["-aHX", "--link-dest=../copy", "./", again.to_str().unwrap()],
    );
    same_lines(
        &sh(&again, "find . -type f -size +0 -printf '%i %p\\n'"),
        &sh(&copy, "find . -type f -size +0 -printf '%i %p\\n'"),
    );
}

#[test]
fn an_acl_that_cannot_be_kept_is_told_of() {
    let source = Tmpfs::new();
    for name in ["listed", "plain"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    let mut list = 2u32.to_le_bytes().to_vec();
    let (owner, user, group, mask, other) = (1u16, 2, 4, 16, 32);
    for (tag, bits, id) in [
        (owner, 6u16, -1),
        (user, 6, 1234),
        (group, 4, -1),
        (mask, 6, -1),
        (other, 4, -1i32),
    ] {
        list.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_access";
    setxattr(source.join("listed"), name, &list, XattrFlags::empty()).expect("tmpfs keeps ACLs");
    let mount = Daemon::with(&["-o", "allow_other"]);
    let to = mount.root().to_str().unwrap();
    let with_acls = attempt(&source, "rsync", &["-aHAX", "./", to]);
    let said = String::from_utf8(with_acls.stderr).unwrap();
    assert_eq!(with_acls.status.code(), Some(23), "{said}");
    let refusals = said
        .lines()
        .filter(|line| line.contains("Operation not supported"));
    assert!(
        refusals.clone().all(|line| line.contains("listed")) && refusals.count() > 0,
        "{said}"
    );
    for name in ["listed", "plain"] {
        assert_eq!(std::fs::read_to_string(mount.path(name)).unwrap(), name);
    }
    run(&source, "rsync", &["-aHX", "--delete", "./", to]);
}
