//! Lines of JSON over a socket, bounded in length and time.

use crate::host::rest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long one side of an exchange may take, if nothing else is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one line of at most `limit` bytes, its end included. `InvalidData` if it is longer, cut
/// off or not what was expected; `UnexpectedEof` if the other side hung up instead; `TimedOut` if it does not come within `patience`.
pub(crate) fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
    limit: usize,
    patience: Duration,
) -> io::Result<T> {
    Lines::new(stream, limit).receive(patience)
}

/// The lines that come, one after the other.
pub(crate) struct Lines<'s> {
    stream: &'s UnixStream,
    limit: usize,
    /// What came; lines before `from` were given out, and up to `looked` there is no further end.
    buffer: Vec<u8>,
    from: usize,
    looked: usize,
}

impl<'s> Lines<'s> {
    /// Lines of at most `limit` bytes each.
    pub(crate) fn new(stream: &'s UnixStream, limit: usize) -> Lines<'s> {
        Lines {
            stream,
            limit,
            buffer: Vec::new(),
            from: 0,
            looked: 0,
        }
    }

    /// The next one, as [`receive`] gives it.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let rest = &self.buffer[self.looked..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let end = end.map_or(self.buffer.len(), |at| self.looked + at);
            if end - self.from >= self.limit {
                return Err(invalid("the line is too long"));
            }
            if end < self.buffer.len() {
                let line = self.from..end;
                (self.from, self.looked) = (end + 1, end + 1);
                let line = serde_json::from_slice(&self.buffer[line]);
                return line.map_err(|error| invalid(&error.to_string()));
            }
            self.buffer.drain(..self.from);
            (self.from, self.looked) = (0, self.buffer.len());
            self.read_more(deadline)?;
        }
    }

    fn read_more(&mut self, deadline: Instant) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            return match rest(|| self.stream.read(&mut chunk)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(io::ErrorKind::TimedOut.into())
                }
                Ok(0) if self.buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => Err(invalid("the line is cut off")),
                Ok(got) => {
                    self.buffer.extend_from_slice(&chunk[..got]);
                    Ok(())
                }
                Err(error) => Err(error),
            };
        }
    }
}

/// A stream whose writers do nothing else meanwhile.
struct Waiting<'s>(&'s UnixStream);

impl Write for Waiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rest(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one line.
pub(crate) fn send<T: Serialize>(stream: &UnixStream, message: &T) -> io::Result<()> {
    send_all(stream, [message])
}

/// Writes a line for each message.
pub(crate) fn send_all<T: Serialize>(
    stream: &UnixStream,
    messages: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut out = BufWriter::with_capacity(64 << 10, Waiting(stream));
    for message in messages {
        serde_json::to_writer(&mut out, &message)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
