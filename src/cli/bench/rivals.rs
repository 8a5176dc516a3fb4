//! The directories to compare: those that are given, or a tmpfs and a norefs mounted for it.

use crate::cli::fail::say;
use crate::cli::private::{self, Private};
use anyhow::{Context, anyhow};
use norefs::bench::Contender;
use norefs::transport::table;
use norefs::transport::unmount::unmount;
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

/// A tmpfs, or the one that is there for everybody, and a norefs. They end with what is returned beside them.
pub fn mounted() -> anyhow::Result<(Vec<Contender>, Vec<Mounted>)> {
    private::sweep();
    let norefs = Mounted::norefs()?;
    let second = contender("norefs", &norefs.mount_point())?;
    match Mounted::tmpfs() {
        Ok(tmpfs) => {
            let first = contender("tmpfs", &tmpfs.mount_point())?;
            Ok((vec![first, second], vec![tmpfs, norefs]))
        }
        Err(_) => {
            let first = contender(SHARED_TMPFS, Path::new(SHARED_TMPFS))?;
            Ok((vec![first, second], vec![norefs]))
        }
    }
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
    fn norefs() -> anyhow::Result<Mounted> {
        let private = Private::new().context("cannot make a private directory")?;
        let started = Command::new("/proc/self/exe")
            .arg("mount")
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
        let ended = unmount(&mountpoint, false).or_else(|_| unmount(&mountpoint, true));
        if let Err(error) = ended {
            say(format_args!(
                "cannot unmount {}: {error}",
                mountpoint.display()
            ));
        }
    }
}
