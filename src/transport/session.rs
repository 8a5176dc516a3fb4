//! A mount and its serving threads, from the beginning to the end.

use crate::fs::Fs;
use crate::transport::carry::{self, Carried, CarryError, Rings};
use crate::transport::channel::{Channel, DEVICE, open_device};
use crate::transport::exchange::Serve;
use crate::transport::lost::EndConnection;
use crate::transport::negotiate::{Agreed, Negotiator};
use crate::transport::serve::Shared;
use crate::transport::table::MountEntry;
use crate::transport::unmount::{abort, one_line, remove_dead, unmount};
use crate::transport::{Carriage, Options, Permissions, Requests, flags, passthrough, table};
use fuser::{MountOption, Session, SessionACL};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a mount taken away may need to end, before it counts as seen from elsewhere.
const GRACE: Duration = Duration::from_millis(500);

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount point cannot be reached.
    #[error("mount point {}", .0.display())]
    Unreachable(PathBuf, #[source] io::Error),
    /// The mount point is a file.
    #[error("mount point {} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// Another FUSE file system is mounted there.
    #[error("mount point {} is in use: {} is mounted there", .0.display(), .1)]
    InUse(PathBuf, String),
    /// A dead mount is there and cannot be taken away.
    #[error("mount point {} holds a dead mount that cannot be removed", .0.display())]
    Dead(PathBuf, #[source] io::Error),
    /// The FUSE device does not work.
    #[error("{DEVICE}")]
    Device(#[source] io::Error),
    /// The kernel or fusermount3 refused the mount.
    #[error("cannot mount at {}: {}", .0.display(), .1)]
    Refused(PathBuf, String),
    /// The ring transport was asked for and cannot be had.
    #[error("the ring transport cannot be used")]
    Ring(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel cannot read files by itself, or may not.
    #[error("files cannot be passed through: {0}")]
    Passthrough(&'static str),
    /// Opening a device asks the filesystem nothing, so it could not decide who may.
    #[error("device files cannot work where the filesystem decides about permissions")]
    Devices,
    /// The kernel does not check by access control lists, or something else forbids them.
    #[error("access control lists cannot be had: {0}")]
    Acl(&'static str),
    /// Somebody unmounted it at once.
    #[error("the mount at {} was taken away before it was served", .0.display())]
    TakenAway(PathBuf),
    /// The mount was made but could not be served, and was taken away again.
    #[error("cannot serve the mount at {}", .0.display())]
    Serve(PathBuf, #[source] io::Error),
}

/// Makes sure that `path` can be mounted on and returns it as an absolute path. A dead norefs
/// mount there is taken away first.
pub fn prepare(path: &Path) -> Result<PathBuf, MountError> {
    let unreachable = |error| MountError::Unreachable(path.to_owned(), error);
    let absolute = table::absolute(path).map_err(unreachable)?;
    match remove_dead(&absolute) {
        Ok(true) => tracing::warn!(path = %absolute.display(), "removed a dead mount"),
        Ok(false) => {}
        Err(error) => return Err(MountError::Dead(absolute, error)),
    }
    if let Some(entry) = table::top_at(&absolute).map_err(unreachable)?
        && entry.is_fuse()
    {
        return Err(MountError::InUse(absolute, entry.fs_type));
    }
    match absolute.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(absolute),
        Ok(_) => Err(MountError::NotDirectory(absolute)),
        Err(error) => Err(unreachable(error)),
    }
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
    if options.passthrough && !options.read_only {
        let reason = "the mount is not read-only";
        return Err(MountError::Passthrough(reason));
    }
    if options.dev && fs.permissions() == Permissions::Daemon {
        return Err(MountError::Devices);
    }
    check_acl(&fs, options).map_err(MountError::Acl)?;
    let mount_point = prepare(mount_point)?;
    open_device().map_err(MountError::Device)?;
    let (connection, device) = connect(mount_point.clone(), options, fs.permissions())?;
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
        device,
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

/// A mount that nobody serves yet.
pub(crate) struct Connection {
    mount_point: PathBuf,
    device: (u32, u32),
    channel: Arc<Channel>,
    agreed: Agreed,
    rings: Rings,
}

/// Mounts and negotiates. Also gives the mount's device number.
pub(crate) fn connect(
    mount_point: PathBuf,
    options: &Options,
    permissions: Permissions,
) -> Result<(Connection, (u32, u32)), MountError> {
    let rings = carry::prepare(options).map_err(|error| MountError::Ring(error.into()))?;
    let (negotiator, agreed) = Negotiator::new(options, permissions, rings.is_some());
    let session =
        Session::new(negotiator, &mount_point, &config(options, permissions)).map_err(|error| {
            match error.kind() {
                // Of the handshake, which follows the mount.
                io::ErrorKind::NotConnected | io::ErrorKind::ConnectionAborted => {
                    MountError::TakenAway(mount_point.clone())
                }
                _ => MountError::Refused(mount_point.clone(), one_line(&error.to_string())),
            }
        })?;
    let unserved = |error| MountError::Serve(mount_point.clone(), error);
    // Asked while no request is answered: later its users may unmount it. Something else may have
    // been mounted over it already.
    let mounts = table::read().map_err(unserved)?;
    let ours = |entry: &&MountEntry| entry.mount_point == mount_point && entry.is_norefs();
    let entry = mounts.iter().rfind(ours);
    let entry = entry.ok_or_else(|| MountError::TakenAway(mount_point.clone()))?;
    let agreed = agreed.get().copied();
    let agreed = agreed.ok_or_else(|| unserved(io::Error::other("nothing was negotiated")))?;
    let channel = Arc::new(Channel::take_over(session));
    let refused = if options.passthrough
        && let Err(reason) = passthrough::check(&channel, agreed)
    {
        Some(MountError::Passthrough(reason))
    } else if options.acl && !agreed.acl {
        let reason = "the kernel does not check by them, which takes Linux 5.13";
        Some(MountError::Acl(reason))
    } else if options.nosymfollow
        && let Err(error) = flags::forbid_links(&mount_point, entry.device, options)
    {
        Some(MountError::Refused(mount_point.clone(), error.to_string()))
    } else {
        None
    };
    if let Some(refused) = refused {
        drop(channel);
        remove_dead(&mount_point).map_err(unserved)?;
        return Err(refused);
    }
    let connection = Connection {
        mount_point,
        device: entry.device,
        channel,
        agreed,
        rings,
    };
    Ok((connection, entry.device))
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
            device,
            channel,
            agreed,
            rings,
        } = self;
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
            let removed = remove_dead(&mount_point);
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

/// Whether the connection of `channel` has not ended.
fn is_connected(channel: &Weak<Channel>) -> io::Result<bool> {
    channel
        .upgrade()
        .map_or(Ok(false), |channel| channel.is_connected())
}

fn config(options: &Options, permissions: Permissions) -> fuser::Config {
    let root = rustix::process::geteuid().is_root();
    let source = match root {
        true => options.source_name.clone(),
        // fusermount3 reads one comma list.
        false => options
            .source_name
            .replace('\\', "\\\\")
            .replace(',', "\\,"),
    };
    let subtype = table::FS_TYPE.trim_start_matches("fuse.");
    let flags = [
        (
            permissions == Permissions::Kernel,
            MountOption::DefaultPermissions,
        ),
        (options.read_only, MountOption::RO),
        (options.noexec, MountOption::NoExec),
        (options.suid, MountOption::Suid),
        (options.dev, MountOption::Dev),
    ];
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::FSName(source),
        MountOption::CUSTOM(format!("subtype={subtype}")),
    ];
    config.mount_options.extend(
        flags
            .into_iter()
            .filter_map(|(on, flag)| on.then_some(flag)),
    );
    config.acl = match options.allow_other {
        true => SessionACL::All,
        false => SessionACL::Owner,
    };
    config
}

/// A mount being served. Dropping it unmounts, lazily if the mount is in use.
pub struct MountHandle {
    mount_point: PathBuf,
    device: (u32, u32),
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
        self.device
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
        self.shared.tally.sum()
    }

    /// How many times the kernel was told that attributes are stale.
    pub fn notifications(&self) -> u64 {
        self.shared.invalidator.sent()
    }

    /// A view of the counters that does not keep the mount alive.
    pub fn counters(&self) -> MountCounters {
        MountCounters(self.shared.clone(), self.carriage)
    }

    /// Where a test takes hold of this mount.
    #[cfg(feature = "seams")]
    pub fn seams(&self) -> &Arc<crate::transport::seam::Seams> {
        &self.shared.seams
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
        while let Some(place) = self.place()? {
            unmount(&place, lazily)?;
        }
        // A connection that was aborted leaves a dead mount behind.
        remove_dead(&self.mount_point).map(drop)
    }

    /// A place where the mount is to be seen: a directory above may have been renamed, and it may
    /// have been bound to others.
    fn place(&self) -> io::Result<Option<PathBuf>> {
        let mounts = table::read()?;
        let ours = |entry: &&MountEntry| entry.is_norefs() && entry.device == self.device;
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
            false => Ok(Some(place.clone())),
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
            .map_or(Ok(()), |serving| match serving.join() {
                Ok(ended) => ended,
                Err(_) => Err(io::Error::other("a serving thread panicked")),
            });
        // A connection that was aborted leaves a dead mount behind.
        remove_dead(&self.mount_point)?;
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

/// The counters of a mount; see [`MountHandle::counters`].
#[derive(Clone)]
pub struct MountCounters(Arc<Shared>, Carriage);

impl MountCounters {
    /// How requests travel.
    pub fn carriage(&self) -> Carriage {
        self.1
    }

    /// The requests received so far.
    pub fn requests(&self) -> Requests {
        self.0.tally.sum()
    }

    /// Whether the kernel reads files of the source by itself. Such a filesystem must stay read-only.
    pub fn passes_through(&self) -> bool {
        self.0.passthrough.is_some()
    }

    /// How many times the kernel was told that attributes are stale.
    pub fn notifications(&self) -> u64 {
        self.0.invalidator.sent()
    }

    /// What is served.
    pub fn fs(&self) -> &Fs {
        &self.0.fs
    }
}
