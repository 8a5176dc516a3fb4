//! A difference that was kept, to be looked at, applied and gone on with when its mount is no more.
//!
//! It is a [layer](super::write_layer) that begins with a global header, by which it is known, and has others at its end, which say what
//! differs as a mount says it, and tell of what was written. Behind them comes the root; without that a file is cut off. Their records begin
//! with `NOREFS.`; whoever does not know these leaves them out.

use super::pax::{self, Record};
use super::sparse::Sparse;
use super::write::{Layer, changed};
use crate::delta::{
    Change, Content, Delta, Metadata, PathBytes, Seen, Source, SourceEntry, Tree, What, Xattr,
};
use crate::tree::{Kind, Time};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tar::{Archive, EntryType, Header};

const VERSION: &str = "NOREFS.kept";
const SOURCE: &str = "NOREFS.source";
const TIME: &str = "NOREFS.time";
const CHANGES: &str = "NOREFS.changes";
const COUNT: &str = "NOREFS.count";

/// What [`VERSION`] has.
const THIS: &[u8] = b"1";
/// About how many bytes of changes one header has: readers refuse headers of more than a megabyte.
const PART: usize = 256 << 10;
/// The longest header that is read, bytes: the attributes of one entry may be many.
const LONGEST: u64 = 64 << 20;

/// Why a file is no difference that was kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It cannot be read.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// It is something else.
    #[error("norefs has not kept this")]
    Other,
    /// Another version wrote it.
    #[error("another version of norefs has kept this: use that one")]
    Version,
    /// Its end is missing.
    #[error("it is cut off: what was kept is not all there")]
    Cut,
    /// It contradicts itself.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// A difference that was kept. Its contents are read from the file as it was when it was opened, whatever is there by now.
pub struct Kept {
    /// What differs.
    pub delta: Delta,
    /// When it was kept.
    pub when: SystemTime,
    file: Arc<File>,
    entries: Vec<Entry>,
    names: BTreeMap<PathBytes, usize>,
}

/// One inode in the archive.
struct Entry {
    seen: Seen,
    /// Where its content begins.
    start: u64,
    target: Option<Vec<u8>>,
    xattrs: Vec<Xattr>,
}

