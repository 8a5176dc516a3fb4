//! Waiting until what went before is done: requests that nobody waits for, such as the FORGETs a
//! FUSE server still reads, and whatever the kernel put off.
//!
//! No filesystem tells when it is done. But while it is busy, something is runnable that was not
//! so before; the kernel counts that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// How long it takes to find out how busy the machine is without us.
const AT_FIRST: Duration = Duration::from_millis(50);
/// How long is waited for rest the first time; less each time it does not come.
const PATIENCE: Duration = Duration::from_secs(2);

/// How busy the machine is without us, and how often it did not come to rest.
pub struct Quiet {
    usual: AtomicUsize,
    disturbed: AtomicUsize,
}

impl Quiet {
    /// Looks how busy the machine is at its quietest now.
    pub fn new() -> Quiet {
        let level = quietest(0, AT_FIRST);
        Quiet {
            usual: AtomicUsize::new(level),
            disturbed: AtomicUsize::new(0),
        }
    }

    /// Waits until the machine is no busier than usual. A machine that stays busier counts as
    /// disturbed, and is as busy as usual from then on.
    pub fn wait(&self) {
        let usual = self.usual.load(Ordering::Relaxed);
        let patience = PATIENCE.div_f64(1.0 + self.disturbed() as f64);
        let level = quietest(usual, patience);
        if level > usual {
            self.disturbed.fetch_add(1, Ordering::Relaxed);
            self.usual.store(level, Ordering::Relaxed);
        }
    }

    /// How often it gave up.
    pub fn disturbed(&self) -> usize {
        self.disturbed.load(Ordering::Relaxed)
    }
}

/// How many threads were runnable in the quietest moment, of five looks in a row, until one is no
/// busier than `enough`.
fn quietest(enough: usize, patience: Duration) -> usize {
    let (started, mut least) = (Instant::now(), usize::MAX);
    let mut moment = [usize::MAX; 5];
    for look in 0.. {
        sleep(BETWEEN_LOOKS);
        moment[look % moment.len()] = runnable();
        least = moment
            .into_iter()
            .max()
            .map_or(least, |busiest| least.min(busiest));
        if least <= enough || (started.elapsed() > patience && least < usize::MAX) {
            break;
        }
    }
    least
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
    fn who_is_content_does_not_wait() {
        assert!(quietest(usize::MAX - 1, Duration::MAX) < usize::MAX);
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
