//! Trees loaded from a directory.

use mount_tests::posix::{as_user, same_trees, seen, tree};
use mount_tests::programs::{attempt, run, same_lines, sh};
use mount_tests::{
    Daemon, NOBODY, Scratch, Tmpfs, fails, is_mounted, norefs, norefs_as_nobody, refused, sample,
    text,
};
use rustix::fs::{SeekFrom, chmod, seek};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A source of three files, and the mount of it.
struct Loaded {
    mount: Daemon,
    source: Scratch,
}

fn load(source: &Path, options: &str) -> Daemon {
    Daemon::with(&["-o", options, source.to_str().unwrap()])
}

impl Loaded {
    fn new() -> Loaded {
        let source = Scratch::new();
        std::fs::write(source.join("file"), "of the source").unwrap();
        std::fs::write(source.join("other"), vec![b'o'; 300_000]).unwrap();
        std::fs::write(source.join("large"), vec![b'l'; 4_000_000]).unwrap();
        let mount = load(&source, "allow_other");
        Loaded { mount, source }
    }
}

/// `find -ls` without the inode and block columns.
fn find_ls(root: &Path) -> String {
    let listing = run(root, "find", &[".", "-ls"]);
    let lines = listing.lines().map(|line| {
        let columns: Vec<&str> = line.split_whitespace().skip(2).collect();
        columns.join(" ") + "\n"
    });
    lines.collect()
}

fn find_times(root: &Path) -> String {
    run(
        root,
        "find",
        &[".", "-printf", "%p %y %#m %U %G %n %s %T@ %C@ %l\n"],
    )
}

#[test]
fn a_loaded_tree_equals_its_source() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = load(&source, "allow_other");
    same_lines(&find_ls(mount.root()), &find_ls(&source));
    same_lines(&find_times(mount.root()), &find_times(&source));
    same_trees(mount.root(), &source);
    let attributes = |root: &Path| {
        let dump = run(
            root,
            "getfattr",
            &["-R", "-h", "-d", "-m", "-", "-e", "hex", "."],
        );
        dump.replace("\n\n", "|")
            .replace('\n', " ")
            .replace('|', "\n")
    };
    assert!(attributes(&source).contains("user.binary=0x0001ff"));
    same_lines(&attributes(mount.root()), &attributes(&source));
}

#[test]
fn diff_finds_no_difference() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = load(&source, "allow_other");
    let skip = ["fifo", "socket", "char", "block"].map(|name| format!("--exclude={name}"));
    let (from, to) = (source.to_str().unwrap(), mount.root().to_str().unwrap());
    let mut arguments = vec!["-r", "--no-dereference"];
    arguments.extend(skip.iter().map(String::as_str));
    arguments.extend([from, to]);
    assert_eq!(run(&source, "diff", &arguments), "");
}

#[test]
fn hard_links_are_one_inode_and_keep_the_count_of_the_source() {
    let outer = Scratch::new();
    let source = outer.dir("source");
    std::fs::write(source.join("a"), "content").unwrap();
    std::fs::hard_link(source.join("a"), source.join("b")).unwrap();
    std::fs::hard_link(source.join("a"), outer.join("outside")).unwrap();
    let mount = load(&source, "allow_other");
    assert_eq!(seen(mount.path("a")), seen(mount.path("b")));
    assert_eq!(seen(mount.path("a")).nlink, 3);
    std::fs::write(mount.path("a"), "changed").unwrap();
    assert_eq!(std::fs::read(mount.path("b")).unwrap(), b"changed");
    assert_eq!(std::fs::read(source.join("a")).unwrap(), b"content");
}

#[test]
fn sparse_files_stay_sparse() {
    let source = Scratch::new();
    let file = File::create(source.join("sparse")).unwrap();
    file.set_len(8 << 30).unwrap();
    file.write_at(b"data", 4 << 30).unwrap();
    let mount = load(&source, "allow_other");
    assert_eq!(seen(mount.path("sparse")).size, 8 << 30);
    assert!(seen(mount.path("sparse")).blocks < 1 << 15);
    let loaded = File::options()
        .read(true)
        .write(true)
        .open(mount.path("sparse"))
        .unwrap();
    let mut middle = [0; 6];
    loaded.read_exact_at(&mut middle, (4 << 30) - 1).unwrap();
    assert_eq!(&middle, b"\0data\0");
    loaded.write_at(b"x", 0).unwrap();
    assert!(
        seen(mount.path("sparse")).blocks < 1 << 15,
        "the first write filled the holes"
    );
    assert!(seek(&loaded, SeekFrom::Hole(0)).unwrap() < 1 << 30);
}

