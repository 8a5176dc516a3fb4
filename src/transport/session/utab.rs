//! Options of a mount that the kernel does not know: libmount keeps them in a table of its own, from which `findmnt --mtab` shows
//! and mount(8) remounts them. The kernel shows of a FUSE mount what all of them have.

use crate::transport::session::table::{self, MountEntry};
use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where libmount keeps the table and its lock.
const DIRECTORY: &str = "/run/mount";
/// How long to wait for whoever holds the lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line of one mount in the table of libmount. Dropping it takes the line away.
pub struct UserOptions {
    directory: PathBuf,
    mount: MountEntry,
}

impl UserOptions {
    /// The line of the mount with the number `device`, not written yet. `None` for an ordinary user, who cannot write there, and
    /// for a mount that is not to be seen.
    pub fn of(device: (u32, u32)) -> io::Result<Option<UserOptions>> {
        let mounts = match rustix::process::geteuid().is_root() {
            true => table::read()?,
            false => Vec::new(),
        };
        let ours = mounts.into_iter().rfind(|mount| mount.device == device);
        Ok(ours.map(|mount| UserOptions {
            directory: PathBuf::from(DIRECTORY),
            mount,
        }))
    }

    /// Shows `options`, a comma list, in place of what was shown of the mount before.
    pub fn show(&self, options: &str) -> io::Result<()> {
        let MountEntry {
            id,
            source,
            mount_point,
            ..
        } = &self.mount;
        let [source, target] = [source.as_os_str(), mount_point.as_os_str()].map(escape);
        let options = escape(OsStr::new(options));
        let line = [
            format!("ID={id} SRC=").into_bytes(),
            source,
            b" TARGET=".to_vec(),
            target,
            b" ROOT=/ OPTS=".to_vec(),
            options,
        ];
        self.replace(Some(line.concat()), |line| self.is_here(line))
    }

    /// Whether a line is of this place.
    fn is_here(&self, line: &[u8]) -> bool {
        let target = field(line, b"TARGET=").map(table::unescape);
        target.is_some_and(|target| target == self.mount.mount_point.as_os_str().as_bytes())
    }

    /// Puts `new` in the place of all lines that are `old`.
    fn replace(&self, new: Option<Vec<u8>>, old: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let _lock = lock(&self.directory.join("utab.lock"))?;
        let path = self.directory.join("utab");
        let before = std::fs::read(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        let lines = before
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let kept = lines.filter(|line| !old(line));
        let mut after = Vec::new();
        for line in kept.chain(new.as_deref()) {
            after.extend_from_slice(line);
            after.push(b'\n');
        }
        if after == before {
            return Ok(());
        }
        let mut file = tempfile::Builder::new()
            .prefix("utab.")
            .tempfile_in(&self.directory)?;
        file.write_all(&after)?;
        fchmod(&file, Mode::from_raw_mode(0o644))?;
        file.persist(&path)?;
        Ok(())
    }
}

impl Drop for UserOptions {
    fn drop(&mut self) {
        let id = self.mount.id.to_string().into_bytes();
        // What libmount writes anew loses the number: the line may be another mount's by now.
        let taken = table::read().is_ok_and(|mounts| {
            let mut others = mounts.iter().filter(|mount| mount.id != self.mount.id);
            others.any(|mount| mount.mount_point == self.mount.mount_point)
        });
        let ours = |line: &[u8]| match field(line, b"ID=") {
            Some(of) => of == id,
            None => !taken,
        };
        if let Err(error) = self.replace(None, |line| self.is_here(line) && ours(line)) {
            tracing::debug!(%error, "the options of the mount stay in the table of libmount");
        }
    }
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    line.split(|byte| *byte == b' ')
        .find_map(|field| field.strip_prefix(name))
}

/// Blanks and what would be taken for an escape or a comment, as three octal digits.
fn escape(name: &OsStr) -> Vec<u8> {
    let escaped = name.as_bytes().iter().flat_map(|byte| match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    });
    escaped.collect()
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            locked => return locked.map(|()| file).map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(directory: &Path, id: u64, target: &str) -> UserOptions {
        UserOptions {
            directory: directory.to_owned(),
            mount: MountEntry {
                id,
                parent: 1,
                device: (0, 9_999),
                mount_point: PathBuf::from(target),
                flags: "rw".to_owned(),
                fs_type: table::FS_TYPE.to_owned(),
                source: "a #b".into(),
                owner: Some(0),
            },
        }
    }

    #[test]
    fn a_line_is_added_replaced_and_taken_away_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let read = || std::fs::read_to_string(dir.path().join("utab")).unwrap();
        let other = "SRC=x TARGET=/mnt/other ROOT=/ OPTS=user=me\n";
        std::fs::write(dir.path().join("utab"), other).unwrap();
        let line = "ID=7 SRC=a\\040\\043b TARGET=/no\\040where ROOT=/ OPTS=";
        let first = at(dir.path(), 7, "/no where");
        first.show("size=1k").unwrap();
        assert_eq!(read(), format!("{other}{line}size=1k\n"));
        first.show("size=2k").unwrap();
        assert_eq!(read(), format!("{other}{line}size=2k\n"));
        let second = at(dir.path(), 8, "/no where");
        second.show("size=3k").unwrap();
        drop(first);
        assert!(read().contains("ID=8 ") && !read().contains("ID=7 "));
        drop(second);
        assert_eq!(read(), other);
    }

    #[test]
    fn a_line_that_libmount_wrote_anew_goes_too() {
        let dir = tempfile::tempdir().unwrap();
        let utab = dir.path().join("utab");
        let options = at(dir.path(), 7, "/nowhere");
        std::fs::write(&utab, "SRC=a TARGET=/nowhere ROOT=/ OPTS=size=1k\n").unwrap();
        drop(options);
        assert_eq!(std::fs::read(&utab).unwrap(), b"");
    }
}
