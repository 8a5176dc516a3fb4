//! What users do. What it may cost is in docs/REQUESTS.md.

use mount_tests::fails;
use mount_tests::programs::run;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, XattrFlags,
    access, chmod, lstat, mknodat, open, readlink, rename, setxattr, statx, symlink, utimensat,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One operation on the directory it is given, which is `d` of the [`source`]'s tree. It is done
/// several times, each time with another number.
pub struct Row {
    pub name: &'static str,
    /// What is done before, and not counted.
    pub before: fn(&Path, usize),
    pub work: fn(&Path, usize),
}

fn nothing(_: &Path, _: usize) {}

/// An operation before which nothing is done.
const fn row(name: &'static str, work: fn(&Path, usize)) -> Row {
    after(name, nothing, work)
}

const fn after(name: &'static str, before: fn(&Path, usize), work: fn(&Path, usize)) -> Row {
    Row { name, before, work }
}

/// How many files there are for those who remove or rename one.
const SPARE: usize = 8;

/// Makes the tree of which the rows use the directory `d`.
pub fn source(root: &Path) {
    let d = root.join("d");
    for dir in ["d", "d/twenty", "d/hundred", "d/repository", "d/empty"] {
        fs::create_dir(root.join(dir)).unwrap();
    }
    fs::write(root.join("prime"), "prime").unwrap();
    fs::write(d.join("file"), vec![b'x'; 4096]).unwrap();
    symlink("file", d.join("symlink")).unwrap();
    for n in 0..SPARE {
        fs::write(d.join(format!("spare{n}")), "spare").unwrap();
        fs::create_dir(d.join(format!("dir{n}"))).unwrap();
    }
    for n in 0..20 {
        fs::write(d.join(format!("twenty/{n}")), "").unwrap();
    }
    for dir in 0..10 {
        fs::create_dir(d.join(format!("hundred/{dir}"))).unwrap();
        for n in 0..9 {
            fs::write(d.join(format!("hundred/{dir}/{n}")), "").unwrap();
        }
    }
    repository(&d.join("repository"));
}

fn repository(root: &Path) {
    for n in 0..10 {
        fs::create_dir_all(root.join(format!("sub{}", n % 3))).unwrap();
        fs::write(root.join(format!("sub{}/{n}", n % 3)), n.to_string()).unwrap();
    }
    let git = |arguments: &[&str]| drop(run(root, "git", arguments));
    git(&["init", "-q"]);
    git(&["add", "."]);
    let author = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-qm",
        "all",
    ];
    git(&author);
    git(&["status"]);
}

fn create(d: &Path, n: usize) {
    drop(File::create(d.join(format!("new{n}"))).unwrap());
}

fn create_and_write(d: &Path, n: usize) {
    fs::write(d.join(format!("new{n}")), [b'x'; 4096]).unwrap();
}

fn rename_one(d: &Path, n: usize) {
    rename(d.join(format!("spare{n}")), d.join(format!("renamed{n}"))).unwrap();
}

/// Opens, reads and closes, and does no more: the standard library would ask for the size.
fn read(path: &Path) {
    let file = open(path, OFlags::RDONLY, Mode::empty()).unwrap();
    let mut buffer = [0; 8192];
    rustix::io::read(&file, &mut buffer).unwrap();
}

fn write_to(path: &Path, times: usize) {
    let mut file = File::options().write(true).open(path).unwrap();
    (0..times).for_each(|_| file.write_all(&[b'x'; 4096]).unwrap());
}

