//! Lines of JSON over a socket, bounded in length and time.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long one side of an exchange may take, if nothing else is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one line of at most `limit` bytes, its end included. `InvalidData` if it is longer, cut
/// off or not what was expected; `TimedOut` if it does not come within `patience`.
pub(crate) fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
    limit: usize,
    patience: Duration,
) -> io::Result<T> {
    let deadline = Instant::now() + patience;
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut reader = stream;
        let got = match reader.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            result => result?,
        };
        let end = chunk[..got].iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(got)]);
        if line.len() >= limit {
            return Err(invalid("the line is too long"));
        }
        match (end, got) {
            (Some(_), _) => break,
            (None, 0) => return Err(invalid("the line is cut off")),
            _ => {}
        }
    }
    serde_json::from_slice(&line).map_err(|error| invalid(&error.to_string()))
}

/// Writes one line.
pub(crate) fn send<T: Serialize>(mut stream: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&line)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
