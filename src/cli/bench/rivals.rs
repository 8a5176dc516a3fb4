//! The directories to compare: those that are given, or a tmpfs and a norefs mounted for it.

use crate::cli::fail::say;
use crate::cli::private::{self, Private};
use anyhow::{Context, anyhow};
use norefs::transport::Transport;
use norefs::transport::session::mount_point::MountPoint;
use norefs::transport::session::table;
use norefs_bench::{Contender, Load};
use rustix::fs::{CWD, Mode, OFlags, fstat, major, minor, openat};
use rustix::mount::{MountFlags, mount};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Where there is a tmpfs that anybody may use.
const SHARED_TMPFS: &str = "/dev/shm";

/// The directories as they were given.
pub fn given(paths: &[PathBuf]) -> anyhow::Result<Vec<Contender>> {
    let opened = paths
        .iter()
        .map(|path| contender(&path.display().to_string(), path));
    opened.collect()
}

/// A tmpfs, or the one that is there for everybody, and a norefs for each transport, at least one. What is mounted for them ends
/// with what is returned beside them.
pub fn mounted(transports: &[Transport]) -> anyhow::Result<(Vec<Contender>, Vec<Mounted>)> {
    private::sweep();
    let (mut contenders, mut mounts) = (Vec::new(), Vec::new());
    let mut add = |label: &str, place: &Path, load| {
        contender(label, place).map(|contender| contenders.push(Contender { load, ..contender }))
    };
    let shared = PathBuf::from(SHARED_TMPFS);
    match Mounted::tmpfs() {
        Ok(tmpfs) => {
            let place = tmpfs.mount_point();
            add("tmpfs", &place, Some(Copied::load_into(&place)))?;
            mounts.push(tmpfs);
        }
        Err(_) => add(SHARED_TMPFS, &shared, Some(Copied::load_into(&shared)))?,
    }
    let transports = match transports {
        [] => &[Transport::Auto],
        asked => asked,
    };
    for &transport in transports {
        let norefs = Mounted::norefs(transport, None)?;
        let label = match transports.len() {
            1 => "norefs".to_owned(),
            _ => format!("norefs-{transport}"),
        };
        let mounting = Mounting {
            transport,
            mounted: None,
        };
        add(&label, &norefs.mount_point(), Some(Box::new(mounting)))?;
        mounts.push(norefs);
    }
    Ok((contenders, mounts))
}

/// A directory of which there are fresh copies.
#[derive(Debug)]
struct Copied {
    place: PathBuf,
    copy: Option<TempDir>,
}

impl Copied {
    fn load_into(place: &Path) -> Box<dyn Load> {
        Box::new(Copied {
            place: place.to_owned(),
            copy: None,
        })
    }
}

impl Load for Copied {
    fn load(&mut self, source: &Path) -> io::Result<OwnedFd> {
        drop(self.copy.take());
        let copy = tempfile::Builder::new()
            .prefix("norefs-bench-")
            .tempdir_in(&self.place)?;
        let mut command = Command::new("cp");
        command.arg("-a").arg(source.join(".")).arg(copy.path());
        command.env("PATH", path_with_cp()?);
        let directory = open(copy.path())?;
        self.copy = Some(copy);
        said(command.stdin(Stdio::null()).output()?)?;
        Ok(directory)
    }
}

/// Where programs are looked for, and where `cp` is on every system.
fn path_with_cp() -> io::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin"].map(PathBuf::from);
    let places = std::env::split_paths(&path).chain(usual);
    std::env::join_paths(places).map_err(io::Error::other)
}

/// A directory of which there are fresh mounts.
#[derive(Debug)]
struct Mounting {
    transport: Transport,
    mounted: Option<Mounted>,
}

impl Load for Mounting {
    fn load(&mut self, source: &Path) -> io::Result<OwnedFd> {
        drop(self.mounted.take());
        let mounted = Mounted::norefs(self.transport, Some(source)).map_err(io::Error::other)?;
        let directory = open(&mounted.mount_point())?;
        self.mounted = Some(mounted);
        Ok(directory)
    }
}

/// An error of what a command said if it failed.
fn said(output: Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("norefs: ");
    Err(io::Error::other(said.to_owned()))
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn contender(label: &str, path: &Path) -> anyhow::Result<Contender> {
    let directory = open(path).with_context(|| path.display().to_string())?;
    let device = fstat(&directory)?.st_dev;
    let mounts = table::read().unwrap_or_default().into_iter();
    let on = |entry: &table::MountEntry| entry.device == (major(device), minor(device));
    let filesystem = mounts.rev().find(on).map(|entry| entry.fs_type);
    Ok(Contender {
        label: label.to_owned(),
        filesystem: filesystem.unwrap_or_else(|| "unknown".to_owned()),
        directory,
        load: None,
    })
}

/// A mount of our own at a private directory. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    private: Private,
}

impl Mounted {
    /// A norefs of `source`, or an empty one, served by a process of its own.
    fn norefs(transport: Transport, source: Option<&Path>) -> anyhow::Result<Mounted> {
        let private = Private::new().context("cannot make a private directory")?;
        let started = Command::new("/proc/self/exe")
            .args(["mount", "--transport", &transport.to_string()])
            .args(source)
            .arg(private.mount_point())
            .stdin(Stdio::null())
            .output()
            .context("cannot start the serving process")?;
        said(started).map_err(|error| anyhow!("cannot mount a norefs: {error}"))?;
        Ok(Mounted { private })
    }

    fn tmpfs() -> anyhow::Result<Mounted> {
        let private = Private::new()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let place = private.mount_point();
        mount(private::TMPFS, &place, "tmpfs", flags, c"mode=755")?;
        Ok(Mounted { private })
    }

    fn mount_point(&self) -> PathBuf {
        self.private.mount_point()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mountpoint = self.private.mount_point();
        let ended = MountPoint::find(&mountpoint)
            .and_then(|place| place.unmount(false).or_else(|_| place.unmount(true)));
        if let Err(error) = ended {
            say(format_args!(
                "cannot unmount {}: {error}",
                mountpoint.display()
            ));
        }
    }
}
