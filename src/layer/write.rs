//! A difference as a layer of an OCI image, for tools that know nothing of norefs.
//!
//! A layer is a tar archive over another one (OCI image specification, "Image Layer Filesystem Changeset"): what was removed is an empty
//! file `.wh.NAME`, a directory that has nothing of the one below has an empty file `.wh..wh..opq`, and everything else is there whole.
//! Layers know of no moves: what was moved is removed and there anew, with all that is in it.

use super::pax::{self, Record};
use crate::delta::{Change, Content, Delta, PathBytes, Seen, SourceEntry, Tree, What};
use crate::tree::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Something became another thing while it was written.
#[derive(Debug, thiserror::Error)]
#[error("{0} was changed while it was read")]
pub struct Changed(PathBytes);

impl Changed {
    /// Whether `error` says so.
    pub fn is(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(|inner| inner.is::<Changed>())
    }
}

pub(super) fn changed(path: &PathBytes) -> io::Error {
    io::Error::other(Changed(path.clone()))
}

/// Writes `delta`, of which `mount` has the contents, as a layer.
///
/// # Errors
/// What cannot be read or written; [`Changed`]. Sockets, which archives cannot hold, are left out.
pub fn write_layer(delta: &Delta, mount: &dyn Tree, out: impl Write) -> io::Result<()> {
    let mut layer = Layer::new(mount, out, false);
    layer.changes(delta)?;
    if !delta.changes.is_empty() {
        layer.root()?;
    }
    layer.end()
}

/// Every path that is there whole, and whether it is a directory that has nothing of one below.
fn entries(
    delta: &Delta,
    gone: &BTreeSet<&PathBytes>,
    mount: &dyn Tree,
) -> io::Result<BTreeMap<PathBytes, bool>> {
    let mut entries = BTreeMap::new();
    for change in &delta.changes {
        let Some(now) = &change.now else { continue };
        let directory = now.seen.is_directory();
        let another = change.replaced || change.what == What::Retyped || gone.contains(&now.path);
        let opaque = directory && another;
        entries.insert(now.path.clone(), opaque);
        if directory && change.what == What::Moved {
            add_below(mount, &now.path, &mut entries)?;
        }
        if let Some(link) = &change.link {
            entries.entry(link.clone()).or_insert(false);
        }
    }
    add_other_names(mount, &mut entries)?;
    // Whoever unpacks it makes names in these, which moves their times.
    let above = entries.keys().flat_map(|path| path.prefixes().skip(1));
    let above: BTreeSet<_> = above.map(|(above, _)| above).collect();
    for directory in above {
        entries.entry(directory).or_insert(false);
    }
    Ok(entries)
}

/// Adds the other names of inodes of which some are there: else those would lead to what is below. To find them takes a look at all names.
fn add_other_names(mount: &dyn Tree, entries: &mut BTreeMap<PathBytes, bool>) -> io::Result<()> {
    let mut missing: HashMap<u64, u32> = HashMap::new();
    for path in entries.keys() {
        let found = mount.find(path)?;
        if let Some(found) = found.filter(|found| !found.seen.is_directory()) {
            let names = missing.entry(found.ino).or_insert(found.seen.nlink);
            *names = names.saturating_sub(1);
        }
    }
    missing.retain(|_, names| *names > 0);
    if missing.is_empty() {
        return Ok(());
    }
    let mut all = BTreeMap::new();
    add_below(mount, &PathBytes::ROOT, &mut all)?;
    for path in all.into_keys() {
        let found = mount.find(&path)?;
        if found.is_some_and(|found| missing.contains_key(&found.ino)) {
            entries.entry(path).or_insert(false);
        }
    }
    Ok(())
}

fn add_below(
    mount: &dyn Tree,
    directory: &PathBytes,
    entries: &mut BTreeMap<PathBytes, bool>,
) -> io::Result<()> {
    let mut waiting = vec![directory.clone()];
    while let Some(directory) = waiting.pop() {
        for name in mount.names(&directory)? {
            let path = directory.join(&name);
            if mount
                .find(&path)?
                .is_some_and(|found| found.seen.is_directory())
            {
                waiting.push(path.clone());
            }
            entries.entry(path).or_insert(false);
        }
    }
    Ok(())
}

