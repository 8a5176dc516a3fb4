//! The directories to compare: those that are given, or a tmpfs and a norefs mounted for it.

use crate::cli::fail::say;
use crate::cli::private::{self, Private};
use anyhow::{Context, anyhow};
use norefs::bench::Contender;
use norefs::transport::place::Place;
use norefs::transport::{Transport, table};
use rustix::fs::{CWD, Mode, OFlags, fstat, major, minor, openat};
use rustix::mount::{MountFlags, mount};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where there is a tmpfs that anybody may use.
const SHARED_TMPFS: &str = "/dev/shm";

/// The directories as they were given.
pub fn given(paths: &[PathBuf]) -> anyhow::Result<Vec<Contender>> {
    let opened = paths
        .iter()
        .map(|path| contender(&path.display().to_string(), path));
    opened.collect()
}

/// A tmpfs, or the one that is there for everybody, and a norefs for each transport, at least one.
/// What is mounted ends with what is returned beside them.
pub fn mounted(transports: &[Transport]) -> anyhow::Result<(Vec<Contender>, Vec<Mounted>)> {
    private::sweep();
    let (mut contenders, mut mounts) = (Vec::new(), Vec::new());
    match Mounted::tmpfs() {
        Ok(tmpfs) => {
            contenders.push(contender("tmpfs", &tmpfs.mount_point())?);
            mounts.push(tmpfs);
        }
        Err(_) => contenders.push(contender(SHARED_TMPFS, Path::new(SHARED_TMPFS))?),
    }
    let transports = match transports {
        [] => &[Transport::Auto],
        asked => asked,
    };
    for transport in transports {
        let norefs = Mounted::norefs(*transport)?;
        let label = match transports.len() {
            1 => "norefs".to_owned(),
            _ => format!("norefs-{transport}"),
        };
        contenders.push(contender(&label, &norefs.mount_point())?);
        mounts.push(norefs);
    }
    Ok((contenders, mounts))
}

fn contender(label: &str, path: &Path) -> anyhow::Result<Contender> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, path, flags, Mode::empty());
    let directory = opened.with_context(|| path.display().to_string())?;
    let device = fstat(&directory)?.st_dev;
    let mounts = table::read().unwrap_or_default().into_iter();
    let on = |entry: &table::MountEntry| entry.device == (major(device), minor(device));
    let filesystem = mounts.rev().find(on).map(|entry| entry.fs_type);
    Ok(Contender {
        label: label.to_owned(),
        filesystem: filesystem.unwrap_or_else(|| "unknown".to_owned()),
        directory,
    })
}

/// A mount of our own at a private directory. Dropping it unmounts.
pub struct Mounted {
    private: Private,
}

impl Mounted {
    /// A norefs, served by a process of its own.
    fn norefs(transport: Transport) -> anyhow::Result<Mounted> {
        let private = Private::new().context("cannot make a private directory")?;
        let started = Command::new("/proc/self/exe")
            .args(["mount", "--transport", &transport.to_string()])
            .arg(private.mount_point())
            .stdin(Stdio::null())
            .output()
            .context("cannot start the serving process")?;
        if !started.status.success() {
            let said = String::from_utf8_lossy(&started.stderr);
            let said = said.trim().trim_start_matches("norefs: ");
            return Err(anyhow!("cannot mount a norefs: {said}"));
        }
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
        let ended = Place::find(&mountpoint)
            .and_then(|place| place.unmount(false).or_else(|_| place.unmount(true)));
        if let Err(error) = ended {
            say(format_args!(
                "cannot unmount {}: {error}",
                mountpoint.display()
            ));
        }
    }
}
