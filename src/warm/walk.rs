//! What the process does that warms a mount.

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::Signal;
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

/// The last line of a process that has listed everything.
pub(super) const DONE: &str = "done\n";

/// What the process is called once it lists.
const NAME: &CStr = c"norefs-warm";
/// Names between two looks at the memory, and two lines that tell how many there were.
const STEP: u64 = 4096;
/// A third of what others get of a CPU.
const NICE: i32 = 5;
/// Threads at most: beyond, they wait for each other's locks in the kernel.
const THREADS: usize = 4;
/// As much as the kernel asks for at once.
const DIRENT_BYTES: usize = 128 * 1024;
/// What a name costs the kernel: an inode of FUSE, a directory entry, and what the allocator loses.
const BYTES_PER_NAME: u64 = 1536;
/// The part of the memory that may be taken, and of which that much must be left.
const PART: u64 = 8;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NO_REQUEST: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::STATX_DONT_SYNC);

/// Lists every directory of the mount with this device number at `mount_point`, a few thousand names after the other, and
/// tells on standard output how many there were. With `privately` only if unmounting is not kept from succeeding meanwhile.
///
/// For a process of its own, with one thread until this makes more: it gives up CPUs to others, and may get a user namespace of
/// its own.
pub fn run(mount_point: &Path, device: (u32, u32), privately: bool) -> io::Result<()> {
    // Fails only where it is at least as low already.
    rustix::process::setpriority_process(None, NICE).unwrap_or_default();
    let names = Names {
        listed: AtomicU64::new(0),
        most: memory() / PART / BYTES_PER_NAME,
    };
    let said = match start(&names, mount_point, device, privately) {
        Ok(()) => DONE.to_owned(),
        Err(error) => format!("{error}\n"),
    };
    tell(&format!("{}\n{said}", names.listed.into_inner()))
}

fn start(names: &Names, mount_point: &Path, device: (u32, u32), privately: bool) -> io::Result<()> {
    let root = root(mount_point, privately)?;
    // A daemon that is killed ends this process even if somebody has stopped it. Not earlier: a namespace of its own resets it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_name(NAME)?;
    let found = look(&root, c"")?;
    if (found.stx_dev_major, found.stx_dev_minor) != device {
        return Err(io::Error::other("something else is mounted there"));
    }
    let walk = Walk::new(names, (Arc::new(root), c".".to_owned()));
    let more = available_parallelism().map_or(0, |cpus| cpus.get().min(THREADS) - 1);
    std::thread::scope(|scope| {
        for _ in 0..more {
            // Those that cannot be made leave more to the others.
            let thread = std::thread::Builder::new().spawn_scoped(scope, || walk.list_all());
            thread.map(drop).unwrap_or_default();
        }
        walk.list_all();
    });
    Ok(walk.waiting.into_inner().ended?)
}

/// How many names there were.
struct Names {
    listed: AtomicU64,
    most: u64,
}

impl Names {
    /// Counts one. Fails if memory is short, or if nobody wants to know any more.
    fn count(&self) -> rustix::io::Result<()> {
        let listed = self.listed.fetch_add(1, Ordering::Relaxed) + 1;
        if !listed.is_multiple_of(STEP) {
            return Ok(());
        }
        if listed >= self.most || is_short_of_memory() {
            return Err(Errno::NOMEM);
        }
        tell(&format!("{listed}\n")).map_err(|_| Errno::PIPE)
    }
}

/// A directory that was found, in the one it was found in.
type Found = (Arc<OwnedFd>, CString);

/// What is to be listed.
struct Waiting {
    directories: Vec<Found>,
    /// Threads that are listing one, in which more may be found.
    busy: usize,
    /// Whether it came to an early end, and why.
    ended: rustix::io::Result<()>,
}

/// A walk by several threads, each of which takes the directory that was found last.
struct Walk<'n> {
    names: &'n Names,
    waiting: Mutex<Waiting>,
    found: Condvar,
}

