//! What is said about a command line that makes no sense.

use super::fail::Failure;
use super::near::did_you_mean;
use super::{Cli, Outcome, out};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

/// Help and version are printed as clap has them; an error about `arguments` is cut down to one line.
pub fn on_parse(error: &clap::Error, arguments: &[OsString]) -> Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out::unless_closed(error.print())?;
            Ok(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.print()?;
            Err(Failure::usage_was_shown())
        }
        _ => Err(Failure::usage(explained(error, arguments))),
    }
}

fn explained(error: &clap::Error, arguments: &[OsString]) -> String {
    let meant = of_run(error, arguments);
    meant.unwrap_or_else(|| first_paragraph(&error.to_string()) + &suggested(error))
}

/// What clap takes for the word that was meant, as the end of a message.
fn suggested(error: &clap::Error) -> String {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    let best = kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word),
        ContextValue::Strings(words) => words.last(),
        _ => None,
    });
    best.map_or_else(String::new, |word| format!(": did you mean {word}?"))
}

/// The line with `--` in it, where a command that is to be run stands without.
fn of_run(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let (_, [verb, rest @ ..]) = arguments.split_first()? else {
        return None;
    };
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    if verb != "run" || word.starts_with('-') {
        return None;
    }
    // The same word may be the value of an option before.
    let places = (0..rest.len()).filter(|&at| rest[at].to_string_lossy() == *word);
    let mut lines = places.map(|at| {
        let (before, command) = rest.split_at(at);
        let words = ["norefs", "run"].map(OsStr::new).into_iter();
        let before = before.iter().map(OsString::as_os_str);
        let command = command.iter().map(OsString::as_os_str);
        let line = words.chain(before).chain([OsStr::new("--")]).chain(command);
        line.collect::<Vec<_>>()
    });
    let line = lines.find(|line| Cli::try_parse_from(line).is_ok())?;
    let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
    let line = shlex::try_join(words.iter().map(AsRef::as_ref)).ok()?;
    Some(format!("-- is missing before the command: {line}"))
}

/// The end of a message about the source `word`: what verb was meant by it, if any.
pub fn verb_meant_by(word: &OsStr) -> String {
    let command = Cli::command();
    let verbs = command.get_subcommands().flat_map(|verb| {
        let aliases = verb.get_visible_aliases();
        std::iter::once(verb.get_name()).chain(aliases)
    });
    did_you_mean(&word.to_string_lossy(), verbs)
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

    fn said(line: &[&str]) -> String {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let error = Cli::try_parse_from(&arguments).map(|_| ()).unwrap_err();
        explained(&error, &arguments)
    }

    #[test]
    fn a_parse_error_becomes_one_line() {
        let text = "error: these are missing:\n  <MOUNTPOINT>\n\nUsage: norefs\n\nFor more\n";
        assert_eq!(first_paragraph(text), "these are missing: <MOUNTPOINT>");
    }

    #[test]
    fn a_near_miss_is_answered_with_what_was_meant() {
        for (line, meant) in [
            (&["norefs", "stat", "/mnt"][..], ": did you mean stats?"),
            (&["norefs", "unmont", "/mnt"], ": did you mean unmount?"),
            (
                &["norefs", "mount", "--transprot", "ring", "/mnt"],
                ": did you mean --transport?",
            ),
            (&["norefs", "completions", "bsh"], ": did you mean bash?"),
        ] {
            let said = said(line);
            assert!(said.ends_with(meant), "{line:?}: {said}");
        }
        assert!(!said(&["norefs", "wobble"]).contains("did you mean"));
    }

    #[test]
    fn a_command_without_separator_is_shown_with_one() {
        for (line, meant) in [
            (
                &["norefs", "run", "git", "status"][..],
                "norefs run -- git status",
            ),
            (
                &["norefs", "run", "--from", "git", "git", "-C", "a b"],
                "norefs run --from git -- git -C 'a b'",
            ),
            (
                &["norefs", "run", "-o", "ro", "--no-report", "ls", "--", "-x"],
                "norefs run -o ro --no-report -- ls -- -x",
            ),
        ] {
            assert_eq!(
                said(line),
                format!("-- is missing before the command: {meant}")
            );
        }
        assert!(!said(&["norefs", "run", "--form", ".", "--", "ls"]).contains("-- is missing"));
    }
}
