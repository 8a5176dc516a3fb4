//! What a fork has, and what it shares with nobody from there on.

use super::{Ground, content, diff, end, fork, on_each, stats, succeeds};
use mount_tests::programs::sh;
use mount_tests::{Handle, fails, norefs, text, transport, wait_until};
use rustix::fs::{Mode, OFlags, lstat, open};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use vmap::MapMut;

#[test]
fn a_fork_has_everything_and_goes_its_own_way() {
    on_each(|ground| {
        let (a, b) = (ground.a(), ground.b());
        sh(
            a,
            "echo more >> two; mkdir new; echo deep > new/file; mv d/one new/; rm link; chmod 600 again;
             setfattr -n user.x -v y new; truncate -s 100000 new/hole",
        );
        ground.fork();
        let list = "find . -printf '%P %y %m %s %n %T@ %C@ %i %l\\n' | sort; find . -type f | sort | xargs sha256sum; getfattr -d new";
        let said = |mount| text(&sh_output(mount, list));
        assert_eq!(said(a), said(b));
        sh(b, "echo b >> two; rm -r new; echo b > of_b");
        sh(a, "echo a >> two; echo a > of_a");
        assert_eq!(content(a.join("two")), "two\nmore\na\n");
        assert_eq!(content(b.join("again")), "two\nmore\nb\n");
        assert_eq!(content(a.join("new/one")), "one\n");
        fails(Errno::NOENT, lstat(b.join("new")));
        fails(Errno::NOENT, lstat(b.join("of_a")));
        fails(Errno::NOENT, lstat(a.join("of_b")));
    });
}

