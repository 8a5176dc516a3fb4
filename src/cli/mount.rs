//! `norefs mount`

use super::checkpoint::{Keep, Keeper};
use super::fail::{Failure, not_mounted, say};
use super::mount_options::MountOptions;
use super::serve::ServeArgs;
use super::signals::{self, Mounted};
use super::tree::{self, Built, LoadArgs, checked_source};
use super::{
    NO_THREAD, Outcome, entry, fsmonitor, kept, last_words, out, remount, serve, spawn, systemd,
    warm, watch,
};
use anyhow::{Context, bail};
use norefs::follow::Follower;
use norefs::host;
use norefs::layer::Kept;
use norefs::source::LoadReport;
use norefs::transport::{self, Options, Permissions, session};
use norefs::warm::Warmer;
use rustix::fs::Mode;
use rustix::process::geteuid;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What the serving process says when the mount answers.
const READY: &str = "ready";

/// Is there where SELinux is in force.
const SELINUX: &str = "/sys/fs/selinux/enforce";

const MOUNT_OPTIONS: &str = "\
Mount options:
  size=N, nr_inodes=N  limits, with k, m, g, t, p, e, of memory in % (size only), 0 for none
                       [default: half of memory, and an inode for each 256 bytes of that]
  nr_blocks=N          size in pages
  mode=, uid=, gid=    of the root of a tree without a source [default: 0755, the caller]
  ro, noexec           no changes; no programs
  nosymfollow          symbolic links are shown and not followed (root only, Linux 5.10)
  suid, dev            set-user-id bits and device files work (root only)
  allow_other          other users may enter [default for root]
  noxattr              no extended attributes: saves a request before the first write to a file
  acl                  POSIX access control lists, also those of the source (Linux 5.13); without
                       (noacl, the default) they are refused
  nobtime              no time of birth: saves programs that ask for it (cargo, fd and others
                       written in Rust) one request for each file they look at first
  passthrough          the kernel reads the source's files by itself: pays for large ones, costs two
                       requests for each file opened (root and ro only, Linux 6.9)
  permissions=daemon   norefs decides itself who may do what, not the kernel: each step of a path
                       and each open costs a request, and some holes are left (docs/LIMITS.md)
                       [default: kernel]
  cache=, transport=   as --cache and --transport
  follow, nofollow     what changes in the source is seen in the mount; nofollow is the default
  warm, nowarm         as --warm and --no-warm
  fsname=NAME          the source that the mount table shows
  remount              change the live mount: ro, suid, dev, noexec, nosymfollow, size, nr_blocks,
                       nr_inodes
Those of mount(8) and fstab(5) that mean nothing here are accepted.";

/// Mount a tree and return when it is ready
#[derive(clap::Args)]
#[command(
    override_usage = "norefs mount [OPTIONS] [SOURCE] <MOUNTPOINT>",
    after_help = MOUNT_OPTIONS
)]
pub struct Args {
    /// The directory to load (an empty tree without one), and where to mount
    #[arg(required = true, num_args = 1..=2, value_name = "[SOURCE] MOUNTPOINT")]
    paths: Vec<PathBuf>,
    /// Mount options, separated by commas (below)
    #[arg(short = 'o', value_name = "LIST")]
    options: Vec<String>,
    /// Go on with what was kept: its source is loaded, and it is put over that
    #[arg(long, value_name = "NAME|FILE")]
    resume: Option<PathBuf>,
    /// Keep what differs as FILE, from time to time and at the end; if FILE is there, go on with it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    keep: Option<PathBuf>,
    /// How often it is kept, if something has changed (default: 30s)
    #[arg(long, value_name = "DURATION", requires = "keep", value_parser = watch::interval)]
    checkpoint: Option<Duration>,
    /// Print what has git ask the mount what changed: eval "$(norefs mount --fsmonitor …)"
    #[arg(long, conflicts_with = "foreground")]
    fsmonitor: bool,
    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,
    /// Where a mount in the background writes its log
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Serve, and say on stdout when the mount is ready
    #[arg(long, hide = true)]
    serve: bool,
    /// Whether mount(8) asks, whose defaults are options as well.
    #[arg(skip)]
    by_mount8: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    serving: ServeArgs,
}