#[test]
fn a_write_changes_the_copy_and_never_the_source() {
    let Loaded { mount, source } = Loaded::new();
    let before = tree(&source);
    let times = seen(source.join("other"));
    let file = File::options()
        .write(true)
        .open(mount.path("other"))
        .unwrap();
    file.write_all_at(b"XYZ", 100_000).unwrap();
    let mut expected = vec![b'o'; 300_000];
    expected[100_000..100_003].copy_from_slice(b"XYZ");
    assert!(std::fs::read(mount.path("other")).unwrap() == expected);
    assert!(tree(&source) == before);
    assert_eq!(seen(source.join("other")), times);
}

#[test]
fn no_change_of_any_kind_reaches_the_source() {
    let source = Scratch::new();
    sample::fill(&source);
    let before = (find_times(&source), tree(&source));
    let unchanged = || {
        same_lines(&find_times(&source), &before.0);
        assert!(tree(&source) == before.1);
    };
    let mount = load(&source, "allow_other");
    sh(
        mount.root(),
        "chmod -R u+rwx .; chown -R 5:6 .; touch big; echo more >> big; : > dir0/sub0/file0
         mv dir1 moved; ln big another; truncate -s 10 'empty file'; setfattr -n user.x -v y big
         rm -rf dir2 fifo socket; mkdir new; cp -a dir3 new",
    );
    unchanged();
    run(mount.root(), "find", &[".", "-delete"]);
    assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 0);
    unchanged();
}

#[test]
fn truncation_and_append_of_a_source_file() {
    let Loaded { mount, source } = Loaded::new();
    std::fs::OpenOptions::new()
        .append(true)
        .open(mount.path("file"))
        .unwrap();
    sh(mount.root(), "printf ' and more' >> file");
    assert_eq!(
        std::fs::read(mount.path("file")).unwrap(),
        b"of the source and more"
    );
    let other = File::options()
        .write(true)
        .open(mount.path("other"))
        .unwrap();
    other.set_len(2).unwrap();
    other.set_len(5).unwrap();
    assert_eq!(std::fs::read(mount.path("other")).unwrap(), b"oo\0\0\0");
    assert_eq!(std::fs::read(source.join("other")).unwrap().len(), 300_000);
    std::fs::write(mount.path("file"), "new").unwrap();
    assert_eq!(
        std::fs::read(source.join("file")).unwrap(),
        b"of the source"
    );
}

type Change = fn(&Path);

/// Reads a file of the mount after `change` was done to the source.
fn read_after(change: Change) -> (Loaded, std::io::Result<Vec<u8>>) {
    let loaded = Loaded::new();
    std::thread::sleep(std::time::Duration::from_millis(11));
    change(&loaded.source);
    let read = std::fs::read(loaded.mount.path("other"));
    (loaded, read)
}

#[test]
fn a_changed_source_file_is_stale_and_logged_once() {
    let changes: [(&str, Change); 5] = [
        ("overwritten", |source| {
            let file = File::options()
                .write(true)
                .open(source.join("other"))
                .unwrap();
            file.write_all_at(b"new", 5).unwrap();
        }),
        ("truncated", |source| {
            File::options()
                .write(true)
                .open(source.join("other"))
                .unwrap()
                .set_len(1)
                .unwrap()
        }),
        ("replaced", |source| {
            std::fs::write(source.join("new"), vec![b'o'; 300_000]).unwrap();
            std::fs::rename(source.join("new"), source.join("other")).unwrap();
        }),
        ("removed", |source| {
            std::fs::remove_file(source.join("other")).unwrap()
        }),
        ("made a fifo", |source| {
            std::fs::remove_file(source.join("other")).unwrap();
            mount_tests::posix::fifo(&source.join("other"), 0o644).unwrap();
        }),
    ];
    for (what, change) in changes {
        let (
            Loaded {
                mount,
                source: _kept,
            },
            read,
        ) = read_after(change);
        assert_eq!(
            mount_tests::posix::Outcome::outcome(read),
            Err(Errno::STALE),
            "{what}"
        );
        fails(Errno::STALE, std::fs::read(mount.path("other")));
        let log = mount.log();
        let lines = log.lines().filter(|line| line.contains("other")).count();
        assert_eq!(lines, 1, "{what}: {log}");
        assert_eq!(mount.stats().0["stale"], 1, "{what}");
        assert_eq!(
            std::fs::read(mount.path("file")).unwrap(),
            b"of the source",
            "{what}"
        );
    }
}

