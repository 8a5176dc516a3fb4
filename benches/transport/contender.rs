//! Mounts, each served by a process of its own.

use anyhow::{Context, bail};
use norefs::transport::session::{mount_point::MountPoint, table};
use norefs::transport::testing::constant;
use norefs::transport::{Options, Transport};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub enum Kind {
    /// Answers a constant, on a channel.
    Constant(&'static str),
    /// norefs, on a channel.
    Norefs(&'static str),
    /// Another build of norefs, as it comes.
    Other(PathBuf),
}

impl Kind {
    pub fn channel(&self) -> &str {
        match self {
            Kind::Constant(channel) | Kind::Norefs(channel) => channel,
            // The builds to compare with used fuser's loop.
            Kind::Other(_) => "fuser",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Kind::Constant(channel) => format!("constant on {channel}"),
            Kind::Norefs(channel) => format!("norefs on {channel}"),
            Kind::Other(_) => "the other norefs".to_owned(),
        };
        f.pad(&name)
    }
}

pub struct Contender {
    kind: Kind,
    place: TempDir,
    server: Child,
}

impl Contender {
    pub fn start(kind: Kind) -> anyhow::Result<Contender> {
        let place = tempfile::tempdir()?;
        let mut command = match &kind {
            Kind::Constant(channel) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve", channel]);
                command
            }
            Kind::Norefs(channel) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_norefs"));
                command.args(["mount", "-f", "--transport", channel]);
                command
            }
            Kind::Other(program) => {
                let mut command = Command::new(program);
                command.args(["mount", "-f"]);
                command
            }
        };
        let server = command
            .arg(place.path())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the server")?;
        let mut contender = Contender {
            kind,
            place,
            server,
        };
        contender.wait_for_mount()?;
        Ok(contender)
    }

    fn wait_for_mount(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while table::top_at(self.place.path())?.is_none_or(|entry| !entry.is_fuse()) {
            if let Some(status) = self.server.try_wait()? {
                bail!("the server ended: {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("the server does not mount");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub fn root(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let ended = MountPoint::find(self.place.path())
            .and_then(|place| place.unmount(true))
            .and_then(|()| self.server.wait());
        if let Err(error) = ended {
            eprintln!("{}: {error}", self.kind);
        }
    }
}

/// Answers every GETATTR with the same attributes, until unmounted.
pub fn serve_constant(channel: &str, place: &Path) -> anyhow::Result<()> {
    if channel == "fuser" {
        let mut config = fuser::Config::default();
        config.n_threads = Some(2);
        config.clone_fd = true;
        return Ok(fuser::Session::new(Constant, place, &config)?.run()?);
    }
    let options = Options {
        transport: channel.parse::<Transport>()?,
        ..Options::default()
    };
    Ok(constant::serve(place, &options, |_| {})?)
}

/// The constant on fuser's own loop.
struct Constant;

impl fuser::Filesystem for Constant {
    fn init(&mut self, _: &fuser::Request, _: &mut fuser::KernelConfig) -> io::Result<()> {
        Ok(())
    }

    fn getattr(
        &self,
        _: &fuser::Request,
        ino: fuser::INodeNo,
        _: Option<fuser::FileHandle>,
        reply: fuser::ReplyAttr,
    ) {
        let epoch = std::time::UNIX_EPOCH;
        let attr = fuser::FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
            kind: fuser::FileType::Directory,
            perm: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        reply.attr(&Duration::ZERO, &attr);
    }
}
