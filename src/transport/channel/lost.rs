//! What happens when a thread that serves a mount fails.
//!
//! Whoever waits for such a thread would wait for ever: the kernel hands the requests of a CPU to the one thread that
//! serves it, and nobody else may answer what a thread has taken. So the connection ends, and who waits gets an error.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Ends the connection.
pub(crate) type EndConnection = Arc<dyn Fn() + Send + Sync>;

/// The life of a serving thread: if it fails or panics, the connection ends.
pub(crate) fn guard(end: &EndConnection, serve: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let panicked = |_| Err(io::Error::other("a serving thread panicked"));
    let served = catch_unwind(AssertUnwindSafe(serve)).unwrap_or_else(panicked);
    served.inspect_err(|error| {
        tracing::error!(%error, "a serving thread failed: the mount ends");
        end();
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_thread_that_fails_or_panics_ends_the_connection() {
        let ends = Arc::new(AtomicUsize::new(0));
        let counted = ends.clone();
        let end: EndConnection = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert!(guard(&end, || Ok(())).is_ok());
        assert_eq!(ends.load(Ordering::Relaxed), 0);
        assert!(guard(&end, || Err(io::ErrorKind::OutOfMemory.into())).is_err());
        assert!(guard(&end, || panic!("of a test")).is_err());
        assert_eq!(ends.load(Ordering::Relaxed), 2);
    }
}