/// The paths of the source whose names lead no more to what they did.
fn gone(delta: &Delta) -> BTreeSet<&PathBytes> {
    let gone = |change: &&Change| matches!(change.what, What::Removed | What::Moved);
    let gone = delta.changes.iter().filter(gone);
    gone.filter_map(|change| Some(&change.base.as_ref()?.path))
        .collect()
}

/// The marks of names that are gone, but where something else has the name, or the directory is gone as well.
fn whiteouts(gone: &BTreeSet<&PathBytes>, entries: &BTreeMap<PathBytes, bool>) -> Vec<PathBytes> {
    let hidden = |path: &PathBytes| {
        let mut above = path.prefixes().skip(1);
        above.any(|(above, _)| gone.contains(&above) || entries.get(&above) == Some(&true))
    };
    let left = gone
        .iter()
        .filter(|path| !entries.contains_key(**path) && !hidden(path));
    let mark = |path: &&PathBytes| -> PathBytes {
        let (directory, name) = path.split();
        directory.join(&[WHITEOUT, name].concat())
    };
    left.map(mark).collect()
}

/// An archive that is being written.
pub(super) struct Layer<'a, W: Write> {
    mount: &'a dyn Tree,
    out: Builder<W>,
    /// Where inodes with several names were written first.
    first: HashMap<u64, PathBytes>,
    /// What was written.
    pub(super) written: HashMap<PathBytes, Seen>,
    /// What is gone by now is left out.
    lenient: bool,
}

impl<'a, W: Write> Layer<'a, W> {
    pub(super) fn new(mount: &'a dyn Tree, out: W, lenient: bool) -> Layer<'a, W> {
        Layer {
            mount,
            out: Builder::new(out),
            first: HashMap::new(),
            written: HashMap::new(),
            lenient,
        }
    }

    /// Appends all that `delta` says, but the root.
    pub(super) fn changes(&mut self, delta: &Delta) -> io::Result<()> {
        let gone = gone(delta);
        let entries = entries(delta, &gone, self.mount)?;
        for path in whiteouts(&gone, &entries) {
            self.empty(&path)?;
        }
        for (path, opaque) in &entries {
            if *path == PathBytes::ROOT {
                continue;
            }
            self.entry(path)?;
            if *opaque {
                self.empty(&path.join(OPAQUE))?;
            }
        }
        Ok(())
    }

    /// Appends the root, the last of all: whoever unpacks it has made all names by then.
    pub(super) fn root(&mut self) -> io::Result<()> {
        self.entry(&PathBytes::ROOT)
    }

    /// Appends records that are about no entry; one has to come behind.
    pub(super) fn global(&mut self, records: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XGlobalHeader);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.out.append(&header, records)
    }

    /// Ends the archive.
    pub(super) fn end(self) -> io::Result<()> {
        self.out.into_inner()?.flush()
    }

