//! Questions to whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether somebody can be asked.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and gives the answer without the space around it; `None` if nobody answers any more.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    let mut stderr = io::stderr();
    write!(stderr, "norefs: {question} ")?;
    stderr.flush()?;
    let mut answer = String::new();
    let length = io::stdin().lock().read_line(&mut answer)?;
    Ok((length > 0).then(|| answer.trim().to_owned()))
}
