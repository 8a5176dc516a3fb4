//! A mount and its serving threads, from the beginning to the end.

use crate::fs::{Fs, Stale};
use crate::host::{is_memory_left, rest};
use crate::transport::channel::Channel;
use crate::transport::channel::device;
use crate::transport::channel::exchange::Serve;
use crate::transport::channel::lost::EndConnection;
use crate::transport::dispatch::Shared;
use crate::transport::session::attach::{self, Ground, Made, Unserved, greet, take_back};
use crate::transport::session::carry::{self, Carried, CarryError, Rings};
use crate::transport::session::error::MountError;
use crate::transport::session::lease::Lease;
use crate::transport::session::mount_point::{Identity, MountPoint};
use crate::transport::session::table::{self, MountEntry};
use crate::transport::session::unmount::{abort, remove_remains, unmount};
use crate::transport::wire::Agreed;
use crate::transport::{Cache, Carriage, Options, Permissions, Requests, passthrough};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a mount taken away may need to end, before it counts as seen from elsewhere.
const GRACE: Duration = Duration::from_millis(500);
/// How the mount table shows that links are not followed.
const NOSYMFOLLOW: &str = "nosymfollow";
/// How often a mount may move while it is taken away, and how long it is given to come to rest.
const MOVES: usize = 1000;
const MOMENT: Duration = Duration::from_millis(1);

/// Makes sure that `path` can be mounted on, and holds on to that place whatever happens to the path. A dead norefs mount there
/// is taken away first.
pub fn prepare(path: &Path) -> Result<MountPoint, MountError> {
    let place = MountPoint::find(path);
    let place = place.map_err(|error| MountError::Unreachable(path.to_owned(), error))?;
    attach::check(&place)?;
    attach::directory(&place)?;
    Ok(place)
}

/// Mounts `fs` at `mount_point` and serves it in threads of its own. When this returns the mount
/// answers.
///
/// The lifetimes in `options` are what the kernel is told; the caller makes `fs` with a
/// configuration that agrees. Who decides about permissions is what `fs` says.
pub fn mount(
    fs: Arc<Fs>,
    mount_point: &Path,
    options: &Options,
) -> Result<MountHandle, MountError> {
    mount_at(fs, prepare(mount_point)?, options)
}

/// As [`mount`], at a place that was resolved before.
pub fn mount_at(
    fs: Arc<Fs>,
    place: MountPoint,
    options: &Options,
) -> Result<MountHandle, MountError> {
    check(&fs, options)?;
    let connection = connect(place, options, fs.permissions())?;
    serve(fs, connection, options)
}

/// Mounts at `place`, for another process to serve it. The options have to be those with which it does.
pub fn make(
    place: MountPoint,
    options: &Options,
    permissions: Permissions,
) -> Result<Unserved, MountError> {
    Ground::take(place)?.mount(options, permissions)
}

/// As [`mount_at`], where another process has [made](make) the mount, which is to be served through `device`. That process takes
/// it away if this fails.
pub fn mount_made(
    fs: Arc<Fs>,
    device: OwnedFd,
    made: Made,
    options: &Options,
) -> Result<MountHandle, MountError> {
    check(&fs, options)?;
    let rings = carry::prepare(options).map_err(|error| MountError::Ring(error.into()))?;
    check_memory(options)?;
    let place = made.mount_point();
    let greeted = greet(device, &place, options, fs.permissions(), rings.is_some())?;
    serve(fs, connected(greeted, made, options, rings)?, options)
}

/// Whether `options` go with `fs`.
fn check(fs: &Fs, options: &Options) -> Result<(), MountError> {
    if options.passthrough && !options.read_only {
        let reason = "the mount is not read-only";
        return Err(MountError::Passthrough(reason));
    }
    if options.dev && fs.permissions() == Permissions::Daemon {
        return Err(MountError::Devices);
    }
    check_acl(fs, options).map_err(MountError::Acl)
}

/// Serves `fs` through `connection`.
fn serve(
    fs: Arc<Fs>,
    connection: Connection,
    options: &Options,
) -> Result<MountHandle, MountError> {
    let mount_point = connection.mount_point.clone();
    let mounted = connection.mounted.clone();
    let shared = Arc::new(Shared::new(fs, options, connection.agreed));
    shared.invalidator.connect(&connection.channel);
    if let Some(passthrough) = &shared.passthrough {
        passthrough.connect(&connection.channel);
    }
    let channel = Arc::downgrade(&connection.channel);
    let serve: Arc<dyn Serve> = shared.clone();
    let carried = connection.serve(&serve, options)?;
    Ok(MountHandle {
        mount_point,
        mounted,
        channel,
        shared,
        carriage: carried.carriage,
        session: Mutex::new(Some(carried.serving)),
    })
}