#[test]
fn a_change_of_metadata_alone_in_the_source_leaves_the_content_readable() {
    const CHANGES: &str = "chmod 600 other; chown 1:2 other; ln other further; touch -a other
        setfattr -n user.some -v value other; cp -al . ../again; rm further; mv ../again ../renamed";
    let passthrough = mount_tests::offered::passthrough().then_some("allow_other,ro,passthrough");
    for options in ["allow_other", "allow_other,cache=none"]
        .into_iter()
        .chain(passthrough)
    {
        for read_before in [false, true] {
            let outer = Scratch::new();
            let source = outer.dir("source");
            std::fs::write(source.join("other"), vec![b'o'; 300_000]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(11));
            let mount = load(&source, options);
            let file = File::open(mount.path("other")).unwrap();
            if read_before {
                file.read_exact_at(&mut [0; 10], 0).unwrap();
            }
            sh(&source, CHANGES);
            std::fs::rename(&source, outer.join("moved")).unwrap();
            let mut read = vec![0; 300_000];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == [b'o'; 300_000], "{options}");
            let again = std::fs::read(mount.path("other")).unwrap();
            assert!(again == read, "{options}");
            assert_eq!(mount.log(), "", "{options}");
        }
    }
}

#[test]
fn what_moves_about_in_the_source_stays_readable() {
    let passthrough = mount_tests::offered::passthrough().then_some("allow_other,ro,passthrough");
    let options = ["allow_other", "allow_other,cache=none"];
    for options in options.into_iter().chain(passthrough) {
        let outer = Scratch::new();
        let source = outer.dir("source");
        sh(
            &source,
            "mkdir -p a/sub b; for f in a/x a/sub/y b/z b/renamed b/linked; do echo $f > $f; done; ln b/linked further",
        );
        let mount = load(&source, options);
        let open = File::open(mount.path("a/sub/y")).unwrap();
        sh(
            &source,
            "mv a b/moved; mkdir a; echo another > a/x; mv b c; mv c/renamed new; rm c/linked; chmod 700 c/moved",
        );
        std::fs::rename(&source, outer.join("elsewhere")).unwrap();
        for file in ["a/x", "a/sub/y", "b/z", "b/renamed", "b/linked"] {
            let read = std::fs::read_to_string(mount.path(file)).unwrap();
            assert_eq!(read, format!("{file}\n"), "{options}");
        }
        let mut read = [0; 7];
        open.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"a/sub/y", "{options}");
        assert_eq!(mount.stats().0["stale"], 0, "{options}");
    }
}

#[test]
fn a_write_to_a_file_changed_in_the_source_is_stale_too() {
    let Loaded { mount, source } = Loaded::new();
    std::thread::sleep(std::time::Duration::from_millis(11));
    std::fs::write(source.join("other"), "changed").unwrap();
    let file = File::options()
        .write(true)
        .open(mount.path("other"))
        .unwrap();
    fails(Errno::STALE, file.write_at(b"x", 10));
    fails(Errno::STALE, std::fs::read(mount.path("other")));
    std::fs::write(mount.path("other"), "a whole new content").unwrap();
    assert_eq!(
        std::fs::read(mount.path("other")).unwrap(),
        b"a whole new content"
    );
}

#[test]
fn a_file_that_changes_while_it_is_open_is_not_mixed() {
    let Loaded { mount, source } = Loaded::new();
    let read = |file: &File, offset| file.read_at(&mut [0; 100], offset);
    let file = File::open(mount.path("large")).unwrap();
    assert_eq!(read(&file, 0).unwrap(), 100);
    std::thread::sleep(std::time::Duration::from_millis(11));
    let changing = File::options()
        .write(true)
        .open(source.join("large"))
        .unwrap();
    changing.write_all_at(b"new", 3_900_000).unwrap();
    fails(Errno::STALE, read(&file, 3_900_000));
    fails(Errno::STALE, read(&file, 2_000_000));
}

