//! What signals do to a mount: they end it, have its figures told, or what is logged read anew.

use super::fail::say;
use super::{log, report, systemd};
use norefs::host;
use norefs::telemetry::Telemetry;
use norefs::transport::MountHandle;
use norefs::warm::Warmer;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};

/// What signals are about.
pub struct Mounted {
    pub handle: Weak<MountHandle>,
    pub telemetry: Arc<Telemetry>,
    /// Dropped with the mount.
    pub _warmer: Option<Warmer>,
}

/// From here on those that only ask for something do not end this process.
pub fn begin() -> io::Result<()> {
    let asking = [SIGUSR1]
        .into_iter()
        .chain(log::rereads().then_some(SIGHUP));
    for signal in asking {
        signal_hook::flag::register(signal, Arc::<AtomicBool>::default())?;
    }
    Ok(())
}

/// From here on a signal ends the mount: the first unmounts, or detaches a mount in use; the second ends the process. The mount is to
/// be told once it is there.
pub fn handle() -> io::Result<Sender<Mounted>> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?;
    let (mounted, told) = mpsc::channel::<Mounted>();
    host::start_thread("norefs-signals", move || {
        let mut heard = Heard {
            signals,
            told,
            mounted: None,
        };
        heard.until_end();
        heard.end_mount();
        heard.until_end();
        std::process::exit(1);
    })?;
    Ok(mounted)
}

struct Heard {
    signals: Signals,
    told: Receiver<Mounted>,
    mounted: Option<Mounted>,
}

impl Heard {
    /// Does what is asked for until a signal ends something.
    fn until_end(&mut self) {
        while let Some(signal) = self.signals.forever().next() {
            match signal {
                SIGUSR1 => {
                    if self.mounted.is_none() {
                        self.mounted = self.told.try_recv().ok();
                    }
                    tell_figures(self.mounted.as_ref());
                }
                SIGHUP if log::rereads() => log::reread(),
                _ => return,
            }
        }
    }

    fn end_mount(&mut self) {
        if self.mounted.is_none() {
            self.mounted = self.told.recv().ok();
        }
        let handle = self
            .mounted
            .as_ref()
            .and_then(|mounted| mounted.handle.upgrade());
        // With the warmer.
        self.mounted = None;
        tracing::info!("a signal ends the mount");
        systemd::stopping("unmounting");
        if let Some(handle) = handle
            && handle.unmount().is_err()
        {
            tracing::warn!("the mount is in use: detached, a second signal ends it");
            systemd::status("the mount is in use: it ends under its last user");
            if let Err(error) = handle.detach() {
                tracing::error!(%error, "the mount cannot be detached");
            }
        }
    }
}

fn tell_figures(mounted: Option<&Mounted>) {
    match mounted {
        Some(mounted) => {
            let told = report::whole(&mounted.telemetry.stats());
            told.lines().for_each(say);
        }
        None => say("the mount is not there yet"),
    }
}