/// Why there cannot be access control lists, or must be, if so.
fn check_acl(fs: &Fs, options: &Options) -> Result<(), &'static str> {
    match (options.acl, fs.keeps_acls()) {
        (true, false) => Err("the filesystem keeps none"),
        (false, true) => Err("the filesystem keeps them, and nobody would check by them"),
        (true, true) if !options.xattr => Err("extended attributes are off"),
        (true, true) if fs.permissions() != Permissions::Kernel => {
            Err("only the kernel checks by them")
        }
        _ => Ok(()),
    }
}

/// What tells a mount from others.
#[derive(Clone)]
struct Mounted {
    device: (u32, u32),
    identity: Identity,
    lease: Option<Arc<Lease>>,
}

impl Mounted {
    /// Takes away what is left of it after its connection has ended. If that takes a process and there are too many, some
    /// of ours may be about to end.
    fn remove_remains(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match remove_remains(self.device, self.identity, self.lease.as_deref()) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < GRACE =>
                {
                    std::thread::sleep(MOMENT);
                }
                removed => return removed,
            }
        }
    }
}

/// A mount that nobody serves yet.
pub(crate) struct Connection {
    mount_point: PathBuf,
    mounted: Mounted,
    channel: Arc<Channel>,
    agreed: Agreed,
    rings: Rings,
}

/// What fuser takes for the first words with the kernel, and much more, bytes.
const FIRST_WORDS: usize = 24 << 20;
/// What a thread and its buffer take at most, bytes.
const THREAD: usize = 4 << 20;
/// Without more threads than these a mount is served all the same.
const THREADS: usize = 8;

/// Whether there is the memory that is asked for once a mount is made, where nobody could be refused it.
fn check_memory(options: &Options) -> Result<(), MountError> {
    let threads = device::readers(options.threads).min(THREADS);
    match is_memory_left(FIRST_WORDS + threads * THREAD) {
        true => Ok(()),
        false => Err(MountError::Memory),
    }
}

/// Mounts and negotiates.
pub(crate) fn connect(
    place: MountPoint,
    options: &Options,
    permissions: Permissions,
) -> Result<Connection, MountError> {
    let rings = carry::prepare(options).map_err(|error| MountError::Ring(error.into()))?;
    check_memory(options)?;
    let ground = Ground::take(place)?;
    let unserved = ground.mount(options, permissions)?;
    let entry = unserved.entry().clone();
    let (device, made) = unserved.into_parts();
    let place = ground.place().path();
    let greeted = greet(device, place, options, permissions, rings.is_some());
    let greeted = greeted.inspect_err(|_| take_back(&entry))?;
    connected(greeted, made, options, rings)
}

/// A connection that is agreed on, if that is what `options` need. Otherwise the mount is taken away.
fn connected(
    (channel, agreed): (Channel, Agreed),
    made: Made,
    options: &Options,
    rings: Rings,
) -> Result<Connection, MountError> {
    let mount_point = made.mount_point();
    let identity = made.identity;
    let lease = Lease::take(made.device, identity);
    let mounted = Mounted {
        device: made.device,
        identity,
        lease: lease.inspect_err(untold).ok().map(Arc::new),
    };
    let unserved = |error| MountError::Serve(mount_point.clone(), error);
    let channel = Arc::new(channel);
    let refused = if options.passthrough
        && let Err(reason) = passthrough::check(&channel, agreed)
    {
        Some(MountError::Passthrough(reason))
    } else if options.acl && !agreed.acl {
        let reason = "the kernel does not check by them, which takes Linux 5.13";
        Some(MountError::Acl(reason))
    } else if options.nosymfollow && !made.has_flag(NOSYMFOLLOW) {
        // Older kernels take the flag and do nothing about it, and fusermount3 does not know it.
        let reason = "nosymfollow takes Linux 5.10 and root".to_owned();
        Some(MountError::Refused(mount_point.clone(), reason))
    } else {
        None
    };
    if let Some(refused) = refused {
        drop(channel);
        mounted.remove_remains().map_err(unserved)?;
        return Err(refused);
    }
    Ok(Connection {
        mount_point,
        mounted,
        channel,
        agreed,
        rings,
    })
}

fn untold(error: &io::Error) {
    tracing::debug!(%error, "others cannot learn whether the mount is served");
}

