//! A real mount, made to be taken away.

use super::{Finding, Machine, cure};
use crate::fs::{Config, Fs};
use crate::transport::{self, MountHandle, Options};
use crate::tree::{Attr, Kind, Time};
use rustix::process::{getegid, geteuid};
use std::io;
use std::path::Path;
use std::sync::Arc;

const TOPIC: &str = "mount";
const CONTENT: &[u8] = b"norefs";
/// What the tree may hold, bytes and inodes.
const LIMIT: u64 = 1 << 20;

pub(super) fn mount(machine: &Machine, place: Option<&Path>) -> Finding {
    let made;
    let place = match place {
        Some(place) => place,
        None => match directory(machine) {
            Ok(directory) => {
                made = directory;
                made.path()
            }
            Err(error) => {
                let says = format!("no temporary directory can be made: {error}");
                return Finding::fail(TOPIC, says, Some("set TMPDIR".to_owned()));
            }
        },
    };
    attempt(machine, place)
}

/// A directory at which this user may mount.
fn directory(machine: &Machine) -> io::Result<tempfile::TempDir> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("norefs-doctor-");
        builder
    };
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    match runtime {
        Some(runtime) if super::apparmor::confines(machine, &std::env::temp_dir()) => {
            builder().tempdir_in(runtime)
        }
        _ => builder().tempdir(),
    }
}

fn attempt(machine: &Machine, place: &Path) -> Finding {
    let config = Config {
        max_bytes: LIMIT,
        max_inodes: LIMIT,
        read_only: false,
    };
    let root = Attr::new(
        Kind::Directory,
        0o700,
        geteuid().as_raw(),
        getegid().as_raw(),
        Time::now(),
    );
    let Ok(fs) = Fs::new(config, Attr { nlink: 2, ..root }) else {
        let says = "there is not enough memory for a tree";
        return Finding::fail(TOPIC, says, None);
    };
    let mounted = transport::mount(Arc::new(fs), place, &Options::default());
    let handle = match mounted {
        Ok(handle) => handle,
        Err(error) => return Finding::fail(TOPIC, whole(&error), cure(machine, &error)),
    };
    let carriage = handle.carriage();
    let ((major, minor), carried) = (carriage.abi, carriage.transport);
    match used(&handle) {
        Ok(()) => Finding::ok(
            TOPIC,
            format!(
                "made at {}, written to, read, and taken away: FUSE {major}.{minor}, {carried} transport",
                place.display()
            ),
        ),
        Err(error) => {
            let says = format!("the mount at {} does not work: {error}", place.display());
            Finding::fail(TOPIC, says, None)
        }
    }
}

fn used(handle: &MountHandle) -> io::Result<()> {
    let file = handle.mountpoint().join("file");
    std::fs::write(&file, CONTENT)?;
    if std::fs::read(&file)? != CONTENT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    handle.unmount()?;
    handle.wait()
}

/// An error with what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", whole(source)),
        None => error.to_string(),
    }
}
