//! How a verb fails: one line on stderr and an exit status.

use clap::error::ErrorKind;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// What mount(8) exits with in these cases.
const MOUNT_USAGE: u8 = 1;
const MOUNT_FAILED: u8 = 32;

/// What went wrong, and the status to exit with.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    reason: String,
}

impl Failure {
    /// The command line makes no sense.
    pub fn usage(reason: impl Display) -> Failure {
        Failure::with_status(USAGE, reason)
    }

    pub fn with_status(status: u8, reason: impl Display) -> Failure {
        Failure {
            status,
            reason: reason.to_string(),
        }
    }

    /// The same with the exit status of mount(8).
    pub fn of_helper(self) -> Failure {
        let status = match self.status {
            USAGE => MOUNT_USAGE,
            _ => MOUNT_FAILED,
        };
        Failure { status, ..self }
    }

    pub fn print(self) -> ExitCode {
        say(self.reason.replace('\n', " "));
        ExitCode::from(self.status)
    }
}

/// One line on stderr. That nobody reads it is no failure.
pub fn say(line: impl Display) {
    writeln!(std::io::stderr(), "norefs: {line}").unwrap_or_default();
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::with_status(FAILED, format!("{:#}", error.into()))
    }
}

/// Help and version are printed as clap has them; an error is cut down to its first paragraph.
pub fn on_parse(error: clap::Error) -> super::Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print()?;
            Ok(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.print()?;
            Ok(ExitCode::from(USAGE))
        }
        _ => Err(Failure::usage(first_paragraph(&error.to_string()))),
    }
}

fn first_paragraph(text: &str) -> String {
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join(" ");
    joined.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_error_becomes_one_line() {
        let text = "error: these are missing:\n  <MOUNTPOINT>\n\nUsage: norefs\n\nFor more\n";
        assert_eq!(first_paragraph(text), "these are missing: <MOUNTPOINT>");
    }
}
