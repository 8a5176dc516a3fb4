//! Whether the calls of a load wait for the source, and how many threads that is worth.
//!
//! A thread whose calls wait leaves its CPU to others, which the kernel counts as voluntary switches: one that is only
//! short of CPUs is switched against its will. What a call costs of CPU beside what it takes then tells how many can be
//! under way before the CPUs are busy.
//!
//! A source that answers at once costs two looks at the clock for each job. Only where calls take long the system is asked
//! for more.

use nix::sys::resource::{UsageWho, getrusage};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// What was measured of some calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    wall: Duration,
    cpu: Duration,
    waits: bool,
}

impl Pace {
    /// In nanoseconds.
    #[cfg(test)]
    pub(super) fn new(wall: u64, cpu: u64, waits: bool) -> Pace {
        let (wall, cpu) = (Duration::from_nanos(wall), Duration::from_nanos(cpu));
        Pace { wall, cpu, waits }
    }

    /// Threads that keep as many CPUs busy as `enough` threads do whose calls never wait; at least `enough`.
    pub(super) fn threads(&self, enough: usize) -> usize {
        if !self.waits {
            return enough;
        }
        let each = self.wall.as_nanos() / self.cpu.as_nanos().max(1);
        enough.saturating_mul(usize::try_from(each).unwrap_or(usize::MAX).max(1))
    }
}

/// Measures the calls of the thread that made it.
pub(super) struct Meter {
    calls: u32,
    began: Instant,
    /// What the system said then, if calls took long before.
    before: Option<Sample>,
    measured: Measured,
}

/// What was measured since a pace was given.
#[derive(Default)]
struct Measured {
    calls: u32,
    wall: Duration,
    cpu: Duration,
    switches: i64,
}

#[derive(Clone, Copy)]
struct Sample {
    cpu: Duration,
    switches: i64,
}

impl Sample {
    /// `None` if the system does not tell.
    fn take() -> Option<Sample> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        Some(Sample {
            cpu: Duration::try_from(cpu).ok()?,
            switches: usage.voluntary_context_switches(),
        })
    }
}

impl Meter {
    /// A call that takes longer may have waited.
    const LONG: Duration = Duration::from_micros(20);
    /// So many calls are an answer.
    const ENOUGH: u32 = 16;
    /// Of so many calls one waits at least. Threads wait for each other and for memory too, but much more rarely, and a disk
    /// gives many inodes at once.
    const ONE_OF: i64 = 4;

    pub(super) fn new() -> Meter {
        Meter {
            calls: 0,
            began: Instant::now(),
            before: None,
            measured: Measured::default(),
        }
    }

    /// Leaves out what happened since the last reading.
    pub(super) fn begin(&mut self) {
        self.before = self.before.and_then(|_| Sample::take());
        self.began = Instant::now();
        self.calls = 0;
    }

    /// That many calls were made.
    pub(super) fn count(&mut self, calls: u32) {
        self.calls += calls;
    }

    /// How calls went, if enough were measured.
    pub(super) fn read(&mut self) -> Option<Pace> {
        let wall = self.began.elapsed();
        let long = wall > Meter::LONG * self.calls;
        if self.calls == 0 || (self.before.is_none() && !long) {
            return None;
        }
        let now = Sample::take();
        let before = std::mem::replace(&mut self.before, now.filter(|_| long));
        let calls = std::mem::take(&mut self.calls);
        self.began = Instant::now();
        let (before, now) = (before?, now?);
        self.measured.calls += calls;
        self.measured.wall += wall;
        self.measured.cpu += now.cpu.saturating_sub(before.cpu);
        self.measured.switches += now.switches - before.switches;
        let enough = self.measured.calls >= Meter::ENOUGH;
        enough.then(|| std::mem::take(&mut self.measured).pace())
    }
}

impl Measured {
    fn pace(&self) -> Pace {
        Pace {
            wall: self.wall,
            cpu: self.cpu,
            waits: self.switches * Meter::ONE_OF >= self.calls.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a meter says of calls that are read in turns of `turn`.
    fn measured(turn: u32, call: impl Fn()) -> Pace {
        let mut meter = Meter::new();
        let mut round = || {
            meter.begin();
            (0..turn).for_each(|_| call());
            meter.count(turn);
            meter.read()
        };
        assert!(round().is_none(), "the first only makes it look");
        let before = (1..).find_map(|rounds| Some((rounds, round()?)));
        let (rounds, pace) = before.unwrap();
        assert_eq!(rounds, Meter::ENOUGH.div_ceil(turn));
        pace
    }

    #[test]
    fn calls_that_wait_are_worth_many_threads() {
        for turn in [1, 5, 20] {
            let pace = measured(turn, || std::thread::sleep(Duration::from_millis(2)));
            assert!(pace.threads(2) >= 8, "{pace:?}");
        }
    }

    #[test]
    fn calls_that_are_busy_are_worth_none() {
        let busy = || {
            let began = Instant::now();
            while began.elapsed() < 3 * Meter::LONG {
                std::hint::spin_loop();
            }
        };
        let pace = measured(100, busy);
        assert_eq!(pace.threads(3), 3, "{pace:?}");
    }

    #[test]
    fn short_calls_are_not_looked_at() {
        let mut meter = Meter::new();
        for _ in 0..3 {
            meter.begin();
            meter.count(u32::MAX);
            assert!(meter.read().is_none());
        }
        meter.begin();
        assert!(meter.read().is_none(), "no call, no answer");
    }

    #[test]
    fn a_source_that_becomes_fast_is_noticed() {
        let mut meter = Meter::new();
        let mut turn = |calls: u32, wait: bool| {
            meter.begin();
            if wait {
                (0..calls).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
            }
            meter.count(calls);
            meter.read()
        };
        assert!(turn(1, true).is_none());
        assert!(turn(16, true).unwrap().threads(1) > 1);
        assert_eq!(turn(1_000_000, false).unwrap().threads(1), 1);
        assert!(turn(1_000_000, false).is_none(), "and no longer looked at");
    }
}