#[test]
fn new_names_in_the_source_do_not_appear() {
    let Loaded { mount, source } = Loaded::new();
    std::fs::write(source.join("later"), "").unwrap();
    fails(Errno::NOENT, rustix::fs::lstat(mount.path("later")));
    assert_eq!(std::fs::read_dir(mount.root()).unwrap().count(), 3);
}

#[test]
fn other_mounts_are_crossed_only_when_asked() {
    let source = Scratch::new();
    std::fs::write(source.join("file"), "").unwrap();
    let beyond = Tmpfs::at(source.dir("sub"));
    std::fs::write(beyond.join("beyond"), "of another filesystem").unwrap();
    let inside = |arguments: &[&str]| {
        let mut all = vec!["-o", "allow_other"];
        all.extend(arguments);
        all.push(source.to_str().unwrap());
        let mount = Daemon::with(&all);
        let mut names: Vec<PathBuf> = tree(mount.root()).into_keys().collect();
        names.sort();
        (names, std::fs::read(mount.path("sub/beyond")).ok())
    };
    let (without, with) = (inside(&[]), inside(&["--cross-mounts"]));
    assert_eq!(without, (["file", "sub"].map(PathBuf::from).into(), None));
    let names = ["file", "sub", "sub/beyond"].map(PathBuf::from).into();
    assert_eq!(with, (names, Some(b"of another filesystem".to_vec())));
}

/// A source of which nobody cannot read two directories.
fn partly_unreadable() -> Scratch {
    let source = Scratch::new();
    for name in ["open", "closed", "shut"] {
        std::fs::write(source.dir(name).join("file"), name).unwrap();
    }
    chmod(source.join("closed"), 0o700.into()).unwrap();
    chmod(source.join("shut"), 0o700.into()).unwrap();
    source
}

#[test]
fn unreadable_entries_are_reported_and_counted() {
    let source = partly_unreadable();
    let mount = Daemon::as_nobody(&[&*source]);
    as_user(NOBODY, NOBODY, &[], || {
        assert_eq!(std::fs::read(mount.path("open/file")).unwrap(), b"open");
        assert!(std::fs::read_dir(mount.path("closed")).map_or(0, Iterator::count) == 0);
    });
    let log = mount.log();
    assert!(log.contains("closed") && log.contains("shut"), "{log}");
    assert!(log.contains("2 entries could not be read"), "{log}");
}

#[test]
fn unreadable_entries_are_fatal_when_strict() {
    let (source, at) = (partly_unreadable(), Scratch::new());
    let mountpoint = at.dir("mount");
    std::os::unix::fs::chown(&mountpoint, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = norefs_as_nobody(&at);
    let output = command
        .args(["mount", "--strict"])
        .arg(&*source)
        .arg(&mountpoint)
        .output()
        .unwrap();
    refused(&output);
    assert!(text(&output.stderr).contains("cannot read"), "{output:?}");
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn a_read_only_mount_of_a_source_refuses_changes() {
    let source = Scratch::new();
    std::fs::write(source.join("file"), "content").unwrap();
    let mount = load(&source, "allow_other,ro");
    assert_eq!(std::fs::read(mount.path("file")).unwrap(), b"content");
    fails(Errno::ROFS, std::fs::write(mount.path("file"), ""));
    fails(Errno::ROFS, std::fs::create_dir(mount.path("dir")));
    fails(Errno::ROFS, chmod(mount.path("file"), 0o600.into()));
    fails(Errno::ROFS, std::fs::remove_file(mount.path("file")));
}

#[test]
fn run_loads_a_source_too() {
    let source = Scratch::new();
    sample::fill(&source);
    let script = format!(
        "diff -r --no-dereference -x fifo -x socket -x char -x block . {} && echo equal",
        source.display()
    );
    let mut command = norefs();
    command
        .args(["run", "--at", "private", "--from"])
        .arg(&*source)
        .args(["--", "sh", "-c", &script]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"equal\n");
}

#[test]
fn a_source_on_tmpfs() {
    let source = Tmpfs::new();
    std::fs::write(source.join("file"), "content").unwrap();
    let mount = load(&source, "allow_other");
    let output = attempt(mount.root(), "cat", &["file"]);
    assert_eq!(output.stdout, b"content");
}