impl Kept {
    /// Keeps `delta`, of which `tree` has the contents, as the file `at`, which only this user can read. It is there whole or not at all.
    ///
    /// # Errors
    /// EEXIST if `at` is there, unless it is to go `over` that; [`Changed`](super::Changed), unless that is `lenient`: then what was told
    /// and is gone counts as removed; whatever keeps it from being read or written.
    pub fn write(
        delta: &Delta,
        tree: &dyn Tree,
        at: &Path,
        over: bool,
        lenient: bool,
    ) -> io::Result<()> {
        let parent = at.parent().filter(|path| !path.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let new = tempfile::Builder::new()
            .prefix(".norefs-")
            .tempfile_in(parent)?;
        write(delta, tree, new.as_file(), lenient)?;
        new.as_file().sync_all()?;
        let named = match over {
            true => new.persist(at),
            false => new.persist_noclobber(at),
        };
        named.map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    }

    /// What was kept as the file `at`.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub fn read(at: &Path) -> Result<Kept, NotKept> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(at, flags, Mode::empty()).map_err(io::Error::from)?;
        let file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(NotKept::Other);
        }
        let mut reading = Reading::new(file.metadata()?.len());
        // What is not known is no more than its end.
        let mut archive = Archive::new(BufReader::new(&file));
        for entry in archive.entries_with_seek()?.raw(true) {
            let entry = entry.map_err(|error| reading.broken(error))?;
            reading.take(entry)?;
        }
        let Reading {
            source,
            changes,
            entries,
            names,
            when,
            ..
        } = reading.ended()?;
        let delta = Delta { source, changes };
        let kept = Kept {
            delta,
            when,
            file: Arc::new(file),
            entries,
            names,
        };
        kept.check()?;
        Ok(kept)
    }

    /// Says that the source is on the device `dev` now, as it may be after a start of the machine: so is all that was on the same one.
    pub fn is_on(&mut self, dev: u64) {
        let was = std::mem::replace(&mut self.delta.source.dev, dev);
        for base in self
            .delta
            .changes
            .iter_mut()
            .filter_map(|change| change.base.as_mut())
        {
            if base.dev == Some(was) {
                base.dev = Some(dev);
            }
        }
    }

    /// Whether it says what `delta` says. Node ids, and the numbers of what was made, are each mount's own.
    pub fn says(&self, delta: &Delta) -> bool {
        let own = |change: &Change| {
            let mut change = change.clone();
            if let Some(now) = &mut change.now {
                (now.node, now.ino) = (0, 0);
            }
            change
        };
        let (ours, theirs) = (&self.delta.changes, &delta.changes);
        let same = |(ours, theirs): (&Change, &Change)| own(ours) == own(theirs);
        self.delta.source == delta.source
            && ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(same)
    }

    /// Bytes that the file has.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether what differs can be, and all contents are there.
    fn check(&self) -> Result<(), NotKept> {
        if !self.delta.is_sound() {
            return Err(NotKept::Damaged("what differs cannot be"));
        }
        for change in &self.delta.changes {
            let Some(now) = &change.now else { continue };
            let kind = now.seen.kind();
            let there = self.entry(&now.path).map(|entry| entry.seen.kind());
            let missing = match there {
                Some(there) => there != kind,
                // What was the source's, and another there by the time it was read, is left out.
                None => kind != Some(Kind::Socket) && (change.content || change.base.is_none()),
            };
            if missing {
                return Err(NotKept::Damaged("an entry that differs is missing"));
            }
        }
        Ok(())
    }

    /// Whether it has more of what is at `path` than what differs tells.
    pub(super) fn has(&self, path: &PathBytes) -> bool {
        self.names.contains_key(path)
    }

    fn entry(&self, path: &PathBytes) -> Option<&Entry> {
        Some(&self.entries[*self.names.get(path)?])
    }

    fn there(&self, path: &PathBytes) -> io::Result<&Entry> {
        self.entry(path).ok_or_else(|| Errno::NOENT.into())
    }
}

fn write(delta: &Delta, tree: &dyn Tree, file: &File, lenient: bool) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs().to_string();
    let mut head = Vec::new();
    pax::push(&mut head, VERSION, THIS);
    pax::push(&mut head, SOURCE, &serde_json::to_vec(&delta.source)?);
    pax::push(&mut head, TIME, seconds.as_bytes());
    let mut layer = Layer::new(tree, Sparse::new(file), lenient);
    layer.global(&head)?;
    layer.changes(delta)?;
    let changes = written(delta, &layer.written, lenient)?;
    let mut part = Vec::new();
    for change in &changes {
        part.push(if part.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut part, change)?;
        if part.len() >= PART {
            end_part(&mut layer, &mut part)?;
        }
    }
    end_part(&mut layer, &mut part)?;
    let mut tail = Vec::new();
    pax::push(&mut tail, COUNT, changes.len().to_string().as_bytes());
    layer.global(&tail)?;
    layer.root()?;
    layer.end()
}

/// What differs by what was written: things may have become others since they were told. The root comes last.
fn written(
    delta: &Delta,
    written: &HashMap<PathBytes, Seen>,
    lenient: bool,
) -> io::Result<Vec<Change>> {
    let (mut removed, mut others) = (Vec::new(), Vec::new());
    for change in &delta.changes {
        let mut change = change.clone();
        let Some(now) = &mut change.now else {
            removed.push(change);
            continue;
        };
        match written.get(&now.path) {
            Some(seen) if seen.kind() == now.seen.kind() => {
                now.seen = *seen;
                others.push(change);
            }
            None if now.path == PathBytes::ROOT => others.push(change),
            _ if !lenient => return Err(changed(&now.path)),
            _ if change.base.is_some() => removed.push(Change {
                what: What::Removed,
                now: None,
                content: false,
                metadata: Metadata::default(),
                link: None,
                replaced: false,
                ..change
            }),
            _ => {}
        }
    }
    // Where the first name of something is gone, the next one is the first.
    for change in &mut others {
        change.link.take_if(|first| !written.contains_key(first));
    }
    removed.sort_unstable_by(|a, b| b.path().cmp(a.path()));
    removed.append(&mut others);
    Ok(removed)
}

