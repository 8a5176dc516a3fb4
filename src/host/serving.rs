//! What the system is told of a process that others depend on.

use super::heap::is_memory_left_for_a_thread;
use rustix::process::configure_io_flusher_behavior;
use std::fs;
use std::io;
use std::sync::mpsc;

/// How likely the system ends this process when it runs out of memory, from -1000 (never) to 1000.
const SCORE: &str = "/proc/self/oom_score_adj";
/// For a process whose memory is everybody's files: others first, but it too before the system stands still.
const LESS_LIKELY: &str = "-500";

/// Tells the system that others depend on this process, and on threads that it starts from now on: it is not the first to be ended when
/// memory runs out, and when it needs memory it does not wait for file systems, which may wait for it. It takes CAP_SYS_RESOURCE; a score
/// that whoever started it has set stays. That it cannot be told is no failure.
pub fn serve_others() {
    if let Err(error) = lower_score() {
        tracing::debug!(%error, "when memory runs out this process is ended as any other");
    }
    if let Err(error) = configure_io_flusher_behavior(true) {
        tracing::debug!(%error, "this process may wait for file systems when memory is short");
    }
}

fn lower_score() -> io::Result<()> {
    match fs::read_to_string(SCORE)?.trim() {
        "0" => fs::write(SCORE, LESS_LIKELY),
        _ => Ok(()),
    }
}

/// Starts a thread and waits until it is at work: whoever asks for memory meanwhile may take what it needs to begin, without which it
/// would end the process. `ENOMEM` if there is not enough.
pub fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if !is_memory_left_for_a_thread() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let (begun, begins) = mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        begun.send(()).unwrap_or_default();
        drop(begun);
        work();
    })?;
    begins.recv().unwrap_or_default();
    Ok(())
}
