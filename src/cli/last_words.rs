//! Why this process ended before its time, in one line for whoever reads its log: on standard error, and for a mount in the
//! background that has no log of its own in that of the system.

use rustix::stdio::stderr;
use signal_hook::consts::{SIGABRT, SIGQUIT, SIGSYS, SIGXCPU};
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

/// Where the system takes lines for its log.
const SYSTEM: &str = "/dev/log";
/// An error of a daemon, as syslog(3) numbers it.
const PRIORITY: &str = "<27>";

/// Signals that end a process and leave it time to say so. Of others the system tells: of SIGKILL the service manager or the
/// kernel's log, of SIGSEGV that log.
const SIGNALS: [(i32, &str); 4] = [
    (SIGABRT, "norefs: ended by SIGABRT\n"),
    (SIGQUIT, "norefs: ended by SIGQUIT\n"),
    (SIGSYS, "norefs: ended by SIGSYS\n"),
    (SIGXCPU, "norefs: ended by SIGXCPU\n"),
];

/// The log of the system, once standard error leads nowhere.
static LOG: OnceLock<UnixDatagram> = OnceLock::new();

/// A panic is told in one line from here on.
pub fn on_panic() {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|panic| tell(&line(panic))));
    }
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name").to_owned();
    let message = panic
        .payload_as_str()
        .unwrap_or("no reason")
        .replace('\n', " ");
    let place = panic
        .location()
        .map_or(String::new(), |place| format!(" at {place}"));
    format!("norefs: thread {name} panicked{place}: {message}\n")
}

/// A signal is told that ends this process, from here on.
pub fn on_signal() -> io::Result<()> {
    for (signal, line) in SIGNALS {
        let end = move || {
            tell(line);
            emulate_default_handler(signal).unwrap_or_default();
        };
        // SAFETY: it calls write(2) and send(2), reads a cell that is set at most once, and ends as the signal would have: all of that is
        // allowed in a handler.
        unsafe { signal_hook::low_level::register(signal, end)? };
    }
    Ok(())
}

/// From here on nobody reads standard error.
pub fn to_system() {
    let log = UnixDatagram::unbound().and_then(|log| {
        log.connect(SYSTEM)?;
        log.set_nonblocking(true)?;
        Ok(log)
    });
    match log {
        Ok(log) => _ = LOG.set(log),
        Err(error) => tracing::debug!(%error, "the system takes no lines for its log"),
    }
}

/// Says a line that ends with its end. Nothing is allocated where the log of the system is not used.
pub fn tell(line: &str) {
    rustix::io::write(stderr(), line.as_bytes()).unwrap_or_default();
    if let Some(log) = LOG.get() {
        let parts = [PRIORITY, line].map(|part| io::IoSlice::new(part.as_bytes()));
        rustix::io::writev(log, &parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_panic_is_told_in_one_line_with_its_thread_place_and_reason() {
        let (tell, told) = mpsc::channel();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tell.send(line(panic)).unwrap_or_default()
        }));
        let thread = std::thread::Builder::new().name("ours".to_owned());
        let thread = thread.spawn(|| panic!("first\nsecond {}", 3)).unwrap();
        thread.join().unwrap_err();
        std::panic::set_hook(before);
        let line = told.recv().unwrap();
        assert!(
            line.starts_with("norefs: thread ours panicked at src/cli/last_words.rs:"),
            "{line}"
        );
        assert!(line.ends_with(": first second 3\n"), "{line}");
    }
}
