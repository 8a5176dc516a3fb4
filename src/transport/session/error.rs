//! Why nothing was mounted.

use crate::transport::channel::DEVICE;
use std::io;
use std::path::PathBuf;

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount point cannot be reached.
    #[error("mount point {}", .0.display())]
    Unreachable(PathBuf, #[source] io::Error),
    /// The mount point is a file.
    #[error("mount point {} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// Another FUSE file system is mounted there.
    #[error("mount point {} is in use: {} is mounted there", .0.display(), .1)]
    InUse(PathBuf, String),
    /// A dead mount is there and cannot be taken away.
    #[error("mount point {} holds a dead mount that cannot be removed", .0.display())]
    Dead(PathBuf, #[source] io::Error),
    /// A mount could be made, and then not be served.
    #[error("there is not enough memory to serve a mount")]
    Memory,
    /// The FUSE device does not work.
    #[error("{DEVICE}")]
    Device(#[source] io::Error),
    /// The kernel or fusermount3 refused the mount.
    #[error("cannot mount at {}: {}", .0.display(), .1)]
    Refused(PathBuf, String),
    /// The ring transport was asked for and cannot be had.
    #[error("the ring transport cannot be used")]
    Ring(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel cannot read files by itself, or may not.
    #[error("files cannot be passed through: {0}")]
    Passthrough(&'static str),
    /// Opening a device asks the filesystem nothing, so it could not decide who may.
    #[error("device files cannot work where the filesystem decides about permissions")]
    Devices,
    /// The kernel does not check by access control lists, or something else forbids them.
    #[error("access control lists cannot be had: {0}")]
    Acl(&'static str),
    /// Somebody unmounted it at once.
    #[error("the mount at {} was taken away before it was served", .0.display())]
    TakenAway(PathBuf),
    /// The mount was made but could not be served, and was taken away again.
    #[error("cannot serve the mount at {}", .0.display())]
    Serve(PathBuf, #[source] io::Error),
}
