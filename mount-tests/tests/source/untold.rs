//! Sources that do not tell how long their files are, or what their files are called next time.

use fuser::{
    BackgroundSession, Errno as Fault, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEntry, ReplyOpen, Request, Session, SessionACL,
};

use mount_tests::programs::sh;
use mount_tests::{
    Daemon, Scratch, Shape, SlowSource, Tmpfs, fails, is_mounted, norefs, refused, text,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A file made up by a program: what it says, and what it does.
struct Made {
    name: &'static str,
    size: u64,
    content: Result<&'static [u8], Fault>,
    opens: bool,
}

const fn made(name: &'static str, size: u64, content: &'static [u8]) -> Made {
    Made {
        name,
        size,
        content: Ok(content),
        opens: true,
    }
}

/// All are read directly, so that sizes bound nothing.
const FILES: [Made; 8] = [
    made("untold", 0, b"as long as it is"),
    made("empty", 0, b""),
    made("true", 4, b"true"),
    made("longer", 4, b"longer than that"),
    made("shorter", 4096, b"shorter"),
    Made {
        content: Err(Fault::EIO),
        ..made("broken", 0, b"")
    },
    Made {
        opens: false,
        ..made("closed", 0, b"")
    },
    made("endless", 0, b"endless"),
];

/// A filesystem of [`FILES`]. Each lookup gives an inode another number.
struct Program(AtomicU64);

const NUMBERS: u64 = 1000;
const TTL: Duration = Duration::ZERO;

impl Program {
    fn mount(at: &Path) -> BackgroundSession {
        let mut config = fuser::Config::default();
        config.acl = SessionACL::All;
        config.mount_options = vec![MountOption::RO, MountOption::FSName("program".into())];
        let session = Session::new(Program(AtomicU64::new(1)), at, &config);
        session.expect("mounting: run as root").spawn().unwrap()
    }

    fn file(ino: INodeNo) -> Option<&'static Made> {
        FILES.get((ino.0 % NUMBERS).checked_sub(10)? as usize)
    }

    fn attr(ino: INodeNo) -> FileAttr {
        let file = Program::file(ino);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        FileAttr {
            ino,
            size: file.map_or(4096, |file| file.size),
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: match file {
                Some(_) => FileType::RegularFile,
                None => FileType::Directory,
            },
            perm: if file.is_some() { 0o644 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Program {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(at) = FILES.iter().position(|file| file.name == name) else {
            return reply.error(Fault::ENOENT);
        };
        let turn = self.0.fetch_add(1, Ordering::SeqCst);
        let ino = INodeNo(turn * NUMBERS + 10 + at as u64);
        reply.entry(&TTL, &Program::attr(ino), Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &Program::attr(ino));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match Program::file(ino).is_some_and(|file| file.opens) {
            true => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            false => reply.error(Fault::EACCES),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = Program::file(ino) else {
            return reply.error(Fault::EISDIR);
        };
        match file.content {
            Err(fault) => reply.error(fault),
            Ok(_) if file.name == "endless" => reply.data(&vec![b'x'; size as usize]),
            Ok(content) => {
                let rest = content.get(offset as usize..).unwrap_or_default();
                reply.data(&rest[..rest.len().min(size as usize)]);
            }
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = FILES.iter().zip(1..).skip(offset as usize);
        for (file, next) in names {
            let ino = INodeNo(9 + next);
            if reply.add(ino, next, FileType::RegularFile, file.name) {
                break;
            }
        }
        reply.ok();
    }
}

fn load(source: &Path, arguments: &[&str]) -> Daemon {
    let mut all = vec!["-o", "allow_other"];
    all.extend(arguments);
    all.push(source.to_str().unwrap());
    Daemon::with(&all)
}

#[test]
fn files_of_unknown_length_are_read_as_cat_reads_them_or_refused_in_words() {
    let scratch = Scratch::new();
    let at = scratch.dir("program");
    let _session = Program::mount(&at);
    let mount = load(&at, &[]);
    let read = |name: &str| std::fs::read(mount.path(name));
    let log = |name: &str| {
        mount
            .log()
            .lines()
            .filter(|line| line.contains(name))
            .count()
    };
    for name in ["untold", "empty", "true"] {
        for _ in 0..2 {
            let expected = std::fs::read(at.join(name)).unwrap();
            assert_eq!(read(name).unwrap(), expected, "{name}");
            let size = mount.path(name).metadata().unwrap().len();
            assert_eq!(size, expected.len() as u64, "{name}");
        }
        assert_eq!(log(name), 0, "{}", mount.log());
    }
    for (name, words) in [("longer", "has more bytes"), ("shorter", "has fewer bytes")] {
        for _ in 0..2 {
            fails(Errno::IO, read(name));
        }
        assert!(mount.log().contains(words), "{}", mount.log());
        assert_eq!(log(name), 1, "{}", mount.log());
    }
    for name in ["broken", "endless"] {
        fails(Errno::NOENT, read(name));
        assert!(log(name) > 0, "{name}: {}", mount.log());
    }
    assert!(log("closed") > 0 && mount.path("closed").exists());
    assert!(
        mount.log().contains("3 entries could not be read in full"),
        "{}",
        mount.log()
    );
    let shorter = std::fs::OpenOptions::new()
        .write(true)
        .open(mount.path("shorter"));
    fails(
        Errno::IO,
        std::os::unix::fs::FileExt::write_at(&shorter.unwrap(), b"x", 0),
    );
}

#[test]
fn a_whole_source_without_sizes_is_read() {
    let source = SlowSource::new(Shape {
        tells_sizes: false,
        directories: 2,
        files: 5,
        bytes: 100_000,
        ..Shape::default()
    });
    let mount = load(&source, &[]);
    for (directory, file) in [(0, 0), (1, 4)] {
        let name = SlowSource::file(directory, file);
        assert_eq!(mount.path(&name).metadata().unwrap().len(), 100_000);
        assert!(std::fs::read(mount.path(&name)).unwrap() == source.content(directory, file));
    }
    assert_eq!(mount.log(), "");
}

#[test]
fn filesystems_that_make_files_up_are_refused_in_words() {
    let at = Scratch::new();
    let mountpoint = at.dir("mount");
    let cgroup = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let cgroup = cgroup
        .into_iter()
        .find(|path| std::fs::exists(format!("{path}/cgroup.procs")).unwrap());
    let sources = [("/proc/sys/kernel", "procfs"), ("/sys/kernel", "sysfs")];
    for (source, filesystem) in sources
        .into_iter()
        .chain(cgroup.map(|path| (path, "cgroup")))
    {
        let mut command = norefs();
        let output = command
            .args(["mount", source])
            .arg(&mountpoint)
            .output()
            .unwrap();
        refused(&output);
        let said = text(&output.stderr);
        let words = "does not tell how long its files are";
        assert!(said.contains(filesystem) && said.contains(words), "{said}");
        assert!(said.contains(source), "{said}");
        assert!(!is_mounted(&mountpoint));
    }
}

/// What is mounted there goes away with the test.
struct Over(PathBuf);

impl Drop for Over {
    fn drop(&mut self) {
        let _gone = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_is_mounted_below_is_left_out_or_read_too() {
    let source = Tmpfs::new();
    std::fs::write(source.join("file"), "").unwrap();
    let proc = Over(source.join("proc"));
    std::fs::create_dir(&proc.0).unwrap();
    rustix::mount::mount("none", &proc.0, "proc", MountFlags::empty(), None).unwrap();
    let file = Over(source.join("file"));
    rustix::mount::mount_bind("/proc/sys/kernel/ostype", &file.0).unwrap();
    for arguments in [&[][..], &["--cross-mounts"]] {
        let mount = load(&source, arguments);
        assert_eq!(std::fs::read(mount.path("file")).unwrap(), b"Linux\n");
        assert_eq!(mount.path("proc").read_dir().unwrap().count(), 0);
        let said = mount.log().contains("procfs does not tell");
        assert_eq!(said, !arguments.is_empty(), "{}", mount.log());
    }
    let at = Scratch::new();
    let mut command = norefs();
    command
        .args(["mount", "--cross-mounts", "--strict"])
        .arg(&*source);
    let output = command.arg(at.dir("mount")).output().unwrap();
    refused(&output);
    assert!(text(&output.stderr).contains("procfs"), "{output:?}");
}

#[test]
fn what_an_overlay_copies_up_stays_readable() {
    let layers = Tmpfs::new();
    sh(
        &layers,
        "mkdir -p lower/dir upper work over; for f in a b c d; do echo $f > lower/dir/$f; done; : > lower/empty
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work over",
    );
    let over = Over(layers.join("over"));
    let mount = load(&over.0, &[]);
    assert_eq!(std::fs::read(mount.path("dir/b")).unwrap(), b"b\n");
    sh(
        &over.0,
        "chmod 600 dir/a dir/b; mv dir/a dir/new; chmod 700 dir",
    );
    for name in ["a", "b", "c"] {
        let read = std::fs::read_to_string(mount.path("dir").join(name)).unwrap();
        assert_eq!(read, format!("{name}\n"));
    }
    assert_eq!(std::fs::read(mount.path("empty")).unwrap(), b"");
    assert_eq!(mount.stats().0["stale"], 0);
    sh(&over.0, "echo more >> dir/d");
    fails(Errno::STALE, std::fs::read(mount.path("dir/d")));
}
