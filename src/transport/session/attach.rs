//! Mounting at a place, so that it is this mount alone that is made there.

use crate::transport::channel::{Channel, is_connected, open_device};
use crate::transport::session::error::MountError;
use crate::transport::session::fusermount::{self, one_line};
use crate::transport::session::mount_point::{Identity, MountPoint};
use crate::transport::session::negotiate::Negotiator;
use crate::transport::session::table::{self, MountEntry};
use crate::transport::session::unmount::{remove_dead, unmount};
use crate::transport::wire::Agreed;
use crate::transport::{Options, Permissions};
use fuser::{Session, SessionACL};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{getgid, getuid};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another mount may take that is being made at the same place. Who holds the lock for longer is no mount in the making.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often something else may be mounted at the place meanwhile.
const TRIES: usize = 16;

/// Makes sure that `place` can be mounted on. A dead norefs mount there is taken away first.
pub(crate) fn check(place: &MountPoint) -> Result<(), MountError> {
    let path = || place.path().to_owned();
    match remove_dead(place) {
        Ok(true) => tracing::warn!(path = %path().display(), "removed a dead mount"),
        Ok(false) => {}
        Err(error) => return Err(MountError::Dead(path(), error)),
    }
    let mounted = place.mounted();
    match mounted.map_err(|error| MountError::Unreachable(path(), error))? {
        Some(entry) if entry.is_fuse() => Err(MountError::InUse(path(), entry.fs_type)),
        _ => Ok(()),
    }
}

/// The directory that is to be seen at `place`.
pub(crate) fn directory(place: &MountPoint) -> Result<OwnedFd, MountError> {
    let path = || place.path().to_owned();
    place.directory().map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => MountError::NotDirectory(path()),
        _ => MountError::Unreachable(path(), error),
    })
}

/// A directory to mount on, which nobody else who goes by its lock mounts on meanwhile.
pub(crate) struct Ground {
    place: MountPoint,
    directory: OwnedFd,
    _lock: Option<File>,
}

/// A mount that was made, and that nobody serves yet. Whoever uses it waits.
pub struct Unserved {
    /// Through which it is to be served.
    device: OwnedFd,
    entry: MountEntry,
    identity: Identity,
}

/// What has to be known of a mount to serve it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    mount_point: OsString,
    pub(crate) device: (u32, u32),
    pub(crate) identity: Identity,
    flags: String,
}

impl Made {
    /// Where it was made.
    pub(crate) fn mount_point(&self) -> PathBuf {
        PathBuf::from(&self.mount_point)
    }

    /// Whether the mount table shows `flag`.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|one| one == flag)
    }
}

impl Unserved {
    /// The mount, as the table has it.
    pub fn entry(&self) -> &MountEntry {
        &self.entry
    }

    /// Takes it away.
    pub fn take_back(self) {
        take_back(&self.entry);
    }

    /// What another process has to be given to serve it.
    pub fn parts(&self) -> (BorrowedFd<'_>, Made) {
        let made = Made {
            mount_point: self.entry.mount_point.clone().into(),
            device: self.entry.device,
            identity: self.identity,
            flags: self.entry.flags.clone(),
        };
        (self.device.as_fd(), made)
    }

    pub(crate) fn into_parts(self) -> (OwnedFd, Made) {
        let (_, made) = self.parts();
        (self.device, made)
    }
}

/// The first words with the kernel, which has mounted something for `device`. `mount_point` is for who is told of a failure.
pub(crate) fn greet(
    device: OwnedFd,
    mount_point: &Path,
    options: &Options,
    permissions: Permissions,
    ring: bool,
) -> Result<(Channel, Agreed), MountError> {
    let (negotiator, agreed) = Negotiator::new(options, permissions, ring);
    let acl = match options.allow_other {
        true => SessionACL::All,
        false => SessionACL::Owner,
    };
    let session = Session::from_fd(negotiator, device, acl, fuser::Config::default());
    let session = session.map_err(|error| refused(mount_point, &error))?;
    let channel = Channel::take_over(session);
    let unserved = || io::Error::other("nothing was negotiated");
    let agreed = agreed.get().copied();
    let agreed = agreed.ok_or_else(|| MountError::Serve(mount_point.to_owned(), unserved()))?;
    Ok((channel, agreed))
}

/// Why the mount at `path` was not made, or not served.
fn refused(path: &Path, error: &io::Error) -> MountError {
    let path = path.to_owned();
    match error.kind() {
        // Of the first words, which follow the mount.
        io::ErrorKind::NotConnected | io::ErrorKind::ConnectionAborted => {
            MountError::TakenAway(path)
        }
        _ => MountError::Refused(path, one_line(&error.to_string())),
    }
}

impl Ground {
    pub(crate) fn take(place: MountPoint) -> Result<Ground, MountError> {
        let unreachable = |error| MountError::Unreachable(place.path().to_owned(), error);
        for _ in 0..TRIES {
            check(&place)?;
            let directory = directory(&place)?;
            let lock = lock(&directory);
            // Whoever had the lock may have mounted.
            check(&place)?;
            if place.shows(&directory).map_err(unreachable)? {
                return Ok(Ground {
                    place,
                    directory,
                    _lock: lock,
                });
            }
        }
        let changing = io::Error::other("what is mounted there keeps changing");
        Err(unreachable(changing))
    }

