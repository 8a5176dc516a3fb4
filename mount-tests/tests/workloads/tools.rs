//! The programs people use, on a mount.

use mount_tests::posix::same_trees;
use mount_tests::programs::{run, same_lines, sh};
use mount_tests::{Daemon, Scratch, sample};
use std::path::Path;

/// How many files the repository of the git test has. `MOUNT_TESTS_GIT_FILES=20000` makes it a
/// large one.
fn git_files() -> usize {
    std::env::var("MOUNT_TESTS_GIT_FILES").map_or(2_000, |n| n.parse().expect("a number of files"))
}

/// Runs git so that it leaves nothing to do in the background.
fn git(dir: &Path, arguments: &[&str]) -> String {
    let settings = [
        "user.name=t",
        "user.email=t@t",
        "safe.directory=*",
        "gc.auto=0",
        "maintenance.auto=false",
    ];
    let mut all: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["-c", setting])
        .collect();
    all.extend(arguments);
    run(dir, "git", &all)
}

fn repository(root: &Path, files: usize) {
    for n in 0..files {
        let dir = root.join(format!("{}/{}", n % 20, n % 100));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(
            dir.join(format!("file{n}.txt")),
            format!("content of file {n}\n"),
        )
        .unwrap();
    }
    git(root, &["init", "--quiet"]);
    git(root, &["add", "."]);
    git(root, &["commit", "--quiet", "-m", "All"]);
}

#[test]
fn git_status_is_clean_as_it_is_outside() {
    let source = Scratch::new();
    repository(&source, git_files());
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let status = ["status", "--porcelain", "--branch"];
    assert_eq!(git(mount.root(), &status), git(&source, &status));
    assert_eq!(git(mount.root(), &["status", "--porcelain"]), "");
    std::fs::write(mount.path("0/0/file0.txt"), "changed").unwrap();
    std::fs::remove_file(mount.path("1/1/file1.txt")).unwrap();
    std::fs::write(mount.path("new"), "").unwrap();
    let changed = git(mount.root(), &["status", "--porcelain"]);
    assert_eq!(changed, " M 0/0/file0.txt\n D 1/1/file1.txt\n?? new\n");
    assert_eq!(git(&source, &["status", "--porcelain"]), "");
}

#[test]
fn git_works_inside() {
    let mount = Daemon::start();
    repository(mount.root(), 200);
    git(mount.root(), &["mv", "0/0/file0.txt", "moved.txt"]);
    git(mount.root(), &["commit", "--quiet", "-m", "Move"]);
    git(mount.root(), &["checkout", "--quiet", "HEAD~1"]);
    git(mount.root(), &["gc", "--quiet"]);
    git(mount.root(), &["clone", "--quiet", ".", "clone"]);
    git(&mount.path("clone"), &["fsck", "--strict"]);
    assert_eq!(git(mount.root(), &["status", "--porcelain"]), "?? clone/\n");
    assert!(mount.path("clone/0/0/file0.txt").exists());
}

#[test]
fn find_and_du_report_what_they_report_of_the_source() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
    let find = |root: &Path| sh(root, "find . -type f -size +1k -newermt 2000-01-01");
    same_lines(&find(mount.root()), &find(&source));
    let du = |root: &Path| {
        sh(
            root,
            "find . -type f -print0 | sort -z | du --apparent-size -lb --files0-from=-",
        )
    };
    same_lines(&du(mount.root()), &du(&source));
    let blocks = run(mount.root(), "du", &["-sk", "big", "sparse"]);
    let mut kib = blocks
        .lines()
        .map(|line| line.split('\t').next().unwrap().parse::<u64>().unwrap());
    assert!((2_900..3_300).contains(&kib.next().unwrap()), "{blocks}");
    assert!(kib.next().unwrap() < 2_000, "{blocks}");
}

