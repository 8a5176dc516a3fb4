//! The side that asks.

use crate::control::{Answer, Change, Question, Stats, line, runtime};
use crate::transport::table::MountEntry;
use std::io;
use std::os::unix::net::UnixStream;

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// Why a mount did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No socket of this mount was found: its server is gone, or runs where it cannot be seen.
    #[error("no server answers for this mount")]
    NotFound,
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
    match ask(mount, &Question::Stats)? {
        Answer::Stats(stats) => Ok(*stats),
        _ => Err(ControlError::Exchange(io::ErrorKind::InvalidData.into())),
    }
}

/// Changes limits of a norefs mount that is being served. What is held beyond a lowered limit stays.
pub fn set(mount: &MountEntry, change: Change) -> Result<(), ControlError> {
    match ask(mount, &Question::Set(change))? {
        Answer::Done => Ok(()),
        _ => Err(ControlError::Exchange(io::ErrorKind::InvalidData.into())),
    }
}

fn ask(mount: &MountEntry, question: &Question) -> Result<Answer, ControlError> {
    let owner = mount.owner.unwrap_or(0);
    let stream = connect(mount, owner)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)
        .map_err(|errno| ControlError::Exchange(errno.into()))?;
    if peer.uid.as_raw() != owner && !peer.uid.is_root() {
        return Err(ControlError::NotFound);
    }
    line::send(&stream, question).map_err(ControlError::Exchange)?;
    match line::receive(&stream, ANSWER_LIMIT).map_err(ControlError::Exchange)? {
        Answer::Error(reason) => Err(ControlError::Refused(reason)),
        answer => Ok(answer),
    }
}

fn connect(mount: &MountEntry, owner: u32) -> Result<UnixStream, ControlError> {
    let mut reason = None;
    for dir in runtime::candidates(owner) {
        match UnixStream::connect(dir.join(runtime::file_name(mount.device))) {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                _ => reason = Some(error),
            },
        }
    }
    Err(reason.map_or(ControlError::NotFound, ControlError::Unreachable))
}
