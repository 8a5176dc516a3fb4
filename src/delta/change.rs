//! What a difference is, as the server of a mount tells it.

use crate::tree::{Attr, Kind, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// All that differs between a mount and its source.
///
/// The order of `changes` is that in which they can be made true of a copy of the source:
///
/// 1. [`What::Removed`], by base path, what is in a directory before the directory.
/// 2. All others, by present path, a directory before what is in it.
///
/// Paths compare component by component, by their bytes. What was moved out of a directory that was removed, or changed places
/// with something else, has to be put aside before the first step: see [`What::Moved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Where the tree came from.
    pub source: Source,
    /// What differs.
    pub changes: Vec<Change>,
}

impl Delta {
    /// Whether a tree can differ so from its source: each change has what it must have, and no path leads out of a root. To be asked of
    /// what comes from elsewhere.
    pub fn is_sound(&self) -> bool {
        let source = self.source.path.as_bytes();
        let sound = |change: &Change| {
            let shape = (change.base.is_some(), change.now.is_some());
            let right = match change.what {
                What::Removed => (true, false),
                What::Added => (false, true),
                _ => (true, true),
            };
            let base = change.base.as_ref().map(|base| (&base.path, &base.seen));
            let now = change.now.as_ref().map(|now| (&now.path, &now.seen));
            let mut both = [base, now].into_iter().flatten();
            let seen = |(path, seen): (&PathBytes, &Seen)| path.is_below() && seen.is_sound();
            shape == right && both.all(seen) && change.link.as_ref().is_none_or(PathBytes::is_below)
        };
        source.first() == Some(&b'/') && !source.contains(&0) && self.changes.iter().all(sound)
    }
}

/// Where a tree came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where the directory is now, as the server sees it; absolute.
    pub path: PathBytes,
    /// Its device (`st_dev`), by which it is known again.
    pub dev: u64,
    /// Its inode number there.
    pub ino: u64,
}

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A name of the source is gone. `now` is `None`. It stands for no more than this name: a directory's entries are
    /// told of themselves.
    Removed,
    /// The inode that had the name `base.path` in the source has the name `now.path`, and the first one no more. What is in a
    /// directory moves with it and is told of only if something else became of it, then with the base path it had in the
    /// source. Several may move in a circle, or one to where another came from.
    Moved,
    /// A name that was not there. Without `link` an inode that was not there either; `base` is `None`.
    Added,
    /// Something of another kind (`S_IFMT`) has the name. What was in a directory that had it is told of by itself.
    Retyped,
    /// The name is there still and leads to other content: a file that was written to or replaced, which need not have
    /// other bytes; another target of a link; another device.
    Content,
    /// The name is there still, and only what [`Metadata`] says differs, if anything: a directory may also have been
    /// [replaced](Change::replaced).
    Metadata,
}

/// What became of one name, or of a directory's own attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The most that became of it. A file that was moved may have other content, and other metadata, as well.
    pub what: What,
    /// What it was. `None` for [`What::Added`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What it is. `None` for [`What::Removed`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Now>,
    /// The content may be another. Always so of a new regular file, link or device.
    #[serde(default)]
    pub content: bool,
    /// Which attributes are others; of [`What::Added`] all that there are. Where the inode was replaced by another nothing is known of
    /// extended attributes that the old one had.
    #[serde(default)]
    pub metadata: Metadata,
    /// Another name, as it is now, of the inode that the name leads to: a hard link was made. If the inode was made in the
    /// mount, that is the first of its names, and has come before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBytes>,
    /// The name leads to another inode than in the source, one that was made in the mount. A directory so replaced has nothing of
    /// the old one's entries.
    #[serde(default)]
    pub replaced: bool,
}

impl Change {
    /// Where it is now, or where it was if it was removed.
    pub fn path(&self) -> &PathBytes {
        match (&self.now, &self.base) {
            (Some(now), _) => &now.path,
            (None, Some(base)) => &base.path,
            (None, None) => const { &PathBytes::ROOT },
        }
    }

    /// Whether this says of a directory that its mtime moved, and nothing else: as it does when a name in it is made or
    /// removed.
    pub fn is_bare_directory(&self) -> bool {
        let directory = self.now.as_ref().is_some_and(|now| now.seen.is_directory());
        let mtime = Metadata {
            mtime: true,
            ..Metadata::default()
        };
        self.what == What::Metadata && directory && !self.replaced && self.metadata == mtime
    }
}

/// Which attributes differ. ctime, which nobody can set, is none of them; nor are atime, link counts and inode flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Permission bits.
    pub mode: bool,
    /// Owner or group.
    pub owner: bool,
    /// Time of the last change of content.
    pub mtime: bool,
    /// Extended attributes were set or removed; they need not be others. Of an inode that was made: it has some.
    pub xattrs: bool,
    /// The same of access control lists. One that only follows the mode does not count.
    pub acl: bool,
}

