//! Turns: pinned clients that repeat one operation for a slice of time.

use super::course::Course;
use super::operation::{Operation, walk};
use super::plot::Plot;
use super::{Error, cold};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Calls between two looks at the clock.
const BATCH: usize = 16;

/// The contenders on their course.
pub struct Race<'a> {
    pub course: &'a Course,
    pub plots: &'a [Plot],
    pub stop: &'a AtomicBool,
}

/// What one turn is.
pub struct Slice {
    pub operation: Operation,
    pub clients: usize,
    pub length: Duration,
}

/// What one client did in a turn.
struct Done {
    operations: u64,
    took: Duration,
}

impl Race<'_> {
    /// Lets the contenders take turns. Gives `samples[contender][round]`, in nanoseconds.
    pub fn rounds(
        &self,
        rounds: usize,
        turn: impl Fn(&Plot) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let mut samples = vec![Vec::new(); self.plots.len()];
        for _ in 0..rounds {
            for (plot, samples) in self.plots.iter().zip(&mut samples) {
                samples.push(turn(plot)?);
            }
        }
        Ok(samples)
    }

    /// Visits every target once, untimed.
    pub fn warm_up(&self, operation: Operation) -> Result<(), Error> {
        for plot in self.plots {
            for name in operation.targets(self.course) {
                let done = operation.once(plot, &plot.own()[0], name);
                done.map_err(|error| self.failed(plot, operation, error))?;
                self.check_stop()?;
            }
        }
        Ok(())
    }

    /// The nanoseconds that each client waits for one operation.
    pub fn turn(&self, plot: &Plot, slice: &Slice) -> Result<f64, Error> {
        let ready = Barrier::new(slice.clients);
        let clients: Vec<io::Result<Done>> = std::thread::scope(|scope| {
            let ready = &ready;
            let start = |client| scope.spawn(move || self.client(plot, slice, client, ready));
            let running: Vec<_> = (0..slice.clients).map(start).collect();
            let panicked = |_| Err(io::Error::other("a client panicked"));
            let ended = running.into_iter().map(|client| client.join());
            ended.map(|end| end.unwrap_or_else(panicked)).collect()
        });
        self.check_stop()?;
        let (mut operations, mut took) = (0, Duration::ZERO);
        for done in clients {
            let done = done.map_err(|error| self.failed(plot, slice.operation, error))?;
            operations += done.operations;
            took += done.took;
        }
        Ok(took.as_nanos() as f64 / operations.max(1) as f64)
    }

    fn client(
        &self,
        plot: &Plot,
        slice: &Slice,
        client: usize,
        ready: &Barrier,
    ) -> io::Result<Done> {
        let pinned = pin(client);
        ready.wait();
        pinned?;
        let operation = slice.operation;
        let targets = operation.targets(self.course);
        // Clients start apart from each other.
        let first = targets.len() * client / slice.clients;
        let mut names = targets.iter().cycle().skip(first);
        let batch = match operation {
            Operation::Walk => 1,
            _ => BATCH,
        };
        let mut operations = 0;
        let started = Instant::now();
        loop {
            for name in names.by_ref().take(batch) {
                operations += operation.once(plot, &plot.own()[client], name)?;
            }
            let took = started.elapsed();
            if took >= slice.length || self.stop.load(Ordering::Relaxed) {
                return Ok(Done { operations, took });
            }
        }
    }

    /// One walk after the kernel was made to forget: nanoseconds per name.
    pub fn cold_walk(&self, plot: &Plot) -> Result<f64, Error> {
        self.check_stop()?;
        let timed = || {
            cold::forget()?;
            let started = Instant::now();
            let seen = walk(plot.root())?;
            Ok(started.elapsed().as_nanos() as f64 / seen.max(1) as f64)
        };
        timed().map_err(|error| self.failed(plot, Operation::Walk, error))
    }

    fn check_stop(&self) -> Result<(), Error> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn failed(&self, plot: &Plot, operation: Operation, error: io::Error) -> Error {
        self.check_stop().err().unwrap_or_else(|| Error::Failed {
            label: plot.label.clone(),
            doing: operation.label(),
            error,
        })
    }
}

/// Pins this thread to one of the CPUs the process may use.
fn pin(client: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect();
    let mut one = CpuSet::new();
    if let Some(&cpu) = cpus.get(client % cpus.len().max(1)) {
        one.set(cpu);
    }
    Ok(sched_setaffinity(None, &one)?)
}
