//! What is printed for whoever asked for it.

use std::io::{self, Write};

/// Writes `text` to stdout. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush());
    unless_closed(written)
}

/// The end of writing to stdout, where a reader that is gone is no failure.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}
