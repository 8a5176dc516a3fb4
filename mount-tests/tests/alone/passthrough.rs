//! Files of a source that the kernel reads by itself.

use mount_tests::offered::passthrough as offered;
use mount_tests::posix::{as_user, same_trees};
use mount_tests::programs::attempt;
use mount_tests::{
    Background, Daemon, NOBODY, Scratch, Tmpfs, fails, is_mounted, norefs, norefs_as_nobody,
    refused, sample, text, wait_until,
};
use rustix::fs::{SeekFrom, seek, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use vmap::Map;

const OPTIONS: &str = "allow_other,ro,passthrough";

fn mount(source: &Path) -> Daemon {
    mount_with(source, OPTIONS)
}

fn mount_with(source: &Path, options: &str) -> Daemon {
    Daemon::with(&["-o", options, source.to_str().unwrap()])
}

/// Bytes of which no two pages are alike.
fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at / 4093 + at) as u8).collect()
}

fn source() -> Scratch {
    let source = Scratch::new();
    std::fs::write(source.join("small"), "of the source").unwrap();
    std::fs::write(source.join("large"), bytes(3_000_001)).unwrap();
    source
}

/// Waits until as many files were closed as opened.
fn all_closed(mount: &Daemon) {
    let closed = wait_until(|| {
        let stats = mount.stats();
        stats.count("release") == stats.count("open")
    });
    assert!(closed, "{:?}", mount.stats());
}

#[test]
fn content_is_the_source_s_and_no_read_arrives() {
    if !offered() {
        return;
    }
    let source = Scratch::new();
    sample::fill(&source);
    for more in [
        "transport=device",
        "transport=auto",
        "cache=none",
        "cache=1s",
    ] {
        let mount = mount_with(&source, &format!("{OPTIONS},{more}"));
        same_trees(mount.root(), &source);
        let stats = mount.stats();
        assert_eq!(stats.count("read"), 0, "{more}");
        assert!(stats.count("open") >= 40, "{more}");
        all_closed(&mount);
    }
}

#[test]
fn without_the_option_reads_arrive() {
    let source = source();
    let mount = mount_with(&source, "allow_other,ro");
    assert!(std::fs::read(mount.path("large")).unwrap() == bytes(3_000_001));
    assert!(mount.stats().count("read") > 0);
    assert_eq!(mount.stats().count("release"), 0);
}

#[test]
fn a_memory_map_is_the_source_s_and_outlives_its_file() {
    if !offered() {
        return;
    }
    let source = source();
    let mount = mount(&source);
    let expected = bytes(3_000_001);
    let file = File::open(mount.path("large")).unwrap();
    let map = Map::with_options().map(&file).unwrap();
    assert!(map[..] == expected);
    drop(file);
    all_closed(&mount);
    let again = File::open(mount.path("large")).unwrap();
    let second = Map::with_options().map(&again).unwrap();
    assert!(map[..] == second[..] && map[..] == expected);
    assert_eq!(mount.stats().count("read"), 0);
}

#[test]
fn a_program_of_the_source_runs() {
    if !offered() {
        return;
    }
    let source = source();
    std::fs::copy("/bin/cat", source.join("cat")).unwrap();
    let mount = mount(&source);
    let output = attempt(mount.root(), "./cat", &["small"]);
    assert_eq!(text(&output.stdout), "of the source");
    assert_eq!(mount.stats().count("read"), 0);
}

#[test]
fn files_are_opened_and_closed_in_any_order() {
    if !offered() {
        return;
    }
    let source = source();
    let mount = mount(&source);
    let expected = bytes(3_000_001);
    let open = || File::open(mount.path("large")).unwrap();
    let good = |file: &File| {
        let mut read = [0; 5000];
        file.read_exact_at(&mut read, 2_000_000).unwrap();
        assert!(read[..] == expected[2_000_000..2_005_000]);
    };
    for _ in 0..50 {
        let (first, second) = (open(), open());
        good(&first);
        drop(first);
        good(&second);
        let third = open();
        drop(second);
        good(&third);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..300).for_each(|_| good(&open())));
        }
    });
    all_closed(&mount);
    good(&open());
    assert_eq!(mount.stats().count("read"), 0);
}

#[test]
fn what_the_daemon_answers_still_holds() {
    if !offered() {
        return;
    }
    let source = source();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"data", 1 << 29).unwrap();
    std::fs::write(source.join("empty"), "").unwrap();
    let mount = mount(&source);
    let file = File::open(mount.path("sparse")).unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(1 << 29));
    assert_eq!(file.metadata().unwrap().len(), 1 << 30);
    assert_eq!(std::fs::read(mount.path("empty")).unwrap(), b"");
    fails(Errno::ISDIR, std::fs::read(mount.root()));
}

