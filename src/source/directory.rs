//! A directory as a source.
//!
//! Several threads share one stack of directories still to be read. Each job is one directory, or a
//! part of a large one: list the names, `statx` each, read link targets and extended attributes,
//! hand all entries to the filesystem at once, push the subdirectories. A parent is always loaded
//! before its children.
//!
//! There is one thread for each CPU, and more where their calls wait: behind a network many calls are under way at once. What
//! is left of a job is shared as soon as a thread is free, down to single names, if it takes long enough to be worth it.
//!
//! A file's content is not made: the filesystem keeps the number of its name and a hash that tells
//! whether it is still the same, and asks for the rest when somebody wants the content.
//!
//! Waiting directories hold no descriptor. A thread opens the next one relative to the directory in
//! which it found subdirectories last where that is the parent, and otherwise by walking down from
//! the source's root, in pieces shorter than `PATH_MAX`. So a load holds at most three descriptors
//! for each thread, and neither depth nor path length is limited. A thread that gets none ends, and the others go on.
//!
//! `openat2` is used throughout (Linux 5.6): no symbolic link is ever followed below the root, and
//! nothing outside it is reached.

mod acl;
mod ahead;
mod attributes;
mod backing;
mod contents;
mod filesystem;
mod identity;
mod links;
mod live;
mod meter;
mod moved;
mod names;
mod nowait;
mod numbers;
mod open_files;
mod opening;
mod pace;
mod probe;
mod queue;
mod renewed;
mod root;
mod scan;
mod search;

pub use live::{Live, LiveDirectory, Looker, Quiet, Seen, Spot, Watch};

use super::{LoadError, LoadOptions, LoadReport, Progress};
use crate::fs::Fs;
use crate::host::is_memory_left_for_a_thread;
use crate::transport::session::table;
use crate::tree::NodeId;
use attributes::XattrReader;
use contents::Contents;
use names::Place;
use parking_lot::Mutex;
use queue::{Queue, Seat, Waiting};
use root::SourceRoot;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use scan::{Load, Loader};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, Scope};
use std::time::Instant;

/// Loads all metadata of the directory `dir` into `fs`, whose tree must still be empty.
///
/// Inode numbers, modes, owners, times, link counts, sizes and block counts, device numbers, link targets and
/// extended attributes become what the source shows, the root's own included; access control lists
/// only if `fs` keeps them, else modes are narrowed instead. File content is not
/// read: reads are served from the source as long as the file is the one that was recorded there,
/// and fail with `ESTALE` and one log line once it is not. The source is opened for reading only;
/// access times are left alone where the caller may ask for that, except those of symbolic links,
/// which every `readlink` moves.
///
/// Whether a file is the recorded one is told by device, inode number, size, mtime and time of birth. A change of
/// its mode, owner, names or extended attributes is none of its content. What that cannot see: a change that leaves the size and
/// puts the old mtime back; before Linux 6.13, where times tick every few milliseconds, one within the tick of
/// the load; stores through a shared mapping that was already dirty when the file was loaded; on filesystems that give
/// inode numbers out anew (FUSE, FAT, SMB), another file of the same size and mtime.
///
/// Filesystems whose files are made up when they are read (procfs, sysfs, cgroup and their like) are not loaded. Where a
/// filesystem is not known to tell how long files are (FUSE, 9p), a file that says it is empty is read at once, and what it
/// has is kept in memory; a file that turns out to have more or fewer bytes than it says cannot be read (`EIO`), with one log line.
///
/// A file that is itself a mount point is loaded as it shows.
///
/// A source that changes meanwhile is loaded as it is met; what vanishes between listing and
/// reading counts as unreadable.
///
/// # Errors
/// See [`LoadError`].
pub fn load(
    fs: &Fs,
    dir: &Path,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    load_watched(fs, dir, options, progress, &()).map(|(report, _)| report)
}