#[test]
fn make_builds_and_knows_what_is_up_to_date() {
    let mount = Daemon::start();
    let makefile = "prog: main.o part.o\n\tcc -o $@ $^\n%.o: %.c part.h\n\tcc -c -o $@ $<\n";
    std::fs::write(mount.path("Makefile"), makefile).unwrap();
    std::fs::write(mount.path("part.h"), "int part(void);\n").unwrap();
    std::fs::write(
        mount.path("part.c"),
        "#include \"part.h\"\nint part(void) { return 42; }\n",
    )
    .unwrap();
    let main =
        "#include <stdio.h>\n#include \"part.h\"\nint main(void) { printf(\"%d\\n\", part()); }\n";
    std::fs::write(mount.path("main.c"), main).unwrap();
    run(mount.root(), "make", &["-j2"]);
    assert_eq!(sh(mount.root(), "./prog"), "42\n");
    assert!(run(mount.root(), "make", &[]).contains("up to date"));
    std::thread::sleep(std::time::Duration::from_millis(11));
    std::fs::write(mount.path("part.c"), "int part(void) { return 43; }\n").unwrap();
    let rebuilt = run(mount.root(), "make", &[]);
    assert!(
        rebuilt.contains("part.c") && !rebuilt.contains("main.c"),
        "{rebuilt}"
    );
    assert_eq!(sh(mount.root(), "./prog"), "43\n");
}

#[test]
fn cp_copies_a_tree_in_and_out() {
    let (source, back) = (Scratch::new(), Scratch::new());
    sample::fill(&source);
    let mount = Daemon::start();
    let inside = mount.path("copy");
    run(&source, "cp", &["-a", ".", inside.to_str().unwrap()]);
    let outside = back.join("copy");
    run(
        mount.root(),
        "cp",
        &["-a", "copy", outside.to_str().unwrap()],
    );
    sample::same_in_all(&inside, &source);
    sample::same_in_all(&outside, &source);
}

#[test]
fn tar_packs_and_unpacks() {
    let source = Scratch::new();
    sample::fill(&source);
    std::fs::remove_file(source.join("socket")).unwrap();
    let mount = Daemon::start();
    let archive = mount.path("archive.tar");
    let archive = archive.to_str().unwrap();
    run(&source, "tar", &["-cSf", archive, "."]);
    std::fs::create_dir(mount.path("unpacked")).unwrap();
    run(&mount.path("unpacked"), "tar", &["-xpSf", archive]);
    same_trees(&mount.path("unpacked"), &source);
    run(
        &mount.path("unpacked"),
        "tar",
        &["--compare", "--file", archive],
    );
}

#[test]
fn rm_removes_all_that_was_copied_in() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = Daemon::start();
    let used = || {
        rustix::fs::statfs(mount.root())
            .map(|fs| fs.f_files - fs.f_ffree)
            .unwrap()
    };
    let before = used();
    run(
        &source,
        "cp",
        &["-a", ".", mount.path("copy").to_str().unwrap()],
    );
    assert!(used() > before + 50);
    run(mount.root(), "rm", &["-rf", "copy"]);
    assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 0);
    assert!(
        mount_tests::wait_until(|| used() == before),
        "{} inodes in use",
        used()
    );
}

#[test]
fn editors_and_databases_save_as_they_do() {
    let mount = Daemon::start();
    let script = "
        echo one > file; echo two > .file.swp; mv .file.swp file; test \"$(cat file)\" = two
        ln file backup; sed -i s/two/three/ file; test \"$(cat file)\" = three; test \"$(cat backup)\" = two
        dd if=/dev/zero of=db bs=4096 count=16 conv=fsync status=none
        printf x | dd of=db bs=1 seek=20000 conv=notrunc status=none; test $(stat -c %s db) = 65536
        install -m 751 file installed; test $(stat -c %a installed) = 751
        mktemp -d -p . | xargs rmdir; sort -o file file backup; test $(wc -l < file) = 2";
    sh(mount.root(), script);
}