#[test]
fn modes_of_the_mount_decide_who_may_read() {
    if !offered() {
        return;
    }
    let source = source();
    let hidden = source.dir("hidden");
    std::fs::write(hidden.join("file"), "content").unwrap();
    std::fs::set_permissions(source.join("small"), PermissionsExt::from_mode(0o600)).unwrap();
    let mount = mount(&hidden);
    let other = self::mount(&source);
    let deciding = mount_with(&source, &format!("{OPTIONS},permissions=daemon"));
    // Nobody can reach the source's own file, but the mount's.
    std::fs::set_permissions(&*source, PermissionsExt::from_mode(0o700)).unwrap();
    as_user(NOBODY, NOBODY, &[], || {
        fails(Errno::ACCESS, std::fs::read(hidden.join("file")));
        assert_eq!(std::fs::read(mount.path("file")).unwrap(), b"content");
        fails(Errno::ACCESS, std::fs::read(other.path("small")));
        fails(Errno::ACCESS, std::fs::read(deciding.path("small")));
        std::fs::read(deciding.path("large")).unwrap();
    });
    assert_eq!(deciding.stats().count("read"), 0);
    assert_eq!(mount.stats().count("read"), 0);
}

#[test]
fn a_changed_source_file_is_stale_when_it_is_opened() {
    if !offered() {
        return;
    }
    for transport in ["device", "auto"] {
        let source = source();
        let mount = mount_with(&source, &format!("{OPTIONS},transport={transport}"));
        let early = File::open(mount.path("large")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(11));
        let large = source.join("large");
        let changing = File::options().write(true).open(large).unwrap();
        changing.write_all_at(b"new", 5).unwrap();
        std::fs::remove_file(source.join("small")).unwrap();
        for _ in 0..2 {
            fails(Errno::STALE, File::open(mount.path("large")));
            fails(Errno::STALE, File::open(mount.path("small")));
        }
        // Who has it open sees the source, as somebody who has the source's file open.
        let mut read = [0; 3];
        early.read_exact_at(&mut read, 5).unwrap();
        assert_eq!(&read, b"new");
        assert_eq!(mount.stats().count("read"), 0);
    }
}

#[test]
fn a_stacked_source_is_read_in_the_ordinary_way() {
    if !offered() {
        return;
    }
    let source = source();
    let below = mount(&source);
    let mount = mount(below.root());
    let expected = bytes(3_000_001);
    let (first, second) = (
        File::open(mount.path("large")).unwrap(),
        File::open(mount.path("large")).unwrap(),
    );
    let map = Map::with_options().map(&first).unwrap();
    assert!(map[..] == expected);
    drop((first, map));
    let mut read = [0; 5000];
    second.read_exact_at(&mut read, 2_000_000).unwrap();
    assert!(read[..] == expected[2_000_000..2_005_000]);
    let reads = mount.stats().count("read");
    assert!(reads > 0);
    assert!(std::fs::read(mount.path("large")).unwrap() == expected);
    assert_eq!(
        mount.stats().count("read"),
        reads,
        "opening drops what the kernel has read"
    );
}

#[test]
fn an_inode_is_read_in_the_way_it_was_opened_first() {
    if !offered() {
        return;
    }
    let source = source();
    let mount = mount(&source);
    let limit = |current| {
        let nofile = getrlimit(Resource::Nofile);
        let changed = Rlimit { current, ..nofile };
        prlimit(Some(mount.pid()), Resource::Nofile, changed).unwrap();
    };
    let reads = || mount.stats().count("read");
    let good = |file: &File| {
        let mut read = [0; 20];
        let length = file.read_at(&mut read, 0).unwrap();
        assert_eq!(&read[..length], b"of the source");
    };
    let open = || File::open(mount.path("small")).unwrap();
    assert_eq!(reads(), 0);
    limit(Some(3));
    let first = open();
    limit(Some(1024));
    let second = open();
    good(&first);
    assert!(reads() > 0);
    drop(first);
    let third = open();
    drop(second);
    good(&third);
    drop(third);
    all_closed(&mount);
    let before = reads();
    good(&open());
    assert_eq!(reads(), before);
    // The other way round: passed through, also when no file can be opened.
    let first = open();
    std::fs::read(mount.path("large")).unwrap();
    limit(Some(3));
    let second = open();
    limit(Some(1024));
    drop(first);
    good(&second);
    assert_eq!(reads(), before);
}

#[test]
fn nothing_is_ever_written_to_the_source() {
    if !offered() {
        return;
    }
    let source = source();
    let mount = mount(&source);
    let write = |name: &str| File::options().write(true).open(mount.path(name));
    fails(Errno::ROFS, write("small"));
    let reader = File::open(mount.path("small")).unwrap();
    mount_remount(mount.root(), MountFlags::empty(), c"").unwrap();
    for name in ["small", "large"] {
        fails(Errno::ROFS, write(name));
        fails(Errno::ROFS, std::fs::write(mount.path(name), "new"));
    }
    fails(Errno::ROFS, std::fs::write(mount.path("new"), "new"));
    assert_eq!(std::io::read_to_string(reader).unwrap(), "of the source");
    assert_eq!(
        std::fs::read(source.join("small")).unwrap(),
        b"of the source"
    );
}

