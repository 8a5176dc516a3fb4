//! Waiting until what went before is done: requests that nobody waits for, such as the FORGETs a
//! FUSE server still reads, and whatever the kernel put off.
//!
//! No filesystem tells when it is done. But while it is busy, something is runnable that was not
//! so before; the kernel counts that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// So many looks in a row that find nothing unusual are rest.
const LOOKS: usize = 5;
const FIRST_LOOKS: usize = 30;
/// How long is waited for rest.
const PATIENCE: Duration = Duration::from_secs(2);

/// How busy the machine is without us, and how often it did not come to rest.
pub struct Quiet {
    usual: AtomicUsize,
    disturbed: AtomicUsize,
}

impl Quiet {
    /// Looks how busy the machine is at least now.
    pub fn new() -> Quiet {
        let looks = (0..FIRST_LOOKS).map(|_| {
            sleep(BETWEEN_LOOKS);
            runnable()
        });
        Quiet {
            usual: AtomicUsize::new(looks.min().unwrap_or(0)),
            disturbed: AtomicUsize::new(0),
        }
    }

    /// Waits until the machine is no busier than usual. A machine that stays busier counts as
    /// disturbed, and is as busy as usual from then on.
    pub fn wait(&self) {
        let usual = self.usual.load(Ordering::Relaxed);
        let (started, mut quiet, mut least) = (Instant::now(), 0, usize::MAX);
        while quiet < LOOKS {
            sleep(BETWEEN_LOOKS);
            let now = runnable();
            quiet = if now <= usual { quiet + 1 } else { 0 };
            least = least.min(now);
            if started.elapsed() > PATIENCE {
                self.disturbed.fetch_add(1, Ordering::Relaxed);
                self.usual.store(least.max(usual + 1), Ordering::Relaxed);
                return;
            }
        }
    }

    /// How often it gave up.
    pub fn disturbed(&self) -> usize {
        self.disturbed.load(Ordering::Relaxed)
    }
}

/// Threads that run or could, on the whole machine; 0 if the kernel does not tell.
fn runnable() -> usize {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let counts = text.split(' ').nth(3).unwrap_or_default();
    let running = counts.split('/').next().unwrap_or_default();
    running.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_at_least_us() {
        assert!(runnable() >= 1);
    }

    #[test]
    fn what_stays_busy_is_usual_afterwards() {
        let quiet = Quiet {
            usual: AtomicUsize::new(0),
            disturbed: AtomicUsize::new(0),
        };
        quiet.wait();
        assert_eq!(quiet.disturbed(), 1);
        assert!(quiet.usual.load(Ordering::Relaxed) >= 1);
    }
}
