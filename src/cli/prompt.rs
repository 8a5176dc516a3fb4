//! Questions to whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Whether somebody can be asked.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and gives the answer without the space around it; `None` if nobody answers any more. `is_answered` waits until there is
/// something to be read, and says whether there is.
pub fn ask(
    question: &str,
    is_answered: impl FnOnce(BorrowedFd<'_>) -> io::Result<bool>,
) -> io::Result<Option<String>> {
    let mut stderr = io::stderr();
    write!(stderr, "norefs: {question} ")?;
    stderr.flush()?;
    if !is_answered(io::stdin().as_fd())? {
        return Ok(None);
    }
    let mut answer = String::new();
    let length = io::stdin().lock().read_line(&mut answer)?;
    Ok((length > 0).then(|| answer.trim().to_owned()))
}
