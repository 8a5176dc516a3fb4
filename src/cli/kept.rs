//! Where differences are kept.

use super::fail::{Failure, say};
use super::tree::checked_source;
use anyhow::{Context, anyhow, bail};
use etcetera::BaseStrategy;
use norefs::delta::{Delta, Tree};
use norefs::layer::{Changed, Kept, NotKept};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What the names of kept differences end with.
const ENDING: &str = ".tar";
/// How often it is tried to keep what is changed meanwhile.
const TRIES: u32 = 5;

/// Keeps `delta`, with what it takes of `tree`, as the file `at`, or else among this user's state, and says where. Where something is
/// changed meanwhile it is tried once more, with what `again` tells.
pub fn keep(
    mut delta: Delta,
    tree: &dyn Tree,
    at: Option<&Path>,
    again: impl Fn() -> Result<Delta, Failure>,
) -> Result<(), Failure> {
    let save = |delta: &Delta, lenient| save(delta, tree, at, lenient);
    let at = tried(&mut delta, again, save)?;
    say(format_args!(
        "kept in {} (norefs diff, apply or discard it there)",
        at.display()
    ));
    Ok(())
}

/// Keeps what `told` tells as the file `at`; false if that says so already.
pub fn update(
    tree: &dyn Tree,
    at: &Path,
    told: impl Fn() -> Result<Delta, Failure>,
) -> Result<bool, Failure> {
    let mut delta = told()?;
    if Kept::read(at).is_ok_and(|kept| kept.says(&delta)) {
        return Ok(false);
    }
    let save = |delta: &Delta, lenient| save(delta, tree, Some(at), lenient);
    tried(&mut delta, told, save)?;
    Ok(true)
}

/// Tries to save `delta`, and once more what `again` tells where something is changed meanwhile; in the end what there is.
fn tried<T>(
    delta: &mut Delta,
    again: impl Fn() -> Result<Delta, Failure>,
    save: impl Fn(&Delta, bool) -> anyhow::Result<T>,
) -> Result<T, Failure> {
    for _ in 0..TRIES {
        match save(delta, false) {
            Err(error) if error.downcast_ref().is_some_and(Changed::is) => {}
            saved => return Ok(saved?),
        }
        *delta = again()?;
    }
    Ok(save(delta, true)?)
}

fn save(
    delta: &Delta,
    tree: &dyn Tree,
    at: Option<&Path>,
    lenient: bool,
) -> anyhow::Result<PathBuf> {
    if let Some(at) = at {
        let over = is_free_or_kept(at)?;
        Kept::write(delta, tree, at, over, lenient).with_context(|| failed(at))?;
        return Ok(at.to_owned());
    }
    let directory = directory().context("there is no home to keep it in")?;
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let name = delta.source.path.as_path().file_name().unwrap_or_default();
    for number in 1_u32.. {
        let mut name = name.to_owned();
        name.push(format!("-{number}{ENDING}"));
        let at = directory.join(name);
        if at.exists() {
            continue;
        }
        match Kept::write(delta, tree, &at, false, lenient) {
            // Somebody else keeps something at the same time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            kept => return kept.with_context(|| failed(&at)).map(|()| at),
        }
    }
    bail!("{} is full", directory.display())
}

/// Says why nothing can be kept as the file `at`, as far as that is known before.
pub fn check_place(at: &Path) -> Result<(), Failure> {
    let above = at.parent().filter(|above| !above.as_os_str().is_empty());
    if above.is_some_and(|above| !above.is_dir()) {
        return Err(anyhow!("{}: no directory is there", failed(at)).into());
    }
    Ok(is_free_or_kept(at).map(drop)?)
}

/// Nothing but what was kept is written over: whether that is to be done.
fn is_free_or_kept(at: &Path) -> anyhow::Result<bool> {
    match Kept::read(at) {
        Ok(_) => Ok(true),
        Err(NotKept::Failed(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => bail!("{}: {error}, and it stays as it is", at.display()),
    }
}

fn failed(at: &Path) -> String {
    format!("cannot keep it in {}", at.display())
}

/// Where this user's differences are kept.
fn directory() -> Option<PathBuf> {
    let user = etcetera::base_strategy::Xdg::new().ok()?;
    Some(user.state_dir()?.join("norefs/kept"))
}

/// The file that `name` means: itself, or one that this user has kept under that name.
pub fn file(name: &Path) -> PathBuf {
    let plain = matches!(
        *name.components().collect::<Vec<_>>(),
        [Component::Normal(_)]
    );
    if let (true, false, Some(directory)) = (plain, name.exists(), directory()) {
        let mut with_ending = name.as_os_str().to_owned();
        with_ending.push(ENDING);
        let among = [name.as_os_str(), &with_ending].map(|name| directory.join(name));
        if let Some(kept) = among.into_iter().find(|place| place.is_file()) {
            return kept;
        }
    }
    name.to_owned()
}

/// Whether `at` is a directory in which a norefs before the first release has kept something.
pub fn is_old(at: &Path) -> bool {
    at.join("delta.json").exists()
}

/// What was kept as `name`, to go on with it over the source that it was kept of, which has to be `source` if there is one.
pub fn resume(name: &Path, source: Option<&Path>) -> Result<(PathBuf, Kept), Failure> {
    let (at, kept) = read(name)?;
    let known = kept.delta.source.path.as_path().to_owned();
    let from = match source {
        Some(source) => checked_source(source)?,
        None => checked_source(&known)?,
    };
    let (shown, is) = (
        from.display(),
        std::fs::metadata(&from).with_context(|| from.display().to_string())?,
    );
    if is.ino() != kept.delta.source.ino {
        let reason = format!(
            "{} was kept of {}, and {shown} is another directory",
            at.display(),
            known.display()
        );
        return Err(anyhow!(reason).into());
    }
    Ok((from, kept))
}

/// What was kept as `name`, and where.
pub fn read(name: &Path) -> Result<(PathBuf, Kept), Failure> {
    let at = file(name);
    let kept = match is_old(&at) {
        true => Err(anyhow!("an older norefs has kept this: use that one")),
        false => Kept::read(&at).map_err(anyhow::Error::from),
    };
    let mut kept = kept.with_context(|| at.display().to_string())?;
    // Devices may have other numbers since the machine was started.
    let source = std::fs::metadata(kept.delta.source.path.as_path()).ok();
    if let Some(source) = source.filter(|source| source.ino() == kept.delta.source.ino) {
        kept.is_on(source.dev());
    }
    Ok((at, kept))
}

/// How long ago it was kept.
pub fn age(kept: &Kept) -> Duration {
    kept.when.elapsed().unwrap_or_default()
}

/// All that this user has kept there. What cannot be read is left out, with a line in the log.
pub fn all() -> Vec<(PathBuf, Kept)> {
    let entries = directory().and_then(|kept| std::fs::read_dir(kept).ok());
    let entries = entries.into_iter().flatten().flatten();
    let mut places: Vec<_> = entries.map(|entry| entry.path()).collect();
    // What is being written has another name.
    places.retain(|place| place.extension().is_some_and(|ending| ending == "tar"));
    places.sort();
    let read = |place: PathBuf| match Kept::read(&place) {
        Ok(kept) => Some((place, kept)),
        Err(error) => {
            tracing::warn!(%error, place = %place.display(), "what was kept cannot be read");
            None
        }
    };
    places.into_iter().filter_map(read).collect()
}