impl Metadata {
    /// Whether there is anything.
    pub fn any(&self) -> bool {
        *self != Metadata::default()
    }
}

/// What a name was when the source was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Where, from the source's root.
    pub path: PathBytes,
    /// The device it lay on (`st_dev`); `None` if that is not known any more.
    pub dev: Option<u64>,
    /// Its inode number there; `None` if it is not known any more.
    pub ino: Option<u64>,
    /// Its attributes.
    #[serde(flatten)]
    pub seen: Seen,
}

/// What a name is in the mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Where, from the mount's root.
    pub path: PathBytes,
    /// The node id: the same for all names of one inode.
    pub node: u64,
    /// The number that `stat` shows in the mount.
    pub ino: u64,
    /// Its attributes.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Attributes that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Kind and permissions, as `st_mode`. The permissions of a source's file may be narrower here than there: where the mount
    /// keeps no access control lists.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// SourceNames, as `stat` shows them.
    pub nlink: u32,
    /// The device's number (`st_rdev`), of a device.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    #[serde(with = "Moment")]
    pub mtime: Time,
    /// Last change of the inode.
    #[serde(with = "Moment")]
    pub ctime: Time,
}

impl Seen {
    /// What is looked at of `attr`.
    pub fn of(attr: &Attr) -> Seen {
        Seen {
            mode: attr.mode(),
            uid: attr.uid,
            gid: attr.gid,
            nlink: attr.nlink,
            rdev: unpacked(attr.rdev),
            size: attr.size,
            mtime: attr.mtime,
            ctime: attr.ctime,
        }
    }

    /// As attributes. What is not looked at has its default.
    pub fn attr(&self) -> Attr {
        let kind = self.kind().unwrap_or(Kind::Regular);
        Attr {
            kind,
            perm: (self.mode & 0o7777) as u16,
            uid: self.uid,
            gid: self.gid,
            nlink: self.nlink,
            rdev: packed(self.rdev),
            size: self.size,
            mtime: self.mtime,
            ctime: self.ctime,
            ..Attr::default()
        }
    }

    /// The kind; `None` only of something that no server sends.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_mode(self.mode)
    }

    /// Whether an inode can be so.
    fn is_sound(&self) -> bool {
        let times = [self.mtime, self.ctime];
        self.kind().is_some()
            && i64::try_from(self.size).is_ok()
            && times.iter().all(|time| time.nsec < 1_000_000_000)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == Some(Kind::Directory)
    }
}

/// `st_rdev` of a device number of 32 bits, as the kernel packs it.
fn unpacked(packed: u32) -> u64 {
    libc::makedev(packed >> 8 & 0xfff, packed & 0xff | packed >> 12 & 0xf_ff00)
}

