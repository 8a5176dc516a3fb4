//! How a verb fails: one line on stderr and an exit status.

use anyhow::anyhow;
use norefs::doctor::{self, Machine};
use norefs::transport::MountError;
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
    /// Empty if there is nothing left to say.
    reason: String,
}

impl Failure {
    /// The command line makes no sense.
    pub fn usage(reason: impl Display) -> Failure {
        Failure::with_status(USAGE, reason)
    }

    /// The command line makes no sense, and what would was shown.
    pub fn usage_was_shown() -> Failure {
        Failure::usage("")
    }

    /// Another process has said what went wrong.
    pub fn said(status: u8) -> Failure {
        Failure::with_status(status, "")
    }

    pub fn with_status(status: u8, reason: impl Display) -> Failure {
        Failure {
            status,
            reason: reason.to_string(),
        }
    }

    /// The same with the exit status `status`.
    pub fn with(self, status: u8) -> Failure {
        Failure { status, ..self }
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
        if !self.reason.is_empty() {
            say(self.reason.replace('\n', " "));
        }
        ExitCode::from(self.status)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
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

/// Why a mount failed, and what to do about it.
pub fn not_mounted(error: MountError) -> Failure {
    let cure = doctor::cure(&Machine::here(), &error);
    let failure = anyhow::Error::from(error);
    match cure {
        Some(cure) => Failure::from(anyhow!("{failure:#}; {cure}")),
        None => failure.into(),
    }
}
