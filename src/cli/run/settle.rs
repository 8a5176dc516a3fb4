//! What becomes of what the command has written, once it has ended.

use super::command::Signals;
use super::copy::Copied;
use crate::cli::fail::{Failure, say};
use crate::cli::{apply, diff, kept, out, prompt};
use anyhow::Context;
use norefs::apply::{Job, OnConflict, Root};
use norefs::control::ControlError;
use norefs::delta::{Change, Delta, What};
use std::io;
use std::path::Path;

/// The exit status where the command's changes could not be applied: what env(1) and timeout(1) say of a failure of their own.
const NOT_APPLIED: u8 = 125;

/// What to do with the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Then {
    /// Show what was removed and count the rest, and ask
    Ask,
    /// Write them to the original
    Apply,
    /// Throw them away
    Discard,
    /// Keep them, to be looked at and applied later
    Keep,
    /// Show them, and throw them away
    Diff,
}

/// What a copy has that its source has not.
struct Changed<'a> {
    copy: &'a Copied<'a>,
    /// What was copied.
    path: &'a Path,
    /// Where they are to be kept, if that was said.
    at: Option<&'a Path>,
    tree: Root,
    delta: Delta,
}

/// Does what is asked for with the changes of all `copies`; `quietly` unless something else than discarding them is asked for. What is to
/// be kept is kept as the file `at`, if there is one. Signals keep being caught.
pub fn settle(
    copies: &[Copied<'_>],
    then: Option<Then>,
    at: Option<&Path>,
    quietly: bool,
    signals: &Signals,
) -> Result<(), Failure> {
    let goes = matches!(then, None | Some(Then::Discard));
    if goes && quietly {
        return Ok(());
    }
    let changed = copies
        .iter()
        .filter_map(|copy| changed(copy, at, goes).transpose());
    let changed = match changed.collect::<Result<Vec<_>, Failure>>() {
        // Its server is gone, and what it had as well.
        Err(failure) if goes => {
            failure.print();
            return Ok(());
        }
        changed => changed.map_err(|failure| failure.with(NOT_APPLIED))?,
    };
    if changed.is_empty() {
        return Ok(());
    }
    let then = match then {
        Some(then) => then,
        None if prompt::is_possible() => Then::Ask,
        None => Then::Discard,
    };
    summarize(&changed);
    match then {
        Then::Ask => ask(&changed, signals),
        Then::Apply => write(&changed),
        Then::Keep => keep(&changed),
        Then::Diff => {
            show(&changed)?;
            discard();
            Ok(())
        }
        Then::Discard => {
            say("the changes are thrown away (--then apply, keep or ask does otherwise)");
            Ok(())
        }
    }
}

/// The changes of `copy`, if there are any, and it is to be seen still; `goes`: they are to be thrown away.
fn changed<'a>(
    copy: &'a Copied<'a>,
    at: Option<&'a Path>,
    goes: bool,
) -> Result<Option<Changed<'a>>, Failure> {
    let Some(source) = copy.source else {
        return Ok(None);
    };
    // Whoever unmounted it has thrown it away.
    let Ok(root) = copy.root() else {
        return Ok(None);
    };
    let shown = || source.path.display().to_string();
    let tree = Root::at(root).with_context(shown)?;
    let delta = match diff::of_mount(&copy.mount, &tree) {
        // Of a fork of what began empty nobody expects that it differs from anything.
        Err(error) if goes && source.forked && is_refusal(&error) => return Ok(None),
        delta => delta.with_context(shown)?,
    };
    let differs = !delta.changes.iter().all(Change::is_bare_directory);
    Ok(differs.then_some(Changed {
        copy,
        path: &source.path,
        at,
        tree,
        delta,
    }))
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ControlError::Refused(_)))
}

/// Names everything that was removed, and counts the rest.
fn summarize(changed: &[Changed<'_>]) {
    for Changed { path, delta, .. } in changed {
        let removed = |change: &&Change| change.what == What::Removed;
        delta.changes.iter().filter(removed).for_each(say);
        let changes = diff::worth_telling(&delta.changes);
        say(format_args!(
            "{}: {}",
            path.display(),
            diff::counted(&changes).trim_end()
        ));
    }
}

fn show(changed: &[Changed<'_>]) -> io::Result<()> {
    for Changed { delta, .. } in changed {
        let changes = diff::worth_telling(&delta.changes);
        out::print(diff::lines(&changes))?;
    }
    Ok(())
}

fn discard() {
    say("the changes are thrown away");
}

fn ask(changed: &[Changed<'_>], signals: &Signals) -> Result<(), Failure> {
    // What ended the command is no answer.
    signals.forget()?;
    let question = "apply? yes, no, show the difference, or keep [y/n/d/k]";
    loop {
        // Nobody is there to answer any more, or whoever is wants to go.
        let Some(answer) = prompt::ask(question, |input| signals.let_read(input))? else {
            say("");
            return keep(changed);
        };
        match &*answer {
            "y" | "yes" => return write(changed),
            "n" | "no" => {
                discard();
                return Ok(());
            }
            "d" | "diff" => show(changed)?,
            "k" | "keep" => return keep(changed),
            _ => {}
        }
    }
}

/// Writes all to the originals. What cannot be written is kept.
fn write(changed: &[Changed<'_>]) -> Result<(), Failure> {
    let mut failed = None;
    for one in changed {
        if let Err(failure) = apply(one) {
            failure.with(NOT_APPLIED).print();
            let kept = keep(std::slice::from_ref(one));
            failed = Some(kept.err().unwrap_or_else(|| Failure::said(NOT_APPLIED)));
        }
    }
    failed.map_or(Ok(()), |failure| Err(failure.with(NOT_APPLIED)))
}

fn apply(changed: &Changed<'_>) -> Result<(), Failure> {
    let Some(source) = changed.copy.source else {
        return Ok(());
    };
    let target = match source.forked {
        true => apply::source(&changed.delta)?,
        false => Root::at(&source.directory)?,
    };
    let job = Job {
        delta: &changed.delta,
        mount: &changed.tree,
        target: &target,
        name: &apply::name(&changed.copy.mount),
        only: &[],
        on_conflict: OnConflict::Stop,
        elsewhere: false,
    };
    apply::write(&job, None).map(drop)
}

fn keep(changed: &[Changed<'_>]) -> Result<(), Failure> {
    let keep = |one: &Changed<'_>, at| {
        let again = || Ok(diff::of_mount(&one.copy.mount, &one.tree)?);
        kept::keep(one.delta.clone(), &one.tree, at, again)
    };
    changed.iter().try_for_each(|one| match keep(one, one.at) {
        // Better elsewhere than nowhere.
        Err(failure) if one.at.is_some() => {
            failure.print();
            keep(one, None)
        }
        kept => kept,
    })
}
