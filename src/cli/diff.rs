//! `norefs diff`

use super::fail::{Failure, say};
use super::stats::mount_at;
use super::{Outcome, kept, out};
use anyhow::{Context, anyhow};
use indicatif::{BinaryBytes, HumanCount};
use norefs::apply::Root;
use norefs::control;
use norefs::delta::{self, Change, Contents, Delta, PathBytes, Tree, What};
use norefs::host::write_back_maps;
use norefs::layer::write_layer;
use norefs::transport::session::table::MountEntry;
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// Exit status for a failure where 1 says that something differs, as diff(1) has it.
const TROUBLE: u8 = 2;

/// Show what differs between a mount and the source it was loaded from
#[derive(clap::Args)]
#[command(after_help = LETTERS)]
pub struct Args {
    /// Where it is mounted, or what was kept of it
    mountpoint: PathBuf,
    /// Only what is at or below these, seen from the mount
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Count instead
    #[arg(long, conflicts_with = "json")]
    stat: bool,
    /// Print one JSON object, with all that is known of each difference
    #[arg(long)]
    json: bool,
    /// Print a patch that git and patch(1) take, and in lines with # what it cannot say
    #[arg(long, short, conflicts_with_all = ["json", "stat"])]
    patch: bool,
    /// Write it to FILE as a layer of an OCI image: a tar archive that says what is gone (- for standard output)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "stat", "patch"])]
    tar: Option<PathBuf>,
    /// Exit with 1 if something differs, and with 2 for a failure
    #[arg(long)]
    exit_code: bool,
}

const LETTERS: &str = "\
A added, D removed, M other content, R moved, T of another kind, m only other attributes.
A file that was written to counts as other content, whatever its bytes. A directory of which no more differs than \
its mtime is shown with --json alone.";

pub fn run(args: Args) -> Outcome {
    let trouble = args.exit_code;
    shown(args).map_err(|failure| match trouble {
        true => failure.with(TROUBLE),
        false => failure,
    })
}

fn shown(args: Args) -> Outcome {
    let Told {
        mut delta,
        tree,
        mount,
        ..
    } = ask(&args.mountpoint, &args.paths)?;
    let bare = Change::is_bare_directory;
    let differs = !delta.changes.iter().all(bare);
    if let Some(file) = &args.tar {
        write_tar(&delta, &*tree, file)?;
    } else if args.json {
        out::print(serde_json::to_string(&delta)? + "\n")?;
    } else {
        delta.changes.retain(|change| !bare(change));
        match (args.patch, args.stat) {
            (true, _) => print_patch(&delta, &*tree)?,
            (_, true) => out::print(counted(&delta.changes))?,
            _ => out::print(lines(&delta.changes))?,
        }
        if let Some(mount) = mount.as_ref().filter(|_| !args.patch) {
            print_conflicts(mount)?;
        }
    }
    Ok(ExitCode::from(u8::from(args.exit_code && differs)))
}

/// What people are told of: a directory of which only the mtime differs is not worth a line.
pub fn worth_telling(changes: &[Change]) -> Vec<Change> {
    let changes = changes.iter().filter(|change| !change.is_bare_directory());
    changes.cloned().collect()
}

/// What the source has changed as well.
fn print_conflicts(mount: &MountEntry) -> Result<(), Failure> {
    let shown = || mount.mount_point.display().to_string();
    for path in control::conflicts(mount).with_context(shown)? {
        say(format_args!("conflict: the source has changed {path} too"));
    }
    Ok(())
}

pub fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{change}\n")).collect()
}

/// Writes a layer; a file only if all of it can be written.
fn write_tar(delta: &Delta, tree: &dyn Tree, file: &Path) -> Result<(), Failure> {
    if file == Path::new("-") {
        let stdout = BufWriter::new(io::stdout().lock());
        return Ok(out::unless_closed(write_layer(delta, tree, stdout))?);
    }
    let shown = || file.display().to_string();
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let new = tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new(".")));
    let new = new.with_context(shown)?;
    write_layer(delta, tree, BufWriter::new(new.as_file())).with_context(shown)?;
    new.as_file().sync_all().with_context(shown)?;
    new.persist(file)
        .map_err(|error| error.error)
        .with_context(shown)?;
    Ok(())
}

/// What cannot be had is said of each, and fails in the end.
fn print_patch(delta: &Delta, tree: &dyn Tree) -> Result<(), Failure> {
    let source = delta.source.path.to_string();
    let contents = Contents::open(delta, tree).with_context(|| source)?;
    let mut missing = 0;
    for change in &delta.changes {
        let mut text = Vec::new();
        match delta::patch(change, &contents, &mut text) {
            Ok(()) => out::print(text)?,
            Err(unread) => {
                say(format_args!("{}: {unread}", change.path()));
                missing += 1;
            }
        }
    }
    match missing {
        0 => Ok(()),
        1 => Err(anyhow!("one difference is not in the patch").into()),
        n => Err(anyhow!("{n} differences are not in the patch").into()),
    }
}

