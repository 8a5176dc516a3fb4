//! `norefs fsmonitor`
//!
//! What git asks before it looks: `core.fsmonitor`, version 2, see githooks(5). It is called in the working tree with the version and
//! the token of the last answer, and gives a token and paths, each ended by NUL. `/` stands for everything.
//!
//! git keeps two things: of each tracked file whether it is as the index says, and of each directory which untracked files are in it.
//! A path makes it look at that file, or all tracked ones below, and list the directory that it is *in*. So:
//!
//! * A directory that came or changed is told with [some name](WITHIN) in it as well, or git would go on with what it knows of one that was there
//!   before.
//! * Of a directory that was moved everything that is below it now is told. What was below its old path, and is tracked, git finds by
//!   that path.

use super::changes::Watched;
use super::fail::Failure;
use super::{Outcome, out};
use anyhow::{Context, anyhow};
use norefs::delta::PathBytes;
use norefs::journal::ChangedPath;
use std::env::VarError;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The version of the protocol.
const VERSION: &str = "2";
/// Where git keeps what is its own.
const OWN: &[u8] = b".git";
/// Stands for the directory that it is in. git takes no notice of `.`.
const WITHIN: &[u8] = b"-";
/// What may be told of moved directories, before everything is.
const MOST: usize = 10_000;
/// What is told where nobody knows anything.
const NOTHING_KNOWN: &[u8] = b"norefs\0/\0";

/// Tell git which paths changed: core.fsmonitor="norefs fsmonitor"
#[derive(clap::Args)]
pub struct Args {
    /// The version of git's protocol
    #[arg(value_parser = [VERSION])]
    version: String,
    /// What git was told last
    token: OsString,
}

pub fn run(args: Args) -> Outcome {
    answer(&args.token)
}

/// Answers at once if git asks; without all that other verbs begin with.
pub fn quickly(arguments: &[OsString]) -> Option<Outcome> {
    match arguments {
        [_, verb, version, token] if verb == "fsmonitor" && version == VERSION => {
            Some(answer(token))
        }
        _ => None,
    }
}

/// Says how many settings follow in the environment, and comes before the number of each.
const COUNT: &str = "GIT_CONFIG_COUNT";

/// What to add to the environment of a process so that git asks this program: settings beside those that are in no file.
pub fn environment() -> Result<Vec<(String, String)>, Failure> {
    let before = match std::env::var(COUNT) {
        Err(VarError::NotPresent) => 0,
        Ok(count) if count.is_empty() => 0,
        other => other
            .ok()
            .and_then(|count| count.parse::<u32>().ok())
            .ok_or_else(|| {
                anyhow!("{COUNT} in the environment is no number: git would refuse it")
            })?,
    };
    let program = std::env::current_exe().context("the path of this program")?;
    let program = program
        .to_str()
        .context("git can be told of no path that is not UTF-8")?;
    let settings = [
        ("core.fsmonitor", format!("{} fsmonitor", quoted(program))),
        ("core.fsmonitorHookVersion", VERSION.to_owned()),
        ("core.untrackedCache", "true".to_owned()),
    ];
    let mut all = vec![(
        COUNT.to_owned(),
        (before as usize + settings.len()).to_string(),
    )];
    for (number, (key, value)) in (before..).zip(settings) {
        all.push((format!("GIT_CONFIG_KEY_{number}"), key.to_owned()));
        all.push((format!("GIT_CONFIG_VALUE_{number}"), value));
    }
    Ok(all)
}

/// The same as lines of a shell.
pub fn exports() -> Result<String, Failure> {
    let all = environment()?.into_iter();
    let line = |(name, value): (String, String)| format!("export {name}={}\n", quoted(&value));
    Ok(all.map(line).collect())
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,@%".contains(&byte);
    match text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn answer(token: &OsStr) -> Outcome {
    let Some(watched) = Watched::open(Path::new("."))? else {
        out::print(NOTHING_KNOWN)?;
        return Ok(ExitCode::SUCCESS);
    };
    let since = token.to_str().and_then(|token| token.parse().ok());
    let own = PathBytes::from(OWN.to_vec());
    let changed = watched.ask(since, Some(own), Duration::ZERO)?;
    let mut told = changed.token.to_string().into_bytes();
    told.push(b'\0');
    match changed.paths.and_then(|paths| for_git(&paths).transpose()) {
        Some(paths) => told.extend(paths?),
        None => told.extend(b"/\0"),
    }
    out::print(told)?;
    Ok(ExitCode::SUCCESS)
}

/// The paths as git needs them; `None` if they are too many, or the working tree itself is among them.
fn for_git(paths: &[ChangedPath]) -> Result<Option<Vec<u8>>, Failure> {
    let mut told = Vec::new();
    let mut more = 0;
    for changed in paths {
        if changed.path == PathBytes::ROOT {
            return Ok(None);
        }
        tell(&mut told, &changed.path);
        if !changed.directory {
            continue;
        }
        let mut directories = vec![changed.path.clone()];
        while let Some(directory) = directories.pop() {
            tell(&mut told, &directory.join(WITHIN));
            if changed.below {
                more += tell_all_in(&directory, &mut told, &mut directories)?;
            }
            if more > MOST {
                return Ok(None);
            }
        }
    }
    Ok(Some(told))
}

/// Tells all that is in `directory`, collects the directories among it, and says how many there were. If it is gone meanwhile that is told
/// next time.
fn tell_all_in(
    directory: &PathBytes,
    told: &mut Vec<u8>,
    directories: &mut Vec<PathBytes>,
) -> Result<usize, Failure> {
    let Ok(listed) = std::fs::read_dir(directory.as_path()) else {
        return Ok(0);
    };
    let mut number = 0;
    for entry in listed {
        let entry = entry.with_context(|| directory.to_string())?;
        let path = directory.join(entry.file_name().as_bytes());
        tell(told, &path);
        number += 1;
        let kind = entry.file_type().with_context(|| path.to_string())?;
        if kind.is_dir() {
            directories.push(path);
        }
    }
    Ok(number)
}

fn tell(told: &mut Vec<u8>, path: &PathBytes) {
    told.extend_from_slice(path.as_bytes());
    told.push(b'\0');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_quoted() {
        assert_eq!(quoted("/usr/bin/norefs"), "/usr/bin/norefs");
        assert_eq!(quoted("/it's here/$x"), r"'/it'\''s here/$x'");
    }

    #[test]
    fn the_working_tree_itself_stands_for_everything() {
        let path = |bytes: &[u8], below| ChangedPath {
            path: bytes.to_vec().into(),
            directory: false,
            below,
        };
        let told = for_git(&[path(b"a/b", false), path(b"gone", true)]);
        assert_eq!(told.ok().flatten().as_deref(), Some(&b"a/b\0gone\0"[..]));
        let told = for_git(&[path(b"", false), path(b"a", false)]);
        assert!(told.is_ok_and(|told| told.is_none()));
    }
}
