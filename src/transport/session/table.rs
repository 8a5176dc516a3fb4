//! The kernel's mount table, and where a path stands in it.

use rustix::process::Pid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The file-system type of a norefs mount, as the mount table shows it.
pub const FS_TYPE: &str = "fuse.norefs";

/// How often the table is read, if it keeps changing.
const READS: usize = 16;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount, which no other has at the time.
    pub id: u64,
    /// Number of the mount that it is mounted on.
    pub parent: u64,
    /// Major and minor device number: what `st_dev` of everything in the mount says.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The flags of the mount, separated by commas.
    pub flags: String,
    /// File-system type, for example `fuse.norefs`.
    pub fs_type: String,
    /// What the file system calls its source.
    pub source: OsString,
    /// The user who mounted it, if the file system says.
    pub owner: Option<u32>,
}

impl MountEntry {
    /// Whether this is a norefs mount, served or dead.
    pub fn is_norefs(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// Whether this flag of the mount is set.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|set| set == flag)
    }

    /// Whether this is any FUSE mount.
    pub fn is_fuse(&self) -> bool {
        self.fs_type == "fuse" || self.fs_type.starts_with("fuse.") || self.fs_type == "fuseblk"
    }
}

/// The mounts of this process's mount namespace, in the order they were made. `ENOENT` without `/proc`.
pub fn read() -> io::Result<Vec<MountEntry>> {
    read_from(Path::new("/proc/self/mountinfo"))
}

/// The mounts of the mount namespace of `process`.
pub fn read_of(process: Pid) -> io::Result<Vec<MountEntry>> {
    read_from(Path::new(&format!("/proc/{process}/mountinfo")))
}

fn read_from(path: &Path) -> io::Result<Vec<MountEntry>> {
    // The kernel hands it out in pieces. If mounts come or go in between, others may be left out.
    let mut seen = std::fs::read(path)?;
    for _ in 0..READS {
        let again = std::fs::read(path)?;
        if again == seen {
            break;
        }
        seen = again;
    }
    Ok(parse(&seen))
}

/// The mount that is visible at exactly `mount_point`, an absolute path without symbolic links.
pub fn top_at(mount_point: &Path) -> io::Result<Option<MountEntry>> {
    let mut mounts = read()?;
    let last = mounts.iter().rposition(|m| m.mount_point == mount_point);
    Ok(last.map(|index| mounts.swap_remove(index)))
}

/// Reads the text of `/proc/PID/mountinfo`. Lines that are not understood are left out.
fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let mount_point = unescape(fields.nth(1)?);
    let flags = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8(unescape(fields.next()?)).ok()?;
    let source = OsString::from_vec(unescape(fields.next()?));
    let options = fields.next().unwrap_or_default();
    let owner = options
        .split(|byte| *byte == b',')
        .find_map(|option| option.strip_prefix(b"user_id="))
        .and_then(|id| str::from_utf8(id).ok()?.parse().ok());
    Some(MountEntry {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        mount_point: PathBuf::from(OsStr::from_bytes(&mount_point)),
        flags,
        fs_type,
        source,
        owner,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 0:20 / / rw,relatime - ext4 /dev/root rw\n\
40 22 0:51 / /mnt/a\\040b rw,nosuid,nodev,relatime shared:1 master:2 - fuse.norefs /data\\134x rw,user_id=1000,group_id=1000,default_permissions\n\
41 22 0:52 / /mnt/plain rw - fuse other rw,user_id=0,group_id=0\n\
garbage\n\
43 22 x:y / /broken rw - tmpfs tmpfs rw\n\
44 22 0:60 / /short rw -\n\
\n";

    #[test]
    fn lines_are_understood_and_garbage_is_left_out() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 3);
        assert_eq!(
            mounts[1],
            MountEntry {
                id: 40,
                parent: 22,
                device: (0, 51),
                mount_point: PathBuf::from("/mnt/a b"),
                flags: "rw,nosuid,nodev,relatime".to_owned(),
                fs_type: "fuse.norefs".to_owned(),
                source: OsString::from("/data\\x"),
                owner: Some(1000),
            }
        );
    }

    #[test]
    fn kinds_of_mounts_are_told_apart() {
        let mounts = parse(TABLE);
        let kinds: Vec<_> = mounts
            .iter()
            .map(|m| (m.is_norefs(), m.is_fuse()))
            .collect();
        assert_eq!(kinds, [(false, false), (true, true), (false, true)]);
    }

    #[test]
    fn escapes_that_are_cut_off_stay_as_they_are() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\"), b"\\");
        assert_eq!(unescape(b"\\777"), b"\\777");
        assert_eq!(unescape(b"\\012x"), b"\nx");
    }

    #[test]
    fn the_root_of_the_namespace_is_found() {
        assert!(top_at(Path::new("/")).unwrap().is_some());
    }
}