/// What differs, and where its contents are.
pub struct Told {
    /// What differs.
    pub delta: Delta,
    /// Where it is mounted, or was kept.
    pub at: PathBuf,
    /// What it has.
    pub tree: Box<dyn Tree>,
    /// The mount, if it is there.
    pub mount: Option<MountEntry>,
}

/// What differs at or below `paths`; without any, all.
fn ask(at: &Path, paths: &[PathBuf]) -> Result<Told, Failure> {
    let mut told = whole(at)?;
    let within = paths.iter().map(|path| below(&told.at, path));
    let within = within.collect::<Result<Vec<_>, _>>()?;
    if !within.is_empty() {
        told.delta.changes.retain(|change| {
            let now = change.now.as_ref().map(|now| &now.path);
            let then = change.base.as_ref().map(|base| &base.path);
            let paths = [now, then].into_iter().flatten();
            let mut pairs = paths.flat_map(|path| within.iter().map(move |top| (path, top)));
            pairs.any(|(path, top)| path.is_at_or_below(top))
        });
    }
    Ok(told)
}

/// All that differs in the mount at `at`, or was kept there.
pub fn whole(at: &Path) -> Result<Told, Failure> {
    let shown = || at.display().to_string();
    let entry = match mount_at(at) {
        Ok((_, entry)) => entry,
        // A directory is a place for a mount.
        Err(failure) if at.is_dir() && !kept::is_old(at) => return Err(failure),
        Err(_) => {
            let (at, kept) = kept::read(at)?;
            return Ok(Told {
                delta: kept.delta.clone(),
                at,
                tree: Box::new(kept),
                mount: None,
            });
        }
    };
    let tree = Root::open(&entry.mount_point).with_context(shown)?;
    Ok(Told {
        delta: of_mount(&entry, &tree).with_context(shown)?,
        at: entry.mount_point.clone(),
        tree: Box::new(tree),
        mount: Some(entry),
    })
}

/// All that differs in the mount `entry`, whose root is `tree`.
pub fn of_mount(entry: &MountEntry, tree: &Root) -> anyhow::Result<Delta> {
    // What the kernel holds of writes counts only once the mount's server has it.
    write_back_maps(tree)?;
    Ok(control::delta(entry)?)
}

/// `path` as seen from the mount's root.
pub fn below(mountpoint: &Path, path: &Path) -> Result<PathBytes, Failure> {
    let outside = || anyhow!("{} is not below {}", path.display(), mountpoint.display());
    let within = match path.is_absolute() {
        true => path.strip_prefix(mountpoint).map_err(|_| outside())?,
        false => path,
    };
    let mut below = PathBytes::ROOT;
    for component in within.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => below = below.join(name.as_bytes()),
            _ => return Err(outside().into()),
        }
    }
    Ok(below)
}

const COUNTED: [(What, &str); 6] = [
    (What::Added, "added"),
    (What::Removed, "removed"),
    (What::Moved, "moved"),
    (What::Content, "with other content"),
    (What::Retyped, "of another kind"),
    (What::Metadata, "with other attributes"),
];

pub fn counted(changes: &[Change]) -> String {
    let counts = COUNTED.into_iter().filter_map(|(what, name)| {
        let count = changes.iter().filter(|change| change.what == what).count();
        (count > 0).then(|| format!("{} {name}", HumanCount(count as u64)))
    });
    let counts: Vec<_> = counts.collect();
    // What leads to a file that came before has no content of its own.
    let written = changes
        .iter()
        .filter(|change| change.content && change.link.is_none());
    let bytes: u64 = written
        .filter_map(|change| Some(change.now.as_ref()?.seen.size))
        .sum();
    match counts.is_empty() {
        true => "nothing differs\n".to_owned(),
        false => format!(
            "{}; {} of new content\n",
            counts.join(", "),
            BinaryBytes(bytes)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_the_mount() {
        let mount = Path::new("/mnt/m");
        let below =
            |path: &str| below(mount, Path::new(path)).map_err(|failure| format!("{failure:?}"));
        assert_eq!(below("a/./b/"), Ok(PathBytes::ROOT.join(b"a").join(b"b")));
        assert_eq!(below("/mnt/m/a"), Ok(PathBytes::ROOT.join(b"a")));
        assert_eq!(below("."), Ok(PathBytes::ROOT));
        for outside in ["/mnt", "/mnt/mm", "../m/a", "a/../.."] {
            assert!(
                below(outside).unwrap_err().contains("is not below /mnt/m"),
                "{outside}"
            );
        }
    }
}
