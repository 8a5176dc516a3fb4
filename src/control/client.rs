//! The side that asks.

use crate::control::line::{self, Lines, PATIENCE};
use crate::control::{Change, Forking, Likeness, Question, Reply, ServerProcess, Stats, Written};
use crate::delta::{Applied, Delta, PathBytes};
use crate::host::descriptor;
use crate::journal::{ChangedSince, Query};
use crate::transport::session::table::{self, MountEntry};
use crate::transport::session::{Unserved, runtime};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// How long a server may look for what differs, and for the next difference.
const LOOKING: Duration = Duration::from_secs(120);

/// How long it may take until all is seen in the mount that its source has.
const SYNCING: Duration = Duration::from_secs(600);
/// How long a fork may take until it answers. Mostly that is some milliseconds.
const FORKING: Duration = Duration::from_secs(40);

/// Why a mount did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No socket of this mount was found: its server runs where it cannot be seen, or is gone.
    #[error("no server answers for this mount")]
    NotFound,
    /// Its socket is there and nobody listens, or whoever did hung up: its server is gone, or about to be.
    #[error("the mount's server is gone")]
    Gone,
    /// Nothing came back in time: its server is stopped, or has no time.
    #[error("the mount's server does not answer")]
    Silent,
    /// The socket exists but does not accept the caller.
    #[error("cannot ask the mount's server")]
    Unreachable(#[source] io::Error),
    /// The exchange failed.
    #[error("the mount's server gives no sensible answer")]
    Exchange(#[source] io::Error),
    /// The server refuses.
    #[error("the mount's server says: {0}")]
    Refused(String),
}

/// Asks the server of a norefs mount for its counters.
pub fn stats(mount: &MountEntry) -> Result<Stats, ControlError> {
    stats_within(mount, PATIENCE)
}

/// The same of a server that may be stopped, of which an answer is expected within `patience`.
pub fn stats_within(mount: &MountEntry, patience: Duration) -> Result<Stats, ControlError> {
    match ask(mount, &Question::Stats, patience)? {
        Reply::Stats(stats) => Ok(*stats),
        _ => Err(senseless()),
    }
}

/// The mounts of `owner` that are served and not among `seen`: they are to be seen in other mount namespaces alone. What is not known of
/// them from here is empty. They are not asked.
pub fn elsewhere(seen: &[MountEntry], owner: u32) -> Vec<MountEntry> {
    let mut devices = runtime::devices(owner);
    devices.sort_unstable();
    devices.dedup();
    devices.retain(|device| seen.iter().all(|mount| mount.device != *device));
    let mount = |device| MountEntry {
        id: 0,
        parent: 0,
        device,
        mount_point: PathBuf::new(),
        flags: String::new(),
        fs_type: table::FS_TYPE.to_owned(),
        source: OsString::new(),
        owner: Some(owner),
    };
    let mounts = devices.into_iter().map(mount);
    mounts
        .filter(|mount| connect(mount, owner).is_ok())
        .collect()
}

/// Changes limits of a norefs mount that is being served. What is held beyond a lowered limit stays.
pub fn set(mount: &MountEntry, change: Change) -> Result<(), ControlError> {
    match ask(mount, &Question::Set(change), PATIENCE)? {
        Reply::Done => Ok(()),
        _ => Err(senseless()),
    }
}

/// Asks the server of a norefs mount what differs from the source it was loaded from. What the kernel has not written back yet
/// does not count: see syncfs(2).
pub fn delta(mount: &MountEntry) -> Result<Delta, ControlError> {
    let stream = ask_for(mount, &Question::Delta)?;
    let mut lines = Lines::new(&stream, ANSWER_LIMIT);
    let mut next = || lines.receive(LOOKING).map_err(failed).and_then(checked);
    let Reply::Source(source) = next()? else {
        return Err(senseless());
    };
    let mut changes = Vec::new();
    loop {
        match next()? {
            Reply::Change(change) => changes.push(*change),
            Reply::Done => return Ok(Delta { source, changes }),
            _ => return Err(senseless()),
        }
    }
}

/// Asks the server of a norefs mount which paths changed. What the kernel has not written back yet does not count: see syncfs(2).
pub fn changes(mount: &MountEntry, query: Query) -> Result<ChangedSince, ControlError> {
    let waiting = PATIENCE + query.patience;
    let stream = ask_for(mount, &Question::Changes(query))?;
    let mut lines = Lines::new(&stream, ANSWER_LIMIT);
    let mut next = || lines.receive(waiting).map_err(failed).and_then(checked);
    let Reply::Token(token, told) = next()? else {
        return Err(senseless());
    };
    let mut paths = Vec::new();
    loop {
        match next()? {
            Reply::Path(path) if told => paths.push(path),
            Reply::Done => {
                let paths = told.then_some(paths);
                return Ok(ChangedSince { token, paths });
            }
            _ => return Err(senseless()),
        }
    }
}

/// Returns when what the source of a norefs mount had before the call is seen in the mount; what is at `look` in it is looked at again
/// before.
pub fn sync(mount: &MountEntry, look: Option<PathBytes>) -> Result<(), ControlError> {
    match ask(mount, &Question::Sync { look }, SYNCING)? {
        Reply::Done => Ok(()),
        _ => Err(senseless()),
    }
}

/// Asks the server of a norefs mount which paths both the mount and its source have changed since it was loaded.
pub fn conflicts(mount: &MountEntry) -> Result<Vec<PathBytes>, ControlError> {
    let stream = ask_for(mount, &Question::Conflicts)?;
    let mut lines = Lines::new(&stream, ANSWER_LIMIT);
    let mut conflicts = Vec::new();
    loop {
        match lines.receive(LOOKING).map_err(failed).and_then(checked)? {
            Reply::Conflict(path) => conflicts.push(path),
            Reply::Done => return Ok(conflicts),
            _ => return Err(senseless()),
        }
    }
}

/// Tells the server of a norefs mount what of [its differences](delta) was written to the source: it makes that the one from which
/// further ones are told ([`delta::rebase`](crate::delta::rebase)). Gives how many of them hold. If this process ends meanwhile
/// nothing comes of any.
pub fn rebase(
    mount: &MountEntry,
    applied: impl IntoIterator<Item = Applied>,
) -> Result<usize, ControlError> {
    let stream = ask_for(mount, &Question::Rebase)?;
    let mut lines = Lines::new(&stream, ANSWER_LIMIT);
    let mut next = || lines.receive(LOOKING).map_err(failed).and_then(checked);
    let Reply::Tell = next()? else {
        return Err(senseless());
    };
    let applied = applied.into_iter();
    let applied = applied.map(|one| Written::Applied(Box::new(one)));
    let sent = line::send_all(&stream, applied.chain([Written::End]));
    match next() {
        Ok(Reply::Rebased(held)) => Ok(held),
        Ok(_) => Err(senseless()),
        // Why it hung up.
        Err(error @ ControlError::Refused(_)) => Err(error),
        Err(error) => Err(sent.map_or_else(failed, |()| error)),
    }
}

/// A fork that is to be made of a mount, once there is a mount for it.
pub struct Fork(UnixStream);

/// Asks the server of a norefs mount for a fork, and how that is to be mounted.
pub fn fork(mount: &MountEntry) -> Result<(Fork, Likeness), ControlError> {
    let stream = ask_for(mount, &Question::Fork)?;
    let answer = line::receive(&stream, ANSWER_LIMIT, PATIENCE);
    match checked(answer.map_err(failed)?)? {
        Reply::Like(like) => Ok((Fork(stream), *like)),
        _ => Err(senseless()),
    }
}

impl Fork {
    /// Has `mount` served with the state of this instant, by a process of its own. When this returns it answers. `shown` is where it is
    /// to be seen, if not where it was made.
    pub fn serve(self, mount: &Unserved, shown: Option<&Path>) -> Result<(), ControlError> {
        let Fork(stream) = self;
        let (device, made) = mount.parts();
        let forking = Forking {
            made,
            shown: shown.map(|path| path.to_owned().into()),
        };
        let sent = descriptor::send(&stream, device).and_then(|()| line::send(&stream, &forking));
        // If it is not taken, why is told.
        let answer = line::receive(&stream, ANSWER_LIMIT, FORKING);
        match answer.map_err(|error| sent.err().unwrap_or(error)) {
            Ok(answer) => match checked(answer)? {
                Reply::Done => Ok(()),
                _ => Err(senseless()),
            },
            Err(error) => Err(failed(error)),
        }
    }
}

fn ask(mount: &MountEntry, question: &Question, patience: Duration) -> Result<Reply, ControlError> {
    let stream = ask_for(mount, question)?;
    let answer = line::receive(&stream, ANSWER_LIMIT, patience);
    checked(answer.map_err(failed)?)
}

/// The connection on which the answer will come.
fn ask_for(mount: &MountEntry, question: &Question) -> Result<UnixStream, ControlError> {
    let owner = mount.owner.unwrap_or(0);
    let stream = connect(mount, owner)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)
        .map_err(|errno| ControlError::Exchange(errno.into()))?;
    if peer.uid.as_raw() != owner && !peer.uid.is_root() {
        return Err(ControlError::NotFound);
    }
    line::send(&stream, question).map_err(failed)?;
    Ok(stream)
}

