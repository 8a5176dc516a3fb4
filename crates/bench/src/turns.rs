//! The contenders take turns.

use super::lane::Lane;
use super::quiet::Quiet;
use super::{Error, Stop};

/// What all that is measured has in common.
pub struct Turns<'a> {
    pub lanes: &'a [Lane],
    pub rounds: usize,
    pub quiet: &'a Quiet,
    pub stop: Stop<'a>,
    pub watch: &'a (dyn Fn(&str) + Sync),
}

impl Turns<'_> {
    /// Lets each lane have its turn in each round, A B A B. Gives `samples[lane][round]`, in nanoseconds.
    pub fn take(
        &self,
        mut turn: impl FnMut(usize, &Lane) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        self.take_among(self.lanes.len(), |number| {
            self.quiet.wait();
            turn(number, &self.lanes[number])
        })
    }

    /// The same for any number of whatever has turns, which waits until it is quiet by itself.
    pub fn take_among(
        &self,
        number: usize,
        mut turn: impl FnMut(usize) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let mut samples = vec![Vec::new(); number];
        for _ in 0..self.rounds {
            for (number, samples) in samples.iter_mut().enumerate() {
                self.stop.check()?;
                samples.push(turn(number)?);
            }
        }
        Ok(samples)
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::Contender;
    use crate::lane::Room;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::sync::atomic::AtomicBool;

    /// Calls with two lanes in a temporary directory.
    pub fn with_two_lanes(rounds: usize, then: impl FnOnce(&Turns)) {
        let place = tempfile::tempdir().unwrap();
        let lane = |number| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let contender = Contender {
                label: String::new(),
                filesystem: String::new(),
                directory: openat(CWD, place.path(), flags, Mode::empty()).unwrap(),
                load: None,
            };
            Lane::new(contender, number, Room::default()).unwrap()
        };
        then(&Turns {
            lanes: &[0, 1].map(lane),
            rounds,
            quiet: &Quiet::new(),
            stop: Stop(&AtomicBool::new(false)),
            watch: &|_| {},
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_alternate() {
        testing::with_two_lanes(3, |turns| {
            let mut turn = 0.0;
            let samples = turns.take(|_, _| {
                turn += 1.0;
                Ok(turn)
            });
            let expected = [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]];
            assert_eq!(samples.unwrap(), expected);
        });
    }

    #[test]
    fn no_turn_begins_after_the_caller_asked_to_stop() {
        testing::with_two_lanes(3, |turns| {
            let turns = Turns {
                stop: Stop(&std::sync::atomic::AtomicBool::new(true)),
                ..*turns
            };
            let taken = turns.take(|_, _| panic!("a turn"));
            assert!(matches!(taken, Err(Error::Interrupted)));
        });
    }
}
