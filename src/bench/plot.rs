//! A contender's tree: built when the run starts, removed when it ends.

use super::course::{CONTENT, Course, LINK_TARGET};
use super::operation::{STEADY, create, list, open_directory};
use super::{Contender, Error};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, mkdirat, symlinkat, unlinkat};
use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The tree. Dropping it removes it.
pub struct Plot {
    pub label: String,
    parent: OwnedFd,
    name: CString,
    root: OwnedFd,
    own: Vec<OwnedFd>,
}

impl Plot {
    /// Builds the tree in a new subdirectory, with a directory for each client's changes.
    pub fn prepare(
        contender: Contender,
        number: usize,
        course: &Course,
        clients: usize,
        stop: &AtomicBool,
    ) -> Result<Plot, Error> {
        let label = contender.label.clone();
        let mut plot = Plot::new(contender, number).map_err(|error| failed(&label, error))?;
        match plot.build(course, clients, stop) {
            Err(_) if stop.load(Ordering::Relaxed) => Err(Error::Interrupted),
            Err(error) => Err(failed(&label, error)),
            Ok(()) => Ok(plot),
        }
    }

    fn new(contender: Contender, number: usize) -> io::Result<Plot> {
        let pid = std::process::id();
        let name = CString::new(format!("norefs-bench-{pid}-{number}"))?;
        let Contender { label, directory } = contender;
        mkdirat(&directory, &name, Mode::RWXU)?;
        let root = open_directory(&directory, &name).inspect_err(|_| {
            unlinkat(&directory, &name, AtFlags::REMOVEDIR).unwrap_or_default();
        })?;
        Ok(Plot {
            label,
            root,
            parent: directory,
            name,
            own: Vec::new(),
        })
    }

    fn build(&mut self, course: &Course, clients: usize, stop: &AtomicBool) -> io::Result<()> {
        let root = &self.root;
        for directory in &course.directories {
            mkdirat(root, directory, Mode::RWXU)?;
        }
        for file in course.near.iter().chain(&course.deep) {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let filled = course.filled.binary_search(file).is_ok();
            create(root, file, if filled { CONTENT } else { 0 })?;
        }
        for link in &course.links {
            symlinkat(LINK_TARGET, root, link)?;
        }
        for client in 0..clients {
            let name = CString::new(format!("client{client:04}"))?;
            mkdirat(root, &name, Mode::RWXU)?;
            let own = open_directory(root, &name)?;
            create(&own, STEADY, 0)?;
            self.own.push(own);
        }
        Ok(())
    }

    /// The root of the tree.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The clients' own directories.
    pub fn own(&self) -> &[OwnedFd] {
        &self.own
    }
}

impl Drop for Plot {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.parent, &self.name) {
            let (label, name) = (&self.label, self.name.to_string_lossy());
            tracing::error!(%error, "{name} in {label} stays");
        }
    }
}

fn failed(label: &str, error: io::Error) -> Error {
    Error::Failed {
        label: label.to_owned(),
        doing: "building the tree",
        error,
    }
}

/// Removes the directory `name` with all that is in it.
fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    let directory = open_directory(parent, name)?;
    let mut found = Vec::new();
    list(&directory, |name, _| {
        found.push(name.to_owned());
        Ok(())
    })?;
    for name in found {
        let stat = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => remove(&directory, &name)?,
            _ => unlinkat(&directory, &name, AtFlags::empty())?,
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
