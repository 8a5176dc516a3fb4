//! Where differences are kept.

use super::fail::{Failure, say};
use anyhow::{Context, anyhow};
use etcetera::BaseStrategy;
use norefs::apply::{Kept, Root};
use norefs::delta::Delta;
use std::path::{Path, PathBuf};

/// Keeps `delta`, with what it takes of `tree`, and says where.
pub fn keep(delta: &Delta, tree: &Root) -> Result<(), Failure> {
    let at = place(delta.source.path.as_path())?;
    let shown = at.display();
    Kept::write(delta, tree, &at).with_context(|| format!("cannot keep it in {shown}"))?;
    say(format_args!(
        "kept in {shown} (norefs diff, apply or discard it there)"
    ));
    Ok(())
}

/// Where this user's differences are kept.
fn directory() -> Option<PathBuf> {
    let user = etcetera::base_strategy::Xdg::new().ok()?;
    Some(user.state_dir()?.join("norefs/kept"))
}

/// All that this user has kept there. What cannot be read is left out, with a line in the log.
pub fn all() -> Vec<(PathBuf, Kept)> {
    let entries = directory().and_then(|kept| std::fs::read_dir(kept).ok());
    let mut places: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    places.sort();
    let read = |place: PathBuf| match Kept::read(&place) {
        Ok(kept) => Some((place, kept?)),
        Err(error) => {
            tracing::warn!(%error, place = %place.display(), "what was kept cannot be read");
            None
        }
    };
    places.into_iter().filter_map(read).collect()
}

/// A new place for what differs from the directory `source`, among this user's state.
fn place(source: &Path) -> Result<PathBuf, Failure> {
    let kept = directory().ok_or_else(|| anyhow!("there is no home to keep it in"))?;
    std::fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
    let name = source.file_name().unwrap_or_default();
    let new = |number: u32| {
        let mut name = name.to_owned();
        name.push(format!("-{number}"));
        kept.join(name)
    };
    let free = (1..).map(new).find(|place| !place.exists());
    free.ok_or_else(|| anyhow!("{} is full", kept.display()).into())
}