impl Connection {
    /// Lets `serve` answer what comes. If this fails the mount is taken away again.
    pub(crate) fn serve(
        self,
        serve: &Arc<dyn Serve>,
        options: &Options,
    ) -> Result<Carried, MountError> {
        let Connection {
            mount_point,
            mounted,
            channel,
            agreed,
            rings,
        } = self;
        let device = mounted.device;
        let watched = Arc::downgrade(&channel);
        let end: EndConnection = Arc::new(move || {
            let aborted = is_connected(&watched).and_then(|lives| match lives {
                true => abort(device),
                false => Ok(()),
            });
            if let Err(error) = aborted {
                tracing::error!(%error, "the connection cannot be ended: whoever uses the mount may have to wait");
            }
        });
        carry::start(channel, agreed, rings, serve, options, &end).map_err(|error| {
            let removed = mounted.remove_remains();
            match (removed, error) {
                (Err(error), _) | (_, CarryError::Threads(error)) => {
                    MountError::Serve(mount_point, error)
                }
                (_, CarryError::Ring(error)) => MountError::Ring(error.into()),
                (_, CarryError::TakenAway) => MountError::TakenAway(mount_point),
            }
        })
    }
}

/// Whether a mount is not where the table had it a moment ago.
fn has_moved(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    error.kind() == io::ErrorKind::NotFound || matches!(errno, Some(Errno::LOOP | Errno::NOTDIR))
}

/// Whether the connection of `channel` has not ended.
fn is_connected(channel: &Weak<Channel>) -> io::Result<bool> {
    channel
        .upgrade()
        .map_or(Ok(false), |channel| channel.is_connected())
}

