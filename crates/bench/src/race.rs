//! Turns at one operation: clients that repeat it for a slice of time, or, cold, do it once at
//! each name.

use super::course::{Course, Grounds};
use super::lane::Lane;
use super::operation::Operation;
use super::report::Report;
use super::turns::Turns;
use super::{Error, Plan, forget};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The contenders on their course.
pub struct Race<'a> {
    turns: &'a Turns<'a>,
    course: &'a Course,
    grounds: Vec<Grounds>,
}

/// What one turn is.
struct Turn<'a> {
    operation: &'a Operation,
    clients: usize,
    pinned: bool,
    slice: Duration,
}

/// What one client did in a turn.
struct Done {
    operations: u64,
    took: Duration,
}

impl<'a> Race<'a> {
    /// Builds the tree in every lane.
    pub fn prepare(
        turns: &'a Turns<'a>,
        course: &'a Course,
        clients: usize,
    ) -> Result<Race<'a>, Error> {
        let lay_out = |lane: &Lane| {
            (turns.watch)(&format!("building the tree in {}", lane.label));
            course.lay_out(lane, clients, turns.stop)
        };
        Ok(Race {
            turns,
            course,
            grounds: turns.lanes.iter().map(lay_out).collect::<Result<_, _>>()?,
        })
    }

    /// Measures the operations, each with every number of clients, pinned and not.
    pub fn run(
        &self,
        plan: &Plan,
        operations: &[&Operation],
        report: &mut Report,
    ) -> Result<(), Error> {
        for &operation in operations {
            (self.turns.watch)(operation.label);
            if operation.is_warm() {
                self.warm_up(operation)?;
            }
            for clients in plan.client_counts() {
                for pinned in [true, false] {
                    let turn = Turn {
                        operation,
                        clients,
                        pinned,
                        slice: plan.slice,
                    };
                    let samples = self
                        .turns
                        .take(|number, lane| self.turn(number, lane, &turn))?;
                    report.add(operation.subject(clients, pinned), samples);
                }
            }
        }
        Ok(())
    }

    /// Visits every target once, untimed.
    fn warm_up(&self, operation: &Operation) -> Result<(), Error> {
        for (lane, grounds) in self.turns.lanes.iter().zip(&self.grounds) {
            for name in (operation.targets)(self.course) {
                let done = (operation.call)(&grounds.place(0), name);
                done.map_err(|error| lane.failed(operation.label, error))?;
                self.turns.stop.check()?;
            }
        }
        Ok(())
    }

    /// The nanoseconds that each client waits for one operation.
    fn turn(&self, number: usize, lane: &Lane, turn: &Turn) -> Result<f64, Error> {
        if turn.operation.is_cold() {
            let forgot = forget::forget(lane.root());
            forgot.map_err(|error| lane.failed("making the kernel forget", error))?;
            self.turns.quiet.wait();
        }
        let ready = Barrier::new(turn.clients);
        let clients: Vec<io::Result<Done>> = std::thread::scope(|scope| {
            let grounds = &self.grounds[number];
            let ready = &ready;
            let start = |client| scope.spawn(move || self.client(grounds, turn, client, ready));
            let running: Vec<_> = (0..turn.clients).map(start).collect();
            let panicked = |_| Err(io::Error::other("a client panicked"));
            let ended = running.into_iter().map(|client| client.join());
            ended.map(|end| end.unwrap_or_else(panicked)).collect()
        });
        self.turns.stop.check()?;
        let (mut operations, mut took) = (0, Duration::ZERO);
        for done in clients {
            let done = done.map_err(|error| lane.failed(turn.operation.label, error))?;
            operations += done.operations;
            took += done.took;
        }
        Ok(took.as_nanos() as f64 / operations.max(1) as f64)
    }

    fn client(
        &self,
        grounds: &Grounds,
        turn: &Turn,
        client: usize,
        ready: &Barrier,
    ) -> io::Result<Done> {
        let pinned = if turn.pinned { pin(client) } else { Ok(()) };
        ready.wait();
        pinned?;
        match turn.operation.is_cold() {
            true => self.pass(grounds, turn, client),
            false => self.repeat(grounds, turn, client),
        }
    }

    /// Goes round the targets until the time is over. Clients start apart from each other.
    fn repeat(&self, grounds: &Grounds, turn: &Turn, client: usize) -> io::Result<Done> {
        let (operation, place) = (turn.operation, grounds.place(client));
        let targets = (operation.targets)(self.course);
        let first = targets.len() * client / turn.clients;
        let mut names = targets.iter().cycle().skip(first);
        let mut operations = 0;
        let started = Instant::now();
        loop {
            for name in names.by_ref().take(operation.batch) {
                operations += (operation.call)(&place, name)?;
            }
            let took = started.elapsed();
            if took >= turn.slice || self.turns.stop.asked() {
                return Ok(Done { operations, took });
            }
        }
    }

    /// Visits this client's share of the targets once.
    fn pass(&self, grounds: &Grounds, turn: &Turn, client: usize) -> io::Result<Done> {
        let (operation, place) = (turn.operation, grounds.place(client));
        let targets = (operation.targets)(self.course);
        let share = |client| targets.len() * client / turn.clients;
        let mut operations = 0;
        let started = Instant::now();
        for name in &targets[share(client)..share(client + 1)] {
            operations += (operation.call)(&place, name)?;
            if self.turns.stop.asked() {
                break;
            }
        }
        Ok(Done {
            operations,
            took: started.elapsed(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Place;
    use crate::operation::OPERATIONS;
    use crate::turns::testing::with_two_lanes;
    use std::ffi::CStr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A turn of each of two lanes, at an operation that does something else.
    fn turn(call: fn(&Place, &CStr) -> io::Result<u64>, name: &str, clients: usize, pinned: bool) {
        let known = OPERATIONS.iter().find(|operation| operation.name == name);
        let operation = Operation {
            call,
            ..*known.unwrap()
        };
        let course = Course::new(40);
        with_two_lanes(1, |turns| {
            let race = Race::prepare(turns, &course, clients).unwrap();
            let turn = Turn {
                operation: &operation,
                clients,
                pinned,
                slice: Duration::ZERO,
            };
            let taken = turns.take(|number, lane| race.turn(number, lane, &turn));
            assert!(taken.unwrap().concat().iter().all(|time| *time > 0.0));
        });
    }

    #[test]
    fn pinned_clients_stay_on_one_cpu_and_free_ones_may_move() {
        fn one_cpu(_: &Place, _: &CStr) -> io::Result<u64> {
            assert_eq!(sched_getaffinity(None)?.count(), 1);
            Ok(1)
        }
        fn all_cpus(_: &Place, _: &CStr) -> io::Result<u64> {
            let cpus = std::thread::available_parallelism()?.get();
            assert_eq!(sched_getaffinity(None)?.count() as usize, cpus);
            Ok(1)
        }
        turn(one_cpu, "stat-5", 3, true);
        turn(all_cpus, "stat-5", 3, false);
    }

    #[test]
    fn clients_share_the_names_of_a_cold_turn() {
        static VISITS: AtomicUsize = AtomicUsize::new(0);
        fn visit(_: &Place, _: &CStr) -> io::Result<u64> {
            VISITS.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(1));
            Ok(1)
        }
        if forget::possible().is_ok() {
            turn(visit, "cold-stat", 3, false);
            assert_eq!(
                VISITS.load(Ordering::Relaxed),
                2 * 38,
                "in each of two lanes"
            );
        }
    }
}
