//! The content of a file that stayed in the source.

use super::attributes;
use super::contents::Contents;
use super::identity::{Device, Identity, device};
use super::names::Place;
use super::open_files::{Look, OpenFile};
use super::opening::stat_content;
use super::renewed::Renewal;
use crate::fs::{Backing, Origin, OriginEntry, OriginRoot, Reading};
use crate::tree::{Attr, Seed};
use rustix::fs::{ResolveFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags, Result};
use std::ffi::OsString;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

/// A regular file of the source, made when its content is asked for. Its name is kept with its directory.
pub(super) struct SourceFile {
    contents: Arc<Contents>,
    place: Place,
    identity: Identity,
}

/// What a file is found by later: the number of its name, and its identity.
pub(super) fn seed(place: Place, identity: Identity) -> Seed {
    Seed::new(place.0, identity.0)
}

impl Origin for Contents {
    fn backing(self: Arc<Contents>, seed: Seed) -> Box<dyn Backing> {
        Box::new(SourceFile {
            contents: self,
            place: Place(seed.number),
            identity: Identity(seed.bits()),
        })
    }

    fn stale(&self) -> u64 {
        self.stale_files()
    }

    fn reading(&self) -> Reading {
        self.meter.total()
    }

    fn root(&self) -> Result<Option<OriginRoot>> {
        let stat = self.root.stat()?;
        let link = format!("/proc/self/fd/{}", self.root.fd().as_raw_fd());
        let path = rustix::fs::readlink(link, Vec::new())?.into_bytes();
        Ok(Some(OriginRoot {
            path: OsString::from_vec(path).into(),
            dev: number_of_device(device(&stat)),
            ino: stat.stx_ino,
        }))
    }

    fn number_of(&self, shown: u64) -> Option<(u64, u64)> {
        let (device, number) = self.root.numbers.origin(shown)?;
        Some((number_of_device(device), number))
    }

    fn entry(&self, path: &[u8]) -> Result<Option<OriginEntry>> {
        let stat = match self
            .root
            .find_inside(None, if path.is_empty() { b"." } else { path })
        {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
            found => stat_content(found?)?,
        };
        Ok(attributes::attr(&stat).map(|attr| OriginEntry {
            path: path.into(),
            dev: number_of_device(device(&stat)),
            ino: stat.stx_ino,
            attr,
        }))
    }

    fn moved(&self, directories: &[(&[u8], &[u8])]) {
        self.root.renewed.moved(directories);
    }
}

/// As in `st_dev`.
fn number_of_device((major, minor): Device) -> u64 {
    rustix::fs::makedev(major, minor)
}

impl SourceFile {
    /// What `ask` learns from the file if it is the recorded one, before and after.
    fn on_unchanged<T>(&self, ask: impl FnOnce(&OwnedFd) -> Result<T>) -> Result<T> {
        let recorded = self.identity();
        let file = self.open(recorded, ResolveFlags::empty())?;
        let answer = ask(&file.fd)?;
        self.check(&file, recorded, ResolveFlags::empty())?;
        Ok(answer)
    }

    /// What it is known by.
    fn identity(&self) -> Identity {
        let renewed = self.contents.root.renewed.get(self.place);
        renewed.map_or(self.identity, |renewed| renewed.identity)
    }

    fn open(&self, recorded: Identity, how: ResolveFlags) -> Result<OpenFile> {
        self.contents.open_file(self.place, recorded, how)
    }

    /// `ESTALE` if `file` is not the recorded one any more. Its name is followed in the way that `how` adds if need be.
    ///
    /// A writer moves the times before it touches the content. So an identity found unchanged afterwards vouches for
    /// everything that was read.
    fn check(&self, file: &OpenFile, recorded: Identity, how: ResolveFlags) -> Result<()> {
        match self.contents.root.look(file, recorded)? {
            Look::Same => Ok(()),
            Look::Touched => self.contents.follow_again(file, self.place, recorded, how),
            Look::Other => Err(self.contents.stale(self.place)),
        }
    }

    /// Whether `file`, which answers at once, is the recorded one still; false if only its name can tell.
    fn is_same(&self, file: &OpenFile, recorded: Identity) -> Result<bool> {
        match self.contents.root.look(file, recorded)? {
            Look::Same => Ok(true),
            Look::Touched => Ok(false),
            Look::Other => Err(self.contents.stale(self.place)),
        }
    }
}