#[test]
fn the_mount_stays_read_only() {
    if !offered() {
        return;
    }
    let source = source();
    let mount = Background::new(&["-o", OPTIONS, source.to_str().unwrap()]);
    refused(&mount.norefs("set", &["--read-write"]));
    assert_eq!(mount.stats()["read_only"], true);
    assert!(mount.norefs("set", &["--inodes", "5"]).status.success());
}

#[test]
fn what_cannot_be_passed_through_is_refused() {
    let (scratch, source) = (Scratch::new(), source());
    let mountpoint = scratch.dir("mount");
    std::os::unix::fs::chown(&mountpoint, Some(NOBODY), Some(NOBODY)).unwrap();
    let source = source.to_str().unwrap();
    let cases: [(&[&str], &str, bool); 4] = [
        (&["-o", "passthrough", source], "needs ro", true),
        (&["-o", "ro,passthrough,rw", source], "needs ro", true),
        (&["-o", "ro,passthrough"], "with a source", true),
        (&["-o", "ro,passthrough", source], "for root", false),
    ];
    for (arguments, reason, root) in cases {
        let mut command = match root {
            true => norefs(),
            false => norefs_as_nobody(&scratch),
        };
        let command = command.arg("mount").args(arguments).arg(&mountpoint);
        let output = command.output().unwrap();
        refused(&output);
        assert!(text(&output.stderr).contains(reason), "{output:?}");
        assert!(!is_mounted(&mountpoint), "{arguments:?}");
    }
}

#[test]
fn without_the_privilege_nothing_is_left_mounted() {
    let sandbox = ["unshare", "--user", "--map-root-user", "--mount"];
    if !offered()
        || !attempt(
            Path::new("/"),
            sandbox[0],
            &[&sandbox[1..], &["true"]].concat(),
        )
        .status
        .success()
    {
        return;
    }
    let (scratch, source) = (Scratch::new(), source());
    let at = scratch.dir("mount");
    let mut command = Command::new(sandbox[0]);
    command.args(&sandbox[1..]).args([
        "sh",
        "-c",
        "\"$@\"; grep -c \" $6 \" /proc/self/mounts",
        "sh",
    ]);
    command
        .arg(norefs().get_program())
        .args(["mount", "-o", OPTIONS]);
    let output = command.arg(&*source).arg(&at).output().unwrap();
    assert!(text(&output.stderr).contains("CAP_SYS_ADMIN"), "{output:?}");
    assert_eq!(text(&output.stdout), "0\n");
}

fn descriptors(mount: &Daemon) -> usize {
    let pid = mount.pid().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

#[test]
fn a_thousand_open_files_take_no_descriptors_of_the_daemon() {
    if !offered() {
        return;
    }
    const FILES: usize = 1000;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    let source = Scratch::new();
    for n in 0..FILES {
        std::fs::write(source.join(n.to_string()), format!("content {n}")).unwrap();
    }
    let mount = mount(&source);
    let before = descriptors(&mount);
    let open = |n: usize| File::open(mount.path(n.to_string())).unwrap();
    let files: Vec<File> = (0..FILES).map(open).collect();
    for (n, file) in files.iter().enumerate() {
        let mut read = vec![0; 20];
        let length = file.read_at(&mut read, 0).unwrap();
        assert_eq!(read[..length], *format!("content {n}").as_bytes());
    }
    assert_eq!(mount.stats().count("read"), 0);
    // So many files stay open for the next read of them.
    assert!(descriptors(&mount) <= before + 256 + 4);
    drop(files);
    all_closed(&mount);
    assert!(descriptors(&mount) <= before + 256 + 4);
}

#[test]
fn a_file_is_let_go_when_it_is_closed_last() {
    if !offered() {
        return;
    }
    let source = Tmpfs::new();
    let free = || statvfs(&*source).unwrap().f_bfree;
    let before = free();
    std::fs::write(source.join("file"), bytes(8 << 20)).unwrap();
    let taken = free();
    assert!(taken < before);
    let mount = mount(&source);
    let files = [(); 3].map(|()| File::open(mount.path("file")).unwrap());
    std::fs::remove_file(source.join("file")).unwrap();
    // Whoever finds that the file changed closes it.
    fails(Errno::STALE, File::open(mount.path("file")));
    let [first, second, last] = files;
    drop((first, second));
    let closed = wait_until(|| mount.stats().count("release") == 2);
    assert!(
        closed && free() == taken,
        "a file still open lost its content"
    );
    drop(last);
    assert!(wait_until(|| free() >= before), "it is still registered");
}

#[test]
fn at_the_end_of_the_mount_everything_is_let_go() {
    if !offered() {
        return;
    }
    let source = Tmpfs::new();
    std::fs::write(source.join("file"), "content").unwrap();
    let mount = mount(&source);
    let file = File::open(mount.path("file")).unwrap();
    std::fs::read(mount.path("file")).unwrap();
    let held = unmount(&*source, UnmountFlags::empty());
    assert_eq!(held, Err(Errno::BUSY));
    drop(file);
    drop(mount);
    unmount(&*source, UnmountFlags::empty()).unwrap();
}