impl Args {
    /// What is left to mount(8) for its helper to say besides mount options.
    pub fn of_helper(source: Option<PathBuf>, mountpoint: PathBuf, serve: bool) -> Args {
        Args {
            paths: source.into_iter().chain([mountpoint]).collect(),
            options: Vec::new(),
            resume: None,
            keep: None,
            checkpoint: None,
            fsmonitor: false,
            foreground: false,
            log_file: None,
            serve,
            by_mount8: true,
            load: LoadArgs::default(),
            serving: ServeArgs::default(),
        }
    }

    fn source(&self) -> Option<&Path> {
        match self.paths.as_slice() {
            [source, _] => Some(source),
            _ => None,
        }
    }

    /// What is to be loaded, and what was kept of that.
    fn sources(&self, keep: Option<&Keep>) -> Result<(Option<PathBuf>, Option<Kept>), Failure> {
        // What is there already is gone on with.
        let there = keep.filter(|keep| keep.at.exists());
        let resumed = self.resume.as_deref();
        let resumed = resumed.or(there.map(|keep| &*keep.at));
        if let Some(name) = resumed {
            let (source, kept) = kept::resume(name, self.source())?;
            return Ok((Some(source), Some(kept)));
        }
        match self.source() {
            None if keep.is_some() => Err(Failure::usage("--keep is for a mount of a source")),
            source => Ok((source.map(checked_source).transpose()?, None)),
        }
    }

    fn mountpoint(&self) -> &Path {
        self.paths.last().map_or(Path::new(""), PathBuf::as_path)
    }
}

pub fn run(args: Args) -> Outcome {
    let asked = MountOptions::parse(&args.options, tree::memory())?;
    if asked.remount {
        return remount::run(args.mountpoint(), &asked);
    }
    let exports = match args.fsmonitor && !args.serve {
        true => fsmonitor::exports()?,
        false => String::new(),
    };
    let done = start(args, asked)?;
    out::print(exports)?;
    Ok(done)
}

