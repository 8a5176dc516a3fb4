//! What is told to a service manager: sd_notify(3). Only a mount in the foreground is a service; without a manager nothing is told.

use norefs::transport::MountHandle;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use sd_notify::NotifyState;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Whether this process is the service.
static IS_SERVICE: AtomicBool = AtomicBool::new(false);

/// From here on a manager is told.
pub fn begin() {
    IS_SERVICE.store(true, Ordering::Relaxed);
}

/// Whether somebody listens to [`status`].
pub fn is_asked() -> bool {
    IS_SERVICE.load(Ordering::Relaxed) && std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn tell(states: &[NotifyState<'_>]) {
    if IS_SERVICE.load(Ordering::Relaxed)
        && let Err(error) = sd_notify::notify(states)
    {
        tracing::debug!(%error, "the service manager is not told");
    }
}

/// What is going on, in a line.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The mount answers.
pub fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// The mount is being taken away.
pub fn stopping(line: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(line)]);
}

/// Tells a manager that wants to know it, twice in the time it waits, that the mount answers still: it is asked each time, and a
/// mount that does not answer lets the manager wait.
pub fn watch_over(handle: &Arc<MountHandle>) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|_| is_asked()) else {
        return;
    };
    let (path, mount) = (handle.mountpoint().to_owned(), Arc::downgrade(handle));
    let thread = std::thread::Builder::new().name("norefs-watchdog".to_owned());
    let started = thread.spawn(move || watch(&path, &mount, patience / 2));
    if let Err(error) = started {
        tracing::error!(%error, "the service manager will miss its watchdog");
    }
}

fn watch(path: &Path, mount: &Weak<MountHandle>, pause: Duration) {
    while mount.strong_count() > 0 {
        // Whatever comes is an answer: the mount may just be ending.
        let _answer = statx(CWD, path, AtFlags::STATX_FORCE_SYNC, StatxFlags::MODE);
        tell(&[NotifyState::Watchdog]);
        std::thread::sleep(pause);
    }
}