fn end_part(layer: &mut Layer<'_, Sparse<'_>>, part: &mut Vec<u8>) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    part.push(b']');
    let mut record = Vec::new();
    pax::push(&mut record, CHANGES, part);
    part.clear();
    layer.global(&record)
}

/// What was read of a file so far.
struct Reading {
    length: u64,
    source: Source,
    when: SystemTime,
    changes: Vec<Change>,
    entries: Vec<Entry>,
    names: BTreeMap<PathBytes, usize>,
    /// The records of the next entry.
    records: Vec<Record>,
    known: bool,
    /// All changes have come.
    counted: bool,
}

impl Reading {
    fn new(length: u64) -> Reading {
        Reading {
            length,
            source: Source {
                path: PathBytes::ROOT,
                dev: 0,
                ino: 0,
            },
            when: SystemTime::UNIX_EPOCH,
            changes: Vec::new(),
            entries: Vec::new(),
            names: BTreeMap::new(),
            records: Vec::new(),
            known: false,
            counted: false,
        }
    }

    /// What an archive that goes on no further is.
    fn broken(&self, error: io::Error) -> NotKept {
        match (self.known, error.raw_os_error()) {
            (_, Some(_)) => error.into(),
            (false, None) => NotKept::Other,
            (true, None) => NotKept::Cut,
        }
    }

    fn take(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), NotKept> {
        let (header, start, size) = (
            entry.header().clone(),
            entry.raw_file_position(),
            entry.size(),
        );
        let kind = header.entry_type();
        if !self.known && kind != EntryType::XGlobalHeader {
            return Err(NotKept::Other);
        }
        if start.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(NotKept::Cut);
        }
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            if size > LONGEST {
                return Err(NotKept::Damaged("a header is too long"));
            }
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .map_err(|error| self.broken(error))?;
            let records = pax::records(&bytes).ok_or(NotKept::Damaged("a header is none"))?;
            return match kind {
                EntryType::XGlobalHeader => self.global(&records),
                _ => {
                    let owned = records.into_iter();
                    let owned = owned.map(|(key, value)| (key.to_owned(), value.to_vec()));
                    self.records = owned.collect();
                    Ok(())
                }
            };
        }
        let records = std::mem::take(&mut self.records);
        self.entry(&header, records, start, size)
            .ok_or(NotKept::Damaged("an entry is none"))
    }

    /// Records that are about no entry.
    fn global(&mut self, records: &[(&str, &[u8])]) -> Result<(), NotKept> {
        let of = |key: &str| records.iter().find(|(name, _)| *name == key);
        if !self.known {
            let (_, version) = of(VERSION).ok_or(NotKept::Other)?;
            if *version != THIS {
                return Err(NotKept::Version);
            }
            self.known = true;
        }
        let damaged = |_| NotKept::Damaged("a record is none");
        for (key, value) in records {
            match *key {
                SOURCE => self.source = serde_json::from_slice(value).map_err(damaged)?,
                TIME => self.when = SystemTime::UNIX_EPOCH + Duration::from_secs(number(value)?),
                CHANGES => {
                    let part: Vec<Change> = serde_json::from_slice(value).map_err(damaged)?;
                    self.changes.extend(part);
                }
                COUNT if number(value)? == self.changes.len() as u64 => self.counted = true,
                COUNT => return Err(NotKept::Damaged("some of what differs is missing")),
                _ => {}
            }
        }
        Ok(())
    }

    /// One entry; `None` if it is none that norefs writes.
    fn entry(
        &mut self,
        header: &Header,
        records: Vec<Record>,
        start: u64,
        size: u64,
    ) -> Option<()> {
        let of = |key: &str| records.iter().find(|(name, _)| name == key);
        let value = |key: &str| of(key).map(|(_, value)| value.clone());
        let name = value("path").unwrap_or_else(|| header.path_bytes().into_owned());
        let path = path(&name)?;
        let target = value("linkpath").or_else(|| Some(header.link_name_bytes()?.into_owned()));
        let kind = match header.entry_type() {
            EntryType::Regular => Kind::Regular,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => Kind::CharDevice,
            EntryType::Block => Kind::BlockDevice,
            EntryType::Link => {
                let first = *self.names.get(&self::path(&target?)?)?;
                let entry = &mut self.entries[first];
                entry.seen.nlink = entry.seen.nlink.saturating_add(1);
                self.names.insert(path, first);
                return Some(());
            }
            _ => return None,
        };
        // What says that something is gone has no time.
        let Some((_, mtime)) = of("mtime") else {
            return Some(());
        };
        if kind == Kind::Symlink && target.as_ref()?.contains(&0) {
            return None;
        }
        let major = header.device_major().ok().flatten().unwrap_or_default();
        let minor = header.device_minor().ok().flatten().unwrap_or_default();
        let seen = Seen {
            mode: kind.bits() | header.mode().ok()? & 0o7777,
            uid: u32::try_from(header.uid().ok()?).ok()?,
            gid: u32::try_from(header.gid().ok()?).ok()?,
            nlink: 1,
            rdev: if kind.is_device() {
                libc::makedev(major, minor)
            } else {
                0
            },
            size: match kind {
                Kind::Symlink => target.as_ref()?.len() as u64,
                _ => size,
            },
            mtime: pax::to_time(mtime)?,
            ctime: Time::default(),
        };
        let xattrs = records
            .iter()
            .filter_map(|(key, value)| pax::to_xattr(key, value));
        self.names.insert(path, self.entries.len());
        self.entries.push(Entry {
            seen,
            start,
            target: target.filter(|_| kind == Kind::Symlink),
            xattrs: xattrs.collect(),
        });
        Some(())
    }

    fn ended(self) -> Result<Reading, NotKept> {
        // The root comes last.
        let whole = self.counted && self.names.contains_key(&PathBytes::ROOT);
        match (self.known, whole) {
            (true, true) => Ok(self),
            (true, false) => Err(NotKept::Cut),
            (false, _) => Err(NotKept::Other),
        }
    }
}

