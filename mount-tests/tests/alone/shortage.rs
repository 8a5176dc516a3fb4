//! A daemon whose memory runs out refuses what needs more, and goes on.

use mount_tests::{Daemon, transport};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, prlimit};
use std::fs::{OpenOptions, create_dir, read, read_dir, remove_dir_all, write};
use std::io::Result;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// Memory the daemon may still get once it serves.
const LEFT: u64 = 40 << 20;

/// Does `grow` with 0, 1, 2 and so on until there is no room, thirty times over, then removes everything.
fn run_out(grow: impl Fn(&Path, u64) -> Result<()>) {
    for transport in transport::each() {
        let mut mount = Daemon::on(transport, &["-o", "size=0,nr_inodes=0"]);
        // Once it can be asked, all that serves has begun.
        mount.stats();
        let status = std::fs::read_to_string(format!("/proc/{}/statm", mount.pid())).unwrap();
        let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
        let limit = Some(pages * 4096 + LEFT);
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        prlimit(Some(mount.pid()), Resource::As, limit).unwrap();
        write(mount.path("before"), "before").unwrap();
        create_dir(mount.path("d")).unwrap();
        let mut refused = 0;
        for number in 0.. {
            let Err(error) = grow(&mount.path("d"), number) else {
                continue;
            };
            assert_eq!(
                Errno::from_io_error(&error),
                Some(Errno::NOSPC),
                "{error}: {}",
                mount.log()
            );
            refused += 1;
            if refused == 30 {
                break;
            }
        }
        assert_eq!(read(mount.path("before")).unwrap(), b"before");
        remove_dir_all(mount.path("d")).unwrap();
        assert_eq!(read_dir(mount.root()).unwrap().count(), 1);
        assert_eq!(mount.ended(), None, "{}", mount.log());
    }
}

#[test]
fn large_files() {
    run_out(|dir, number| write(dir.join(number.to_string()), vec![1; 300_000]));
}

#[test]
fn bytes_strewn_over_a_file() {
    run_out(|dir, number| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("sparse"))?;
        file.write_at(b"x", number << 16).map(drop)
    });
}

#[test]
fn small_files_with_long_names() {
    run_out(|dir, number| write(dir.join(format!("{number:0200}")), "content"));
}

#[test]
fn directories_with_links() {
    run_out(|dir, number| {
        let dir = dir.join(number.to_string());
        create_dir(&dir)?;
        symlink("x".repeat(2000), dir.join("link"))
    });
}