impl<'n> Walk<'n> {
    fn new(names: &'n Names, root: Found) -> Walk<'n> {
        Walk {
            names,
            waiting: Mutex::new(Waiting {
                directories: vec![root],
                busy: 0,
                ended: Ok(()),
            }),
            found: Condvar::new(),
        }
    }

    /// Lists directories until there are no more.
    fn list_all(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); DIRENT_BYTES];
        while let Some((parent, name)) = self.next() {
            let listed = self.list(&parent, &name, &mut buffer);
            let mut waiting = self.waiting.lock();
            waiting.busy -= 1;
            match listed {
                Ok(found) => waiting.directories.extend(found),
                // Changes meanwhile, directories that are not for everybody, and those below too many others.
                Err(
                    Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::LOOP
                    | Errno::STALE
                    | Errno::ACCESS
                    | Errno::PERM
                    | Errno::MFILE,
                ) => {}
                ended => waiting.ended = ended.map(drop),
            }
            self.found.notify_all();
        }
    }

    /// The next one; `None` if there are no more, and none can be found any more.
    fn next(&self) -> Option<Found> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.ended.is_err() {
                return None;
            }
            if let Some(next) = waiting.directories.pop() {
                waiting.busy += 1;
                return Some(next);
            }
            if waiting.busy == 0 {
                return None;
            }
            self.found.wait(&mut waiting);
        }
    }

    /// Lists one directory. Gives those in it, of which the last one is to be listed first: the ones that programs hide come last.
    fn list(
        &self,
        parent: &OwnedFd,
        name: &CString,
        buffer: &mut [MaybeUninit<u8>],
    ) -> rustix::io::Result<impl Iterator<Item = Found>> {
        let directory = Arc::new(openat(parent, name, DIRECTORY, Mode::empty())?);
        let (mut hidden, mut shown) = (Vec::new(), Vec::new());
        let mut entries = RawDir::new(&*directory, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let (name, kind) = (entry.file_name().to_owned(), entry.file_type());
            if name.as_c_str() == c"." || name.as_c_str() == c".." {
                continue;
            }
            self.names.count()?;
            // The kernel goes on asking for attributes only if it sees that somebody wants them.
            if entries.is_buffer_empty() {
                look(&*directory, &name).map(drop).unwrap_or_default();
            }
            if kind == FileType::Directory {
                let found = match name.to_bytes().starts_with(b".") {
                    true => &mut hidden,
                    false => &mut shown,
                };
                found.push((directory.clone(), name));
            }
        }
        Ok(hidden.into_iter().chain(shown.into_iter().rev()))
    }
}

/// Looks at a name, or at the directory itself, without making the kernel ask for what it has.
fn look(directory: impl AsFd, name: &CStr) -> rustix::io::Result<Statx> {
    let flags = match name.is_empty() {
        true => NO_REQUEST | AtFlags::EMPTY_PATH,
        false => NO_REQUEST,
    };
    statx(directory, name, flags, StatxFlags::TYPE)
}

/// The root of the mount, in a clone of it if there can be one.
fn root(mount_point: &Path, privately: bool) -> io::Result<OwnedFd> {
    match clone(mount_point).or_else(|_| clone_in_own_namespace(mount_point)) {
        Err(_) if !privately => Ok(openat(CWD, mount_point, DIRECTORY, Mode::empty())?),
        cloned => cloned
            .map_err(|errno| io::Error::other(format!("it would keep the mount busy ({errno})"))),
    }
}

fn clone(mount_point: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, mount_point, flags)
}

/// An ordinary user may clone what is mounted in a namespace of their own.
fn clone_in_own_namespace(mount_point: &Path) -> rustix::io::Result<OwnedFd> {
    use nix::sched::{CloneFlags, unshare};
    let own = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    unshare(own).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    clone(mount_point)
}

fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Bytes of physical memory.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram
        .saturating_mul(u64::from(info.mem_unit).max(1))
}

/// Whether less than a part of the memory can be had without swapping, as far as the kernel tells.
fn is_short_of_memory() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.is_some_and(|kib| kib << 10 < memory() / PART)
}
