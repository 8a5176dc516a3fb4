//! What is logged: lines on stderr, chosen by `NOREFS_LOG`.

use super::fail::{Failure, say};
use super::journal::Lines;
use super::near::did_you_mean;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

const VARIABLE: &str = "NOREFS_LOG";
const DEFAULT: &str = "warn,fuser=off";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// What logs anything. What is below one of them does too.
const TARGETS: [&str; 9] = [
    "norefs",
    "norefs_bench",
    "norefs::cli",
    "norefs::control",
    "norefs::fs",
    "norefs::source",
    "norefs::transport",
    "norefs::tree",
    "fuser",
];

/// In front of a file that holds what would be in the variable.
const FILE: &str = "@";
/// Bytes of it that are read.
const LONGEST: u64 = 4096;

/// Reads the file again that says what is logged.
type Reread = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
static REREAD: OnceLock<Reread> = OnceLock::new();

/// Logs from here on. Fails if the variable says what cannot be meant.
pub fn start() -> Result<(), Failure> {
    let asked = match std::env::var_os(VARIABLE) {
        None => String::new(),
        Some(asked) => asked
            .into_string()
            .map_err(|_| Failure::usage(format!("{VARIABLE} is not UTF-8")))?,
    };
    let file = asked.strip_prefix(FILE).map(PathBuf::from);
    let wanted = match &file {
        Some(file) => read(file),
        None => targets(&asked),
    };
    let wanted = wanted.map_err(|reason| Failure::usage(format!("{VARIABLE}: {reason}")))?;
    let (targets, handle) = reload::Layer::new(wanted);
    if let Some(file) = file {
        let again = move || {
            handle
                .reload(read(&file)?)
                .map_err(|error| error.to_string())
        };
        REREAD.get_or_init(|| Box::new(again));
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Told on stderr, which panics where nobody reads it any more.
        .log_internal_errors(false)
        .event_format(Lines::here());
    tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .init();
    Ok(())
}

/// What a file says is to be logged; one that is not there says nothing.
fn read(file: &Path) -> Result<Targets, String> {
    let text = File::open(file).and_then(|file| io::read_to_string(file.take(LONGEST)));
    match text {
        Ok(text) => targets(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => targets(""),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Whether a file says what is logged, which can be read anew.
pub fn rereads() -> bool {
    REREAD.get().is_some()
}

/// Logs what the file says now. A file that makes no sense changes nothing.
pub fn reread() {
    match REREAD.get().map(|again| again()) {
        Some(Err(reason)) => say(format_args!("{VARIABLE}: {reason}")),
        _ => tracing::info!("what is logged was read anew"),
    }
}

fn targets(asked: &str) -> Result<Targets, String> {
    let asked = match asked.trim() {
        "" => DEFAULT,
        asked => asked,
    };
    if let Some(wrong) = asked.split(',').find(|directive| !is_understood(directive)) {
        return Err(not_understood(wrong));
    }
    let targets = asked.parse::<Targets>();
    targets.map_err(|_| not_understood(asked))
}

fn is_understood(directive: &str) -> bool {
    // A word that is no level is a target to the parser.
    let known = |targets: Targets| targets.iter().all(|(target, _)| is_target(target));
    directive.parse().is_ok_and(known)
}

fn is_target(target: &str) -> bool {
    let mut parts = target.splitn(3, "::");
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        Some(second) if first == "norefs" => TARGETS.contains(&&*format!("{first}::{second}")),
        _ => TARGETS.contains(&first),
    }
}

fn not_understood(asked: &str) -> String {
    let (target, level) = asked.split_once('=').unwrap_or((asked, asked));
    let meant = match is_target(target) {
        true => did_you_mean(level, LEVELS),
        false => did_you_mean(target, LEVELS.into_iter().chain(TARGETS)),
    };
    let levels = LEVELS.join(", ");
    match meant.is_empty() {
        true => format!(
            "{asked} is not understood: expected {levels}, or a list such as warn,norefs::source=debug"
        ),
        false => format!("{asked} is not understood{meant}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_of_norefs_are_understood() {
        for asked in [
            "",
            " ",
            "debug",
            "TRACE",
            "off",
            "norefs",
            "norefs=debug",
            "warn,norefs::transport=trace",
            "norefs::fs::load=debug,fuser=off,info",
            "fuser::session=warn",
        ] {
            assert!(targets(asked).is_ok(), "{asked}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_may_be() {
        for (asked, end) in [
            ("bogus", "warn,norefs::source=debug"),
            ("debgu", ": did you mean debug?"),
            ("noref=debug", ": did you mean norefs?"),
            ("norefs=debgu", ": did you mean debug?"),
            (
                "warn,norefs::transprot=debug",
                ": did you mean norefs::transport?",
            ),
            ("hyper=debug", "warn,norefs::source=debug"),
            ("norefs[span]=debug", ""),
        ] {
            let said = targets(asked).unwrap_err();
            assert!(said.ends_with(end), "{asked}: {said}");
        }
    }
}