impl Backing for SourceFile {
    /// Besides `ESTALE`: `EACCES` if the file may not be read, `EIO` if it has fewer bytes than it says or more, and others as the
    /// source gives them.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut size = 0;
        let read = |file: &OwnedFd| {
            let length = read_fully(file, offset, buf)?;
            if length < buf.len() {
                size = stat_content(file)?.stx_size;
            }
            Ok(length)
        };
        if offset == 0 {
            self.contents.ahead.read(self.place);
        }
        let length = self.contents.meter.measure(|| self.on_unchanged(read))?;
        match offset + (length as u64) < size {
            true => Err(self.contents.contradicts(self.place, size, true)),
            // It was cut, and whoever follows is about to see that.
            false if self.contents.root.is_followed() => {
                buf[length..].fill(0);
                Ok(buf.len())
            }
            false => Ok(length),
        }
    }

    /// What is in the page cache of a file that is opened and looked at without waiting.
    fn try_read_at(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let recorded = self.identity();
        let Some(file) = self.contents.file_nowait(self.place, recorded) else {
            return Ok(false);
        };
        let into = &mut [IoSliceMut::new(buf)];
        let read = || rustix::io::preadv2(&file.fd, into, offset, ReadWriteFlags::NOWAIT);
        match self.contents.meter.measure(read) {
            Ok(length) if length == buf.len() => self.is_same(&file, recorded),
            // A file that ends early has changed: that is for the form that may wait to find out.
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn file(&self, wait: bool) -> Result<Option<Arc<OwnedFd>>> {
        let recorded = self.identity();
        if wait {
            let file = self.open(recorded, ResolveFlags::empty())?;
            self.check(&file, recorded, ResolveFlags::empty())?;
            return Ok(Some(file.fd));
        }
        let file = self.contents.file_nowait(self.place, recorded);
        let file = file.ok_or(Errno::AGAIN)?;
        match self.is_same(&file, recorded)? {
            true => Ok(Some(file.fd)),
            false => Err(Errno::AGAIN),
        }
    }

    fn seed(&self) -> Option<Seed> {
        Some(seed(self.place, self.identity))
    }

    fn renew(&self, entry: &OriginEntry) -> Result<bool> {
        let root = &self.contents.root;
        let found = root.find_inside(None, &entry.path)?;
        let stat = stat_content(&found)?;
        let same = (number_of_device(device(&stat)), stat.stx_ino) == (entry.dev, entry.ino);
        let attr = attributes::attr(&stat);
        let content = |attr: Attr| (attr.kind, attr.size, attr.mtime);
        if !same || attr.map(content) != Some(content(entry.attr)) {
            return Ok(false);
        }
        let slash = entry.path.iter().rposition(|byte| *byte == b'/');
        let above = slash.map_or(&b"."[..], |slash| &entry.path[..slash]);
        let above = stat_content(root.find_inside(None, above)?)?;
        let filesystem = root.filesystem(device(&stat), || Ok(&found))?;
        let filesystem = match device(&above) == device(&stat) {
            true => filesystem,
            false => filesystem.of_another_device(),
        };
        let identity = root.identity(&stat, filesystem);
        if identity != self.identity() || *entry.path != *root.path_below(self.place) {
            let path = Some(entry.path.clone());
            root.renewed.put(self.place, Renewal { path, identity });
            self.contents.renewed(self.place);
        }
        Ok(true)
    }

    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        self.on_unchanged(|file| seek(file, SeekFrom::Data(offset)))
    }

    fn next_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.on_unchanged(|file| {
            let hole = seek(file, SeekFrom::Hole(offset))?;
            let end = rustix::fs::fstat(file)?.st_size as u64;
            Ok(hole.filter(|hole| *hole < end))
        })
    }
}

/// `None` if there is nothing of the kind from there to the end.
fn seek(file: &OwnedFd, to: SeekFrom) -> Result<Option<u64>> {
    match rustix::fs::seek(file, to) {
        Err(Errno::NXIO) => Ok(None),
        found => found.map(Some),
    }
}

fn read_fully(file: &OwnedFd, offset: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let at = offset.checked_add(done as u64).ok_or(Errno::INVAL)?;
        match rustix::io::pread(file, &mut buf[done..], at) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
