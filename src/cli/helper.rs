//! What mount(8) calls for the type `fuse.norefs`: `mount.fuse.norefs`, or through `mount.fuse3`
//! `norefs SOURCE MOUNTPOINT -o LIST`. See mount(8), "External helpers".
//!
//! For the type `norefs` it calls `mount.norefs`, but only from fstab(5): `mount -t norefs` means all types but `refs`.

use super::fail::Failure;
use super::mount_options::MountOptions;
use super::tree::{self, checked_source};
use super::{Cli, Outcome, entry, log, mount, remount, usage};
use anyhow::{Context, anyhow};
use clap::{CommandFactory, Parser};
use norefs::transport::Permissions;
use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a source is called that is no directory: the tree is empty.
const NO_SOURCE: [&str; 2] = ["none", "norefs"];

const AFTERWARDS: &str = "\
mount(8) calls this for the type fuse.norefs if /sbin/mount.fuse.norefs is a symbolic link to norefs. Without one, and with norefs
in a directory such as /usr/local/bin, the mount.fuse3 of libfuse does so, which keeps -s, -f and -N to itself. Lines of /etc/fstab:

  none      /mnt/scratch  fuse.norefs  size=1g,mode=1777  0 0
  /usr/src  /mnt/src      fuse.norefs  ro                 0 0

The mount options are those of `norefs mount`; suid and dev are the default for root, as with any type, unless the source is
mounted nosuid or nodev. Of a live mount
`-o remount` changes ro, suid, dev, exec and symfollow, size, nr_blocks and nr_inodes.

Exit status: 0, 1 for a command line that makes no sense, 32 for a failure.";

/// Mount a tree, or change a live mount, for mount(8)
#[derive(Parser)]
#[command(name = "mount.fuse.norefs", version, after_help = AFTERWARDS)]
pub struct Args {
    /// The directory to load; `none` or `norefs`: an empty tree
    source: PathBuf,
    /// Where to mount
    mountpoint: PathBuf,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "LIST")]
    options: Vec<String>,
    /// Drop mount options that are not known
    #[arg(short)]
    sloppy: bool,
    /// Check the command line and do nothing
    #[arg(short)]
    fake: bool,
    /// Nothing (there is no mtab)
    #[arg(short)]
    no_mtab: bool,
    /// Nothing
    #[arg(short)]
    verbose: bool,
    /// Mount in this mount namespace
    #[arg(short = 'N', value_name = "FILE")]
    namespace: Option<PathBuf>,
    /// Nothing (there is one type)
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<String>,
    /// Serve, and say on stdout when the mount is ready
    #[arg(long, hide = true)]
    serve: bool,
}

/// Whether mount(8) has called this program: by the name of a helper, or with a source where a verb would be.
pub fn is_called(arguments: &[OsString]) -> bool {
    entry::is_helper(arguments) || has_source(arguments)
}

/// Whether the first argument is the source of such a call and no mistake in a verb: it is a path, a known word, or what follows
/// has mount options, as what mount.fuse3 calls always has.
fn has_source(arguments: &[OsString]) -> bool {
    let [_, first, second, ..] = arguments else {
        return false;
    };
    let mut command = Cli::command();
    command.build();
    let bytes = first.as_encoded_bytes();
    if bytes.starts_with(b"-") || command.find_subcommand(first).is_some() {
        return false;
    }
    // An option comes second after a verb; what mount.fuse3 calls has the mount point there.
    let after_verb =
        || second.as_encoded_bytes().starts_with(b"-") && !usage::verb_meant_by(first).is_empty();
    let with_options =
        || Args::try_parse_from(arguments).is_ok_and(|args| !args.options.is_empty());
    bytes.contains(&b'/')
        || NO_SOURCE.iter().any(|name| first == name)
        || (with_options() && !after_verb())
}

pub fn run(arguments: &[OsString]) -> Outcome {
    let outcome = match Args::try_parse_from(arguments) {
        Ok(args) => log::start().and_then(|()| run_as_helper(args, entry::is_helper(arguments))),
        Err(error) => usage::on_parse(&error, arguments),
    };
    outcome.map_err(Failure::of_helper)
}

/// `named`: nobody can have meant a verb by the source.
fn run_as_helper(args: Args, named: bool) -> Outcome {
    let root = geteuid().is_root();
    let before = MountOptions {
        sloppy: args.sloppy,
        suid: root,
        dev: root,
        ..MountOptions::default()
    };
    let mut asked = before.then(&args.options, tree::memory())?;
    // It is the default, and mount.fuse3 adds it: nobody may have asked for it.
    asked.dev &= asked.permissions == Permissions::Kernel;
    // A serving process has been started in it.
    if let Some(namespace) = args.namespace.filter(|_| !args.serve) {
        enter(&namespace)?;
    }
    if asked.remount && !args.fake {
        return remount::run(&args.mountpoint, &asked);
    }
    let source = match args.source.to_str().filter(|name| NO_SOURCE.contains(name)) {
        Some(name) => {
            asked.fsname.get_or_insert_with(|| name.to_owned());
            None
        }
        None => Some(source(&args.source, named)?),
    };
    if args.fake {
        return Ok(ExitCode::SUCCESS);
    }
    mount::start(
        mount::Args::of_helper(source, args.mountpoint, args.serve),
        asked,
    )
}

fn source(path: &Path, named: bool) -> anyhow::Result<PathBuf> {
    checked_source(path).map_err(|error| match named {
        true => error,
        false => anyhow!("{error:#}{}", usage::verb_meant_by(path.as_os_str())),
    })
}

fn enter(namespace: &Path) -> anyhow::Result<()> {
    let shown = || format!("mount namespace {}", namespace.display());
    let file = File::open(namespace).with_context(shown)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount)).with_context(shown)
}