/// As [`load`], and tells `watch` of each directory before it is listed. Also gives what looks at the source again.
///
/// # Errors
/// See [`LoadError`].
pub fn load_watched(
    fs: &Fs,
    dir: &Path,
    options: &LoadOptions,
    progress: &dyn Progress,
    watch: &dyn Watch,
) -> Result<(LoadReport, Live), LoadError> {
    let started = Instant::now();
    let failed = |errno| LoadError::Source {
        path: dir.to_owned(),
        errno,
    };
    let root = SourceRoot::open(dir, options.cross_mounts).map_err(failed)?;
    let root = Arc::new(root);
    let stat = root.stat().map_err(failed)?;
    let filesystem = root
        .filesystem(identity::device(&stat), || Ok(root.fd()))
        .map_err(failed)?;
    if let Some(filesystem) = filesystem.made_up {
        return Err(LoadError::MadeUp {
            path: dir.to_owned(),
            filesystem,
        });
    }
    let mut attr = attributes::attr(&stat).ok_or(failed(Errno::NOTDIR))?;
    let mut found = XattrReader::of_fd(root.fd());
    acl::settle(fs.keeps_acls(), &mut attr, &mut found);
    let numbers = &root.numbers;
    fs.number(numbers.of(&stat)).map_err(failed)?;
    fs.load_root(attr, found.xattrs);
    let contents = Arc::new(Contents::new(root.clone()));
    fs.set_origin(contents.clone()).map_err(failed)?;

    let load = Load::new(fs, root.clone(), &stat, (options, progress, watch));
    let first = Waiting {
        id: NodeId::ROOT,
        place: Place::ROOT,
    };
    let (enough, most) = threads(options);
    let mut report = LoadReport::default();
    if let Some(errno) = found.missing {
        load.unreadable(&mut report, Place::ROOT, errno)?;
    }
    report.absorb(run(&load, &Queue::new(first, enough, most))?);
    let statfs = rustix::fs::fstatfs(root.fd()).map_err(failed)?;
    if let Some(range) = numbers.free(&statfs) {
        fs.set_own_numbers(range);
    }
    root.complete();
    (report.nosuid, report.nodev) = forbidden(root.fd(), options.cross_mounts).map_err(failed)?;
    report.elapsed = started.elapsed();
    let mount = (!options.cross_mounts).then(|| attributes::Mount::of(&stat));
    Ok((report, Live::new(contents, mount, fs.keeps_acls())))
}

/// Whether the mount that `root` is in forbids set-user-id bits and device files to work, or one of those below it if they are
/// loaded too.
fn forbidden(root: BorrowedFd<'_>, crosses_mounts: bool) -> Result<(bool, bool), Errno> {
    let flags = rustix::fs::fstatvfs(root)?.f_flag;
    let own = (
        flags.contains(StatVfsMountFlags::NOSUID),
        flags.contains(StatVfsMountFlags::NODEV),
    );
    if !crosses_mounts {
        return Ok(own);
    }
    let link = format!("/proc/self/fd/{}", root.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?.into_bytes();
    let path = Path::new(OsStr::from_bytes(&path));
    // What is not known is forbidden.
    let mounts = table::read().map_err(|_| Errno::NOENT)?;
    let below = mounts.iter().filter(|m| m.mount_point.starts_with(path));
    Ok(below.fold(own, |(nosuid, nodev), mount| {
        (
            nosuid || mount.has_flag("nosuid"),
            nodev || mount.has_flag("nodev"),
        )
    }))
}

/// Reads everything in the queue, and what is found on the way.
fn run(load: &Load<'_>, queue: &Queue) -> Result<LoadReport, LoadError> {
    let total = Mutex::new(Ok(LoadReport::default()));
    std::thread::scope(|scope| {
        let crew = Crew {
            scope,
            load,
            queue,
            total: &total,
        };
        let hired = (0..queue.enough()).take_while(|_| crew.hire(queue.join()).is_ok());
        if hired.count() == 0 {
            crew.work(queue.join(), XattrReader::for_any_thread());
        }
    });
    total.into_inner()
}

/// What makes the threads of a load, each of which may make more.
#[derive(Clone, Copy)]
struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    load: &'env Load<'env>,
    queue: &'env Queue,
    total: &'env Mutex<Result<LoadReport, LoadError>>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    /// A thread does nothing that needs more.
    const STACK: usize = 512 * 1024;

    /// Makes a thread. If there cannot be one, the load goes on with those there are.
    fn hire(self, seat: Seat<'env>) -> io::Result<()> {
        if !is_memory_left_for_a_thread() {
            self.queue.no_more();
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let work = move || self.work(seat, XattrReader::for_this_thread());
        let thread = Builder::new().name("load".into()).stack_size(Crew::STACK);
        let hired = thread.spawn_scoped(self.scope, work);
        hired.map(drop).inspect_err(|error| {
            tracing::info!(%error, "no more threads for loading");
            self.queue.no_more();
        })
    }

    /// Makes as many threads as are worth it now.
    fn staff(self) {
        while let Some(seat) = self.queue.vacancy()
            && self.hire(seat).is_ok()
        {}
    }

    /// Works in the calling thread until nothing is left to do.
    fn work(self, seat: Seat<'env>, xattrs: XattrReader) {
        let staff = || self.staff();
        let found = Loader::new(self.load, seat, xattrs, &staff).run();
        let mut total = self.total.lock();
        match (&mut *total, found) {
            (Ok(total), Ok(found)) => total.absorb(found),
            (Ok(_), Err(error)) => *total = Err(error),
            (Err(_), _) => {}
        }
    }
}

/// Calls under way at once where they wait.
const MOST_THREADS: usize = 64;
/// Descriptors that a thread holds at most.
const DESCRIPTORS: u64 = 3;

/// How many threads read a source that answers at once, and how many one that does not.
fn threads(options: &LoadOptions) -> (usize, usize) {
    let enough = std::thread::available_parallelism().map_or(1, usize::from);
    match options.threads {
        0 => {
            let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            let held = usize::try_from(limit / 2 / DESCRIPTORS).unwrap_or(usize::MAX);
            (enough, MOST_THREADS.min(held).max(enough))
        }
        most => (enough.min(most), most),
    }
}