    pub(crate) fn place(&self) -> &MountPoint {
        &self.place
    }

    /// Mounts.
    pub(crate) fn mount(
        &self,
        options: &Options,
        permissions: Permissions,
    ) -> Result<Unserved, MountError> {
        let refused = |error: io::Error| refused(self.place.path(), &error);
        let device = OwnedFd::from(open_device().map_err(MountError::Device)?);
        let device = match self.mount_device(&device, options, permissions) {
            Ok(()) => device,
            // Ordinary users have fusermount3 for it.
            Err(Errno::PERM) => {
                let options = told(options, permissions);
                fusermount::mount(self.place.path(), &options).map_err(refused)?
            }
            Err(errno) => return Err(refused(errno.into())),
        };
        let entry = self.made(device.as_fd())?;
        Ok(Unserved {
            identity: self.place.identity(&entry),
            device,
            entry,
        })
    }

    /// Mounts on the very directory that is held.
    fn mount_device(
        &self,
        device: &OwnedFd,
        options: &Options,
        permissions: Permissions,
    ) -> Result<(), Errno> {
        let mut data = format!(
            "fd={},rootmode={:o},user_id={},group_id={},subtype={}",
            device.as_raw_fd(),
            fstat(&self.directory)?.st_mode,
            getuid(),
            getgid(),
            subtype(),
        );
        if permissions == Permissions::Kernel {
            data.push_str(",default_permissions");
        }
        if options.allow_other {
            data.push_str(",allow_other");
        }
        let flags = [
            (options.read_only, MountFlags::RDONLY),
            (options.noexec, MountFlags::NOEXEC),
            (options.nosymfollow, MountFlags::NOSYMFOLLOW),
            (!options.suid, MountFlags::NOSUID),
            (!options.dev, MountFlags::NODEV),
        ];
        let flags = flags.iter().filter_map(|(on, flag)| on.then_some(*flag));
        let at = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let source = &*options.source_name;
        mount(source, at, "fuse", flags.collect(), &*data)
    }

    /// The mount that was just made through `device`. It must be on the directory itself: of several that are made at one place
    /// at once only the first stays.
    fn made(&self, device: BorrowedFd<'_>) -> Result<MountEntry, MountError> {
        let path = || self.place.path().to_owned();
        let unserved = |error| MountError::Serve(path(), error);
        let mounts = table::read().map_err(unserved)?;
        let is_made = |entry: &&MountEntry| match connection(device) {
            Some(number) => entry.device == number,
            None => entry.mount_point == self.place.path(),
        };
        let made = mounts
            .iter()
            .filter(|entry| entry.is_norefs())
            .rfind(is_made);
        let entry = made.ok_or_else(|| MountError::TakenAway(path()))?;
        // Looked at after the table: if this one was taken away at once, the number in the table may be another mount's.
        if !is_connected(device).map_err(unserved)? {
            return Err(MountError::TakenAway(path()));
        }
        let ground = self.place.mount_of(&self.directory).map_err(unserved)?;
        match ground {
            Some(ground) if ground != entry.parent => {
                take_back(entry);
                Err(MountError::InUse(path(), entry.fs_type.clone()))
            }
            _ => Ok(entry.clone()),
        }
    }
}

/// Takes away what was mounted in vain.
pub(crate) fn take_back(entry: &MountEntry) {
    if let Err(error) = unmount(entry, true) {
        let path = entry.mount_point.display();
        tracing::warn!(%error, %path, "a mount that is not served stays");
    }
}

/// Waits until nobody mounts on `directory`. Nothing if it cannot be locked: the kernel tells afterwards who was first.
fn lock(directory: &OwnedFd) -> Option<File> {
    let again = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let flags = OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(again, flags, Mode::empty()).ok()?);
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
        }
    }
}

/// The device number of the mount that is served through `device`, if the kernel tells (Linux 6.16).
fn connection(device: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", device.as_raw_fd()));
    let told = told.ok()?;
    let number = told
        .lines()
        .find_map(|line| line.strip_prefix("fuse_connection:"))?;
    // As the kernel writes device numbers for itself.
    let number: u32 = number.trim().parse().ok()?;
    Some((number >> 20, number & 0xf_ffff))
}

fn subtype() -> &'static str {
    table::FS_TYPE.trim_start_matches("fuse.")
}

/// What fusermount3 is told.
fn told(options: &Options, permissions: Permissions) -> String {
    // It reads one comma list.
    let source = options
        .source_name
        .replace('\\', "\\\\")
        .replace(',', "\\,");
    let flags = [
        (permissions == Permissions::Kernel, "default_permissions"),
        (options.allow_other, "allow_other"),
        (options.read_only, "ro"),
        (options.noexec, "noexec"),
        (options.suid, "suid"),
        (options.dev, "dev"),
    ];
    let flags = flags.iter().filter_map(|(on, flag)| on.then_some(*flag));
    let mut told = format!("fsname={source},subtype={}", subtype());
    flags.for_each(|flag| {
        told.push(',');
        told.push_str(flag);
    });
    told
}