/// Mounts as `asked`, whatever the options in `args` are.
pub fn start(args: Args, mut asked: MountOptions) -> Outcome {
    check_options(&asked, args.source().or(args.resume.as_deref()))?;
    check_follow(&asked, &args.load, args.source().or(args.resume.as_deref()))?;
    let place = session::prepare(args.mountpoint()).map_err(not_mounted)?;
    let keep = args.keep.as_deref();
    let keep = keep.map(|at| Keep::new(at, args.checkpoint, place.path()));
    let keep = keep.transpose()?;
    let (source, kept) = args.sources(keep.as_ref())?;
    if let Some(source) = &source {
        check_apart(source, place.path())?;
    }
    let cache = asked.cache.unwrap_or(args.serving.cache);
    let warm = warm::wanted(args.serving.warm(), false, &asked, cache)?;
    if !args.foreground && !args.serve {
        return serve_in_background();
    }
    signals::begin()?;
    if !args.serve {
        systemd::begin();
    }
    let metrics = args.serving.listen()?;
    let log = args.log_file.as_deref().map(open_log).transpose()?;
    let Built {
        fs,
        loaded,
        followed,
    } = tree::build(source.as_deref(), kept.as_ref(), &args.load, &asked)?;
    for option in narrow(&mut asked, loaded.as_ref()) {
        match args.by_mount8 {
            true => tracing::info!(option, "the mount of the source forbids it"),
            false => say(nothing_comes_of(option)),
        }
    }
    let options = options(&args.serving, &asked, source.as_deref());
    // Until now a signal ends us; from here on it ends the mount first.
    let mounted = signals::handle().context(NO_THREAD)?;
    last_words::on_signal()?;
    host::serve_others();
    let handle = Arc::new(transport::mount_at(fs, place, &options).map_err(not_mounted)?);
    let warmer = warm.then(|| warm::start(&handle, true)).flatten();
    let progress = warmer.as_ref().map(Warmer::progress);
    let follower = followed.and_then(|followed| followed.start(&handle));
    let server = serve::answer_questions(
        &handle,
        serve::Asked {
            options,
            fixed: asked.fixed,
            warm: progress,
            followed: follower.as_ref().map(Follower::handle),
            shown: None,
            metrics,
            keep: keep.clone(),
        },
    );
    let about = format!(
        "{} at {}",
        server.telemetry.stats().source,
        handle.mountpoint().display()
    );
    let mount = Mounted {
        handle: Arc::downgrade(&handle),
        telemetry: server.telemetry.clone(),
        _warmer: warmer,
    };
    mounted.send(mount).unwrap_or_default();
    match args.serve {
        true => settle_in_background(log)?,
        false => systemd::ready(&about),
    }
    systemd::watch_over(&handle);
    let keeper = keep.as_ref().map(|keep| Keeper::start(&handle, keep));
    let keeper = keeper.transpose().context("the mount is not kept")?;
    let ended = handle.wait();
    drop(keeper);
    if let Some(keep) = &keep {
        keep.at_the_end(handle.fs());
    }
    if let Err(error) = &ended {
        last_words::tell(&format!("norefs: {about} has ended: {error}\n"));
    }
    drop(server);
    drop(follower);
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// How the mount is to behave.
pub fn options(serving: &ServeArgs, asked: &MountOptions, source: Option<&Path>) -> Options {
    Options {
        source_name: serve::source_name(source, asked),
        cache: asked.cache.unwrap_or(serving.cache),
        transport: asked.transport.unwrap_or(serving.transport),
        read_only: asked.read_only,
        suid: asked.suid,
        dev: asked.dev,
        noexec: asked.noexec,
        nosymfollow: asked.nosymfollow,
        btime: !asked.no_btime,
        xattr: !asked.no_xattr,
        acl: asked.acl,
        passthrough: asked.passthrough,
        allow_other: asked.allow_other || geteuid().is_root(),
        ..serving.options()
    }
}

/// Takes back what the mount of a source forbids. Returns what was asked for of it.
pub fn narrow(
    asked: &mut MountOptions,
    loaded: Option<&(LoadReport, Duration)>,
) -> Vec<&'static str> {
    let Some((loaded, _)) = loaded else {
        return Vec::new();
    };
    let both = [
        ("suid", &mut asked.suid, loaded.nosuid),
        ("dev", &mut asked.dev, loaded.nodev),
    ];
    let forbidden = both.into_iter().filter(|(_, _, forbidden)| *forbidden);
    let taken = forbidden.filter_map(|(option, wanted, _)| {
        // Nor may a remount.
        asked.fixed.push(format!("no{option}"));
        std::mem::take(wanted).then_some(option)
    });
    taken.collect()
}

/// What is said of an option that a source forbids.
pub fn nothing_comes_of(option: &str) -> String {
    format!("mount option {option} does nothing: the source is mounted no{option}")
}

/// Refuses options that do not go together, or not with this source or user.
pub fn check_options(asked: &MountOptions, source: Option<&Path>) -> Result<(), Failure> {
    if (asked.suid || asked.dev) && !geteuid().is_root() {
        return Err(Failure::usage("mount options suid and dev are for root"));
    }
    if asked.nosymfollow && !geteuid().is_root() {
        let reason = "mount option nosymfollow is for root: fusermount3 does not know it";
        return Err(Failure::usage(reason));
    }
    check_selinux(asked)?;
    if asked.dev && asked.permissions == Permissions::Daemon {
        let reason =
            "mount option dev cannot be had with permissions=daemon: opening a device asks nobody";
        return Err(Failure::usage(reason));
    }
    check_passthrough(asked, source)?;
    check_acl(asked)?;
    let of_root = asked.mode.is_some() || asked.uid.is_some() || asked.gid.is_some();
    if of_root && source.is_some() {
        let reason = "mount options mode, uid and gid are for a mount without a source";
        return Err(Failure::usage(reason));
    }
    Ok(())
}