/// A mount being served. Dropping it unmounts, lazily if the mount is in use.
pub struct MountHandle {
    mount_point: PathBuf,
    mounted: Mounted,
    channel: Weak<Channel>,
    shared: Arc<Shared>,
    carriage: Carriage,
    session: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl MountHandle {
    /// Where it is mounted: an absolute path.
    pub fn mountpoint(&self) -> &Path {
        &self.mount_point
    }

    /// Major and minor device number of the mount.
    pub fn device(&self) -> (u32, u32) {
        self.mounted.device
    }

    /// What is served.
    pub fn fs(&self) -> &Arc<Fs> {
        &self.shared.fs
    }

    /// How requests travel.
    pub fn carriage(&self) -> Carriage {
        self.carriage
    }

    /// The requests received so far.
    pub fn requests(&self) -> Requests {
        self.shared.metrics.sum()
    }

    /// How many times the kernel was told that attributes are stale.
    pub fn notifications(&self) -> u64 {
        self.shared.invalidator.sent()
    }

    /// What tells the kernel of changes that no request asked for.
    pub fn teller(&self) -> Teller {
        Teller(self.shared.clone())
    }

    /// A view of the counters that does not keep the mount alive.
    pub fn counters(&self) -> MountCounters {
        MountCounters {
            shared: self.shared.clone(),
            carriage: self.carriage,
            channel: self.channel.clone(),
        }
    }

    /// Where a test takes hold of this mount.
    #[cfg(feature = "failpoints")]
    pub fn failpoints(&self) -> &Arc<crate::transport::failpoint::Failpoints> {
        &self.shared.failpoints
    }

    /// Whether the mount is served and to be seen in this mount namespace.
    pub fn is_mounted(&self) -> bool {
        self.place().is_ok_and(|place| place.is_some())
    }

    /// Unmounts, wherever the mount is to be seen now; [`wait`](MountHandle::wait) returns then,
    /// unless another mount namespace sees it too. `EBUSY` if the mount is in use or covered by
    /// another. Does nothing if it was unmounted already.
    pub fn unmount(&self) -> io::Result<()> {
        self.take_away(false)
    }

    /// Takes the mount out of the tree now. It is served until its last user has left. `EBUSY` if
    /// it is covered by another.
    pub fn detach(&self) -> io::Result<()> {
        self.take_away(true)
    }

    fn take_away(&self, lazily: bool) -> io::Result<()> {
        let mut moved = 0;
        while let Some(entry) = self.place()? {
            match unmount(&entry, lazily) {
                // Somebody moves a directory above, or has put a link in its place.
                Err(error) if has_moved(&error) && moved < MOVES => {
                    moved += 1;
                    std::thread::sleep(MOMENT);
                }
                ended => ended?,
            }
        }
        // A connection that was aborted leaves a dead mount behind.
        self.mounted.remove_remains()
    }

    /// A place where the mount is to be seen: a directory above may have been renamed, and it may
    /// have been bound to others.
    fn place(&self) -> io::Result<Option<MountEntry>> {
        let mounts = table::read()?;
        let ours = |entry: &&MountEntry| entry.is_norefs() && entry.device == self.device();
        let Some(entry) = mounts.iter().rfind(ours) else {
            return Ok(None);
        };
        // Asked after the mounts were read: had the connection ended before, the number might be another one's by then.
        if !is_connected(&self.channel)? {
            return Ok(None);
        }
        let place = &entry.mount_point;
        let covered = mounts
            .iter()
            .rfind(|other| other.mount_point == *place)
            .is_some_and(|top| !ours(&top));
        match covered {
            true => Err(io::ErrorKind::ResourceBusy.into()),
            false => Ok(Some(entry.clone())),
        }
    }

    /// Whether the mount ends soon after it was unmounted. If not, it is seen from another mount
    /// namespace, and is served as long as that.
    pub fn ends_soon(&self) -> bool {
        let over = |session: &Option<JoinHandle<_>>| {
            session.as_ref().is_none_or(|serving| serving.is_finished())
        };
        let began = Instant::now();
        loop {
            if self
                .session
                .try_lock()
                .is_some_and(|session| over(&session))
            {
                return true;
            }
            if began.elapsed() > GRACE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the mount has ended, whoever unmounts it, and all its threads are gone.
    pub fn wait(&self) -> io::Result<()> {
        // The lock is held meanwhile so that every caller waits.
        let mut session = self.session.lock();
        let ended = session
            .take()
            .map_or(Ok(()), |serving| match rest(|| serving.join()) {
                Ok(ended) => ended,
                Err(_) => Err(io::Error::other("a serving thread panicked")),
            });
        // A connection that was aborted leaves a dead mount behind.
        self.mounted.remove_remains()?;
        ended
    }
}

impl Drop for MountHandle {
    fn drop(&mut self) {
        let ended = match self.unmount() {
            Ok(()) if self.ends_soon() => self.wait(),
            // The threads go on until the last user has left.
            Ok(()) => Ok(()),
            Err(_) => self.detach(),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, path = %self.mount_point.display(), "the mount did not end well");
        }
    }
}

/// Tells the kernel that something changed which no request asked for. It does not keep the mount.
#[derive(Clone)]
pub struct Teller(Arc<Shared>);

impl Teller {
    /// Makes the kernel drop what it holds. This may wait for requests to be answered: for a thread that holds nothing that they need.
    pub fn tell(&self, stale: &Stale) {
        match stale {
            Stale::Name(directory, name) => self.0.invalidator.name(*directory, name),
            Stale::Attributes(node) => self.0.invalidator.attributes(*node),
            Stale::Content(node) => _ = self.0.invalidator.write_back(*node, &[ALL]),
        }
    }
}

/// All of a file.
const ALL: Range<u64> = 0..i64::MAX as u64;

/// The counters of a mount, and what may be said of it while it is served; see [`MountHandle::counters`].
#[derive(Clone)]
pub struct MountCounters {
    shared: Arc<Shared>,
    carriage: Carriage,
    channel: Weak<Channel>,
}

impl MountCounters {
    /// Whether the kernel still sends requests: false from the moment on in which the mount is taken away everywhere.
    pub fn is_connected(&self) -> bool {
        is_connected(&self.channel).unwrap_or(true)
    }

    /// How requests travel.
    pub fn carriage(&self) -> Carriage {
        self.carriage
    }

    /// The requests received so far.
    pub fn requests(&self) -> Requests {
        self.shared.metrics.sum()
    }

    /// Whether the kernel reads files of the source by itself. Such a filesystem must stay read-only.
    pub fn passes_through(&self) -> bool {
        self.shared.passthrough.is_some()
    }

    /// How long the kernel may keep what it is told now.
    pub fn cache(&self) -> Cache {
        Cache::lasting(self.shared.ttl())
    }

    /// Says how long the kernel may keep what it is told from now on. What it was told before it keeps as long as it was told,
    /// and what opening a file asks for was settled with the mount.
    pub fn set_cache(&self, cache: Cache) {
        self.shared.set_cache(cache);
    }

    /// How many times the kernel was told that attributes are stale.
    pub fn notifications(&self) -> u64 {
        self.shared.invalidator.sent()
    }

    /// What is served, for as long as somebody has it.
    pub fn share(&self) -> Arc<Fs> {
        self.shared.fs.clone()
    }

    /// What is served.
    pub fn fs(&self) -> &Fs {
        &self.shared.fs
    }
}