fn failed(error: io::Error) -> ControlError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ControlError::Silent,
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => ControlError::Gone,
        _ => ControlError::Exchange(error),
    }
}

fn checked(answer: Reply) -> Result<Reply, ControlError> {
    match answer {
        Reply::Error(reason) => Err(ControlError::Refused(reason)),
        answer => Ok(answer),
    }
}

fn senseless() -> ControlError {
    ControlError::Exchange(io::ErrorKind::InvalidData.into())
}

/// The process that serves a norefs mount, if it can be seen from here. It is not asked.
pub fn server_of(mount: &MountEntry) -> Option<ServerProcess> {
    let owner = mount.owner.unwrap_or(0);
    let stream = connect(mount, owner).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    let process = ServerProcess::open(peer.pid).ok()?;
    // It listens still: the number was not another process's by then.
    connect(mount, owner).ok().map(|_| process)
}

fn connect(mount: &MountEntry, owner: u32) -> Result<UnixStream, ControlError> {
    let mut found = ControlError::NotFound;
    for dir in runtime::candidates(owner) {
        found = match reach(&dir.join(runtime::socket_name(mount.device))) {
            Ok(stream) => return Ok(stream),
            Err(Errno::NOENT) => continue,
            Err(Errno::CONNREFUSED) => ControlError::Gone,
            Err(Errno::AGAIN) => ControlError::Silent,
            Err(errno) => ControlError::Unreachable(errno.into()),
        };
    }
    Err(found)
}

/// Connects without waiting: `EAGAIN` if a server that is stopped has been asked too often.
fn reach(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_lets_nobody_in_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let waiting: Vec<_> = (0..9).map(|_| reach(&path)).collect();
        assert!(waiting.first().is_some_and(Result::is_ok));
        assert!(matches!(waiting.last(), Some(Err(Errno::AGAIN))));
        drop(listener);
        assert!(matches!(reach(&path), Err(Errno::CONNREFUSED)));
    }
}