fn number(value: &[u8]) -> Result<u64, NotKept> {
    let text = std::str::from_utf8(value).ok();
    // Times further away cannot be counted.
    let number = text.and_then(|text| text.parse().ok());
    number
        .filter(|number| *number < 1 << 40)
        .ok_or(NotKept::Damaged("a number is none"))
}

/// A path as archives write it; `None` of one that leads elsewhere.
fn path(name: &[u8]) -> Option<PathBytes> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let path = PathBytes::from(name.to_vec());
    path.is_below().then_some(path)
}

impl Tree for Kept {
    fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>> {
        let entry = |number: &usize| SourceEntry {
            dev: 0,
            ino: *number as u64 + 1,
            seen: self.entries[*number].seen,
        };
        Ok(self.names.get(path).map(entry))
    }

    fn names(&self, path: &PathBytes) -> io::Result<Vec<Vec<u8>>> {
        let below = self.names.range(path..).map(|(below, _)| below);
        let below = below.take_while(|below| below.is_at_or_below(path));
        let names = below.filter_map(|below| {
            let (directory, name) = below.split();
            (directory == *path && !name.is_empty()).then(|| name.to_vec())
        });
        Ok(names.collect())
    }

    fn content(&self, path: &PathBytes) -> io::Result<Content> {
        let entry = self.there(path)?;
        match entry.seen.kind() {
            Some(Kind::Regular) => Ok(Content::new(
                self.file.clone(),
                entry.start,
                entry.seen.size,
            )),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn link_target(&self, path: &PathBytes) -> io::Result<CString> {
        let target = self.there(path)?.target.clone().ok_or(Errno::INVAL)?;
        Ok(CString::new(target)?)
    }

    fn xattrs(&self, path: &PathBytes) -> io::Result<Vec<Xattr>> {
        // Archives have no sockets.
        Ok(self
            .entry(path)
            .map_or_else(Vec::new, |entry| entry.xattrs.clone()))
    }
}

#[cfg(test)]
mod tests;