fn times_of(path: &Path) {
    let time = Timespec {
        tv_sec: 1,
        tv_nsec: 1,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

fn attribute(d: &Path, _: usize) {
    setxattr(d.join("file"), "user.a", b"b", XattrFlags::empty()).unwrap();
}

fn truncate(path: PathBuf, n: usize) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(n as u64).unwrap();
}

fn program(dir: &Path, name: &str, arguments: &[&str]) {
    run(dir, name, arguments);
}

fn stat(path: PathBuf) {
    lstat(path).unwrap();
}

fn list(d: &Path, _: usize) {
    assert_eq!(fs::read_dir(d.join("twenty")).unwrap().count(), 20);
}

pub const ROWS: &[Row] = &[
    row("stat", |d, _| stat(d.join("file"))),
    row("stat of a missing name", |d, _| {
        fails(Errno::NOENT, lstat(d.join("missing")))
    }),
    row("statx with the time of birth", |d, _| {
        _ = statx(
            CWD,
            d.join("file"),
            AtFlags::empty(),
            StatxFlags::BASIC_STATS | StatxFlags::BTIME,
        )
        .unwrap()
    }),
    row("access", |d, _| {
        access(d.join("file"), Access::READ_OK).unwrap()
    }),
    row("readlink", |d, _| {
        drop(readlink(d.join("symlink"), []).unwrap())
    }),
    row("open, read, close", |d, _| read(&d.join("file"))),
    after(
        "stat after a first read",
        |d, _| read(&d.join("file")),
        |d, _| stat(d.join("file")),
    ),
    row("open directory, list 20 names, close", list),
    after("stat of a directory after a first listing", list, |d, _| {
        stat(d.join("twenty"))
    }),
    row("create, close", create),
    after("stat of a new file", create, |d, n| {
        stat(d.join(format!("new{n}")))
    }),
    after(
        "stat of a directory after a change in it",
        create,
        |d, _| stat(d.to_owned()),
    ),
    row("create, write 4 KiB, close", create_and_write),
    row("write 4 KiB to a file", |d, n| {
        write_to(&d.join(format!("spare{n}")), 1)
    }),
    row("write 4 KiB to a file, twice", |d, n| {
        write_to(&d.join(format!("spare{n}")), 2)
    }),
    after(
        "write 4 KiB to a file written before",
        create_and_write,
        |d, n| write_to(&d.join(format!("new{n}")), 1),
    ),
    after("stat after a write", create_and_write, |d, n| {
        stat(d.join(format!("new{n}")))
    }),
    after(
        "open, read, close after a write",
        create_and_write,
        |d, n| read(&d.join(format!("new{n}"))),
    ),
    row("open with O_TRUNC, write 4 KiB, close", |d, n| {
        fs::write(d.join(format!("spare{n}")), [b'x'; 4096]).unwrap()
    }),
    row("truncate", |d, n| truncate(d.join("file"), n)),
    row("unlink", |d, n| {
        fs::remove_file(d.join(format!("spare{n}"))).unwrap()
    }),
    row("rename", rename_one),
    row("rename over a file", |d, n| {
        rename(d.join(format!("spare{n}")), d.join("file")).unwrap()
    }),
    after("stat after a rename", rename_one, |d, n| {
        stat(d.join(format!("renamed{n}")))
    }),
    after("open after a rename", rename_one, |d, n| {
        _ = File::open(d.join(format!("renamed{n}"))).unwrap()
    }),
    row("mkdir", |d, n| {
        fs::create_dir(d.join(format!("new{n}"))).unwrap()
    }),
    row("rmdir", |d, n| {
        fs::remove_dir(d.join(format!("dir{n}"))).unwrap()
    }),
    row("mkdir, rmdir", |d, _| {
        fs::create_dir(d.join("new")).unwrap();
        fs::remove_dir(d.join("new")).unwrap();
    }),
    row("mknod of a fifo", |d, n| {
        mknodat(
            CWD,
            d.join(format!("new{n}")),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap()
    }),
    row("symlink", |d, n| {
        symlink("target", d.join(format!("new{n}"))).unwrap()
    }),
    row("link", |d, n| {
        fs::hard_link(d.join("file"), d.join(format!("new{n}"))).unwrap()
    }),
    row("chmod", |d, _| chmod(d.join("file"), Mode::RUSR).unwrap()),
    row("chmod of a directory", |d, _| {
        chmod(d.join("empty"), Mode::RWXU).unwrap()
    }),
    row("utimensat", |d, _| times_of(&d.join("file"))),
    row("setxattr", attribute),
    after("open after setxattr", attribute, |d, _| {
        _ = File::open(d.join("file")).unwrap()
    }),
    row("ls of 20 files", |d, _| program(d, "ls", &["twenty"])),
    row("ls -l of 20 files", |d, _| {
        program(d, "ls", &["-l", "twenty"])
    }),
    row("cp of a file", |d, n| {
        program(d, "cp", &["file", &format!("new{n}")])
    }),
    row("mv of a file", |d, n| {
        program(d, "mv", &[&format!("spare{n}"), "empty"])
    }),
    row("rm of a file", |d, n| {
        program(d, "rm", &[&format!("spare{n}")])
    }),
    row("git status of 10 files", |d, _| {
        program(&d.join("repository"), "git", &["status"])
    }),
    row("find in a tree of 100", |d, _| {
        program(d, "find", &["hundred"])
    }),
    row("find -size in a tree of 100", |d, _| {
        program(d, "find", &["hundred", "-size", "1"])
    }),
    row("du of a tree of 100", |d, _| program(d, "du", &["hundred"])),
];