/// The other way round. A number that does not fit is cut off.
fn packed(device: u64) -> u32 {
    let (major, minor) = (libc::major(device), libc::minor(device));
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// A time as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Time")]
struct Moment {
    sec: i64,
    nsec: u32,
}

/// A path below a root, without a slash before or behind; that of the root itself is empty.
///
/// It is sent as text, or, where its bytes are not UTF-8, as `{"base64": …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Sent", into = "Sent")]
pub struct PathBytes(Vec<u8>);

impl PathBytes {
    /// The root.
    pub const ROOT: PathBytes = PathBytes(Vec::new());

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path below `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        match self.0.is_empty() {
            true => root.to_owned(),
            false => root.join(self.as_path()),
        }
    }

    /// What is called `name` in this directory.
    pub fn join(&self, name: &[u8]) -> PathBytes {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        PathBytes(bytes)
    }

    /// What has the path `rest` below this directory; the directory if `rest` is empty.
    pub fn append(&self, rest: &[u8]) -> PathBytes {
        match rest.is_empty() {
            true => self.clone(),
            false => self.join(rest),
        }
    }

    /// The directory, and the name in it, which is empty of a root.
    pub fn split(&self) -> (PathBytes, &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (PathBytes(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (PathBytes::ROOT, &self.0),
        }
    }

    /// This path and each above it, the root last, with the rest of this one below it.
    pub fn prefixes(&self) -> impl Iterator<Item = (PathBytes, &[u8])> {
        let slashes = (0..self.0.len()).rev().filter(|at| self.0[*at] == b'/');
        let above = slashes.map(|at| (PathBytes(self.0[..at].to_vec()), &self.0[at + 1..]));
        let root = (!self.0.is_empty()).then_some((PathBytes::ROOT, &self.0[..]));
        let none: &[u8] = &[];
        std::iter::once((self.clone(), none))
            .chain(above)
            .chain(root)
    }

    /// Whether it leads to a root, or below one, by names alone.
    pub fn is_below(&self) -> bool {
        let name = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.contains(&0)
        };
        self.0.is_empty() || self.0.split(|byte| *byte == b'/').all(name)
    }

    /// Whether this is `other`, or below it.
    pub fn is_at_or_below(&self, other: &PathBytes) -> bool {
        let rest = self.0.strip_prefix(&*other.0);
        rest.is_some_and(|rest| other.0.is_empty() || matches!(rest, [] | [b'/', ..]))
    }
}

impl From<Vec<u8>> for PathBytes {
    fn from(bytes: Vec<u8>) -> PathBytes {
        PathBytes(bytes)
    }
}

/// By components, by their bytes: a directory comes before what is in it, and that before what is beside it.
impl Ord for PathBytes {
    fn cmp(&self, other: &PathBytes) -> std::cmp::Ordering {
        let is_slash = |byte: &u8| *byte == b'/';
        self.0.split(is_slash).cmp(other.0.split(is_slash))
    }
}

impl PartialOrd for PathBytes {
    fn partial_cmp(&self, other: &PathBytes) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// On one line, without what a terminal would obey; `.` for the root.
impl fmt::Display for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter.is_control() || letter == '\\' {
                    true => write!(f, "{}", letter.escape_default())?,
                    false => write!(f, "{letter}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Sent {
    Text(String),
    Bytes {
        #[serde(with = "coded")]
        base64: Vec<u8>,
    },
}

mod coded {
    use super::{Deserialize, Engine, STANDARD};
    use serde::{Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(Error::custom)
    }
}

impl From<PathBytes> for Sent {
    fn from(path: PathBytes) -> Sent {
        match String::from_utf8(path.0) {
            Ok(text) => Sent::Text(text),
            Err(error) => Sent::Bytes {
                base64: error.into_bytes(),
            },
        }
    }
}

impl From<Sent> for PathBytes {
    fn from(sent: Sent) -> PathBytes {
        PathBytes(match sent {
            Sent::Text(text) => text.into_bytes(),
            Sent::Bytes { base64 } => base64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> PathBytes {
        bytes.to_vec().into()
    }

    #[test]
    fn every_name_survives_being_sent() {
        for bytes in [
            &b""[..],
            b"plain",
            "größe/ü".as_bytes(),
            b"\xff\xfe/\n",
            b"a\"\\b",
        ] {
            let sent = serde_json::to_string(&path(bytes)).unwrap();
            let received: PathBytes = serde_json::from_str(&sent).unwrap();
            assert_eq!(received, path(bytes), "{sent}");
        }
        assert_eq!(serde_json::to_string(&path(b"a/b")).unwrap(), "\"a/b\"");
    }

    #[test]
    fn nothing_is_shown_that_a_terminal_obeys() {
        assert_eq!(path(b"").to_string(), ".");
        let shown = path(b"a\x1b[1m\n\xffz/\xc3\xbc\\").to_string();
        assert_eq!(shown, "a\\u{1b}[1m\\n\\xffz/\u{fc}\\\\");
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it_and_that_before_its_neighbours() {
        let mut paths = [&b"a-b"[..], b"a/b", b"a", b"", b"a/b/c", b"a/\x01", b"b"].map(path);
        paths.sort();
        let sorted = [&b""[..], b"a", b"a/\x01", b"a/b", b"a/b/c", b"a-b", b"b"];
        assert_eq!(paths, sorted.map(path));
    }

    #[test]
    fn below_goes_by_components() {
        assert!(path(b"a/b").is_at_or_below(&path(b"a")));
        assert!(path(b"a").is_at_or_below(&path(b"a")));
        assert!(path(b"a").is_at_or_below(&PathBytes::ROOT));
        assert!(!path(b"ab").is_at_or_below(&path(b"a")));
        assert!(!path(b"a").is_at_or_below(&path(b"a/b")));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_below() {
        for inside in [&b""[..], b"a", b"a/b", b"...", b"a\nb", &[b'n'; 255]] {
            assert!(path(inside).is_below(), "{inside:?}");
        }
        for outside in [
            &b"/"[..],
            b"/a",
            b"a/",
            b"a//b",
            b".",
            b"a/../b",
            b"..",
            b"a\0",
            &[b'n'; 256],
        ] {
            assert!(!path(outside).is_below(), "{outside:?}");
        }
    }

    #[test]
    fn a_device_has_the_number_that_stat_shows() {
        assert_eq!(unpacked(0x0fff_ff42), libc::makedev(0xfff, 0xff42));
        assert_eq!(unpacked(1 << 8 | 3), libc::makedev(1, 3));
        for number in [0, 1 << 8 | 3, 0x0fff_ff42, u32::MAX] {
            assert_eq!(packed(unpacked(number)), number);
        }
    }
}
