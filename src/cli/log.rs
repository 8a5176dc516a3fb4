//! What is logged: lines on stderr, chosen by `NOREFS_LOG`.

use super::fail::Failure;
use super::near::did_you_mean;
use std::io::IsTerminal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
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

/// Logs from here on. Fails if the variable says what cannot be meant.
pub fn start() -> Result<(), Failure> {
    let asked = match std::env::var_os(VARIABLE) {
        None => String::new(),
        Some(asked) => asked
            .into_string()
            .map_err(|_| Failure::usage(format!("{VARIABLE} is not UTF-8")))?,
    };
    let targets =
        targets(&asked).map_err(|reason| Failure::usage(format!("{VARIABLE}: {reason}")))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Told on stderr, which panics where nobody reads it any more.
        .log_internal_errors(false)
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .init();
    Ok(())
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
