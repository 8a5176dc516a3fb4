//! The cheapest server there can be: it answers a constant. What a channel costs is measured with
//! it. Never part of a release build.

use crate::transport::channel::exchange::{Answer, Exchange, MayBlock, Serve};
use crate::transport::session::{self, MountError};
use crate::transport::wire::{AttrOut, Opcode};
use crate::transport::{Cache, Carriage, Options, Permissions};
use crate::tree::{Attr, Entry, Errno, Kind, NodeId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

struct Constant(Entry);

impl Serve for Constant {
    fn handle(&self, exchange: &mut Exchange<'_>, _: MayBlock) -> Answer {
        match exchange.opcode {
            Some(Opcode::Getattr) => {
                let reply = AttrOut::new(&self.0, Duration::ZERO);
                exchange.send(&reply).unwrap_or_else(Answer::Error)
            }
            _ => Answer::Error(Errno::NOSYS),
        }
    }
}

/// Mounts a directory without entries at `mount_point` and answers every GETATTR with the same
/// attributes, until it is unmounted. `ready` is told how requests travel.
pub fn serve(
    mount_point: &Path,
    options: &Options,
    ready: impl FnOnce(Carriage),
) -> Result<(), MountError> {
    let options = Options {
        cache: Cache::None,
        ..options.clone()
    };
    let place = session::prepare(mount_point)?;
    let connection = session::connect(place, &options, Permissions::Kernel)?;
    let attr = Attr::new(Kind::Directory, 0o755, 0, 0, Default::default());
    let (id, ino) = (NodeId::ROOT, NodeId::ROOT.raw());
    let serve: Arc<dyn Serve> = Arc::new(Constant(Entry { id, ino, attr }));
    let carried = connection.serve(&serve, &options)?;
    ready(carried.carriage);
    let ended = carried.serving.join().unwrap_or(Ok(()));
    ended.map_err(|error| MountError::Serve(mount_point.to_owned(), error))
}