    fn empty(&mut self, path: &PathBytes) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(0);
        header.set_mtime(0);
        self.append(header, path.as_bytes(), None, Vec::new(), io::empty())
    }

    fn entry(&mut self, path: &PathBytes) -> io::Result<()> {
        match self.there(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.written.remove(path);
                match self.lenient {
                    true => Ok(()),
                    false => Err(changed(path)),
                }
            }
            done => done,
        }
    }

    /// Appends what is at `path`; nothing if it is not there.
    fn there(&mut self, path: &PathBytes) -> io::Result<()> {
        let Some(found) = self.mount.find(path)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.written.insert(path.clone(), found.seen);
        let kind = match found.seen.kind() {
            Some(Kind::Regular) => EntryType::Regular,
            Some(Kind::Directory) => EntryType::Directory,
            Some(Kind::Symlink) => EntryType::Symlink,
            Some(Kind::Fifo) => EntryType::Fifo,
            Some(Kind::CharDevice) => EntryType::Char,
            Some(Kind::BlockDevice) => EntryType::Block,
            Some(Kind::Socket) | None => return Ok(()),
        };
        let mut header = header(&found);
        header.set_entry_type(kind);
        let linked = kind != EntryType::Directory && found.seen.nlink > 1;
        if let Some(first) = self.first.get(&found.ino).filter(|_| linked).cloned() {
            header.set_entry_type(EntryType::Link);
            let first = Some(first.as_bytes());
            return self.append(header, path.as_bytes(), first, Vec::new(), io::empty());
        }
        let records = self.records(path, &found)?;
        match kind {
            EntryType::Regular => {
                let content = self.mount.content(path)?;
                if is_lost(&content)? {
                    return Ok(());
                }
                self.file(path, header, records, content)?;
            }
            EntryType::Symlink => {
                let target = self.mount.link_target(path)?;
                let target = Some(target.to_bytes());
                self.append(header, path.as_bytes(), target, records, io::empty())?;
            }
            EntryType::Directory => {
                let name = match path.as_bytes() {
                    b"" => b"./".to_vec(),
                    name => [name, b"/"].concat(),
                };
                self.append(header, &name, None, records, io::empty())?;
            }
            _ => self.append(header, path.as_bytes(), None, records, io::empty())?,
        }
        if linked {
            self.first.insert(found.ino, path.clone());
        }
        Ok(())
    }

    /// Appends a regular file. What grows meanwhile is not part of it.
    fn file(
        &mut self,
        path: &PathBytes,
        mut header: Header,
        records: Vec<Record>,
        content: Content,
    ) -> io::Result<()> {
        let size = content.size();
        header.set_size(size);
        if let Some(seen) = self.written.get_mut(path) {
            seen.size = size;
        }
        match self.append(header, path.as_bytes(), None, records, content) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(changed(path));
            }
            appended => appended?,
        }
        // One that was cut meanwhile was read as a hole.
        let left = self.mount.find(path)?;
        match left {
            Some(left) if left.seen.size < size && !self.lenient => Err(changed(path)),
            _ => Ok(()),
        }
    }

    /// What the plain header has no room for: nanoseconds and extended attributes.
    fn records(&self, path: &PathBytes, found: &SourceEntry) -> io::Result<Vec<Record>> {
        let mut records = vec![("mtime".to_owned(), pax::of_time(found.seen.mtime))];
        records.extend(self.mount.xattrs(path)?.into_iter().map(pax::of_xattr));
        Ok(records)
    }

    /// Appends one entry. A name that the header has no room for is a record.
    fn append(
        &mut self,
        mut header: Header,
        path: &[u8],
        link: Option<&[u8]>,
        mut records: Vec<Record>,
        content: impl Read,
    ) -> io::Result<()> {
        let gnu = header.as_gnu_mut();
        let gnu = gnu.ok_or_else(|| io::Error::other("a header of another kind"))?;
        set_name(&mut gnu.name, path, "path", &mut records);
        if let Some(link) = link {
            set_name(&mut gnu.linkname, link, "linkpath", &mut records);
        }
        header.set_cksum();
        let records = records
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.out.append_pax_extensions(records)?;
        self.out.append(&header, content)
    }
}

/// Sets a name of a header, or as much of it as there is room for and all of it in a record.
fn set_name(room: &mut [u8; 100], name: &[u8], record: &str, records: &mut Vec<Record>) {
    let length = name.len().min(room.len());
    room[..length].copy_from_slice(&name[..length]);
    if length < name.len() {
        records.push((record.to_owned(), name.to_vec()));
    }
}

fn header(found: &SourceEntry) -> Header {
    let mut header = Header::new_gnu();
    let seen = &found.seen;
    header.set_mode(seen.mode & 0o7777);
    header.set_uid(seen.uid.into());
    header.set_gid(seen.gid.into());
    header.set_mtime(u64::try_from(seen.mtime.sec).unwrap_or_default());
    header.set_size(0);
    if seen.kind().is_some_and(Kind::is_device) {
        // A header of this kind has room for both.
        let numbers = header
            .set_device_major(libc::major(seen.rdev))
            .and_then(|()| header.set_device_minor(libc::minor(seen.rdev)));
        debug_assert!(numbers.is_ok(), "{numbers:?}");
    }
    header
}

/// Whether it was in the source, which has another file by now. Such a file was not written to: nothing is lost that anybody made.
fn is_lost(content: &Content) -> io::Result<bool> {
    let Some(data) = content.data(0)? else {
        return Ok(false);
    };
    match content.read_exact_at(data.start, &mut [0]) {
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(true),
        // Who reads it will see.
        _ => Ok(false),
    }
}
