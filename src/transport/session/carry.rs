//! Choosing the channels of a mount, starting them, and seeing them end.

use crate::transport::channel::Channel;
use crate::transport::channel::device::{self, Readers};
use crate::transport::channel::exchange::Serve;
use crate::transport::channel::lost::EndConnection;
use crate::transport::channel::ring::{self, Ring, RingError, Serving};
use crate::transport::session::negotiate;
use crate::transport::wire::Agreed;
use crate::transport::{Carriage, Options, Transport};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// With the ring the device carries little: FORGET and INTERRUPT.
const READERS_BESIDE_RING: usize = 1;

/// Rings to offer to the kernel, or nothing if the device is to be used.
pub(crate) type Rings = Option<Ring>;

/// Makes the rings `options` ask for, before anything is mounted. What forbids them shows here: it is
/// an error only if nothing but the ring will do.
pub(crate) fn prepare(options: &Options) -> Result<Rings, RingError> {
    if options.transport == Transport::Device {
        return Ok(None);
    }
    let depth = usize::from(options.queue_depth.max(1));
    let made = ring::enabled()
        .and_then(|()| Ring::prepare(options.threads, depth, negotiate::payload(options)));
    unless_needed(made.map(Some), options)
}

/// Turns a failure into the use of the device, with a line in the log, if that will do.
fn unless_needed<T: Default>(
    made: Result<T, RingError>,
    options: &Options,
) -> Result<T, RingError> {
    match made {
        Err(error) if options.transport == Transport::Auto => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::info!(%error, source, "requests travel through the device");
            Ok(T::default())
        }
        made => made,
    }
}

/// What serves a mount.
pub(crate) struct Carried {
    pub(crate) carriage: Carriage,
    /// Ends when the mount has ended.
    pub(crate) serving: JoinHandle<io::Result<()>>,
}

/// Why a mount is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarryError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("the mount was taken away")]
    TakenAway,
    #[error(transparent)]
    Threads(#[from] io::Error),
}

/// Lets `serve` answer what comes through the connection of `channel`. `end` is called if a serving thread fails.
pub(crate) fn start(
    channel: Arc<Channel>,
    agreed: Agreed,
    rings: Rings,
    serve: &Arc<dyn Serve>,
    options: &Options,
    end: &EndConnection,
) -> Result<Carried, CarryError> {
    // Made before anything is served: whatever fails, no thread is left that keeps the mount alive.
    let (watch, watched) = mpsc::channel();
    let serving = std::thread::Builder::new()
        .name("norefs-mount".to_owned())
        .spawn(move || {
            let Ok((device, rings)) = watched.recv() else {
                return Ok(());
            };
            see_end(device, rings)
        })?;
    match start_channels(channel, agreed, rings, serve, options, end) {
        Ok((carriage, channels)) => {
            watch.send(channels).unwrap_or_default();
            Ok(Carried { carriage, serving })
        }
        Err(error) => {
            drop(watch);
            // Its place may be needed by the process that unmounts.
            serving.join().unwrap_or(Ok(())).unwrap_or_default();
            Err(error)
        }
    }
}

type Channels = (Readers, Option<Serving>);

fn start_channels(
    channel: Arc<Channel>,
    agreed: Agreed,
    rings: Rings,
    serve: &Arc<dyn Serve>,
    options: &Options,
    end: &EndConnection,
) -> Result<(Carriage, Channels), CarryError> {
    let rings = match rings {
        Some(rings) if agreed.ring => {
            let extent = rings.extent();
            let started = rings.start(&channel, serve, end);
            if started.is_err() && matches!(channel.is_connected(), Ok(false)) {
                return Err(CarryError::TakenAway);
            }
            unless_needed(started.map(|serving| Some((serving, extent))), options)?
        }
        Some(_) => unless_needed(Err(RingError::NotOffered), options)?,
        None => None,
    };
    let readers = match rings {
        Some(_) => READERS_BESIDE_RING,
        None => device::readers(options.threads),
    };
    let extent = rings.as_ref().map(|(_, extent)| *extent);
    let carriage = Carriage {
        abi: agreed.abi,
        transport: extent.map_or(Transport::Device, |_| Transport::Ring),
        threads: extent.map_or(readers, |extent| extent.threads),
        queues: extent.map_or(0, |extent| extent.queues),
        queue_depth: extent.map_or(0, |extent| extent.depth),
        max_io: u32::try_from(agreed.payload).unwrap_or(u32::MAX),
    };
    let device = device::start(serve.clone(), channel, agreed, readers, end)?;
    let rings = rings.map(|(rings, _)| rings);
    Ok((carriage, (device, rings)))
}

/// Waits until nothing comes any more.
fn see_end(device: Readers, rings: Option<Serving>) -> io::Result<()> {
    let result = device.join();
    let Some(rings) = rings else {
        return result;
    };
    if result.is_err() {
        // Nobody takes FORGET any more: the mount must not live on.
        rings.stop();
    }
    result.and(rings.join())
}