fn sh_output(directory: &std::path::Path, script: &str) -> Vec<u8> {
    let mut command = std::process::Command::new("sh");
    command.args(["-euc", script]).current_dir(directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn a_fork_tells_what_differed_before_and_is_applied_by_itself() {
    let ground = Ground::new();
    let (a, b) = (ground.a(), ground.b());
    sh(a, "echo more >> d/one; rm link; mv two moved");
    let before = diff(a);
    assert_eq!(before.lines().count(), 3, "{before}");
    ground.fork();
    assert_eq!(diff(b), before);
    sh(a, "echo a > of_a");
    sh(b, "echo b > of_b");
    assert_eq!(diff(a), format!("{before}A of_a\n"));
    assert_eq!(diff(b), format!("{before}A of_b\n"));
    succeeds(norefs().arg("apply").arg(b));
    assert_eq!(diff(b), "");
    assert_eq!(content(ground.source().join("of_b")), "b\n");
    assert_eq!(content(ground.source().join("d/one")), "one\nmore\n");
    assert!(!ground.source().join("of_a").exists());
    assert_eq!(diff(a), format!("{before}A of_a\n"));
}

#[test]
fn a_fork_of_a_fork_has_what_both_changed() {
    on_each(|ground| {
        let (a, b, c) = (ground.a(), ground.b(), ground.c());
        sh(a, "echo a > of_a");
        ground.fork();
        sh(b, "echo b > of_b; echo more >> d/one");
        fork(b, c);
        sh(c, "echo c > of_c");
        for name in ["of_a", "of_b", "of_c"] {
            assert_eq!(content(c.join(name)).trim(), &name[3..]);
        }
        assert_eq!(content(c.join("d/one")), "one\nmore\n");
        end(a);
        end(b);
        assert_eq!(content(c.join("two")), "two\n");
        assert_eq!(diff(c), "M d/one\nA of_a\nA of_b\nA of_c\n");
    });
}

/// Looks at everything, so that the kernel knows it.
fn look_at_all(mount: &std::path::Path) {
    sh(mount, "ls -lR > /dev/null; cat d/one two > /dev/null");
}

#[test]
fn what_the_kernel_knew_of_the_mount_holds_nothing_in_the_fork() {
    on_each(|ground| {
        let (a, b) = (ground.a(), ground.b());
        look_at_all(a);
        ground.fork();
        let inodes = || stats(b)["inodes"].as_u64().unwrap();
        let before = inodes();
        look_at_all(b);
        sh(b, "rm two again; rm -r d");
        assert!(wait_until(|| inodes() == before - 3), "{}", inodes());
        assert_eq!(stats(a)["inodes"].as_u64().unwrap(), before);
        look_at_all(a);
    });
}

#[test]
fn a_file_without_a_name_ends_in_the_fork_and_stays_open_where_it_was() {
    on_each(|ground| {
        let (a, b) = (ground.a(), ground.b());
        let before = stats(a)["inodes"].as_u64().unwrap();
        let mut gone = File::create_new(a.join("gone")).unwrap();
        gone.write_all(&[7; 100_000]).unwrap();
        fs::remove_file(a.join("gone")).unwrap();
        let never = open(a, OFlags::TMPFILE | OFlags::RDWR, 0o600.into()).unwrap();
        let bytes = stats(a)["bytes"].as_u64().unwrap();
        ground.fork();
        let of_fork = |what: &str| stats(b)[what].as_u64().unwrap();
        assert!(
            wait_until(|| of_fork("inodes") == before),
            "{}",
            of_fork("inodes")
        );
        assert!(wait_until(|| of_fork("bytes") + 100_000 <= bytes));
        let mut read = vec![0; 100_000];
        gone.read_exact_at(&mut read, 0).unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
        assert_eq!(stats(a)["inodes"].as_u64().unwrap(), before + 2);
        drop((gone, never));
    });
}

#[test]
fn what_was_stored_through_a_map_is_in_the_fork() {
    on_each(|ground| {
        let (a, b) = (ground.a(), ground.b());
        fs::write(a.join("map"), [b'.'; 8192]).unwrap();
        let (mut map, _file) = MapMut::with_options()
            .write()
            .len(8192usize)
            .open(a.join("map"))
            .unwrap();
        map[5000] = b'x';
        ground.fork();
        assert_eq!(fs::read(b.join("map")).unwrap()[5000], b'x');
        map[5000] = b'y';
        assert_eq!(fs::read(b.join("map")).unwrap()[5000], b'x');
    });
}

#[test]
fn handles_of_the_mount_are_stale_in_the_fork_or_what_they_were() {
    on_each(|ground| {
        let (a, b) = (ground.a(), ground.b());
        let handles = ["two", "d/one", "d", "link"].map(|name| Handle::of(&a.join(name)).unwrap());
        fs::write(a.join("gone"), "").unwrap();
        let gone = Handle::of(&a.join("gone")).unwrap();
        fs::remove_file(a.join("gone")).unwrap();
        ground.fork();
        let root = File::open(b).unwrap();
        for handle in handles.iter().chain([&gone]) {
            let found = handle.open(&root, OFlags::PATH | OFlags::NOFOLLOW);
            assert_eq!(found.err(), Some(Errno::STALE));
        }
        for at in 0..8 {
            let mut nonsense = handles[0].clone();
            nonsense.bytes[at] ^= 0x5a;
            let found = handle_open(&nonsense, &root);
            assert_eq!(found, Some(Errno::STALE));
        }
        look_at_all(b);
        let own = Handle::of(&b.join("two")).unwrap();
        assert_eq!(handle_open(&own, &root), None);
    });
}

fn handle_open(handle: &Handle, root: &File) -> Option<Errno> {
    handle.open(root, OFlags::PATH | OFlags::NOFOLLOW).err()
}

#[test]
fn descriptors_and_locks_of_the_mount_go_on_there() {
    let ground = Ground::new();
    let (a, b) = (ground.a(), ground.b());
    let mut open = File::options().read(true).write(true).open(a.join("two"));
    let open = open.as_mut().unwrap();
    rustix::fs::flock(&*open, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut two = [0; 2];
    open.read_exact(&mut two).unwrap();
    ground.fork();
    let there = File::open(b.join("two")).unwrap();
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&there, lock).unwrap();
    open.write_all_at(b"T", 0).unwrap();
    let mut rest = String::new();
    open.read_to_string(&mut rest).unwrap();
    assert_eq!(
        (rest.as_str(), content(a.join("two")).as_str()),
        ("o\n", "Two\n")
    );
    assert_eq!(content(b.join("two")), "two\n");
}

#[test]
fn a_fork_is_mounted_and_served_as_the_mount_is() {
    let options = [
        "-o",
        "ro,noexec,noxattr,nr_inodes=1000,cache=5s",
        "--max-io=64k",
    ];
    for transport in transport::each() {
        let ground = Ground::on(transport, &options);
        ground.fork();
        let mounts = content("/proc/self/mountinfo");
        let line = |mount: &std::path::Path| {
            let line = mounts
                .lines()
                .find(|line| line.contains(mount.to_str().unwrap()));
            let fields: Vec<&str> = line.unwrap().split(' ').collect();
            let end = fields.len();
            [fields[5], fields[end - 3], fields[end - 2], fields[end - 1]].map(str::to_owned)
        };
        assert_eq!(line(ground.a()), line(ground.b()));
        let (a, b) = (stats(ground.a()), stats(ground.b()));
        for same in [
            "source",
            "options",
            "transport",
            "threads",
            "queues",
            "max_io",
            "max_inodes",
            "read_only",
            "cache",
        ] {
            assert_eq!(a[same], b[same], "{same}");
        }
        assert_ne!(a["pid"], b["pid"]);
        assert_eq!(b["mountpoint"], ground.b().to_str().unwrap());
        fails(
            Errno::ROFS,
            open(ground.b().join("new"), OFlags::CREATE, Mode::RWXU),
        );
    }
}

#[test]
fn limits_are_changed_for_each_by_itself() {
    let ground = Ground::new();
    ground.fork();
    succeeds(norefs().args(["set", "--read-only"]).arg(ground.b()));
    fs::write(ground.a().join("new"), "").unwrap();
    fails(
        Errno::ROFS,
        open(
            ground.b().join("new"),
            OFlags::CREATE | OFlags::WRONLY,
            Mode::RWXU,
        ),
    );
}

/// Of the memory that a fork has none is its own but what serving takes.
#[test]
fn memory_is_shared_until_something_changes() {
    let ground = Ground::new();
    let a = ground.a();
    sh(
        a,
        "seq 20000 | split -l 1 -a 5 - f; head -c 64M /dev/urandom > large",
    );
    ground.fork();
    let pid = stats(ground.b())["pid"].as_u64().unwrap();
    let rollup = content(format!("/proc/{pid}/smaps_rollup"));
    let own: u64 = rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum();
    assert!(
        own < 24 << 10,
        "{own} KiB of 64 MiB and 20,000 files are the fork's own"
    );
    let names = fs::read_dir(ground.b()).unwrap().count();
    assert_eq!(names, fs::read_dir(a).unwrap().count());
    assert_eq!(
        fs::metadata(ground.b().join("large")).unwrap().size(),
        64 << 20
    );
}
