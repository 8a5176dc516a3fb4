//! `norefs diff`

use super::fail::Failure;
use super::stats::mount_at;
use super::{Outcome, out};
use anyhow::{Context, anyhow};
use indicatif::{BinaryBytes, HumanCount};
use norefs::control;
use norefs::delta::{Change, Delta, Metadata, PathBytes, Seen, What};
use norefs::tree::Kind;
use rustix::fs::{Mode, OFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// Exit status for a failure where 1 says that something differs, as diff(1) has it.
const TROUBLE: u8 = 2;

/// Show what differs between a mount and the source it was loaded from
#[derive(clap::Args)]
#[command(after_help = LETTERS)]
pub struct Args {
    /// Where it is mounted
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
    let mut delta = ask(&args.mountpoint, &args.paths)?;
    let differs = delta
        .changes
        .iter()
        .any(|change| !change.is_bare_directory());
    let text = if args.json {
        serde_json::to_string(&delta)? + "\n"
    } else {
        delta.changes.retain(|change| !change.is_bare_directory());
        match args.stat {
            true => counted(&delta.changes),
            false => delta.changes.iter().map(line).collect(),
        }
    };
    out::print(text)?;
    Ok(ExitCode::from(u8::from(args.exit_code && differs)))
}

/// What differs at or below `paths`; without any, all.
fn ask(mountpoint: &Path, paths: &[PathBuf]) -> Result<Delta, Failure> {
    let shown = mountpoint.display();
    let (_, entry) = mount_at(mountpoint)?;
    let within = paths.iter().map(|path| below(&entry.mount_point, path));
    let within = within.collect::<Result<Vec<_>, _>>()?;
    write_back(&entry.mount_point).with_context(|| shown.to_string())?;
    let mut delta = control::delta(&entry).with_context(|| shown.to_string())?;
    if !within.is_empty() {
        delta.changes.retain(|change| {
            let now = change.now.as_ref().map(|now| &now.path);
            let then = change.base.as_ref().map(|base| &base.path);
            let paths = [now, then].into_iter().flatten();
            let mut pairs = paths.flat_map(|path| within.iter().map(move |top| (path, top)));
            pairs.any(|(path, top)| path.is_at_or_below(top))
        });
    }
    Ok(delta)
}

/// `path` as seen from the mount's root.
fn below(mountpoint: &Path, path: &Path) -> Result<PathBytes, Failure> {
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

/// What the kernel holds of writes counts only once the mount's server has it.
fn write_back(mountpoint: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(mountpoint, flags, Mode::empty())?;
    rustix::fs::syncfs(root)
}

fn line(change: &Change) -> String {
    let path = change.path();
    let from = change.base.as_ref().map(|base| &base.path);
    let from = from.filter(|from| change.what == What::Moved && *from != path);
    let moved = from.map_or_else(String::new, |from| format!("{from} -> "));
    let letter = letter(change.what);
    let details = details(change);
    match details.is_empty() {
        true => format!("{letter} {moved}{path}\n"),
        false => format!("{letter} {moved}{path} ({})\n", details.join(", ")),
    }
}

fn letter(what: What) -> char {
    match what {
        What::Added => 'A',
        What::Removed => 'D',
        What::Content => 'M',
        What::Moved => 'R',
        What::Retyped => 'T',
        What::Metadata => 'm',
    }
}

/// What the letter does not say.
fn details(change: &Change) -> Vec<String> {
    let mut details = Vec::new();
    let kinds = (change.base.as_ref(), change.now.as_ref());
    if let (What::Retyped, (Some(base), Some(now))) = (change.what, kinds) {
        details.push(format!("{} -> {}", kind(&base.seen), kind(&now.seen)));
    }
    if change.what == What::Moved && change.content {
        details.push("content".to_owned());
    }
    if change.what == What::Metadata && change.replaced {
        details.push("replaced".to_owned());
    }
    if matches!(change.what, What::Content | What::Moved | What::Metadata) {
        let Metadata {
            mode,
            owner,
            mtime,
            xattrs,
            acl,
        } = change.metadata;
        // Other content has another time, and so has a directory with other names.
        let directory = change
            .now
            .as_ref()
            .is_some_and(|now| now.seen.is_directory());
        let mtime = mtime && !change.content && !directory;
        let differ = [
            (mode, "mode"),
            (owner, "owner"),
            (mtime, "mtime"),
            (xattrs, "xattrs"),
            (acl, "acl"),
        ];
        let named = differ.into_iter().filter(|(differs, _)| *differs);
        details.extend(named.map(|(_, name)| name.to_owned()));
    }
    if let Some(link) = &change.link {
        details.push(format!("link to {link}"));
    }
    details
}

fn kind(seen: &Seen) -> &'static str {
    match seen.kind() {
        Some(Kind::Regular) => "file",
        Some(Kind::Directory) => "directory",
        Some(Kind::Symlink) => "symbolic link",
        Some(Kind::Fifo) => "pipe",
        Some(Kind::Socket) => "socket",
        Some(Kind::CharDevice | Kind::BlockDevice) => "device",
        None => "unknown",
    }
}

const COUNTED: [(What, &str); 6] = [
    (What::Added, "added"),
    (What::Removed, "removed"),
    (What::Moved, "moved"),
    (What::Content, "with other content"),
    (What::Retyped, "of another kind"),
    (What::Metadata, "with other attributes"),
];

fn counted(changes: &[Change]) -> String {
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