/// A context that was asked for and would not be in force would be a promise broken. Without SELinux it means nothing to anybody.
fn check_selinux(asked: &MountOptions) -> Result<(), Failure> {
    match &asked.of_selinux {
        Some(option) if Path::new(SELINUX).exists() => {
            let reason =
                format!("mount option {option}: norefs gives a mount no context of SELinux");
            Err(Failure::usage(reason))
        }
        _ => Ok(()),
    }
}

/// What the kernel reads by itself must not change here, and registering it is a privilege.
fn check_passthrough(asked: &MountOptions, source: Option<&Path>) -> Result<(), Failure> {
    let reason = match asked {
        MountOptions {
            passthrough: false, ..
        } => return Ok(()),
        _ if !geteuid().is_root() => "is for root",
        _ if source.is_none() => "is for a mount with a source",
        MountOptions {
            read_only: false, ..
        } => "needs ro: what is written here is not in the source",
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("mount option passthrough {reason}")))
}

/// What follows a source tells the kernel what it may not hold any more.
pub fn check_follow(
    asked: &MountOptions,
    load: &LoadArgs,
    source: Option<&Path>,
) -> Result<(), Failure> {
    let reason = match asked {
        MountOptions { follow: false, .. } => match load.refresh {
            Some(_) => "--refresh is for a mount that follows its source (-o follow)",
            None => return Ok(()),
        },
        _ if source.is_none() => "mount option follow is for a mount with a source",
        MountOptions {
            passthrough: true, ..
        } => {
            "mount option follow cannot be had with passthrough: the kernel reads files that may be others"
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(reason))
}

/// Lists come as extended attributes, and the kernel checks by them.
fn check_acl(asked: &MountOptions) -> Result<(), Failure> {
    let reason = match asked {
        MountOptions { acl: false, .. } => return Ok(()),
        MountOptions { no_xattr: true, .. } => "needs xattr: lists are extended attributes",
        _ if asked.permissions == Permissions::Daemon => {
            "needs permissions=kernel: nobody else checks by lists"
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("mount option acl {reason}")))
}

fn check_apart(source: &Path, mountpoint: &Path) -> anyhow::Result<()> {
    let (from, at) = (source.display(), mountpoint.display());
    if mountpoint.starts_with(source) {
        bail!("mount point {at} is inside the source {from}");
    }
    if source.starts_with(mountpoint) {
        bail!("source {from} is inside the mount point {at}");
    }
    Ok(())
}

/// Runs this command again as the process that serves, and waits until it is ready or has failed.
/// What it has to say until then goes to our stderr.
fn serve_in_background() -> Outcome {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Behind what says how we were called: the name of a helper, or a verb or source.
    let called = if entry::is_helper(&arguments) { 1 } else { 2 };
    arguments.insert(called, "--serve".into());
    let nothing = File::open("/dev/null")?;
    let (output, their_output) = io::pipe()?;
    let server = spawn::server(&arguments, nothing.as_fd(), their_output.as_fd())
        .context("cannot start the serving process")?;
    drop(their_output);
    match BufReader::new(output).lines().next() {
        Some(Ok(line)) if line == READY => Ok(ExitCode::SUCCESS),
        _ => Err(spawn::failed(server)),
    }
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| path.display().to_string())
}

/// Says that the mount is ready, then lets go of terminal, standard handles and directory.
fn settle_in_background(log: Option<File>) -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    std::env::set_current_dir("/")?;
    // What it makes from here on is for its owner alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "still in the session it was started from");
    }
    let mut stdout = io::stdout();
    let told = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(log.as_ref().unwrap_or(&null))?;
    if log.is_none() {
        last_words::to_system();
    }
    told
}
